"""The catalogue's codes as a trie in compressed sparse rows: built by one sort, walked by gathers.

Nodes are numbered level by level in code order, so the children of a node are neighbours: those of node `n` are the nodes
`indptr[n]` to `indptr[n + 1] - 1`, node 0 is the root, and `token[c]` is the token that leads to node `c`. Every node
covers a run of leaves in code order, so that "is everything below excluded?" is a count. Nodes of the last level, most of
all nodes, have no entry in `indptr`. (GPU-friendly sparse tries: STATIC, arXiv 2602.22647.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genrec_bench.codes import CodeTable, Index, sort_codes
from genrec_bench.types import Int32, Int64

FILE = "trie.safetensors"  # beside the codes of a saved index


@dataclass(frozen=True)
class Trie:
    """A trie of `n_items` codes, int32. `item` is the item number of a leaf, -1 at inner nodes; `leaf_of_item` the place of
    each item in code order; `most_children` the largest family."""

    indptr: Tensor  # (nodes above the last level + 2,)
    token: Tensor  # (nodes,), the root's 0
    item: Tensor  # (nodes,)
    first_leaf: Tensor  # (nodes,)
    last_leaf: Tensor  # (nodes above the last level,): one past the last
    leaf_of_item: Tensor  # (n_items,)
    most_children: int
    width: int

    @classmethod
    def build(cls, table: CodeTable, device: str | torch.device = "cpu") -> Trie:
        """From an item code table; cost: one sort, plus one pass per level."""
        arrays = _build(table.codes)
        most = int(np.diff(arrays["indptr"]).max(initial=0))
        tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        return cls(**tensors, most_children=most, width=table.width)

    @classmethod
    def of(cls, index: Index, device: str | torch.device = "cpu") -> Trie:
        """The trie of the index's item codes: the one saved beside them, mapped into memory, or else built."""
        try:
            if index.folder is not None and (index.folder / FILE).is_file():
                with safe_open(index.folder / FILE, framework="pt") as saved:
                    facts = saved.metadata() or {}
                    if facts.get("index") == index.fingerprint:
                        tensors = {name: saved.get_tensor(name).to(device) for name in saved.keys()}  # noqa: SIM118
                        return cls(**tensors, most_children=int(facts["most_children"]), width=index.items.width)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            pass  # damaged: what it held follows from the codes
        return cls.build(index.items, device)

    def save(self, folder: Path, index: Index) -> None:
        """Write the arrays of this trie, which is the index's, beside its codes."""
        tensors = {name: array for name, array in vars(self).items() if isinstance(array, Tensor)}
        save_file(tensors, folder / FILE, {"index": index.fingerprint, "most_children": str(self.most_children)})
        (folder / FILE).chmod(0o644)  # safetensors writes for the owner alone

    @cached_property
    def places(self) -> Int32:
        """`leaf_of_item` on the host."""
        return self.leaf_of_item.cpu().numpy()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in vars(self).values() if isinstance(array, Tensor))

    @property
    def inner(self) -> int:
        """Nodes above the last level: those with an entry in `indptr`."""
        return len(self.indptr) - 2

    def children(self, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of `nodes` (...): child tokens, child nodes and whether there is such a child, each (..., most_children).

        A node of -1 has none.
        """
        live = nodes.clamp(max=self.inner).long()  # of -1 it is the last entry, whose family ends before it begins
        start, end = self.indptr[live], self.indptr[live + 1]
        places = start[..., None] + torch.arange(self.most_children, device=nodes.device, dtype=torch.int32)
        there = places < end[..., None]
        places.mul_(there)
        return self.token[places], places, there

    def step(self, nodes: Tensor, tokens: Tensor) -> Tensor:
        """The child of each node by one token; -1 where the trie has none. Shapes alike."""
        child_token, child_node, there = self.children(nodes)
        hit = there & (child_token == tokens[..., None])
        return torch.where(hit.any(-1), (child_node * hit).sum(-1, dtype=torch.int32), -1)

    def leaves(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Of each node (...), the first leaf that it covers and one past the last, in code order."""
        first = self.first_leaf[nodes]
        return first, torch.where(nodes < self.inner, self.last_leaf[nodes.clamp(max=self.inner - 1)], first + 1)

    def blocked(self, nodes: Tensor, excluded: Tensor) -> Tensor:
        """Whether all leaves below each node (U, M) are excluded; `excluded` (U, X) holds sorted leaf places, padded
        with a number above all leaves."""
        first, last = self.leaves(nodes.clamp(min=0).flatten(1))
        inside = torch.searchsorted(excluded, last) - torch.searchsorted(excluded, first)
        return (inside >= last - first).view(nodes.shape)


@dataclass(frozen=True)
class _Level:
    """The nodes of one level, in code order: the first row each covers, one past the last, and its token."""

    first: Int64
    last: Int64
    token: Int32


def _build(codes: Int32) -> dict[str, Int32]:
    order, levels = _levels(codes)
    offsets = np.cumsum([0, *(len(level.first) for level in levels)])  # the first node of each level
    deepest = max(1, int(offsets[-2]))
    indptr = np.full(deepest + 2, offsets[-1], np.int32)
    item = np.full(offsets[-1], -1, np.int32)
    for depth, level in enumerate(levels):
        at = slice(offsets[depth], offsets[depth + 1])
        ends = np.ones(len(level.first), bool)
        if offsets[depth] < deepest:
            below = levels[depth + 1].first if depth + 1 < len(levels) else np.zeros(0, np.int64)
            starts = np.searchsorted(below, level.first)
            indptr[at] = offsets[depth + 1] + starts
            ends = np.diff(starts, append=len(below)) == 0
        if depth:
            item[at][ends] = order[level.first[ends]]
    leaf_of_item = np.empty(len(codes), np.int32)
    leaf_of_item[order] = np.arange(len(codes), dtype=np.int32)
    return {
        "indptr": indptr,
        "token": np.concatenate([level.token for level in levels]),
        "item": item,
        "first_leaf": np.concatenate([level.first for level in levels]).astype(np.int32),
        "last_leaf": np.concatenate([level.last for level in levels])[:deepest].astype(np.int32),
        "leaf_of_item": leaf_of_item,
    }


def _levels(codes: Int32) -> tuple[Int64, list[_Level]]:
    """Item numbers in code order, and the nodes of every level, the root's first."""
    found, n = sort_codes(codes), len(codes)
    fresh = np.arange(n) == 0  # rows where the prefix changes
    levels = [_Level(np.zeros(1, np.int64), np.full(1, n), np.zeros(1, np.int32))]
    for depth, (which, shift, bits) in enumerate(found.where):
        column = found.keys[which] >> shift
        tokens = column & ((1 << bits) - 1)
        if (
            depth == len(found.where) - 1
        ):  # codes are prefix-free: every row that reaches the last level is a node of it
            first = np.flatnonzero(tokens)
            last = first + 1
        else:
            fresh[1:] |= column[1:] != column[:-1]
            edges = np.flatnonzero(fresh)
            there = tokens[edges] > 0
            first, last = edges[there], np.append(edges[1:], n)[there]
        if len(first):
            levels.append(_Level(first, last, (tokens[first] - 1).astype(np.int32)))
    return found.order, levels
