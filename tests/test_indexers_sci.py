"""Spectral collaborative indexing, from training sequences to codes."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_info, threadpool_limits

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import Index
from genrec_bench.core.events import Interactions
from genrec_bench.core.progress import Quiet
from genrec_bench.core.sequences import Split, TrainView
from genrec_bench.errors import ConfigError
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import IndexerContext
from genrec_bench.indexers.digits import RandomIndexer, SequentialIndexer, sequential_labels
from genrec_bench.indexers.sci.cooccurrence import interaction_counts, joint_graph
from genrec_bench.indexers.sci.indexer import SpectralConfig, SpectralIndexer
from genrec_bench.protocol import split as protocol

VARIANTS = ["joint", "separate", "items", "users"]


def sci(train: TrainView, seed: int = 0, **options) -> Index:
    small = {"clusters": 4, "leaf_size": 6}
    return SpectralIndexer(SpectralConfig(**{**small, **options})).build(train, IndexerContext(seed=seed))


def two_crowds(users: int = 40, items: int = 30, seed: int = 0) -> TrainView:
    """Even users meet even items, odd users odd items."""
    rng = np.random.default_rng(seed)
    rows = [2 * rng.choice(items // 2, 6, replace=False) + user % 2 for user in range(users)]
    return TrainView(Ragged.of(rows), items)


def sequence_file(name: str) -> TrainView:
    """The training part of a file of lines `user item item ...`."""
    folder = os.environ.get("GENREC_DATA")
    if not folder:
        pytest.skip("GENREC_DATA is not set")
    lines = [line.split() for line in (Path(folder) / name).read_text().splitlines()]
    item_ids, item = np.unique([one for line in lines for one in line[1:]], return_inverse=True)
    user = np.repeat(np.arange(len(lines)), [len(line) - 1 for line in lines])
    return training_part(user, item, None, np.array([line[0] for line in lines]), item_ids)


def movielens() -> TrainView:
    spec = importlib.util.find_spec("recbole")
    if spec is None or spec.origin is None:
        pytest.skip("recbole, which carries ML-100K, is not installed")
    path = Path(spec.origin).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
    rows = np.array([line.split("\t") for line in path.read_text().splitlines()[1:]])
    user_ids, user = np.unique(rows[:, 0], return_inverse=True)
    item_ids, item = np.unique(rows[:, 1], return_inverse=True)
    return training_part(user, item, rows[:, 3].astype(float).astype(np.int64), user_ids, item_ids)


def training_part(user, item, time, user_ids, item_ids) -> TrainView:
    events = Interactions(user.astype(np.int32), item.astype(np.int32), time, user_ids, item_ids)
    return protocol.train_view(*protocol.split_data(events))


def first_labels(codes: np.ndarray) -> np.ndarray:
    return codes[:, 0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_gives_all_items_and_users_a_code(variant):
    index = sci(two_crowds(), variant=variant)
    assert len(index.items) == 30
    assert index.users is not None and len(index.users) == 40


def test_items_of_one_crowd_share_a_prefix_and_crowds_do_not():
    index = sci(two_crowds(), variant="items", clusters=2, leaf_size=20)
    even, odd = set(first_labels(index.items.codes[::2])), set(first_labels(index.items.codes[1::2]))
    assert len(even) == len(odd) == 1 and even != odd


def test_joint_puts_users_beside_the_items_they_met_in_one_alphabet():
    index = sci(two_crowds(), clusters=2, leaf_size=40)
    assert index.users is not None
    assert len(set(first_labels(index.users.codes[::2])) | set(first_labels(index.items.codes[::2]))) == 1
    assert set(first_labels(index.users.codes[1::2])) == set(first_labels(index.items.codes[1::2]))
    assert index.info["graphs"]["joint"]["mixed_level1"] == 2


def test_joint_codes_tell_every_node_apart():
    index = sci(two_crowds())
    assert index.users is not None
    both = np.concatenate([index.users.codes, index.items.codes])
    assert len(np.unique(both, axis=0)) == 70


@pytest.mark.parametrize("variant", ["separate", "items", "users"])
def test_the_other_variants_keep_the_alphabets_of_users_and_items_apart(variant):
    index = sci(two_crowds(), variant=variant)
    assert index.users is not None
    shared = set(index.items.codes.ravel()) & set(index.users.codes.ravel())
    assert shared <= {-1}


def test_users_variant_writes_items_in_order_of_first_appearance():
    train = two_crowds()
    index = sci(train, variant="users")
    assert (index.items.codes == sequential_labels(train)).all()
    assert index.collision_rate == 0.0


def test_items_variant_draws_user_codes_from_the_seed_and_keeps_item_codes():
    first, second = (sci(two_crowds(), variant="items", seed=seed) for seed in (0, 1))
    assert (first.items.codes == second.items.codes).all()
    assert (first.users.codes != second.users.codes).any()
    assert first.info["user_codes"] == "random"


@pytest.mark.parametrize("variant", ["joint", "items"])
def test_collision_rate_is_the_share_of_items_that_needed_the_suffix(variant):
    train = TrainView(Ragged.of([[0, 1, 2], [3, 4, 5]]), 7)  # two leaves, and item 6 alone in a third
    index = sci(train, variant=variant, clusters=2, leaf_size=4)
    assert (index.items.codes >= 0).sum(axis=1).tolist() == [2, 2, 2, 2, 2, 2, 1]
    assert index.collision_rate == pytest.approx(6 / 7)


def test_users_with_one_history_differ_in_the_suffix_only():
    train = TrainView(Ragged.of([[0, 1]] * 30 + [[2, 3]] * 30), 4)
    index = sci(train, variant="users", clusters=2, leaf_size=30)
    codes = index.users.codes
    assert (codes[:30, 0] == codes[0, 0]).all() and (codes[30:, 0] == codes[30, 0]).all()
    assert codes[0, 0] != codes[30, 0]
    assert len(set(codes[:30, 1])) == 30


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 8), max_size=6), min_size=1, max_size=10),
    st.sampled_from(VARIANTS),
    st.integers(2, 5),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from(["level", "shared", "path"]),
)
def test_any_training_part_gives_unique_prefix_free_codes(sequences, variant, clusters, leaf_size, levels, scope):
    n_items = max((item for row in sequences for item in row), default=0) + 2  # the last one never occurs
    index = sci(  # CodeTable refuses codes that are equal or prefixes of one another
        TrainView(Ragged.of(sequences), n_items),
        variant=variant,
        clusters=clusters,
        leaf_size=leaf_size,
        max_levels=levels,
        token_scope=scope,
    )
    assert len(index.items) == n_items and len(index.users) == len(sequences)
    assert (index.items.codes[:, 0] >= 0).all() and (index.users.codes[:, 0] >= 0).all()


def poisoned(split: Split) -> Split:
    """The same training parts, every held-out event replaced by item 0."""
    position = np.arange(len(split.sequences.values)) - split.sequences.offsets[:-1][split.sequences.rows]
    held_out = position >= split.train_end[split.sequences.rows]
    values = np.where(held_out, 0, split.sequences.values).astype(np.int32)
    return dataclasses.replace(
        split,
        sequences=Ragged(values, split.sequences.offsets),
        validation=dataclasses.replace(split.validation, target=split.validation.target * 0),
        test=dataclasses.replace(split.test, target=split.test.target * 0),
    )


@pytest.mark.parametrize(
    "indexer",
    [RandomIndexer(), SequentialIndexer(), *(SpectralIndexer(SpectralConfig(v, 4, 6)) for v in VARIANTS)],
    ids=["random", "sequential", *VARIANTS],
)
def test_held_out_events_cannot_reach_the_codes(indexer):
    rng = np.random.default_rng(0)
    user, item = np.repeat(np.arange(30), 8), rng.integers(0, 20, 240)
    names = np.arange(30).astype(str)
    data, split = protocol.split_data(
        Interactions(user.astype(np.int32), item.astype(np.int32), None, names, names[:20])
    )
    other = poisoned(split)
    assert other.fingerprint != split.fingerprint
    first, second = (indexer.build(protocol.train_view(data, one), IndexerContext()) for one in (split, other))
    assert first.fingerprint == second.fingerprint


def test_training_events_do_reach_the_codes():
    assert sci(two_crowds(seed=0)).fingerprint != sci(two_crowds(seed=1)).fingerprint


class Watching(Quiet):
    """Progress that notes what it is told, and how many threads the numeric libraries may use meanwhile."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.done = 0

    @contextmanager
    def phase(self, name, total=None, unit=""):
        self.name, self.total, self.unit = name, total, unit

        def tick(steps=1, note=""):
            self.done += steps
            self.threads |= {pool["num_threads"] for pool in threadpool_info()}

        yield tick


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_path_token_of_an_item_stands_at_one_node_of_the_tree(variant):
    codes = sci(two_crowds(), variant=variant, token_scope="path").items.codes.tolist()
    nodes = {tuple(code[:end]) for code in codes for end in range(1, len(code) + 1) if code[end - 1] >= 0}
    assert len({node[-1] for node in nodes}) == len(nodes)


def test_progress_counts_nodes_and_threads_are_pinned_meanwhile():
    watching = Watching()
    with threadpool_limits(2):
        SpectralIndexer().build(two_crowds(), IndexerContext(progress=watching))
    assert (watching.name, watching.total, watching.unit, watching.done) == ("clustering", 70, "nodes", 70)
    assert watching.threads == {1}


THREADS = """
import numpy as np
from genrec_bench.api import IndexerContext
from genrec_bench.indexers.sci.indexer import SpectralConfig, SpectralIndexer
from genrec_bench.api import Ragged, TrainView
rng = np.random.default_rng(0)
train = TrainView(Ragged.of([rng.choice(500, 8, replace=False) for _ in range(700)]), 500)
for method in ("dense", "sparse"):
    print(SpectralIndexer(SpectralConfig(clusters=20, leaf_size=30, method=method)).build(train, IndexerContext()).fingerprint)
"""


def test_codes_do_not_depend_on_the_number_of_threads():
    def fingerprints(threads: str) -> str:
        setting = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        command = [sys.executable, "-c", THREADS]
        return subprocess.run(command, env={**os.environ, **setting}, capture_output=True, text=True, check=True).stdout

    assert fingerprints("1") == fingerprints("2")


def test_the_record_can_tell_how_the_codes_were_made():
    info = sci(two_crowds(), clusters=3, leaf_size=5).info
    assert json.loads(json.dumps(info)) == info
    facts = info["graphs"]["joint"]
    assert facts["nodes"] == 70 and facts["edges"] > 0 and facts["isolated_nodes"] == 0
    assert facts["largest_leaf"] <= 5
    assert facts["splits"]["dense"] > 0 and facts["splits"]["sparse"] == 0


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"clusters": "1"}, "clusters = '1': must be at least 2"),
        ({"leaf_size": "0"}, "leaf_size = '0': must be above 0"),
        ({"max_levels": "0"}, "max_levels = '0': must be above 0"),
        ({"variant": "items", "balance": "true"}, "balance needs variant=joint"),
        ({"variant": "itemz"}, "Did you mean 'items'"),
    ],
)
def test_impossible_options_are_configuration_errors(values, why):
    with pytest.raises(ConfigError, match=why):
        make_config(SpectralConfig, values, "indexer")


def test_movielens_first_level_equals_scikit_learn_on_the_same_graph():
    train = movielens()
    graph = joint_graph(interaction_counts(train))
    linked = np.asarray(graph.sum(axis=0)) > 0
    theirs = SpectralClustering(50, assign_labels="cluster_qr", affinity="precomputed", random_state=0)
    expected = theirs.fit_predict(graph[linked][:, linked].toarray())
    index = SpectralIndexer().build(train, IndexerContext())
    ours = np.concatenate([index.users.codes, index.items.codes])[linked, 0]
    assert adjusted_rand_score(expected, ours) > 0.99


def test_movielens_codes_are_short_and_balance_mixes_users_with_items():
    train = movielens()
    plain, balanced = (
        SpectralIndexer(SpectralConfig(balance=balance)).build(train, IndexerContext()) for balance in (False, True)
    )
    for index in (plain, balanced):
        facts = index.info["graphs"]["joint"]
        assert index.items.width == index.users.width == 3
        assert facts["nodes"] == 2625 and facts["isolated_nodes"] == 4 and facts["splits"]["even"] == 0
    assert plain.info["graphs"]["joint"]["mixed_level1"] <= 3
    assert balanced.info["graphs"]["joint"]["mixed_level1"] >= 45


@pytest.mark.slow
def test_beauty_is_clustered_sparsely_and_both_seeds_agree():
    train = sequence_file("Beauty.txt")
    first, second = (SpectralIndexer().build(train, IndexerContext(seed=seed)) for seed in (0, 1))
    facts = first.info["graphs"]["joint"]
    assert facts["nodes"] == 34_464 and facts["isolated_nodes"] == 33
    assert facts["splits"]["sparse"] > 0 and facts["splits"]["even"] == 0
    assert facts["largest_leaf"] <= 100 and first.items.width == 4
    assert adjusted_rand_score(first_labels(first.items.codes), first_labels(second.items.codes)) > 0.99
