"""Co-occurrence graphs that are never written down: held as the events they are counted from.

The graph of a million items has a hundred million edges, its events ten. Everything that a split needs, the degrees, the
product with a few vectors and the graph inside a cluster, can be had from the events. Same graphs, to the last edge, as
`cooccurrence` writes down. Knows nothing of clusters or codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy import sparse

from genrec_bench.core.arrays import Float32, Int32, Int64
from genrec_bench.indexers.sci.cooccurrence import Graph

ROUNDING = 1e-5  # of a node's own weight: a degree below it is what float32 leaves of zero
BLOCK_ENTRIES = 20_000_000  # edges written down at a time while the strongest are looked for: 0.4 GB


@dataclass(frozen=True)
class HiddenGraph:
    """Nodes meet in contexts: the edge between two nodes weighs `sum(reach[a] * reach[b])`, and no node meets itself.

    `reach` is `(nodes, contexts)` float32 with int32 indices: how often a node is in a context (an item with a user, a
    user on an item). `links`, `(nodes, nodes)`, symmetric, are edges beside those: the meetings of users and items.
    """

    reach: Graph
    links: Graph | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Nodes, twice."""
        return self.reach.shape[0], self.reach.shape[0]

    @cached_property
    def own(self) -> Float32:
        """What `reach` says of each node and itself, `(nodes,)`: no edge, so products leave it out."""
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.reach.indptr))
        squares = np.bincount(rows, self.reach.data.astype(np.float64) ** 2, minlength=self.shape[0])
        return squares.astype(np.float32)

    @cached_property
    def degrees(self) -> Float32:
        """The summed weight of each node's edges, `(nodes,)`; exactly 0 without edges."""
        found = self.reach @ (self.reach.T @ np.ones(self.shape[0])) - self.own
        found[found <= ROUNDING * self.own] = 0
        if self.links is not None:
            found += self.links.sum(axis=1)
        return found.astype(np.float32)

    def dot(self, vectors: Float32) -> Float32:
        """The graph times `vectors` `(nodes, n)`: two products with the events instead of one with the edges."""
        found = self.reach @ (self.reach.T @ vectors)
        found -= self.own[:, None] * vectors
        if self.links is not None:
            found += self.links @ vectors
        return found

    def take(self, rows: Int64) -> HiddenGraph:
        """The graph inside `rows`. Contexts that only one of them is in make no edge and leave."""
        inside = self.reach[rows]
        shared = np.bincount(inside.indices, minlength=inside.shape[1]) > 1
        links = None if self.links is None else self.links[rows][:, rows]
        return HiddenGraph(columns(inside, shared), links if links is None or links.nnz else None)

    def written(self) -> Graph:
        """The graph as a matrix of float64: for small ones."""
        square = (self.reach @ self.reach.T).astype(np.float64)
        square.setdiag(0)
        square.eliminate_zeros()
        return square if self.links is None else (square + self.links).tocsr()

    def strongest(self, most: int) -> Graph:
        """The graph as a matrix, only the edges that are among the `most` strongest of one of their ends.

        Strength is weight over the root of both degrees, so that popular nodes are no neighbour of everybody; the
        weights stay. Made in blocks of rows: memory holds `most` edges per node and one block.
        """
        scale = 1 / np.sqrt(np.maximum(self.degrees, 1))
        parts = []
        for first, last in self._blocks():
            edges = self.reach[first:last] @ self.reach.T
            if self.links is not None:
                edges = edges + self.links[first:last]
            parts.append(_kept(edges.tocoo(), first, most, scale))
        rows, cols, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
        chosen = sparse.coo_array((weights, (rows, cols)), shape=self.shape).tocsr()
        return chosen.maximum(chosen.T).tocsr()

    def _blocks(self) -> list[tuple[int, int]]:
        """Ranges of rows whose edges, counted before equal ones fall together, fit `BLOCK_ENTRIES`."""
        sizes = np.bincount(self.reach.indices, minlength=self.reach.shape[1])
        ends = np.concatenate([[0], np.cumsum(sizes[self.reach.indices])])[self.reach.indptr]
        nodes, cuts = self.shape[0], [0]
        while cuts[-1] < nodes:
            fits = int(np.searchsorted(ends, ends[cuts[-1]] + BLOCK_ENTRIES, side="right")) - 1
            cuts.append(min(max(fits, cuts[-1] + 1), nodes))
        return list(pairwise(cuts))


def hidden_items(met: Graph) -> HiddenGraph:
    """The graph of `cooccurrence.item_graph`, from the same `(users, items)` meetings."""
    return HiddenGraph(narrow(met.T.tocsr()))


def hidden_users(met: Graph) -> HiddenGraph:
    """The graph of `cooccurrence.user_graph`."""
    return HiddenGraph(narrow(met))


def hidden_joint(met: Graph, balance: bool = False) -> HiddenGraph:
    """The graph of `cooccurrence.joint_graph`: users first, a context is an item that users met or a user of items."""
    users, items = narrow(met), narrow(met.T.tocsr())
    links = sparse.block_array([[None, users], [items, None]], format="csr")
    if balance:
        users, items = (_weighing(side, float(met.sum())) for side in (users, items))
    return HiddenGraph(sparse.block_diag((users, items), format="csr").astype(np.float32), links)


def narrow(matrix: Graph) -> Graph:
    """The same matrix in float32 with int32 indices, its rows sorted."""
    parts = (matrix.data.astype(np.float32), matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))
    made = sparse.csr_array(parts, shape=matrix.shape)
    made.sort_indices()
    return made


def columns(matrix: Graph, keep: np.ndarray) -> Graph:
    """The columns in `keep`, numbered anew; quicker than SciPy's own where most leave."""
    entries = keep[matrix.indices]
    indptr = np.concatenate([[0], np.cumsum(entries)])[matrix.indptr].astype(np.int32)
    number = (np.cumsum(keep) - 1).astype(np.int32)
    parts = (matrix.data[entries], number[matrix.indices[entries]], indptr)
    return sparse.csr_array(parts, shape=(matrix.shape[0], int(keep.sum())))


def _weighing(reach: Graph, weight: float) -> Graph:
    """`reach` scaled so that the edges it makes weigh `weight` in all."""
    total = float(HiddenGraph(reach).degrees.sum(dtype=np.float64))
    return reach * np.float32(np.sqrt(weight / total)) if total else reach


def _kept(edges: sparse.coo_array, first: int, most: int, scale: Float32) -> tuple[Int32, Int32, Float32]:
    """The `most` strongest edges of each row of a block that starts at row `first`: rows, columns, weights."""
    edge = edges.col != edges.row + first
    rows, cols, weights = edges.row[edge].astype(np.int32) + np.int32(first), edges.col[edge], edges.data[edge]
    order = np.lexsort((cols, -weights * scale[cols], rows))
    starts = np.searchsorted(rows[order], rows[order])
    chosen = order[np.arange(len(order)) - starts < most]
    return rows[chosen], cols[chosen].astype(np.int32), weights[chosen]
