"""A tree of clusters: splits a graph, and every cluster that is too large, until all are small enough.

`descend` does this to anything that can be split; `grow` does it to graphs, and decides what happens where a split is
impossible. `spectral` and `large_graphs` make a single split. Knows nothing of users, items or codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from genrec_bench.core.arrays import (
    PAD,
    Bool,
    Int32,
    Int64,
)
from genrec_bench.core.codes import row_groups
from genrec_bench.core.progress import Tick
from genrec_bench.indexers.sci.cooccurrence import LARGE_NODES, MAX_ENTRIES
from genrec_bench.indexers.sci.implicit_graph import AnyGraph, ImplicitGraph
from genrec_bench.indexers.sci.large_graphs import TOP, LargeMethod, large_clusters, library_version
from genrec_bench.indexers.sci.spectral import Method, choose_solver, spectral_clusters

Part = TypeVar("Part")

STALLED = 0.9  # a split has failed if it leaves more than this share of nodes in one cluster
RULE = f"randomised above {LARGE_NODES:,} nodes or {MAX_ENTRIES:,} possible entries, else spectral"


@dataclass(frozen=True)
class Tree:
    """`labels`, `(nodes, levels)`: the cluster chosen at each level, padded with -1; nodes of one leaf share a row.

    `splits` counts how clusters were split: `dense` and `sparse` (spectral, by eigensolver), `randomised` and `metis`
    (implicit graphs), `single` (no more nodes than clusters: one node each), `even` (the split failed), `isolated`
    (nodes without edges, into even clusters).
    """

    labels: Int32
    splits: dict[str, int]
    isolated_nodes: int


def grow(
    graph: AnyGraph,
    *,
    clusters: int,
    leaf_size: int,
    max_levels: int,
    method: Method,
    rng: np.random.Generator,
    tick: Tick,
) -> Tree:
    """Split the graph, then every cluster of more than `leaf_size` nodes on its own edges, `max_levels` deep at most.

    Always makes the first split. Calls `tick` with the nodes of each leaf. A level has at most `clusters` labels for
    connected nodes and `clusters` more for isolated ones.
    """
    splitter = _Splitter(clusters, leaf_size, method, rng)
    labels = descend(
        graph,
        graph.shape[0],
        splitter.split,
        subgraph,
        leaf_size=leaf_size,
        max_levels=max_levels,
        tick=tick,
    )
    return Tree(labels, splitter.splits, int((~linked_nodes(graph)).sum()))


def subgraph(graph: AnyGraph, rows: Int64) -> AnyGraph:
    """The nodes `rows` and the edges between them."""
    return graph.take(rows) if isinstance(graph, ImplicitGraph) else graph[rows][:, rows]


def linked_nodes(graph: AnyGraph) -> Bool:
    """Which nodes have an edge, `(nodes,)`."""
    return (graph.degrees if isinstance(graph, ImplicitGraph) else np.asarray(graph.sum(axis=0))) > 0


def descend(
    whole: Part,
    nodes: int,
    split: Callable[[Part], Int64],
    take: Callable[[Part, Int64], Part],
    *,
    leaf_size: int,
    max_levels: int,
    tick: Tick,
) -> Int32:
    """Split until no part has more than `leaf_size` nodes, or for `max_levels`: labels `(nodes, levels)`, -1-padded.

    `split(part)` numbers the clusters of its nodes from 0 without gaps; `take(part, rows)` gives the part that those
    nodes make up.
    """
    labels = np.full((nodes, max_levels), PAD, np.int32)
    pending: list[tuple[Int64, Callable[[], Part], int]] = [(np.arange(nodes), lambda: whole, 0)]
    while pending:
        members, make, level = pending.pop()
        part = make()  # only now, so that parts in waiting are rows, not copies
        clusters = split(part)
        labels[members, level] = clusters

        for cluster in range(int(clusters.max()) + 1):
            rows = np.flatnonzero(clusters == cluster)
            if len(rows) > leaf_size and level + 1 < max_levels:
                pending.append((members[rows], partial(take, part, rows), level + 1))
            else:
                tick(len(rows))

    depth = int((labels >= 0).any(axis=0).sum())
    return labels[:, :depth]


def evenly(nodes: int, clusters: int, leaf_size: int) -> Int64:
    """Clusters of equal size in node order: as few as `leaf_size` allows, at most `clusters`."""
    parts = min(clusters, -(-nodes // leaf_size))
    return np.arange(nodes) * parts // nodes


class _Splitter:
    """The rule for one split, and the count of how clusters were split."""

    def __init__(self, clusters: int, leaf_size: int, method: Method, rng: np.random.Generator) -> None:
        self.clusters, self.leaf_size, self.method, self.rng = clusters, leaf_size, method, rng
        self.splits = dict.fromkeys(("dense", "sparse", "randomised", "metis", "single", "even", "isolated"), 0)

    def split(self, graph: AnyGraph) -> Int64:
        """Cluster numbers without gaps, `(nodes,)`: connected nodes by clustering, isolated ones evenly."""
        if graph.shape[0] <= self.clusters:
            self.splits["single"] += 1
            return np.arange(graph.shape[0])

        linked = linked_nodes(graph)
        isolated = int((~linked).sum())
        parts = np.empty(graph.shape[0], np.int64)
        if isolated < len(linked):
            parts[linked] = self.split_linked(subgraph(graph, np.flatnonzero(linked)) if isolated else graph)
        if isolated:
            self.splits["isolated"] += 1
            first = int(parts[linked].max()) + 1 if linked.any() else 0
            parts[~linked] = evenly(isolated, self.clusters, self.leaf_size) + first
        return parts

    def split_linked(self, graph: AnyGraph) -> Int64:
        """Cluster numbers of a graph whose nodes all have edges; even clusters where the method fails."""
        nodes = graph.shape[0]
        if nodes <= self.clusters:
            self.splits["single"] += 1
            return np.arange(nodes)

        used, parts = self.clusters_of(graph)
        self.splits[used] += 1
        if parts is None or np.bincount(parts).max() > STALLED * nodes:
            self.splits["even"] += 1
            return evenly(nodes, self.clusters, self.leaf_size)
        return parts

    def clusters_of(self, graph: AnyGraph) -> tuple[str, Int64 | None]:
        """The method that was used, and its cluster numbers; None if the solver did not converge."""
        if isinstance(graph, ImplicitGraph):
            method: LargeMethod = "metis" if self.method == "metis" else "randomised"
            return large_clusters(graph, self.clusters, method, self.rng)
        solver = choose_solver(graph.shape[0], self.clusters, self.method)
        return solver, spectral_clusters(graph, self.clusters, solver, self.rng)


def tree_facts(tree: Tree, graph: AnyGraph, method: Method) -> dict[str, Any]:
    """What the record says of one clustering: the size of the graph, how it was split, and the leaves.

    `edges` is None for an implicit graph, whose edges were never counted.
    """
    if not isinstance(graph, ImplicitGraph):
        used, edges = "spectral", graph.nnz // 2
    elif method == "metis":
        used, edges = f"metis ({library_version(method)}) on the {TOP} strongest edges of each node", None
    else:
        used, edges = "randomised eigenvectors and k-means", None

    leaves = row_groups(tree.labels)[1]
    level1 = np.bincount(tree.labels[:, 0])
    return {
        "nodes": graph.shape[0],
        "edges": edges,
        "method": used,
        "rule": RULE if method == "auto" else "asked for",
        "isolated_nodes": tree.isolated_nodes,
        "splits": tree.splits,
        "levels": tree.labels.shape[1],
        "leaves": len(leaves),
        "largest_leaf": int(leaves.max()),
        "clusters_level1": len(level1),
        "largest_level1": int(level1.max()),
    }


def seed_moves(graphs: Iterable[AnyGraph]) -> str:
    """What a seed changes in the clustering of these graphs, for the record."""
    implicit = any(isinstance(graph, ImplicitGraph) for graph in graphs)
    return "start of the clustering" if implicit else "ties between eigenvalues"
