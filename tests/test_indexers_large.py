"""Implicit graphs equal materialised ones, and are split by methods that find what was planted."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from clustered_data import Plan, clustered_train
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.progress import Quiet
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import NeedsMissing
from genrec_bench.host.contracts import IndexerContext
from genrec_bench.indexers.collaborative import CollaborativeConfig, CollaborativeIndexer
from genrec_bench.indexers.sci import cooccurrence, implicit_graph, large_graphs
from genrec_bench.indexers.sci.cooccurrence import (
    interaction_counts,
    item_graph,
    joint_graph,
    user_graph,
)
from genrec_bench.indexers.sci.implicit_graph import (
    ImplicitGraph,
    implicit_item_graph,
    implicit_joint_graph,
    implicit_user_graph,
)
from genrec_bench.indexers.sci.indexer import SpectralConfig, SpectralIndexer
from genrec_bench.indexers.sci.large_graphs import large_clusters
from genrec_bench.indexers.sci.spectral import spectral_clusters
from genrec_bench.indexers.sci.tree import grow

SEQUENCES = st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=5)
FORMS = {
    "items": (implicit_item_graph, item_graph),
    "users": (implicit_user_graph, user_graph),
    "joint": (implicit_joint_graph, joint_graph),
}
PLAN = Plan(users=2000, items=1000, clusters=8, mean_length=12)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def both(sequences: list[list[int]], form: str) -> tuple[ImplicitGraph, np.ndarray]:
    counts = interaction_counts(TrainView(Ragged.of(sequences), 6))
    implicit, exact = FORMS[form]
    return implicit(counts), exact(counts).toarray()


@pytest.mark.parametrize("form", FORMS)
@given(SEQUENCES)
def test_an_implicit_graph_equals_the_materialised_one(form, sequences):
    graph, expected = both(sequences, form)
    assert graph.materialise().toarray() == pytest.approx(expected)
    assert graph.degrees == pytest.approx(expected.sum(axis=0)) and graph.shape == expected.shape


@pytest.mark.parametrize("form", FORMS)
@given(SEQUENCES)
def test_its_product_needs_no_edge(form, sequences):
    graph, expected = both(sequences, form)
    vectors = rng().standard_normal((graph.shape[0], 3), dtype=np.float32)
    assert graph.dot(vectors) == pytest.approx(expected @ vectors, abs=1e-3)


@pytest.mark.parametrize("form", FORMS)
@given(SEQUENCES, st.sets(st.integers(0, 5), min_size=1))
def test_the_graph_inside_a_cluster_holds_its_edges_and_forgets_who_was_alone(form, sequences, chosen):
    graph, expected = both(sequences, form)
    rows = np.array(sorted(chosen)) % graph.shape[0]
    inside = graph.take(rows := np.unique(rows))
    assert inside.materialise().toarray() == pytest.approx(expected[rows][:, rows])
    assert (np.bincount(inside.reach.indices, minlength=inside.reach.shape[1]) > 1).all()


def test_balance_gives_the_three_blocks_equal_weight_here_too():
    counts = interaction_counts(TrainView(Ragged.of([[0, 1, 2], [1, 2, 3], [0, 3]]), 4))
    assert implicit_joint_graph(counts, balance=True).materialise().toarray() == pytest.approx(
        joint_graph(counts, True).toarray()
    )


def test_everything_is_held_in_32_bits():
    graph = implicit_joint_graph(interaction_counts(clustered_train(PLAN))).take(np.arange(900))
    assert graph.links is None  # users only, so far
    graph = implicit_joint_graph(interaction_counts(clustered_train(PLAN))).take(np.arange(1500, 2500))
    for matrix in (graph.reach, graph.links):
        assert [part.dtype for part in (matrix.data, matrix.indices, matrix.indptr)] == [np.float32, np.int32, np.int32]


@pytest.mark.parametrize("block", [1, 7, 10**6])
@given(sequences=SEQUENCES)
def test_all_edges_are_the_strongest_where_there_are_few_whatever_the_block(block, sequences):
    graph, expected = both(sequences, "joint")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(implicit_graph, "BLOCK_ENTRIES", block)
        assert graph.strongest(20).toarray() == pytest.approx(expected)


def test_the_strongest_edges_are_kept_in_both_directions():
    counts = interaction_counts(TrainView(Ragged.of([[0, 1], [0, 1], [0, 1], [1, 2], [1, 2], [0, 2]]), 3))
    kept = implicit_item_graph(counts).strongest(1).toarray()
    assert kept.tolist() == [[0, 3, 0], [3, 0, 2], [0, 2, 0]]


def test_popular_nodes_are_not_everybodys_neighbour():
    popular = [[0, 3]] * 9
    counts = interaction_counts(TrainView(Ragged.of([*popular, [1, 2], [0, 1]]), 4))
    assert implicit_item_graph(counts).strongest(1).toarray()[1].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(("method", "form"), [("randomised", "items"), ("randomised", "joint"), ("metis", "items")])
def test_planted_clusters_are_found(method, form):
    if method == "metis":
        pytest.importorskip("pymetis")
    graph = FORMS[form][0](interaction_counts(clustered_train(PLAN)))
    clusters = 16 if form == "joint" else 8  # raw blocks: users and items hardly share a cluster
    how, labels = large_clusters(graph, clusters, method, rng())
    found = labels[-PLAN.items :]
    assert how == method and normalized_mutual_info_score(PLAN.item_clusters, found) > 0.9


def test_the_randomised_clusters_are_nearly_those_of_converged_eigenvectors():
    counts = interaction_counts(clustered_train(PLAN))
    exact = spectral_clusters(item_graph(counts), 8, "dense", rng())
    assert (
        normalized_mutual_info_score(exact, large_clusters(implicit_item_graph(counts), 8, "randomised", rng())[1])
        > 0.97
    )


def test_an_implicit_graph_too_small_for_the_randomised_method_is_split_exactly():
    counts = interaction_counts(clustered_train(Plan(users=100, items=40, clusters=4)))
    how, labels = large_clusters(implicit_item_graph(counts), 4, "randomised", rng())
    assert how == "dense" and (labels == spectral_clusters(item_graph(counts), 4, "dense", rng())).all()


def grown(graph, **options):
    defaults = {"clusters": 8, "leaf_size": 50, "max_levels": 8, "method": "randomised"}
    with Quiet().phase("clustering") as tick:
        return grow(graph, **{**defaults, **options}, rng=rng(), tick=tick)


def test_clusters_are_split_again_and_the_way_is_counted():
    tree = grown(implicit_item_graph(interaction_counts(clustered_train(PLAN))))
    leaves = np.unique(tree.labels, axis=0, return_counts=True)[1]
    assert leaves.max() <= 50 and tree.splits["randomised"] > 1 and tree.splits["sparse"] == 0


def test_nodes_without_edges_get_clusters_of_their_own():
    train = clustered_train(PLAN)
    graph = implicit_item_graph(interaction_counts(TrainView(train.sequences, PLAN.items + 30)))
    tree = grown(graph)
    first, alone = tree.labels[:, 0], graph.degrees == 0
    assert tree.isolated_nodes == alone.sum() >= 30 and not set(first[alone]) & set(first[~alone])


def test_metis_never_sees_fewer_nodes_than_parts(monkeypatch):
    seen = []

    def cut(graph, clusters, rng):
        seen.append((graph.shape[0], clusters))
        return np.arange(graph.shape[0]) % clusters

    monkeypatch.setattr(large_graphs, "metis_clusters", cut)
    tree = grown(implicit_item_graph(interaction_counts(clustered_train(PLAN))), method="metis", leaf_size=1)
    assert len(seen) > 10 and all(nodes > clusters for nodes, clusters in seen) and tree.splits["single"] > 0


def test_the_version_of_pymetis_is_part_of_an_index_made_by_it():
    pytest.importorskip("pymetis")
    assert SpectralIndexer(SpectralConfig(method="metis")).fingerprint().startswith("pymetis 20")
    assert SpectralIndexer(SpectralConfig()).fingerprint() == ""


def test_metis_makes_even_clusters():
    pytest.importorskip("pymetis")
    sizes = np.bincount(
        large_clusters(implicit_item_graph(interaction_counts(clustered_train(PLAN))), 8, "metis", rng())[1]
    )
    assert len(sizes) == 8 and sizes.max() <= 1.1 * sizes.mean()


def test_without_pymetis_the_line_names_the_extra_before_data_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymetis", None)
    for made in (
        SpectralIndexer(SpectralConfig(method="metis")),
        CollaborativeIndexer(CollaborativeConfig(method="metis")),
    ):
        with pytest.raises(NeedsMissing, match=r"genrec-bench\[metis\]"):
            made.ready()
    SpectralIndexer(SpectralConfig(method="randomised")).ready()


@pytest.mark.parametrize("variant", ["joint", "separate", "items", "users"])
def test_auto_is_randomised_above_a_size_and_the_record_says_so(variant, monkeypatch):
    train = clustered_train(Plan(users=400, items=300, clusters=4))
    small = SpectralIndexer(SpectralConfig(variant=variant, clusters=8)).build(train, IndexerContext())
    monkeypatch.setattr(cooccurrence, "LARGE_NODES", 200)
    index = SpectralIndexer(SpectralConfig(variant=variant, clusters=8)).build(train, IndexerContext())
    for facts in index.info["graphs"].values():
        assert facts["method"].startswith("randomised") and facts["edges"] is None and facts["rule"] != "asked for"
        assert facts["splits"]["randomised"] > 0
    assert index.info["seed_moves"].startswith("start of the clustering")
    assert small.info["seed_moves"].startswith("ties") and small.info["graphs"] != index.info["graphs"]


def test_auto_is_randomised_where_edges_would_not_fit(monkeypatch):
    monkeypatch.setattr(cooccurrence, "MAX_ENTRIES", 500)
    train = clustered_train(Plan(users=100, items=80, clusters=2))
    index = CollaborativeIndexer(CollaborativeConfig(leaf_size=20)).build(train, IndexerContext())
    assert index.info["graphs"]["items"]["method"].startswith("randomised")


def test_equal_seeds_give_equal_codes():
    train = clustered_train(Plan(users=400, items=300, clusters=4))
    indexer = SpectralIndexer(SpectralConfig(method="randomised", clusters=8))
    one, two, other = (indexer.build(train, IndexerContext(seed=seed)).fingerprint for seed in (0, 0, 1))
    assert one == two != other
