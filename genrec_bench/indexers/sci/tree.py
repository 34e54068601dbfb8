"""A tree of clusters: splits a whole, and every cluster above a size again, until all are small enough.

`descend` does it to anything that can be split and taken apart; `grow` to a graph: it decides what to do where a split is
impossible, and how a graph is split is `spectral`'s, or `large`'s for one that is not written down. Knows nothing of users, items or codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
from scipy import sparse

from genrec_bench.core.arrays import (
    PAD,
    Bool,
    Int32,
    Int64,
)
from genrec_bench.core.progress import Tick
from genrec_bench.indexers.sci.implicit_graph import HiddenGraph
from genrec_bench.indexers.sci.large import LargeMethod, large_clusters
from genrec_bench.indexers.sci.spectral import Method, choose_solver, spectral_clusters

Whole = TypeVar("Whole")
AnyGraph: TypeAlias = sparse.csr_array | HiddenGraph

STALLED = 0.9  # a split that leaves more than this share in one cluster got nowhere


@dataclass(frozen=True)
class Tree:
    """`labels`, `(nodes, levels)`: the cluster chosen at each level, padded with -1; rows of one leaf are equal.

    `splits` counts how clusters were split: `dense` and `sparse` (spectral, by eigensolver), `randomised` and `metis`
    (of graphs not written down), `single` (no more nodes than clusters: each its own), `even` (the split stalled),
    `isolated` (clusters made of nodes without edges).
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
    """Split all nodes, then every cluster of more than `leaf_size` nodes on the edges inside it, `max_levels` deep at most.

    The first split is always made. `tick` is called with the nodes of each leaf. A level has at most `clusters` labels
    for connected and `clusters` more for isolated nodes.
    """
    grower = _Grower(clusters, leaf_size, method, rng)
    labels = descend(
        graph,
        graph.shape[0],
        grower.split,
        inside_of,
        leaf_size=leaf_size,
        max_levels=max_levels,
        tick=tick,
    )
    return Tree(labels, grower.splits, int((~linked_nodes(graph)).sum()))


def inside_of(graph: AnyGraph, rows: Int64) -> AnyGraph:
    """The graph of the nodes `rows` and the edges between them."""
    return graph.take(rows) if isinstance(graph, HiddenGraph) else graph[rows][:, rows]


def linked_nodes(graph: AnyGraph) -> Bool:
    """Which nodes have an edge, `(nodes,)`."""
    return (graph.degrees if isinstance(graph, HiddenGraph) else np.asarray(graph.sum(axis=0))) > 0


def descend(
    whole: Whole,
    nodes: int,
    split: Callable[[Whole], Int64],
    take: Callable[[Whole, Int64], Whole],
    *,
    leaf_size: int,
    max_levels: int,
    tick: Tick,
) -> Int32:
    """Label rows `(nodes, levels)`, padded with -1: the part chosen at each level, until no part has more than
    `leaf_size` nodes or `max_levels` are reached.

    `split(whole)` numbers the parts of its nodes from 0 without gaps; `take(whole, rows)` is what those nodes make up.
    """
    labels = np.full((nodes, max_levels), PAD, np.int32)
    pending: list[tuple[Int64, Callable[[], Whole], int]] = [(np.arange(nodes), lambda: whole, 0)]
    while pending:
        members, make, level = pending.pop()
        inside = make()  # only now: what waits is rows, not copies
        parts = split(inside)
        labels[members, level] = parts
        for part in range(int(parts.max()) + 1):
            rows = np.flatnonzero(parts == part)
            if len(rows) > leaf_size and level + 1 < max_levels:
                pending.append((members[rows], partial(take, inside, rows), level + 1))
            else:
                tick(len(rows))
    depth = int((labels >= 0).any(axis=0).sum())
    return labels[:, :depth]


def evenly(nodes: int, clusters: int, leaf_size: int) -> Int64:
    """As few parts as `leaf_size` allows, at most `clusters`, of equal size, in node order."""
    parts = min(clusters, -(-nodes // leaf_size))
    return np.arange(nodes) * parts // nodes


class _Grower:
    """The rule for one split, and the count of what was done."""

    def __init__(self, clusters: int, leaf_size: int, method: Method, rng: np.random.Generator) -> None:
        self.clusters, self.leaf_size, self.method, self.rng = clusters, leaf_size, method, rng
        self.splits = dict.fromkeys(("dense", "sparse", "randomised", "metis", "single", "even", "isolated"), 0)

    def split(self, graph: AnyGraph) -> Int64:
        """Cluster numbers without gaps, `(nodes,)`: nodes with edges by clustering, nodes without evenly."""
        if graph.shape[0] <= self.clusters:
            self.splits["single"] += 1
            return np.arange(graph.shape[0])
        linked = linked_nodes(graph)
        alone = int((~linked).sum())
        parts = np.empty(graph.shape[0], np.int64)
        if alone < len(linked):
            parts[linked] = self.split_linked(inside_of(graph, np.flatnonzero(linked)) if alone else graph)
        if alone:
            self.splits["isolated"] += 1
            parts[~linked] = evenly(alone, self.clusters, self.leaf_size) + (
                int(parts[linked].max()) + 1 if linked.any() else 0
            )
        return parts

    def split_linked(self, graph: AnyGraph) -> Int64:
        nodes = graph.shape[0]
        if nodes <= self.clusters:
            self.splits["single"] += 1
            return np.arange(nodes)
        how, parts = self.clusters_of(graph)
        self.splits[how] += 1
        if parts is None or np.bincount(parts).max() > STALLED * nodes:
            self.splits["even"] += 1
            return evenly(nodes, self.clusters, self.leaf_size)
        return parts

    def clusters_of(self, graph: AnyGraph) -> tuple[str, Int64 | None]:
        """How the graph was split, and its cluster numbers; None if the solver did not converge."""
        if isinstance(graph, HiddenGraph):
            method: LargeMethod = "metis" if self.method == "metis" else "randomised"
            return large_clusters(graph, self.clusters, method, self.rng)
        solver = choose_solver(graph.shape[0], self.clusters, self.method)
        return solver, spectral_clusters(graph, self.clusters, solver, self.rng)
