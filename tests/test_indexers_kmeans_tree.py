"""Hierarchical K-means over co-occurrence and attributes: the tree, its tokens, and items that nothing describes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_indexers_gci import crowds
from test_indexers_sci import Watching, poisoned
from threadpoolctl import threadpool_limits

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import Index
from genrec_bench.core.events import Interactions
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import ConfigError
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import IndexerContext
from genrec_bench.indexers import kmeans_tree
from genrec_bench.indexers.kmeans_tree import KmeansTree, KmeansTreeConfig, even_labels, kmeans, trie_facts
from genrec_bench.protocol import split as protocol


def tree(train: TrainView, seed: int = 0, **options) -> Index:
    config = KmeansTreeConfig(**{"clusters": 4, "leaf_size": 12, **options})
    return KmeansTree(config).build(train, IndexerContext(seed=seed))


def with_attributes(train: TrainView, group: np.ndarray) -> TrainView:
    """Every item has its group and an attribute that all have."""
    return replace(train, item_features=Ragged.of([[one, 9] for one in group.tolist()]))


def prefixes(index: Index) -> list[tuple[int, ...]]:
    """Every non-empty prefix of a code, once."""
    codes = [[token for token in code if token >= 0] for code in index.items.codes.tolist()]
    return sorted({tuple(code[:end]) for code in codes for end in range(1, len(code) + 1)})


def agrees(tokens: np.ndarray, group: np.ndarray) -> bool:
    """Whether two items have the same token just where they belong to the same group."""
    return bool(((tokens[:, None] == tokens) == (group[:, None] == group)).all())


@pytest.mark.parametrize("vectors", ["cooccurrence", "attributes", "both"])
def test_planted_clusters_are_found(vectors):
    train, group = crowds()
    index = tree(with_attributes(train, group), vectors=vectors)
    assert agrees(index.items.codes[:, 0], group)
    assert index.info["leaves"] == 4 and index.info["largest_leaf"] == 12
    assert index.info["trie"] == {"nodes": 4 + 48, "most_children": 12, "code_lengths": [0, 0, 48]}


def test_attributes_weigh_as_much_as_asked():
    train, group = crowds()
    other = np.arange(48) % 4
    assert not agrees(group, other)
    assert agrees(tree(with_attributes(train, other), attribute_weight=20.0).items.codes[:, 0], other)
    assert agrees(tree(with_attributes(train, other), attribute_weight=0.01).items.codes[:, 0], group)


def test_auto_takes_attributes_where_there_are_any():
    bare, group = crowds()
    full = with_attributes(bare, group)
    assert tree(bare).info["vectors"] == "cooccurrence"
    assert tree(full).info["vectors"] == "cooccurrence+attributes"
    assert tree(bare).fingerprint == tree(full, vectors="cooccurrence").fingerprint
    assert tree(full).fingerprint == tree(full, vectors="both").fingerprint


def test_only_options_that_read_attributes_need_them():
    needs = {
        kind: KmeansTree(KmeansTreeConfig(vectors=kind)).needs
        for kind in ("auto", "cooccurrence", "both", "attributes")
    }
    assert needs == {
        "auto": frozenset(),
        "cooccurrence": frozenset(),
        "both": {"item_features"},
        "attributes": {"item_features"},
    }
    assert KmeansTree().config == KmeansTreeConfig() and KmeansTree.needs == frozenset()


def test_a_path_token_stands_at_one_node_of_the_trie():
    index = tree(crowds(items=96)[0], clusters=3, leaf_size=5)
    nodes = prefixes(index)
    assert len({node[-1] for node in nodes}) == len(nodes) == index.n_tokens == index.info["trie"]["nodes"]
    assert index.token_scope == "path"


@pytest.mark.parametrize("scope", ["level", "shared"])
def test_other_scopes_have_fewer_tokens_and_the_same_trie(scope):
    train = crowds(items=96)[0]
    path, other = (tree(train, clusters=3, leaf_size=5, token_scope=one) for one in ("path", scope))
    assert other.n_tokens < path.n_tokens == len(prefixes(path)) == len(prefixes(other))


def test_the_facts_of_a_trie_are_those_of_a_count_by_hand():
    labels = np.array([[0, 0, -1], [0, 1, 0], [0, 1, 1], [0, 2, -1], [1, -1, -1]], np.int32)
    assert trie_facts(labels) == {"nodes": 2 + 3 + 2, "most_children": 3, "code_lengths": [0, 1, 2, 2]}
    assert trie_facts(np.array([[0], [1]], np.int32)) == {"nodes": 2, "most_children": 2, "code_lengths": [0, 2]}


def test_items_that_nothing_describes_lie_evenly_below_a_token_of_their_own():
    train, _ = crowds()
    index = tree(replace(train, n_items=48 + 20), clusters=3, leaf_size=5)
    first = index.items.codes[:, 0]
    assert index.info["items_without_vector"] == index.info["cooccurrence"]["items_without"] == 20
    assert len(set(first[48:])) == 1 and first[48] not in first[:48]

    leaves = [tuple(code[code >= 0][:-1]) for code in index.items.codes[48:]]
    assert sorted(leaves.count(leaf) for leaf in set(leaves)) == [5, 5, 5, 5]


def test_even_labels_fill_as_few_leaves_as_their_size_allows():
    assert even_labels(5, 3, 5, 8).shape == (5, 0)
    assert even_labels(6, 3, 5, 8).tolist() == [[0]] * 3 + [[1]] * 3
    assert np.unique(even_labels(100, 3, 5, 8), axis=0, return_counts=True)[1].tolist() == [5] * 20
    assert even_labels(100, 3, 5, 2).shape == (100, 2)
    assert even_labels(100, 3, 5, 0).shape == (100, 0)


def test_a_catalogue_that_nothing_describes_is_numbered():
    index = tree(TrainView(Ragged.of([[0], [1]]), 7), max_levels=1)
    assert index.info["items_without_vector"] == 7 and index.items.codes.tolist() == [[0, n] for n in range(1, 8)]
    assert len(tree(TrainView(Ragged.of([[0]]), 1)).items) == 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 8), max_size=6), min_size=1, max_size=10),
    st.integers(2, 5),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from(["level", "shared", "path"]),
    st.integers(0, 3),
)
def test_any_training_part_gives_unique_prefix_free_codes(sequences, clusters, leaf_size, levels, scope, window):
    n_items = max((item for row in sequences for item in row), default=0) + 2  # the last one never occurs
    index = tree(  # CodeTable refuses codes that are equal or prefixes of one another
        TrainView(Ragged.of(sequences), n_items),
        clusters=clusters,
        leaf_size=leaf_size,
        max_levels=levels,
        token_scope=scope,
        window=window,
    )
    assert len(index.items) == n_items and index.items.width <= levels + 1
    assert set(index.items.codes[index.items.codes >= 0]) == set(range(index.n_tokens))


def test_a_leaf_holds_no_more_than_its_size():
    for leaf_size in (1, 7, 30):
        assert tree(crowds(items=96)[0], leaf_size=leaf_size).info["largest_leaf"] <= leaf_size


def test_one_seed_gives_one_index_and_another_seed_another():
    train = crowds(items=96)[0]
    assert tree(train, leaf_size=5).fingerprint == tree(train, leaf_size=5).fingerprint
    assert tree(train, leaf_size=5).fingerprint != tree(train, leaf_size=5, seed=1).fingerprint


def test_a_window_changes_what_is_near():
    train = crowds(items=96)[0]
    assert tree(train, leaf_size=5).fingerprint != tree(train, leaf_size=5, window=1).fingerprint


def test_held_out_events_cannot_reach_the_codes():
    rng = np.random.default_rng(0)
    user, item = np.repeat(np.arange(30), 8), rng.integers(0, 20, 240)
    names = np.arange(30).astype(str)
    data, split = protocol.split_data(
        Interactions(user.astype(np.int32), item.astype(np.int32), None, names, names[:20])
    )
    first, second = (tree(protocol.train_view(data, one), leaf_size=4) for one in (split, poisoned(split)))
    assert first.fingerprint == second.fingerprint


THREADS = """
import numpy as np
from genrec_bench.api import IndexerContext, Ragged, TrainView
from genrec_bench.indexers.kmeans_tree import KmeansTree
rng = np.random.default_rng(0)
rows = Ragged.of([rng.choice(400, 8, replace=False) for _ in range(500)])
features = Ragged.of([rng.choice(50, 3) for _ in range(400)])
print(KmeansTree().build(TrainView(rows, 400, None, features), IndexerContext()).fingerprint)
"""


def test_codes_do_not_depend_on_the_number_of_threads():
    def fingerprint(threads: str) -> str:
        setting = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", THREADS]
        return subprocess.run(command, env={**os.environ, **setting}, capture_output=True, text=True, check=True).stdout

    assert fingerprint("1") == fingerprint("2")


def test_k_means_learns_from_a_sample_and_assigns_everything(monkeypatch):
    side = np.arange(500) % 2
    points = np.random.default_rng(0).standard_normal((500, 2)).astype(np.float32)
    points[:, 0] += 9 * side
    monkeypatch.setattr(kmeans_tree, "POINTS", 20)
    labels, centres = kmeans(points, 2, seed=0)
    assert len(labels) == 500 and centres.shape == (2, 2)
    assert (labels == labels[0]).tolist() == (side == 0).tolist()


def test_equal_items_are_cut_evenly_and_without_a_warning():
    train = replace(crowds()[0], item_features=Ragged.of([[0]] * 40 + [[1]] * 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index = tree(train, vectors="attributes", leaf_size=5)
    assert index.info["largest_leaf"] <= 5


def test_the_record_can_tell_how_the_codes_were_made():
    train, group = crowds()
    index = tree(with_attributes(train, group))
    assert json.loads(json.dumps(index.info)) == index.info
    assert index.users is None and index.collision_rate == 1


def test_progress_counts_matrices_and_items_and_threads_are_pinned_meanwhile():
    watching = Watching()
    with threadpool_limits(2):
        KmeansTree().build(replace(crowds()[0], n_items=60), IndexerContext(progress=watching))
    assert (watching.name, watching.total, watching.done, watching.threads) == ("clustering", 60, 1 + 60, {1})


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"clusters": "1"}, "clusters = '1': must be at least 2"),
        ({"window": "-1"}, "window = '-1': must be at least 0"),
        ({"attribute_weight": "0"}, "attribute_weight = '0': must be above 0"),
        ({"vectors": "text"}, "expected one of auto, cooccurrence, attributes, both"),
        (
            {"vectors": "attributes", "window": "3"},
            "window = 3 is for co-occurrence, and vectors=attributes makes no use",
        ),
    ],
)
def test_impossible_options_are_configuration_errors(values, why):
    with pytest.raises(ConfigError, match=why):
        make_config(KmeansTreeConfig, values, "indexer")
