"""Implicit co-occurrence graphs: never materialised, held as the interactions that they are counted from.

The graph of a million items has a hundred million edges, but ten million interactions. A split needs only degrees,
products with a few vectors and the subgraph of a cluster, and interactions give all of these. The graphs equal those of
`cooccurrence`, edge for edge. Knows nothing of clusters or codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec_bench.core.arrays import Float32, Int32, Int64

Graph: TypeAlias = sparse.csr_array
ROUNDING = 1e-5  # of a node's self-weight: a smaller degree is what float32 leaves of zero
BLOCK_ENTRIES = 20_000_000  # edges materialised at a time in the search for the strongest: 0.4 GB


@dataclass(frozen=True)
class ImplicitGraph:
    """Nodes share contexts: the edge between nodes `a` and `b` weighs `sum(reach[a] * reach[b])`; no self-loops.

    `reach` is `(nodes, contexts)` float32 with int32 indices: how often a node occurs in a context (an item with a
    user, a user with an item). `links`, `(nodes, nodes)` and symmetric, are additional edges: the interactions between
    users and items.
    """

    reach: Graph
    links: Graph | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Nodes, twice."""
        return self.reach.shape[0], self.reach.shape[0]

    @cached_property
    def self_weights(self) -> Float32:
        """What `reach` says of each node and itself, `(nodes,)`: not edges, so products subtract it."""
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.reach.indptr))
        weights = self.reach.data.astype(np.float64) ** 2
        return np.bincount(rows, weights, minlength=self.shape[0]).astype(np.float32)

    @cached_property
    def degrees(self) -> Float32:
        """The total weight of each node's edges, `(nodes,)`; exactly 0 without edges."""
        degrees: NDArray[np.float64] = self.reach @ (self.reach.T @ np.ones(self.shape[0])) - self.self_weights
        degrees[degrees <= ROUNDING * self.self_weights] = 0
        if self.links is not None:
            degrees += self.links.sum(axis=1)
        return degrees.astype(np.float32)

    def dot(self, vectors: Float32) -> Float32:
        """The graph times `vectors` `(nodes, n)`: two products with the interactions instead of one with the edges."""
        product: Float32 = self.reach @ (self.reach.T @ vectors)
        product -= self.self_weights[:, None] * vectors
        if self.links is not None:
            product += self.links @ vectors
        return product

    def take(self, rows: Int64) -> ImplicitGraph:
        """The subgraph of `rows`. Drops contexts with a single node: they make no edge."""
        inside = self.reach[rows]
        shared = np.bincount(inside.indices, minlength=inside.shape[1]) > 1
        links = None if self.links is None else self.links[rows][:, rows]
        return ImplicitGraph(columns(inside, shared), links if links is None or links.nnz else None)

    def materialise(self) -> Graph:
        """The graph as a float64 matrix; for small graphs."""
        square = (self.reach @ self.reach.T).astype(np.float64)
        square.setdiag(0)
        square.eliminate_zeros()
        return square if self.links is None else (square + self.links).tocsr()

    def strongest(self, most: int) -> Graph:
        """A matrix of the edges that are among the `most` strongest of at least one of their nodes.

        Strength is weight over the root of both degrees, so that popular nodes do not become everybody's neighbours;
        the matrix holds weights. Works in blocks of rows: memory holds `most` edges per node and one block.
        """
        roots: Float32 = np.sqrt(np.maximum(self.degrees, 1))
        scale = np.float32(1) / roots
        parts = []
        for first, last in self._blocks():
            edges = self.reach[first:last] @ self.reach.T
            if self.links is not None:
                edges = edges + self.links[first:last]
            parts.append(_strongest_of_block(edges.tocoo(), first, most, scale))

        rows, cols, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
        chosen = sparse.coo_array((weights, (rows, cols)), shape=self.shape).tocsr()
        return chosen.maximum(chosen.T).tocsr()

    def _blocks(self) -> list[tuple[int, int]]:
        """Ranges of rows whose edges, before equal ones are added up, fit into `BLOCK_ENTRIES`."""
        sizes = np.bincount(self.reach.indices, minlength=self.reach.shape[1])
        ends = np.concatenate([[0], np.cumsum(sizes[self.reach.indices])])[self.reach.indptr]
        nodes, cuts = self.shape[0], [0]
        while cuts[-1] < nodes:
            fits = int(np.searchsorted(ends, ends[cuts[-1]] + BLOCK_ENTRIES, side="right")) - 1
            cuts.append(min(max(fits, cuts[-1] + 1), nodes))
        return list(pairwise(cuts))


AnyGraph: TypeAlias = Graph | ImplicitGraph


def implicit_item_graph(counts: Graph) -> ImplicitGraph:
    """The graph of `cooccurrence.item_graph`, from the same `(users, items)` counts."""
    return ImplicitGraph(to_32_bits(counts.T.tocsr()))


def implicit_user_graph(counts: Graph) -> ImplicitGraph:
    """The graph of `cooccurrence.user_graph`."""
    return ImplicitGraph(to_32_bits(counts))


def implicit_joint_graph(counts: Graph, balance: bool = False) -> ImplicitGraph:
    """The graph of `cooccurrence.joint_graph`, users first. Contexts are items (for users) and users (for items)."""
    users, items = to_32_bits(counts), to_32_bits(counts.T.tocsr())
    links = sparse.block_array([[None, users], [items, None]], format="csr")
    if balance:
        users, items = (_scaled_to(reach, float(counts.sum())) for reach in (users, items))
    return ImplicitGraph(sparse.block_diag((users, items), format="csr").astype(np.float32), links)


def to_32_bits(matrix: Graph) -> Graph:
    """The same matrix in float32 with int32 indices, its rows sorted."""
    parts = (matrix.data.astype(np.float32), matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))
    narrow = sparse.csr_array(parts, shape=matrix.shape)
    narrow.sort_indices()
    return narrow


def columns(matrix: Graph, keep: np.ndarray) -> Graph:
    """The columns in `keep`, renumbered; faster than SciPy's indexing where few columns stay."""
    entries = keep[matrix.indices]
    indptr = np.concatenate([[0], np.cumsum(entries)])[matrix.indptr].astype(np.int32)
    number = (np.cumsum(keep) - 1).astype(np.int32)
    parts = (matrix.data[entries], number[matrix.indices[entries]], indptr)
    return sparse.csr_array(parts, shape=(matrix.shape[0], int(keep.sum())))


def _scaled_to(reach: Graph, weight: float) -> Graph:
    """`reach` scaled so that the edges it makes weigh `weight` in total."""
    total = float(ImplicitGraph(reach).degrees.sum(dtype=np.float64))
    return reach * np.float32(np.sqrt(weight / total)) if total else reach


def _strongest_of_block(edges: sparse.coo_array, first: int, most: int, scale: Float32) -> tuple[Int32, Int32, Float32]:
    """Rows, columns and weights of each row's `most` strongest edges, for the block that starts at row `first`."""
    proper = edges.col != edges.row + first  # no self-loops
    rows = edges.row[proper].astype(np.int32) + np.int32(first)
    cols, weights = edges.col[proper], edges.data[proper]
    order = np.lexsort((cols, -weights * scale[cols], rows))
    starts = np.searchsorted(rows[order], rows[order])
    chosen = order[np.arange(len(order)) - starts < most]
    return rows[chosen], cols[chosen].astype(np.int32), weights[chosen]
