"""Training targets as prefix trees: targets of one source that share a prefix share that decoder position.

A source's targets, e.g. all items of a user in the `direct` task, form a small trie. One decoder position per internal
node predicts a soft target over its children, weighted by how many targets pass: the same likelihood as one sequence per
target, computed once per node. A single target is a chain. Targets that see different parts of their source share nothing.
NumPy only; knows nothing of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from genrec_bench.core.arrays import Int32, Int64, spread
from genrec_bench.core.code_trees import CodeTree
from genrec_bench.core.sequences import Examples
from genrec_bench.host.contracts import START


@dataclass(frozen=True)
class TargetTrees:
    """Trees of all examples, flat. Example `i` has nodes `node_offsets[i]:node_offsets[i + 1]`, root first, and edges
    `edge_offsets[i]:edge_offsets[i + 1]`. `parent` and `edge_node` count from the example's first node."""

    node_offsets: Int64
    token: Int32  # the node's last token; START at the root
    parent: Int32  # the root is its own
    depth: Int32
    edge_offsets: Int64
    edge_node: Int32
    edge_token: Int32
    edge_count: Int32  # how many targets pass
    visible: Int32  # how much of the source the node sees; -1: all of it
    places: CataloguePlaces | None = None  # only where `placed_in` has found them

    def placed_in(self, tree: CodeTree) -> TargetTrees:
        """The same with their places in the tree of the whole catalogue. ValueError if a target is no item's code."""
        return replace(self, places=places_in(tree, self))

    @property
    def sizes(self) -> Int64:
        """Decoder positions of each example."""
        return np.diff(self.node_offsets)

    def ancestors(self, nodes: Int64, example_start: Int64, most: int) -> Int64:
        """For flat `nodes`, whose examples begin at `example_start`, the local numbers of each node and its ancestors
        upwards, `(len(nodes), most)`."""
        path = np.empty((len(nodes), most), np.int64)
        at = nodes
        for step in range(most):
            path[:, step] = at - example_start
            at = example_start + self.parent[at]
        return path


def build_trees(targets: Int32, target_offsets: Int64, visible: Int64 | None = None) -> TargetTrees:
    """Trees for examples whose targets are `targets[target_offsets[i]:target_offsets[i + 1]]`, codes padded with -1.

    `visible` says how much of its source each target sees (None: all of it): an example has a tree for each value.
    Cost: one sort of the targets; at most `width` nodes per target.
    """
    examples = len(target_offsets) - 1
    example = np.repeat(np.arange(examples), np.diff(target_offsets))
    seen = np.full(len(targets), -1, np.int64) if visible is None else visible
    order = np.lexsort((*targets.T[::-1], seen, example))
    codes, example, seen = targets[order], example[order], seen[order]

    # `fresh[r]`: row r opens a new prefix of the length at hand
    fresh = np.ones(len(codes), bool)
    fresh[1:] = (example[1:] != example[:-1]) | (seen[1:] != seen[:-1])
    node_of = np.full(len(codes), -1, np.int64)  # the node of each row's prefix, numbered by creation
    levels_nodes, levels_edges, created = [], [], 0

    for level in range(codes.shape[1]):
        goes_on = codes[:, level] >= 0
        heads = np.flatnonzero(fresh & goes_on)
        parents = node_of[heads] if level else created + np.arange(len(heads))
        tokens = codes[heads, level - 1] if level else np.full(len(heads), START, np.int32)
        levels_nodes.append((example[heads], tokens, parents, np.full(len(heads), level), seen[heads]))

        node_of = np.where(goes_on, created + np.cumsum(fresh & goes_on) - 1, -1)
        created += len(heads)

        changed = np.ones(len(codes), bool)
        changed[1:] = codes[1:, level] != codes[:-1, level]
        fresh = fresh | changed

        edges = np.flatnonzero(fresh & goes_on)
        group = (np.cumsum(fresh & goes_on) - 1)[goes_on]
        counts = np.bincount(group, minlength=len(edges))
        levels_edges.append((example[edges], node_of[edges], codes[edges, level], counts))

    return _pack(examples, levels_nodes, levels_edges)


def _pack(
    examples: int, levels_nodes: Sequence[tuple[np.ndarray, ...]], levels_edges: Sequence[tuple[np.ndarray, ...]]
) -> TargetTrees:
    """Group nodes and edges by example and count them from the example's first node."""
    n_example, token, parent, depth, visible = (np.concatenate(column) for column in zip(*levels_nodes, strict=True))
    e_example, e_node, e_token, e_count = (np.concatenate(column) for column in zip(*levels_edges, strict=True))

    # Nodes were created level by level: group them by example.
    order = np.argsort(n_example, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    node_offsets = np.concatenate([[0], np.cumsum(np.bincount(n_example, minlength=examples))]).astype(np.int64)

    edge_order = np.argsort(e_example, kind="stable")
    edge_offsets = np.concatenate([[0], np.cumsum(np.bincount(e_example, minlength=examples))]).astype(np.int64)

    # Parents and edges name nodes by their number within the example.
    local = place - node_offsets[n_example]
    return TargetTrees(
        node_offsets,
        token[order].astype(np.int32),
        local[parent][order].astype(np.int32),
        depth[order].astype(np.int32),
        edge_offsets,
        local[e_node][edge_order].astype(np.int32),
        e_token[edge_order].astype(np.int32),
        e_count[edge_order].astype(np.int32),
        visible[order].astype(np.int32),
    )


def latest_targets(examples: Examples, most: int) -> Examples:
    """The same sources with at most their last `most` targets each (targets stand in the order of time)."""
    counts = np.diff(examples.target_offsets)
    place = spread(np.zeros(len(counts), np.int64), examples.target_offsets)
    kept = place >= np.repeat(counts - most, counts)
    visible = None if examples.visible is None else examples.visible[kept]
    offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, most))]).astype(np.int64)
    return replace(examples, targets=examples.targets[kept], target_offsets=offsets, visible=visible)


@dataclass(frozen=True)
class CataloguePlaces:
    """Where the nodes and edges of target trees are in the tree of all items' codes."""

    tree: CodeTree
    node: Int64  # the catalogue's node of each node
    edge: Int64  # the place of each edge among its node's children


def places_in(tree: CodeTree, trees: TargetTrees) -> CataloguePlaces:
    """The places of `trees` in the catalogue's `tree`. ValueError if a target is no item's code."""
    node = np.zeros(len(trees.token), np.int64)
    starts = np.repeat(trees.node_offsets[:-1], trees.sizes)
    for depth in range(1, int(trees.depth.max(initial=0)) + 1):
        rows = np.flatnonzero(trees.depth == depth)
        node[rows] = tree.step(node[starts[rows] + trees.parent[rows]], trees.token[rows])

    first = np.repeat(trees.node_offsets[:-1], np.diff(trees.edge_offsets))
    above = node[first + trees.edge_node]
    return CataloguePlaces(tree, node, tree.step(above, trees.edge_token) - tree.indptr[above])


@dataclass(frozen=True)
class TreeBatch:
    """Padded trees of a batch: `token`, `depth`, `visible` `(users, nodes)`, `ancestors` `(users, nodes, depth)`; `real` the
    flat numbers of nodes other than padding; edges point into `real` (`edge_node`), with `edge_token` and `edge_count`.
    `nodes` and `edges` are the numbers of the real nodes and of the edges among those of all examples."""

    token: Int32
    depth: Int32
    visible: Int32
    ancestors: Int64
    real: Int64
    edge_node: Int64
    edge_token: Int64
    edge_count: Int64
    nodes: Int64
    edges: Int64


def take_batch(trees: TargetTrees, rows: Int64) -> TreeBatch:
    """The trees of the given examples, padded to the largest. The work is that of the batch, however many there are."""
    starts = trees.node_offsets[rows]
    sizes = trees.node_offsets[rows + 1] - starts
    n = int(sizes.max())
    offsets: Int64 = np.concatenate([[0], np.cumsum(sizes)])

    nodes = spread(starts, offsets)
    user = np.repeat(np.arange(len(rows)), sizes)
    real = user * n + np.arange(len(nodes)) - offsets[user]

    # Every example gets n rows: the rows beyond its nodes are padding.
    most = int(trees.depth[nodes].max()) + 1
    token = np.full(len(rows) * n, START, np.int32)
    depth = np.zeros(len(rows) * n, np.int32)
    visible = np.full(len(rows) * n, -1, np.int32)
    ancestors = np.zeros((len(rows) * n, most), np.int64)
    token[real], depth[real], visible[real] = trees.token[nodes], trees.depth[nodes], trees.visible[nodes]
    ancestors[real] = trees.ancestors(nodes, starts[user], most)

    edge_sizes = trees.edge_offsets[rows + 1] - trees.edge_offsets[rows]
    edges = spread(trees.edge_offsets[rows], np.concatenate([[0], np.cumsum(edge_sizes)]))
    edge_user = np.repeat(np.arange(len(rows)), edge_sizes)

    shape = (len(rows), n)
    return TreeBatch(
        token.reshape(shape),
        depth.reshape(shape),
        visible.reshape(shape),
        ancestors.reshape(*shape, most),
        real,
        offsets[edge_user] + trees.edge_node[edges],
        trees.edge_token[edges].astype(np.int64),
        trees.edge_count[edges].astype(np.int64),
        nodes,
        edges,
    )


@dataclass(frozen=True)
class PackedTrees:
    """The real nodes of a batch one after another, `(nodes,)`: `ancestors` `(nodes, depth)` point into them, and `owner` is
    the example of each."""

    token: Int32
    depth: Int32
    visible: Int32
    ancestors: Int64
    owner: Int64


def pack_batch(batch: TreeBatch) -> PackedTrees:
    """A batch without its padding, for networks whose positions do not depend on whose they are."""
    most = batch.token.shape[1]
    owner = batch.real // most
    starts = np.searchsorted(owner, np.arange(len(batch.token)))  # the first node of each example

    ancestors = batch.ancestors.reshape(-1, batch.ancestors.shape[-1])[batch.real] + starts[owner][:, None]
    token, depth, visible = (part.ravel()[batch.real] for part in (batch.token, batch.depth, batch.visible))
    return PackedTrees(token, depth, visible, ancestors, owner)
