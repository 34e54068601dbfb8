"""Stochastic beam search: items drawn without replacement (Kool et al. 2019, arXiv 1903.06059).

Gumbel noise is added to log-probabilities from the root down, so that the best `beams` perturbed leaves are a sample
without replacement from the model's own distribution. The noise is a hash of the seed, the source and the trie node: it
needs no generator, touches none, and a user's list does not depend on who else is in the batch.

What is sampled: the paper's model ends in a sentence whatever it writes; ours may leave the catalogue. So each step is
renormalised over the children that lead to an item that may be recommended.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor

from genrec_bench.api import (
    Backbone,
    Beam,
    DecoderContext,
    Generations,
    Index,
    Ragged,
    Searching,
    Sources,
    TrainView,
    beam_search,
    extend,
    mix,
)

INF = float("inf")
ODD = np.uint64(0x9E3779B97F4A7C15)  # spreads small numbers over 64 bits


@dataclass(frozen=True)
class StochasticConfig:
    """Options of the stochastic decoder."""

    temperature: PositiveFloat = 1.0  # divides log-probabilities: below 1 towards the best items, above 1 away
    seed: int | None = None  # of the noise; none: the run's seed


class StochasticDecoder(Searching):
    """Items sampled without replacement from the model's distribution, in the order they were drawn.

    Scores are the *perturbed* log-probabilities, relative to the first: the first `k` places are a sample of `k` items,
    whatever the number of beams. `bound` is +inf, because a sample proves nothing about the best items. The same seed and
    source give the same list, so two users with the same source tokens get the same one.
    """

    Config = StochasticConfig
    excludes_in_search = True

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._seed = self.config.seed or 0

    def prepare(self, train: TrainView, ctx: DecoderContext) -> None:
        if self.config.seed is None:
            self._seed = ctx.seed

    def generate(
        self, backbone: Backbone, batch: Sources, index: Index, *, beams: int, exclude: Ragged | None = None
    ) -> Generations:
        trie = self.trie(index, backbone.device)
        rank = partial(_rank, keys=source_keys(batch, self._seed), temperature=self.config.temperature)
        grow = partial(extend, rank=rank)
        generations = beam_search(backbone, batch, trie, beams=beams, free=False, exclude=exclude, grow=grow)
        return replace(generations, bound=np.full_like(generations.bound, np.inf))


def _rank(
    beam: Beam, added: Tensor, node: Tensor | None, *, keys: NDArray[np.uint64], temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the sampled distribution, and the same perturbed, (U, B, C).

    The perturbed children of a hypothesis are drawn given that the largest of them equals their parent (the paper's
    section 4.1, in the stable form of its appendix B.3).
    """
    assert node is not None
    nowhere = added == -INF
    own = (added.double() / temperature).log_softmax(-1).masked_fill(nowhere, -INF)
    sums = beam.score[..., None] + own
    raw = sums + torch.from_numpy(gumbel(keys[:, None, None], node.cpu().numpy())).to(sums.device)
    largest, parent = raw.amax(-1, keepdim=True), beam.key[..., None].double()
    v = parent - raw + torch.log1p(-torch.exp(raw - largest))
    perturbed = parent - v.clamp(min=0) - torch.log1p(torch.exp(-v.abs()))
    return sums.float(), perturbed.float().masked_fill(nowhere, -INF)


def source_keys(batch: Sources, seed: int) -> NDArray[np.uint64]:
    """One 64-bit hash per source, `(n,)`, of its tokens in their order and of `seed`."""
    place = np.arange(len(batch.tokens)) - np.repeat(batch.offsets[:-1], batch.lengths)
    words = mix(mix(batch.tokens.astype(np.uint64)) + place.astype(np.uint64) * ODD)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(words, dtype=np.uint64)])
    return mix(sums[batch.offsets[1:]] - sums[batch.offsets[:-1]] + np.uint64(seed * int(ODD) % 2**64))


def gumbel(keys: NDArray[np.uint64], nodes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Standard Gumbel noise of each (key, node), shaped like the two broadcast; equal pairs give equal numbers."""
    bits = mix(keys ^ mix((nodes.astype(np.uint64) + np.uint64(1)) * ODD))
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return -np.log(-np.log(uniform))
