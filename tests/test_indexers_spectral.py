"""Co-occurrence graphs, one spectral split, and the tree of splits."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import ortho_group
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.progress import Quiet
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import GenrecError, UsageError
from genrec_bench.indexers.sci import cooccurrence
from genrec_bench.indexers.sci.cooccurrence import (
    interaction_counts,
    item_graph,
    joint_graph,
    user_graph,
)
from genrec_bench.indexers.sci.spectral import (
    DENSE_NODES,
    MAX_DENSE_NODES,
    choose_solver,
    cluster_qr,
    in_order_of_appearance,
    spectral_clusters,
)
from genrec_bench.indexers.sci.tree import grow

SEQUENCES = st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=5)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def planted(
    groups: int, size: int, inside: float, outside: float, seed: int = 0
) -> tuple[sparse.csr_array, np.ndarray]:
    """A random graph whose nodes, shuffled, are linked with one probability inside a group and another outside."""
    truth = rng(seed).permutation(np.repeat(np.arange(groups), size))
    odds = np.where(truth[:, None] == truth, inside, outside)
    upper = np.triu(rng(seed + 1).random(odds.shape) < odds, 1).astype(float)
    return sparse.csr_array(upper + upper.T), truth


def tree(graph: sparse.csr_array, **options):
    defaults = {"clusters": 3, "leaf_size": 4, "max_levels": 8, "method": "auto"}
    with Quiet().phase("clustering") as tick:
        return grow(graph, **{**defaults, **options}, rng=rng(), tick=tick)


@given(SEQUENCES)
def test_item_weights_count_pairs_of_events_of_one_user_in_both_orders(sequences):
    expected = np.zeros((6, 6))
    for sequence in sequences:
        for a, b in combinations(sequence, 2):
            if a != b:
                expected[a, b] += 1
                expected[b, a] += 1
    assert (item_graph(interaction_counts(TrainView(Ragged.of(sequences), 6))).toarray() == expected).all()


@given(SEQUENCES)
def test_user_weights_count_pairs_of_events_on_one_item(sequences):
    expected = np.array([[sum(a.count(i) * b.count(i) for i in range(6)) for b in sequences] for a in sequences])
    np.fill_diagonal(expected, 0)
    assert (user_graph(interaction_counts(TrainView(Ragged.of(sequences), 6))).toarray() == expected).all()


def test_the_joint_graph_holds_users_first_and_one_unit_per_event():
    counts = interaction_counts(TrainView(Ragged.of([[0, 1, 1], [1]]), 3))
    joint = joint_graph(counts).toarray()
    assert joint.tolist() == [
        [0, 2, 1, 2, 0],
        [2, 0, 0, 1, 0],
        [1, 0, 0, 2, 0],
        [2, 1, 2, 0, 0],
        [0, 0, 0, 0, 0],
    ]


def test_balance_gives_the_three_blocks_equal_weight():
    counts = interaction_counts(TrainView(Ragged.of([[0, 1, 2], [1, 2, 3], [0, 3]]), 4))
    joint = joint_graph(counts, balance=True).toarray()
    assert joint[:3, :3].sum() == pytest.approx(counts.sum())
    assert joint[3:, 3:].sum() == pytest.approx(counts.sum())
    assert joint[:3, 3:].sum() == counts.sum()


def test_a_graph_too_large_for_memory_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr(cooccurrence, "MAX_ENTRIES", 8)
    counts = interaction_counts(TrainView(Ragged.of([[0, 1, 2], [0]]), 3))
    assert user_graph(counts).nnz == 2  # at most 2 x 2 entries
    with pytest.raises(GenrecError, match="item co-occurrence graph may hold 9 entries"):
        item_graph(counts)


def test_labels_equal_those_of_scikit_learn_also_where_popularity_varies():
    graph, _ = planted(6, 25, inside=0.4, outside=0.08)
    popularity = sparse.diags_array(1 + rng().pareto(1.5, graph.shape[0]))
    graph = (popularity @ graph @ popularity).tocsr()
    graph = (graph + graph.T) / 2  # symmetric to the last bit
    theirs = SpectralClustering(6, assign_labels="cluster_qr", affinity="precomputed", random_state=0)
    expected = theirs.fit_predict(graph.toarray())
    for solver in ("dense", "sparse"):
        assert adjusted_rand_score(expected, spectral_clusters(graph, 6, solver, rng())) == 1.0


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_planted_groups_are_found(solver):
    graph, truth = planted(10, 40, inside=0.3, outside=0.01)
    assert normalized_mutual_info_score(truth, spectral_clusters(graph, 10, solver, rng())) > 0.95


def test_both_solvers_agree_on_weak_groups():
    graph, _ = planted(8, 60, inside=0.2, outside=0.04)
    dense, sparse_ = (spectral_clusters(graph, 8, solver, rng()) for solver in ("dense", "sparse"))
    assert (dense == sparse_).all()


def test_cluster_qr_does_not_depend_on_signs_or_rotation():
    graph, _ = planted(4, 20, inside=0.5, outside=0.05)
    vectors = np.linalg.eigh(graph.toarray())[1][:, -4:]
    turned = vectors @ ortho_group.rvs(4, random_state=0)
    flipped = vectors * [1, -1, -1, 1]
    expected = in_order_of_appearance(cluster_qr(vectors))
    assert (in_order_of_appearance(cluster_qr(turned)) == expected).all()
    assert (in_order_of_appearance(cluster_qr(flipped)) == expected).all()


def test_clusters_are_numbered_in_order_of_appearance():
    assert in_order_of_appearance(np.array([7, 2, 7, 0, 2])).tolist() == [0, 1, 0, 2, 1]


def test_no_dense_matrix_is_made_above_the_stated_size():
    assert choose_solver(DENSE_NODES, 50, "auto") == "dense"
    assert choose_solver(DENSE_NODES + 1, 50, "auto") == "sparse"
    assert choose_solver(100, 50, "sparse") == "dense"  # too small for the sparse solver
    with pytest.raises(UsageError, match="method=auto or sparse"):
        choose_solver(MAX_DENSE_NODES + 1, 50, "dense")


def test_clusters_above_the_leaf_size_are_split_again():
    graph, _ = planted(9, 10, inside=0.9, outside=0.1)
    grown = tree(graph, leaf_size=12)
    sizes = np.unique(grown.labels, axis=0, return_counts=True)[1]
    assert grown.labels.shape[1] > 1 and sizes.max() <= 12


def test_max_levels_ends_the_splitting():
    graph, _ = planted(9, 10, inside=0.9, outside=0.1)
    assert tree(graph, leaf_size=2, max_levels=2).labels.shape[1] == 2


def test_nodes_without_edges_get_even_clusters_of_their_own():
    linked, _ = planted(3, 6, inside=1.0, outside=0.0)
    grown = tree(sparse.block_diag([linked, sparse.csr_array((8, 8))], format="csr"), leaf_size=6)
    alone = grown.labels[18:, 0]
    assert not set(alone) & set(grown.labels[:18, 0])
    assert np.unique(alone, return_counts=True)[1].tolist() == [4, 4]
    assert grown.isolated_nodes == 8 and grown.splits["isolated"] == 1


def test_a_graph_without_any_edge_is_cut_evenly():
    grown = tree(sparse.csr_array((100, 100)), clusters=3, leaf_size=5)
    assert np.unique(grown.labels, axis=0, return_counts=True)[1].max() <= 5
    assert grown.splits["dense"] == grown.splits["sparse"] == 0


def test_a_split_that_gets_nowhere_is_replaced_by_an_even_one_and_counted(monkeypatch):
    monkeypatch.setattr(
        "genrec_bench.indexers.sci.tree.spectral_clusters", lambda graph, *rest: np.zeros(graph.shape[0], int)
    )
    grown = tree(planted(2, 10, 1.0, 0.5)[0], clusters=3, leaf_size=5)
    assert np.unique(grown.labels, axis=0, return_counts=True)[1].max() <= 5
    assert grown.splits["even"] == 4  # 20 nodes into 7 + 7 + 6, and each of those again


def test_a_solver_that_does_not_converge_leads_to_an_even_split(monkeypatch):
    monkeypatch.setattr("genrec_bench.indexers.sci.spectral.MAX_RESTARTS", 1)
    graph, _ = planted(2, 200, inside=0.02, outside=0.02)
    assert spectral_clusters(graph, 3, "sparse", rng()) is None
    assert tree(graph, method="sparse", leaf_size=150).splits["even"] == 1


def test_progress_counts_every_node_once():
    ticks = []
    graph, _ = planted(5, 9, inside=0.8, outside=0.1)
    grow(
        graph,
        clusters=3,
        leaf_size=4,
        max_levels=8,
        method="auto",
        rng=rng(),
        tick=lambda steps=1, note="": ticks.append(steps),
    )
    assert sum(ticks) == 45


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_graph_ends_in_leaves_whose_paths_are_prefix_free(data):
    nodes = data.draw(st.integers(1, 30))
    pairs = data.draw(st.lists(st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)), max_size=60))
    dense = np.zeros((nodes, nodes))
    for a, b in pairs:
        if a != b:
            dense[a, b] += 1
            dense[b, a] += 1
    clusters, leaf_size = data.draw(st.integers(2, 6)), data.draw(st.integers(1, 8))
    method = data.draw(st.sampled_from(["auto", "dense", "sparse"]))
    grown = tree(sparse.csr_array(dense), clusters=clusters, leaf_size=leaf_size, max_levels=30, method=method)
    paths = {tuple(int(label) for label in row if label >= 0) for row in grown.labels}
    assert not any(a != b and b[: len(a)] == a for a in paths for b in paths)
    sizes = np.unique(grown.labels, axis=0, return_counts=True)[1]
    assert sizes.max() <= leaf_size or grown.labels.shape[1] == 1
