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
from genrec_bench.decoders.base import SearchConfig, Searching, no_hypotheses
from genrec_bench.decoders.beam_search import NAN_SCORES
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.errors import ConfigError, Diverged, OutOfMemory, lacks_memory
from genrec_bench.host.contracts import START, Backbone, Candidates

MOST = 2**13  # hypotheses in one call: more make no network faster, and each takes some 100 kB of its memory
LEAST = 16  # nodes in one call that the bound must allow: with fewer, the walk would take too long
EDGE = 24  # bytes of a child: its position, token and node, and whether it is there
COPIES = 3  # of a chunk's (users, nodes, tokens) float32 array alive at once: logits, log-softmax, its input
ITEM = 9  # bytes per item and user: 4 of its score, 5 to choose the best


@dataclass(frozen=True)
class ExactConfig(SearchConfig):
    """Options of the exact decoder."""

    memory_mb: PositiveInt = 1024  # bound on the walk's own arrays, in 10^6 bytes; the network's come on top


class ExactDecoder(Searching):
    """The exact full ranking of the catalogue, as a beam as wide as the trie would give it.

    Its own arrays stay within `memory_mb`. Where the device runs out of memory, it goes on with half the users and half
    the nodes in one call of the network.
    """

    Config = ExactConfig
    excludes_in_search = True

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._most: tuple[int, int] | None = None  # users and nodes in one call, once the device ran out of memory

    @torch.no_grad()
    def generate(
        self, backbone: Backbone, batch: Sources, index: Index, *, beams: int, exclude: Ragged | None = None
    ) -> Generations:
        if not len(index.items) or not len(batch):
            return no_hypotheses(len(batch), beams, index.items.width)
        trie = self.trie(index, backbone.device)
        alphabet = self.normalisation(backbone) == "alphabet"
        columns = index.n_tokens + backbone.extra_columns if alphabet else max(trie.max_children)
        users, nodes = self._chunk(index, trie, columns, len(batch))
        if self._most is not None:
            users, nodes = min(users, self._most[0]), min(nodes, self._most[1])

        parts: list[Generations] = []
        at = 0
        while at < len(batch):
            rows = np.arange(at, min(at + users, len(batch)))
            try:
                with self.reduced(backbone):
                    scores = self.scores(backbone, batch.take(rows), index, trie, nodes)
            except Exception as error:  # NumPy, torch on a CPU and torch on a GPU each raise their own
                if not lacks_memory(error):
                    raise
                if users == nodes == 1:
                    raise OutOfMemory(
                        "decoder exact runs out of memory with a single trie node of a single user: use a smaller "
                        "--profile, or a device with more memory",
                        part="decoder",
                    ) from error
                users, nodes = self._most = max(1, users // 2), max(1, nodes // 2)
                continue

            parts.append(_best(scores, index, beams, None if exclude is None else exclude.take(rows)))
            at += len(rows)

        return Generations.concatenate(parts)

    def _chunk(self, index: Index, trie: Trie, columns: int, most: int) -> tuple[int, int]:
        """How many users, `most` at most, and trie nodes the bound allows at once. ConfigError if not one user."""
        items, bound = len(index.items), self.config.memory_mb
        per_node = 4 * COPIES * columns + EDGE * max(trie.max_children)
        per_user = ITEM * items + LEAST * per_node

        if per_user > bound * 10**6:
            raise ConfigError(
                f"decoder.memory_mb is {bound:,}, and one user of {items:,} items with {index.n_tokens:,} tokens needs "
                f"{-(-per_user // 10**6):,}: raise it, or use the decoder trie",
                part="decoder",
                key="memory_mb",
            )

        # half of the memory for users' scores, so that the other half lets each call take many nodes
        users = max(1, min(most, bound * 10**6 // (2 * per_user)))
        nodes = (bound * 10**6 - users * ITEM * items) // (users * per_node)
        return users, min(nodes, max(1, MOST // users))

    def scores(self, backbone: Backbone, batch: Sources, index: Index, trie: Trie, most: int) -> Tensor:
        """Every item's score for every source, (U, items); at most `most` nodes in one call of the backbone. A subclass
        may know a shorter way."""
        users, device = len(batch), trie.device
        scores = torch.full((users, len(index.items)), -torch.inf, device=device)

        def descend(state: Any, depth: int, nodes: Tensor, tokens: Tensor, parents: Tensor, sums: Tensor) -> None:
            """Score what lies below inner `nodes` (N,) at `depth`: reached by `tokens` from the last call's `parents`,
            with `sums` (U, N) so far."""
            for chunk in torch.arange(len(nodes), device=device).split(most):
                call = tokens[chunk].expand(users, -1), parents[chunk].expand(users, -1)
                hidden, below = backbone.advance(state, *call)
                child_token, child_node, there = trie.children(nodes[chunk], depth)  # (N, C)
                logp = self._of_children(backbone, hidden, trie, child_token.long(), there)  # (U, edges)

                parent = torch.arange(len(chunk), device=device)[:, None].expand_as(there)[there]
                child, token = child_node[there].long(), child_token[there].long()
                reached = sums[:, chunk][:, parent] + logp
                del hidden, logp  # before the next call makes its own
                item = trie.item_at(child).long()
                scores[:, item[item >= 0]] = reached[:, item >= 0]

                inner = item < 0
                if inner.any():
                    descend(below, depth + 1, child[inner], token[inner], parent[inner], reached[:, inner])

        root = torch.zeros(1, dtype=torch.long, device=device)
        nothing_yet = torch.zeros(users, 1, device=device)
        descend(backbone.start(batch), 0, root, torch.full_like(root, START), root, nothing_yet)
        return scores

    def _of_children(self, backbone: Backbone, hidden: Tensor, trie: Trie, tokens: Tensor, there: Tensor) -> Tensor:
        """Log-probabilities (U, edges) of the children `tokens` (N, C) that are `there`, from `hidden` (U, N, ...)."""
        if self.normalisation(backbone) == "alphabet":
            logits = backbone.logits(hidden)
            trie.check_columns(logits.shape[-1] - backbone.extra_columns)
            parent = torch.arange(len(tokens), device=tokens.device)[:, None].expand_as(there)[there]
            return logits.float().log_softmax(-1)[:, parent, tokens[there]]

        which = torch.arange(len(tokens), device=tokens.device).expand(hidden.shape[:2])
        logits = backbone.logits(hidden, Candidates(tokens, which)).float()
        return logits.masked_fill(~there, -torch.inf).log_softmax(-1)[:, there]


def _best(scores: Tensor, index: Index, beams: int, exclude: Ragged | None) -> Generations:
    """The `beams` best items of each row of `scores` (U, items), without `exclude`'s, ties by item number."""
    rows = scores.cpu().numpy()
    if np.isnan(rows).any():
        raise Diverged(NAN_SCORES)
    if exclude is not None:
        rows[exclude.rows, exclude.values] = -np.inf

    order = np.stack([_first(row, beams + 1) for row in rows])
    bound = np.full(len(rows), -np.inf, np.float32)
    if order.shape[1] > beams:
        bound = np.take_along_axis(rows, order[:, beams:], 1)[:, 0]

    items = order[:, :beams]
    best = np.take_along_axis(rows, items, 1)
    pad = ((0, 0), (0, beams - items.shape[1]))
    items = np.pad(np.where(np.isneginf(best), NO_HYPOTHESIS, items), pad, constant_values=NO_HYPOTHESIS)
    tokens = np.where(items[..., None] >= 0, index.items.codes[np.maximum(items, 0)], PAD)
    best = np.pad(best, pad, constant_values=-np.inf)
    return Generations(tokens.astype(np.int32), best, items.astype(np.int32), bound)


def _first(scores: Float32, most: int) -> Int64:
    """Positions of the `most` best of `scores` (items,), best first, ties by position; all if there are no more."""
    if most >= len(scores):
        return np.argsort(-scores, kind="stable")
    least = np.partition(scores, len(scores) - most)[len(scores) - most]
    positions = np.flatnonzero(scores >= least)
    return positions[np.argsort(-scores[positions], kind="stable")][:most]
