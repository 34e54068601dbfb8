"""Graph collaborative indexing: the embedding of the training graph, its quantisation, and the codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_indexers_sci import Watching, poisoned
from threadpoolctl import threadpool_limits

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import Index
from genrec_bench.core.events import Interactions
from genrec_bench.core.progress import Quiet
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import ConfigError, NeedsMissing
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import IndexerContext
from genrec_bench.indexers.gci import quantise
from genrec_bench.indexers.gci.indexer import GraphConfig, GraphIndexer, unit_length
from genrec_bench.indexers.gci.lightgcn import (
    Graph,
    _Learner,
    hold_out,
    ndcg,
    train_embeddings,
)
from genrec_bench.indexers.gci.quantise import (
    KMeans,
    hierarchical,
    import_faiss,
    product,
    residual,
)
from genrec_bench.protocol import split as protocol

QUANTISERS = ["product", "residual", "hierarchical"]
CODINGS = [*((one, scope) for one in QUANTISERS for scope in ("level", "shared")), ("hierarchical", "path")]
VARIANTS = ["joint", "separate"]
SMALL = {
    "embedding_size": 8,
    "layers": 2,
    "epochs": 15,
    "batch_size": 128,
    "levels": 2,
    "codebook_size": 4,
    "clusters": 4,
    "leaf_size": 6,
}
TRAINING = {"epochs": 30, "learning_rate": 0.01, "batch_size": 128, "weight_decay": 1e-4, "patience": 10}


def gci(train: TrainView, seed: int = 0, progress=None, **options) -> Index:
    config = GraphConfig(**{**SMALL, **options})
    return GraphIndexer(config).build(train, IndexerContext(seed=seed, progress=progress or Quiet()))


def crowds(groups: int = 4, users: int = 80, items: int = 48, seed: int = 0) -> tuple[TrainView, np.ndarray]:
    """Users who meet items of their own group, nine times in ten; and the group of each item."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.arange(items) % groups)
    rows = []
    for user in range(users):
        own, others = np.flatnonzero(group == user % groups), np.flatnonzero(group != user % groups)
        rows.append(rng.permutation(np.append(rng.choice(own, 9, replace=False), rng.choice(others))))
    return TrainView(Ragged.of(rows), items), group


def k_means(seed: int = 0) -> KMeans:
    return KMeans(import_faiss("a test"), seed)


def silent(steps: int = 1, note: str = "") -> None:
    pass


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_items_of_a_planted_group_share_a_prefix_much_more_often_than_others(quantiser):
    train, group = crowds()
    index = gci(train, quantiser=quantiser, epochs=40)
    first = index.items.codes[:, 0]
    together = first[:, None] == first[None, :]
    alike, apart = group[:, None] == group[None, :], ~np.eye(len(group), dtype=bool)
    assert together[alike & apart].mean() > 3 * together[~alike].mean()


def test_joint_codes_put_users_beside_the_items_of_their_group():
    train, group = crowds()
    index = gci(train, quantiser="hierarchical", clusters=4, leaf_size=100, epochs=40)
    first = index.items.codes[:, 0], index.users.codes[:, 0]
    together = first[1][:, None] == first[0][None, :]
    own = (np.arange(80) % 4)[:, None] == group[None, :]
    assert together[own].mean() > 3 * together[~own].mean()


def test_separate_variant_keeps_the_alphabets_of_users_and_items_apart():
    index = gci(crowds()[0], variant="separate")
    assert not set(index.items.codes.ravel()) & (set(index.users.codes.ravel()) - {-1})


def test_product_codes_have_one_token_per_level_and_a_suffix_where_they_collide():
    index = gci(crowds()[0], codebook_size=2)
    lengths = (index.items.codes >= 0).sum(axis=1)
    assert set(lengths) <= {2, 3}
    assert index.collision_rate == (lengths == 3).mean() == index.info["collision_rates"]["items"]


def test_a_path_token_of_the_hierarchy_stands_at_one_node_of_the_tree():
    index = gci(crowds()[0], quantiser="hierarchical", token_scope="path")
    codes = [*index.items.codes.tolist(), *index.users.codes.tolist()]
    nodes = {tuple(code[:end]) for code in codes for end in range(1, len(code) + 1) if code[end - 1] >= 0}
    assert len({node[-1] for node in nodes}) == len(nodes) == index.n_tokens


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 8), max_size=6), min_size=1, max_size=10),
    st.sampled_from(VARIANTS),
    st.sampled_from(CODINGS),
    st.booleans(),
)
def test_any_training_part_gives_unique_prefix_free_codes(sequences, variant, coding, normalise):
    quantiser, scope = coding
    n_items = max((item for row in sequences for item in row), default=0) + 2  # the last one never occurs
    index = gci(  # CodeTable refuses codes that are equal or prefixes of one another
        TrainView(Ragged.of(sequences), n_items),
        variant=variant,
        quantiser=quantiser,
        normalise=normalise,
        token_scope=scope,
        epochs=2,
        clusters=2,
        leaf_size=2,
    )
    assert len(index.items) == n_items and len(index.users) == len(sequences)


def test_one_seed_gives_one_index_and_another_seed_another():
    train, _ = crowds()
    assert gci(train).fingerprint == gci(train).fingerprint != gci(train, seed=1).fingerprint


THREADS = """
import numpy as np
from genrec_bench.api import IndexerContext
from genrec_bench.indexers.gci.indexer import GraphConfig, GraphIndexer
from genrec_bench.api import Ragged, TrainView
rng = np.random.default_rng(0)
train = TrainView(Ragged.of([rng.choice(400, 8, replace=False) for _ in range(500)]), 400)
for quantiser in ("product", "residual", "hierarchical"):
    print(GraphIndexer(GraphConfig(epochs=3, quantiser=quantiser)).build(train, IndexerContext()).fingerprint)
"""


def test_codes_do_not_depend_on_the_number_of_threads():
    def fingerprints(threads: str) -> str:
        setting = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        command = [sys.executable, "-c", THREADS]
        return subprocess.run(command, env={**os.environ, **setting}, capture_output=True, text=True, check=True).stdout

    assert fingerprints("1") == fingerprints("2")


def test_held_out_events_cannot_reach_the_codes():
    train, _ = crowds()
    user = np.repeat(np.arange(80), 10)
    names = np.arange(80).astype(str)
    data, split = protocol.split_data(
        Interactions(user.astype(np.int32), train.sequences.values, None, names, names[:48])
    )
    views = [protocol.train_view(data, one) for one in (split, poisoned(split))]
    first, second = (gci(view) for view in views)
    assert first.fingerprint == second.fingerprint
    assert gci(crowds(seed=1)[0]).fingerprint != gci(train).fingerprint


def test_progress_tells_epochs_and_codebooks_with_one_thread():
    watching = Watching()
    names = []
    phase = watching.phase
    watching.phase = lambda name, total=None, unit="": names.append((name, total, unit)) or phase(name, total, unit)
    with threadpool_limits(2):
        gci(crowds()[0], progress=watching, variant="separate")
    assert names == [("embedding", 15, "epochs"), ("clustering", 4, "codebooks")]
    assert watching.threads == {1}


def test_the_record_can_tell_how_the_codes_were_made():
    info = gci(crowds()[0]).info
    assert json.loads(json.dumps(info)) == info
    assert info["method"] == "gci" and info["faiss"] and info["clustered_on"] == "cpu"
    assert 1 <= info["embedding"]["best_epoch"] <= info["embedding"]["epochs"] <= 15
    assert 0 < info["embedding"]["held_out_ndcg@10"] <= 1 and info["embedding"]["held_out_users"] == 80
    assert info["level_sizes"]["items"][:2] == [4, 4]


def test_without_faiss_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(NeedsMissing, match=r"pip install 'genrec-bench\[cpu\]', or 'genrec-bench\[gpu\]'") as caught:
        gci(crowds()[0])
    assert "\n" not in str(caught.value)


def test_the_gpu_is_used_only_where_the_device_and_faiss_have_one():
    class Faiss:
        def __init__(self, gpus):
            self.get_num_gpus = lambda: gpus

    assert KMeans(Faiss(1), 0, "cuda:0").on_gpu
    assert not KMeans(Faiss(1), 0, "cpu").on_gpu
    assert not KMeans(Faiss(0), 0, "cuda").on_gpu
    assert not KMeans(object(), 0, "cuda").on_gpu


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"codebook_size": "1"}, "codebook_size = '1': must be at least 2"),
        ({"levels": "0"}, "levels = '0': must be above 0"),
        ({"epochs": "0"}, "epochs = '0': must be above 0"),
        ({"learning_rate": "0"}, "learning_rate = '0': must be above 0"),
        ({"levels": "3"}, "embedding_size 64 cannot be cut into 3 equal slices"),
        (
            {"token_scope": "path"},
            "token_scope=path needs a tree, quantiser=hierarchical: product codes have one codebook",
        ),
        ({"quantiser": "residual", "token_scope": "path"}, "path needs a tree, quantiser=hierarchical: residual codes"),
        ({"quantiser": "produkt"}, "Did you mean 'product'"),
        ({"variant": "items"}, "expected one of joint, separate"),
    ],
)
def test_impossible_options_are_configuration_errors(values, why):
    with pytest.raises(ConfigError, match=why):
        make_config(GraphConfig, values, "indexer")


def test_the_gradient_is_that_of_the_loss():
    graph = Graph(Ragged.of([[0, 1, 2], [1, 3], [2, 2]]), 5, layers=2)
    values = np.random.default_rng(0).normal(size=(8, 3))
    user, item, other = np.array([0, 0, 1, 2]), np.array([0, 1, 3, 2]), np.array([4, 3, 0, 1])

    def loss(at):
        reached = graph.propagate(at)
        margin = (reached[:3][user] * (reached[3:][item] - reached[3:][other])).sum(axis=1)
        return np.log1p(np.exp(-margin)).mean()

    gradient = _Learner(graph, values, 0.01, 0.0).gradient(user, item, other)
    for position in np.ndindex(values.shape):
        nudge = np.zeros_like(values)
        nudge[position] = 1e-4
        assert gradient[position] == pytest.approx((loss(values + nudge) - loss(values - nudge)) / 2e-4, abs=1e-5)


def test_propagation_is_the_mean_over_the_powers_of_the_normalised_graph():
    graph = Graph(Ragged.of([[0, 1], [1]]), 3, layers=2)
    counts = np.array([[1, 1, 0], [0, 1, 0]])
    whole = np.block([[np.zeros((2, 2)), counts], [counts.T, np.zeros((3, 3))]])
    degree = np.maximum(whole.sum(axis=0), 1)
    whole = whole / np.sqrt(degree[:, None] * degree)
    values = np.random.default_rng(0).normal(size=(5, 4))
    assert np.allclose(graph.propagate(values), (values + whole @ values + whole @ whole @ values) / 3, atol=1e-6)


def test_training_predicts_the_held_out_events_better_than_its_start():
    train, _ = crowds()
    learnt = train_embeddings(train, IndexerContext(), size=8, layers=2, **TRAINING)
    kept, users, targets = hold_out(train, np.random.default_rng([0, 0]))
    start = np.random.default_rng(0).normal(size=(128, 8)).astype(np.float32)
    untrained = ndcg(Graph(kept, 48, 2), start, users, targets)
    assert learnt.score > 1.5 * untrained


def test_training_stops_when_the_held_out_score_no_longer_rises():
    learnt = train_embeddings(
        crowds()[0], IndexerContext(), size=8, layers=2, **{**TRAINING, "epochs": 500, "patience": 3}
    )
    assert learnt.epochs == learnt.best_epoch + 3 < 500


def test_users_with_few_events_are_not_held_out():
    train = TrainView(Ragged.of([[0, 1], [2], [0, 1, 2]]), 3)
    kept, users, targets = hold_out(train, np.random.default_rng(0))
    assert [list(row) for row in kept] == [[0, 1], [2], [0, 1]]
    assert users.tolist() == [2] and targets.tolist() == [2]


def test_negatives_are_mostly_items_the_user_has_not_seen():
    graph = Graph(Ragged.of([[0, 1, 2, 3, 4], [9]]), 10, layers=1)
    users = np.repeat([0, 1], 2_000)
    drawn = graph.negatives(users, np.random.default_rng(0))
    assert (drawn[:2_000] < 5).mean() == pytest.approx(0.25, abs=0.05)  # one half twice
    assert (drawn[2_000:] == 9).mean() < 0.03


def test_the_score_ranks_the_target_among_the_items_a_user_has_not_seen():
    graph = Graph(Ragged.of([[0], [0]]), 3, layers=0)
    values = np.array([[1.0], [1.0], [9.0], [2.0], [1.0]], np.float32)
    assert ndcg(graph, values, np.array([0]), np.array([1])) == 1.0  # item 0 scores above, but was seen
    assert ndcg(graph, values, np.array([1]), np.array([2])) == pytest.approx(1 / np.log2(3))


def test_each_residual_level_leaves_less_unexplained():
    points = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    labels = residual(points, 3, 8, k_means(), silent)
    left = []
    for levels in (1, 2, 3):
        _, which = np.unique(labels[:, :levels], axis=0, return_inverse=True)
        which = which.reshape(-1)
        means = np.stack([np.bincount(which, column) for column in points.T], axis=1) / np.bincount(which)[:, None]
        left.append(((points - means[which]) ** 2).sum())
    assert left[0] > left[1] > left[2]


def test_product_levels_see_their_slice_only():
    rng = np.random.default_rng(0)
    sides = [np.repeat(rng.normal(size=(4, 2)) * 10, 25, axis=0), rng.normal(size=(100, 2)) * 10]
    labels = product(np.concatenate(sides, axis=1).astype(np.float32), 2, 4, k_means(), silent)
    assert all(len(set(labels[at : at + 25, 0])) == 1 for at in range(0, 100, 25))
    assert len(set(labels[:25, 1])) > 1


def test_equal_points_are_cut_evenly_by_the_hierarchy():
    labels = hierarchical(np.ones((100, 3), np.float32), 4, 5, 8, k_means(), silent)
    assert np.unique(labels, axis=0, return_counts=True)[1].max() <= 7


def test_unit_length_leaves_zeros_alone():
    assert unit_length(np.array([[3, 4], [0, 0]], np.float32)).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)],
        [0, 0],
    ]


def test_k_means_learns_from_a_sample_and_assigns_everything(monkeypatch):
    side = np.arange(500) % 2
    points = np.random.default_rng(0).standard_normal((500, 2)).astype(np.float32)
    points[:, 0] += 9 * side
    monkeypatch.setattr(quantise, "POINTS", 20)
    labels, centres = KMeans(import_faiss("gci"), seed=0)(points, 2)
    assert len(labels) == 500 and centres.shape == (2, 2)
    assert (labels == labels[0]).tolist() == (side == 0).tolist()
