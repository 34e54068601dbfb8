"""Search with popularity taken out: items are ranked by log p(item | user) - alpha * log(1 + training interactions).

A prefix is kept by the best score that an item below it could still reach: its own log-probability less the penalty of
its least popular item. That never falls short of what the prefix holds, so the beam's bound stays a bound. Knows counts of
the training part only.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from pydantic import NonNegativeFloat
from pydantic.dataclasses import dataclass
from torch import Tensor

from genrec_bench.api import (
    Backbone,
    Beam,
    DecoderContext,
    Generations,
    GenrecError,
    Index,
    Int64,
    Ragged,
    Searching,
    Sources,
    TrainView,
    Trie,
    beam_search,
    extend,
)


@dataclass(frozen=True)
class DebiasedConfig:
    """Options of the debiased decoder."""

    alpha: NonNegativeFloat = (
        0.25  # weight of log(1 + training interactions), taken from the log-probability; 0 is `trie`
    )


class DebiasedDecoder(Searching):
    """Trie beam search that takes popularity out: log p(item | user) - alpha * log(1 + training interactions).

    Scores are these differences, not log-probabilities. `bound` is the best that anything discarded could have scored, so
    a certified list holds the ten best items *by these scores*.
    """

    Config = DebiasedConfig
    excludes_in_search = True

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._counts: Int64 | None = None
        self._weighed: tuple[Trie, Tensor] | None = None

    def prepare(self, train: TrainView, ctx: DecoderContext) -> None:
        self._counts = np.bincount(train.sequences.values, minlength=train.n_items)
        self._weighed = None

    def generate(
        self, backbone: Backbone, batch: Sources, index: Index, *, beams: int, exclude: Ragged | None = None
    ) -> Generations:
        trie = self.trie(index, backbone.device)
        grow = partial(extend, rank=partial(_rank, penalty=self._penalty(trie)))
        return beam_search(backbone, batch, trie, beams=beams, free=False, exclude=exclude, grow=grow)

    def _penalty(self, trie: Trie) -> Tensor:
        """What each trie node loses, (nodes,), computed once per trie."""
        if self._counts is None:
            raise GenrecError("decoder debiased has not counted the training part: call prepare(train, ctx) first")
        if self._weighed is None or self._weighed[0] is not trie:
            least = least_below(trie, self._counts)
            penalty = self.config.alpha * np.log1p(least)
            self._weighed = trie, torch.from_numpy(penalty.astype(np.float32)).to(trie.device)
        return self._weighed[1]


def least_below(trie: Trie, counts: Int64) -> Int64:
    """The smallest of the items' `counts` (n_items,) below each node, (nodes,)."""
    ordered = np.empty(len(counts) + 1, np.int64)
    ordered[trie.places] = counts
    ordered[-1] = np.iinfo(np.int64).max  # so that a run of leaves may end at the last one
    runs = torch.stack(trie.leaves(torch.arange(len(trie.token), device=trie.device)), dim=1)
    return np.minimum.reduceat(ordered, runs.cpu().numpy().ravel())[::2]


def _rank(beam: Beam, added: Tensor, node: Tensor | None, *, penalty: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities, and the same less each node's penalty, (U, B, C)."""
    assert node is not None
    sums = beam.score[..., None] + added
    return sums, sums - penalty[node.long()]
