"""The codes of a catalogue as a tree in compressed sparse rows: built by one sort. NumPy only.

Nodes are numbered level by level in code order, so the children of a node are neighbours: those of node `n` are the nodes
`indptr[n]` to `indptr[n + 1] - 1`, node 0 is the root, and `token[c]` is the token that leads to node `c`. A node of the
last level has no entry of its own in `indptr`; it has no children.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from genrec_bench.core.arrays import PAD, Int32, Int64
from genrec_bench.core.codes import CodeTable, sort_codes
from genrec_bench.core.rankings import NOT_AN_ITEM


@dataclass(frozen=True)
class CodeTree:
    """`indptr` and `token` as above, and the most children that a node of each level has, the root's first."""

    indptr: Int32
    token: Int32
    max_children: tuple[int, ...]

    @classmethod
    def build(cls, table: CodeTable) -> CodeTree:
        """From the codes of a catalogue."""
        arrays, max_children = tree_arrays(table.codes)
        return cls(arrays["indptr"], arrays["token"], max_children)

    @property
    def inner(self) -> int:
        """Nodes above the last level: those that may have children."""
        return len(self.indptr) - 2

    @cached_property
    def _steps(self) -> Int64:
        """Every edge as one number, parent before token, rising: edge `c - 1` leads to node `c`."""
        parents = np.repeat(np.arange(self.inner), np.diff(self.indptr[:-1]))
        return parents * self._base + self.token[1:]

    @property
    def _base(self) -> int:
        return int(self.token.max(initial=0)) + 1

    def step(self, nodes: Int64, tokens: Int32) -> Int64:
        """The child of each node `(n,)` by one token. ValueError where there is none."""
        wanted = nodes.astype(np.int64) * self._base + tokens
        places = np.searchsorted(self._steps, wanted)
        if len(wanted) and (places.max() >= len(self._steps) or (self._steps[places] != wanted).any()):
            raise ValueError("a code is not in this tree")
        return places + 1

    def children(self, nodes: Int64) -> Int32:
        """The tokens that lead on from inner nodes `(n,)`: `(n, the most that any of them has)`, padded with -1."""
        starts, ends = self.indptr[nodes], self.indptr[nodes + 1]
        most = max(1, int((ends - starts).max(initial=0)))
        places = starts[:, None] + np.arange(most)
        return np.where(places < ends[:, None], self.token[np.minimum(places, len(self.token) - 1)], PAD)


@dataclass(frozen=True)
class _Level:
    """The nodes of one level, in code order: the first row each covers, one past the last, and its token."""

    first: Int64
    last: Int64
    token: Int32


def tree_arrays(codes: Int32) -> tuple[dict[str, Int32], tuple[int, ...]]:
    """The arrays of the tree of `codes` `(n, width)`, by name, and the most children that a node of each level has.

    `indptr` `(nodes above the last level + 2,)`, `token` `(nodes,)`; `items` `(n + 1,)` has the row of each leaf in code
    order, then -1; `first_leaf`, `last_leaf` and `early` say which leaves a node covers (`genrec_bench.decoders.csr_trie`).
    Cost: one sort, plus one pass per level.
    """
    order, levels = _levels(codes)
    offsets = np.cumsum([0, *(len(level.first) for level in levels)])  # the first node of each level
    inner = max(1, int(offsets[-2]))
    indptr = np.full(inner + 2, offsets[-1], np.int32)
    max_children, early = [0] * codes.shape[1], [np.zeros(0, np.int64)]

    for depth, (level, below) in enumerate(pairwise(levels)):
        starts = np.searchsorted(below.first, level.first)
        sizes = np.diff(starts, append=len(below.first))
        indptr[offsets[depth] : offsets[depth + 1]] = offsets[depth + 1] + starts
        max_children[depth] = int(sizes.max())
        early.append(level.first[sizes == 0])

    alone = np.sort(np.concatenate(early))
    arrays = {
        "indptr": indptr,
        "token": np.concatenate([level.token for level in levels]),
        "items": np.append(order, NOT_AN_ITEM),
        "first_leaf": np.append(np.concatenate([level.first for level in levels])[:inner], 0),
        "last_leaf": np.concatenate([level.last for level in levels])[: inner if len(alone) else 0],
        "early": alone - np.arange(len(alone)),
    }

    return {name: np.ascontiguousarray(array, np.int32) for name, array in arrays.items()}, tuple(max_children)


def _levels(codes: Int32) -> tuple[Int64, list[_Level]]:
    """Item numbers in code order, and the nodes of every level, the root's first."""
    sorted_codes, n = sort_codes(codes), len(codes)
    fresh = np.arange(n) == 0  # rows where the prefix changes
    levels = [_Level(np.zeros(1, np.int64), np.full(1, n), np.zeros(1, np.int32))]

    for depth, (which, shift, bits) in enumerate(sorted_codes.where):
        column = sorted_codes.keys[which] >> shift
        tokens = column & ((1 << bits) - 1)

        if depth == len(sorted_codes.where) - 1:  # prefix-free codes: each row of the last level is a node of its own
            first = np.flatnonzero(tokens)
            last = first + 1
        else:
            fresh[1:] |= column[1:] != column[:-1]
            edges = np.flatnonzero(fresh)
            there = tokens[edges] > 0
            first, last = edges[there], np.append(edges[1:], n)[there]

        if len(first):
            levels.append(_Level(first, last, (tokens[first] - 1).astype(np.int32)))

    return sorted_codes.order, levels
