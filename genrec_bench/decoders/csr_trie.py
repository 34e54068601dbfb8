"""The catalogue's codes as a trie in compressed sparse rows: built by one sort, walked by gathers.

The arrays are those of `genrec_bench.core.code_trees` as tensors. Every node covers a run of leaves in code order, so that
"is everything below excluded?" is a count. Nodes of the last level, most of all nodes, have no children, and the leaf that
each of them is follows from its number: they take a token and an item, eight bytes. (GPU-friendly sparse tries: STATIC,
arXiv 2602.22647.)
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genrec_bench.core.arrays import Int32
from genrec_bench.core.code_trees import tree_arrays
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.files import usual_permissions
from genrec_bench.errors import UsageError

FILE = "trie.safetensors"  # beside the codes of a saved index
FORMAT = "2"  # of that file: the arrays of `Trie` and what they mean


@dataclass(frozen=True)
class Trie:
    """A trie of `n_items` codes, int32. A leaf's place is its rank in code order; `items` has the item of each place."""

    indptr: Tensor  # (nodes above the last level + 2,)
    token: Tensor  # (nodes,), the root's 0
    items: Tensor  # (n_items + 1,), the last one NOT_AN_ITEM
    first_leaf: Tensor  # (nodes above the last level + 1,), the last one 0
    last_leaf: Tensor  # (nodes above the last level,): one past the last; empty where all codes have one length
    early: Tensor  # (leaves above the last level,): how many nodes of the last level come before each in code order
    max_children: tuple[int, ...]  # (width,): the most children that a node of each level has, the root's first
    width: int
    n_tokens: int  # one more than the largest token

    @classmethod
    def build(cls, table: CodeTable, device: str | torch.device = "cpu") -> Trie:
        """From an item code table; cost: one sort, plus one pass per level."""
        arrays, max_children = tree_arrays(table.codes)
        tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        n_tokens = int(arrays["token"].max()) + 1
        return cls(**tensors, max_children=max_children, width=table.width, n_tokens=n_tokens)

    @classmethod
    def of(cls, index: Index, device: str | torch.device = "cpu") -> Trie:
        """The trie of the index's item codes: the one saved beside them, mapped into memory, or else built."""
        try:
            if index.folder is not None and (index.folder / FILE).is_file():
                with safe_open(index.folder / FILE, framework="pt") as saved:
                    facts = saved.metadata() or {}
                    if (facts.get("format"), facts.get("index")) == (FORMAT, index.fingerprint):
                        tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
                        max_children = tuple(map(int, facts["max_children"].split()))

                        # The metadata fits: the arrays must be whole, too.
                        if len(max_children) == index.items.width and facts["checksum"] == _checksum(tensors):
                            there = {name: tensor.to(device) for name, tensor in tensors.items()}
                            n_tokens = int(facts["tokens"])
                            return cls(**there, max_children=max_children, width=index.items.width, n_tokens=n_tokens)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            pass  # damaged: what it held follows from the codes

        return cls.build(index.items, device)

    def save(self, folder: Path, index: Index) -> None:
        """Write the arrays of this trie, which is the index's, beside its codes."""
        tensors = {name: array.cpu() for name, array in vars(self).items() if isinstance(array, Tensor)}
        max_children = " ".join(map(str, self.max_children))
        facts = {
            "format": FORMAT,
            "index": index.fingerprint,
            "max_children": max_children,
            "tokens": str(self.n_tokens),
        }
        save_file(tensors, folder / FILE, {**facts, "checksum": _checksum(tensors)})
        usual_permissions(folder / FILE)

    @cached_property
    def places(self) -> Int32:
        """The leaf of each item, (n_items,), on the host; computed when it is first asked for."""
        items = self.items[:-1].cpu().numpy()
        places = np.empty_like(items)
        places[items] = np.arange(len(items), dtype=np.int32)
        return places

    def check_columns(self, columns: int) -> None:
        """UsageError if a network that scores so many code tokens lacks one of these codes."""
        if columns < self.n_tokens:
            raise UsageError(
                f"the codes use {self.n_tokens:,} tokens and the backbone scores {columns:,}: it was trained for another index"
            )

    @property
    def n_items(self) -> int:
        """How many leaves there are."""
        return len(self.items) - 1

    @property
    def device(self) -> torch.device:
        """Where the arrays lie."""
        return self.token.device

    @property
    def nbytes(self) -> int:
        """Bytes of what a search walks; `places`, 4 bytes an item, is not among it."""
        return sum(array.nbytes for array in vars(self).values() if isinstance(array, Tensor))

    @property
    def inner(self) -> int:
        """Nodes above the last level: those with an entry in `indptr`."""
        return len(self.indptr) - 2

    def children(self, nodes: Tensor, depth: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Of `nodes` (...): child tokens, child nodes and whether there is such a child, each (..., C).

        C, 1 at least, is the most children that any node has, or any at `depth`, if all of `nodes` that have children lie
        there. A node of -1 has none.
        """
        start, end = self._span(nodes)
        most = max(1, max(self.max_children, default=0) if depth is None else self.max_children[depth])
        places = start[..., None] + torch.arange(most, device=nodes.device, dtype=torch.int32)
        there = places < end[..., None]
        places.mul_(there)
        return self.token[places], places, there

    def step(self, nodes: Tensor, tokens: Tensor, depth: int | None = None) -> Tensor:
        """The child of each node by one token; -1 where the trie has none. Shapes alike; `depth` as in `children`."""
        child_token, child_node, there = self.children(nodes, depth)
        hit = there & (child_token == tokens[..., None])
        return torch.where(hit.any(-1), (child_node * hit).sum(-1, dtype=torch.int32), -1)

    def is_item(self, nodes: Tensor) -> Tensor:
        """Whether each node (...) is a whole code; neither the root nor -1 is one."""
        start, end = self._span(nodes)
        return (nodes > 0) & (start == end)

    def item_at(self, nodes: Tensor) -> Tensor:
        """The item of each node (...), NOT_AN_ITEM (-1) where it is no whole code."""
        return self.items[torch.where(self.is_item(nodes), self.leaves(nodes.clamp(min=0))[0], self.n_items)]

    def leaves(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Of each node (...), the first leaf that it covers and one past the last, in code order."""
        nodes = nodes.int()
        place = nodes - self.inner  # of a node of the last level, among that level's nodes
        if len(self.early):
            place = place + torch.searchsorted(self.early, place, right=True, out_int32=True)

        above = nodes.clamp(max=self.inner - 1)
        first = self.first_leaf[above]
        if len(self.last_leaf):
            last = self.last_leaf[above]
        else:  # where the next node of the level begins, which covers more than no leaf; the last one of it ends with all
            last = self.first_leaf[above + 1]
            last = torch.where(last > first, last, self.n_items)

        lowest = nodes >= self.inner
        return torch.where(lowest, place, first), torch.where(lowest, place + 1, last)

    def _span(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """The first child of each node and one past the last; of -1, an end before the start."""
        live = nodes.clamp(max=self.inner).long()
        return self.indptr[live], self.indptr[live + 1]

    def blocked(self, nodes: Tensor, excluded: Tensor) -> Tensor:
        """Whether all leaves below each node (U, M) are excluded; `excluded` (U, X) holds sorted leaf places, padded
        with a number above all leaves."""
        first, last = self.leaves(nodes.clamp(min=0).flatten(1))
        inside = torch.searchsorted(excluded, last) - torch.searchsorted(excluded, first)
        return (inside >= last - first).view(nodes.shape)


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of all arrays on the host, by name: of damage, not of malice."""
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(np.ascontiguousarray(tensors[name].numpy()).data, zlib.crc32(name.encode(), total))
    return f"{total:08x}"
