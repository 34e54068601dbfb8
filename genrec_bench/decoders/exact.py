"""The true full ranking: every item's score, by walking the catalogue's whole trie once.

A score needs one decoder position per inner node of the trie, not one per item: clustering codes of 12,000 items have
about a thousand inner nodes. The walk goes down in chunks of nodes, so that its memory stays within a bound whatever the
catalogue. Scores are those of the beam search (`genrec_bench.decoders.beam_search`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from genrec_bench.core.arrays import (
    PAD,
    Float32,
    Int64,
    Ragged,
)
from genrec_bench.core.codes import Index
from genrec_bench.core.rankings import NO_HYPOTHESIS, Generations
from genrec_bench.core.sequences import Sources
from genrec_bench.decoders.base import SearchConfig, Searching, nothing
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.errors import ConfigError, Diverged
from genrec_bench.host.contracts import START, Backbone

LEAST = 16  # nodes in one call: with fewer, the walk would take forever without a word
EDGE = 24  # bytes of a child: its place, token and node, and whether it is there
COPIES = 3  # of a chunk's (users, nodes, tokens) float32 array alive at once: logits, log-softmax, its input


@dataclass(frozen=True)
class ExactConfig(SearchConfig):
    """Options of the exact decoder."""

    memory_mb: PositiveInt = 1024  # bound on the walk and the network's states of hypotheses, in 10^6 bytes


class ExactDecoder(Searching):
    """The exact full ranking of the catalogue, as a beam as wide as the trie would give it."""

    Config = ExactConfig
    excludes_in_search = True

    def check(self, index: Index) -> None:
        """ConfigError where a user is beyond the memory bound already without what the network adds."""
        self._bytes_of_a_user(index, 4 * COPIES * index.n_tokens)

    def check_network(self, backbone: Backbone, index: Index, source: int) -> None:
        """ConfigError where a user is beyond the memory bound with the network's states."""
        if len(index.items):
            self._bytes_of_a_user(index, self._bytes_of_a_node(backbone, index, source))

    def _bytes_of_a_node(self, backbone: Backbone, index: Index, source: int) -> int:
        """Its logits, its children, and the states of the hypotheses above it: a chunk of each level is alive."""
        trie = self.trie(index, backbone.device)
        states = sum(backbone.hypothesis_bytes(length, source) for length in range(1, trie.width + 1))
        return 4 * COPIES * (index.n_tokens + backbone.extra_columns) + EDGE * max(trie.families) + states

    def _bytes_of_a_user(self, index: Index, per_node: int) -> int:
        """Its scores, what choosing the best takes, and some nodes at a time. ConfigError if the bound is below that."""
        items, bound = len(index.items), self.config.memory_mb
        needed = 9 * items + LEAST * per_node
        if needed > bound * 10**6:
            raise ConfigError(
                f"decoder.memory_mb is {bound:,}, and one user of {items:,} items with {index.n_tokens:,} tokens needs "
                f"{-(-needed // 10**6):,}: raise it, or use the decoder trie",
                part="decoder",
                key="memory_mb",
            )
        return needed

    @torch.no_grad()
    def generate(
        self, backbone: Backbone, batch: Sources, index: Index, *, beams: int, exclude: Ragged | None = None
    ) -> Generations:
        if not len(index.items) or not len(batch):
            return nothing(len(batch), beams, index.items.width)
        trie, items = self.trie(index, backbone.device), len(index.items)
        budget = self.config.memory_mb * 10**6
        per_node = self._bytes_of_a_node(backbone, index, int(batch.lengths.max(initial=0)))
        users = max(1, min(len(batch), budget // (2 * self._bytes_of_a_user(index, per_node))))
        nodes = (budget - users * 9 * items) // (users * per_node)
        rows = np.arange(len(batch))
        parts = []
        for at in range(0, len(batch), users):
            some = rows[at : at + users]
            with self.reduced(backbone):
                scores = self._score(backbone, batch.take(some), trie, items, nodes)
            parts.append(_best(scores, index, beams, None if exclude is None else exclude.take(some)))
        return Generations.concatenate(parts)

    def _score(self, backbone: Backbone, batch: Sources, trie: Trie, items: int, most: int) -> Tensor:
        """Every item's score for every source, (U, items); at most `most` nodes in one call of the backbone."""
        users, device = len(batch), trie.device
        scores = torch.full((users, items), -torch.inf, device=device)

        def descend(state: Any, depth: int, nodes: Tensor, tokens: Tensor, parents: Tensor, so_far: Tensor) -> None:
            """Score what lies below inner `nodes` (N,) at `depth`, reached by `tokens` from the last call's `parents`."""
            for chunk in torch.arange(len(nodes), device=device).split(most):
                wide = (tokens[chunk].expand(users, -1), parents[chunk].expand(users, -1))
                logits, below = backbone.advance(state, *wide)
                trie.check_columns(logits.shape[-1] - backbone.extra_columns)
                logp = logits.float().log_softmax(-1)  # (U, N, V)
                at, child, token = _edges(trie, nodes[chunk], depth)
                reached = so_far[:, chunk][:, at] + logp[:, at, token]  # (U, edges)
                item = trie.item_at(child).long()
                scores[:, item[item >= 0]] = reached[:, item >= 0]
                inner = item < 0
                if inner.any():
                    del logits, logp
                    descend(below, depth + 1, child[inner], token[inner], at[inner], reached[:, inner])

        root = torch.zeros(1, dtype=torch.long, device=device)
        nought = torch.zeros(users, 1, device=device)
        descend(backbone.start(batch), 0, root, torch.full_like(root, START), root, nought)
        return scores


def _edges(trie: Trie, nodes: Tensor, depth: int) -> tuple[Tensor, Tensor, Tensor]:
    """All children of `nodes` (N,) at `depth`: the place of their parent in `nodes`, the child node and its token, each (edges,)."""
    child_token, child_node, there = trie.children(nodes, depth)
    at = torch.arange(len(nodes), device=nodes.device)[:, None].expand_as(there)
    return at[there], child_node[there].long(), child_token[there].long()


def _best(scores: Tensor, index: Index, beams: int, exclude: Ragged | None) -> Generations:
    """The `beams` best items of each row of `scores` (U, items), without `exclude`'s, ties by item number."""
    found = scores.cpu().numpy()
    if np.isnan(found).any():
        raise Diverged("the network's scores are no numbers; if its training diverged, lower backbone.learning_rate")
    if exclude is not None:
        found[exclude.rows, exclude.values] = -np.inf
    order = np.stack([_first(row, beams + 1) for row in found])
    bound = np.full(len(found), -np.inf, np.float32)
    if order.shape[1] > beams:
        bound = np.take_along_axis(found, order[:, beams:], 1)[:, 0]
    items = order[:, :beams]
    kept = np.take_along_axis(found, items, 1)
    pad = ((0, 0), (0, beams - items.shape[1]))
    items = np.pad(np.where(np.isneginf(kept), NO_HYPOTHESIS, items), pad, constant_values=NO_HYPOTHESIS)
    tokens = np.where(items[..., None] >= 0, index.items.codes[np.maximum(items, 0)], PAD)
    kept = np.pad(kept, pad, constant_values=-np.inf)
    return Generations(tokens.astype(np.int32), kept, items.astype(np.int32), bound)


def _first(scores: Float32, most: int) -> Int64:
    """The places of the `most` best of `scores` (items,), best first, ties by place; all of them if there are no more."""
    if most >= len(scores):
        return np.argsort(-scores, kind="stable")
    least = np.partition(scores, len(scores) - most)[len(scores) - most]
    places = np.flatnonzero(scores >= least)
    return places[np.argsort(-scores[places], kind="stable")][:most]
