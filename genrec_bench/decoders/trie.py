"""The catalogue's codes as a trie in compressed sparse rows: built by one sort, walked by gathers.

Node 0 is the root; the children of node `n` are `child_token[indptr[n]:indptr[n + 1]]`, leading to the nodes of the same
places of `child_node`. Every node covers a run of leaves `[first_leaf, last_leaf)` in code order, so that "is everything
below excluded?" is a count. (GPU-friendly sparse tries: STATIC, arXiv 2602.22647.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genrec_bench.codes import CodeTable
from genrec_bench.types import Int32


@dataclass(frozen=True)
class Trie:
    """A trie of `n_items` codes. `item` is the item number of a leaf, -1 at inner nodes; `leaf_of_item` the place of each
    item in code order; `most_children` the largest family."""

    indptr: Tensor  # (nodes + 1,)
    child_token: Tensor  # (nodes - 1,)
    child_node: Tensor
    item: Tensor  # (nodes,)
    first_leaf: Tensor  # (nodes,)
    last_leaf: Tensor
    leaf_of_item: Tensor  # (n_items,)
    most_children: int
    width: int

    @classmethod
    def build(cls, table: CodeTable, device: str | torch.device = "cpu") -> Trie:
        """From an item code table; cost: one sort, plus one pass per level."""
        arrays, most = _build(table.codes)
        tensors = {name: torch.from_numpy(array.astype(np.int32)).to(device) for name, array in arrays.items()}
        return cls(**tensors, most_children=most, width=table.width)

    def children(self, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of `nodes` (...): child tokens, child nodes and whether there is such a child, each (..., most_children).

        A node of -1 has none.
        """
        live = nodes.clamp(min=0).long()
        start, end = self.indptr[live], self.indptr[live + 1]
        places = start[..., None] + torch.arange(self.most_children, device=nodes.device, dtype=torch.int32)
        there = (places < end[..., None]) & (nodes >= 0)[..., None]
        places = torch.where(there, places, 0).long()
        return self.child_token[places], self.child_node[places], there

    def step(self, nodes: Tensor, tokens: Tensor) -> Tensor:
        """The child of each node by one token; -1 where the trie has none. Shapes alike."""
        child_token, child_node, there = self.children(nodes)
        hit = there & (child_token == tokens[..., None])
        return torch.where(hit.any(-1), (child_node * hit).sum(-1, dtype=torch.int32), -1)

    def blocked(self, nodes: Tensor, excluded: Tensor) -> Tensor:
        """Whether all leaves below each node (U, M) are excluded; `excluded` (U, X) holds sorted leaf places, padded
        with a number above all leaves."""
        flat = nodes.clamp(min=0).long().flatten(1)
        first, last = self.first_leaf[flat].contiguous(), self.last_leaf[flat].contiguous()
        inside = torch.searchsorted(excluded, last) - torch.searchsorted(excluded, first)
        return (inside >= last - first).view(nodes.shape)


def _build(codes: Int32) -> tuple[dict[str, np.ndarray], int]:
    order = np.lexsort(codes.T[::-1])
    codes = codes[order]
    n = len(codes)
    lengths = (codes >= 0).sum(axis=1)
    fresh = np.zeros(n, bool)
    fresh[:1] = True
    node = np.zeros(n, np.int64)  # node of each row's prefix of the length at hand
    first, last, item = [np.zeros(1, np.int64)], [np.full(1, n)], [np.full(1, -1)]
    parents, tokens, made = [], [], 1
    for level in range(codes.shape[1]):
        changed = np.ones(n, bool)
        changed[1:] = codes[1:, level] != codes[:-1, level]
        fresh = fresh | changed
        there = codes[:, level] >= 0
        heads = np.flatnonzero(fresh & there)
        parents.append(node[heads])
        tokens.append(codes[heads, level])
        group = np.cumsum(fresh & there) - 1
        first.append(heads)
        last.append(heads + np.bincount(group[there], minlength=len(heads)))
        item.append(np.where(lengths[heads] == level + 1, order[heads], -1))
        node = np.where(there, made + group, -1)
        made += len(heads)
    parent, token = np.concatenate(parents), np.concatenate(tokens)
    by_parent = np.argsort(parent, kind="stable")  # nodes of a level were made in code order
    counts = np.bincount(parent, minlength=made)
    leaf_of_item = np.empty(n, np.int64)
    leaf_of_item[order] = np.arange(n)
    arrays = {
        "indptr": np.concatenate([[0], np.cumsum(counts)]),
        "child_token": token[by_parent],
        "child_node": by_parent + 1,
        "item": np.concatenate(item),
        "first_leaf": np.concatenate(first),
        "last_leaf": np.concatenate(last),
        "leaf_of_item": leaf_of_item,
    }
    return arrays, int(counts.max(initial=1))
