"""Diverse beam search over the catalogue's trie (Vijayakumar et al. 2018, arXiv 1610.02424).

The beam is divided into groups that choose their survivors one after another at every step; a group likes a prefix less
for every hypothesis of the earlier groups that stands on it. Knows prefixes of codes, not what they mean.

Departures from the paper. It counts equal tokens of the same step, which says nothing about codes: a token means another
thing under another parent, so equal *prefixes* are counted (at the first level the two are the same). The penalty decides
who survives a step and is then forgotten, so that a score stays the sum of log-probabilities. And a prefix carries at most
as many hypotheses as it has items, an item one, so that no place is spent twice.
"""

from __future__ import annotations

from dataclasses import fields
from functools import partial

import torch
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import pad

from genrec_bench.api import (
    PAD,
    Answer,
    Backbone,
    Beam,
    Generations,
    Index,
    Ragged,
    Rank,
    Searching,
    Sources,
    Trie,
    beam_search,
    extend,
)

INF = float("inf")


@dataclass(frozen=True)
class DiverseConfig:
    """Options of the diverse decoder."""

    groups: PositiveInt = 5  # groups the beams are divided among, as evenly as it goes; 1 is the decoder `trie`
    penalty: NonNegativeFloat = 2.0  # taken from a log-probability (natural) per earlier hypothesis on its prefix


class DiverseDecoder(Searching):
    """Diverse beam search: groups of beams that avoid each other's prefixes, merged by log-probability.

    The list holds different items only and is ordered by their true log-probabilities. A group whose prefixes run out of
    items ends with fewer, as any narrow beam does. `bound` is what the first group discarded: that group pays no penalty,
    so whatever the list lacks scores no better.
    """

    Config = DiverseConfig
    excludes_in_search = True

    def generate(
        self, backbone: Backbone, batch: Sources, index: Index, *, beams: int, exclude: Ragged | None = None
    ) -> Generations:
        trie = self.trie(index, backbone.device)
        grow = partial(_grow, sizes=shares(beams, self.config.groups), penalty=self.config.penalty)
        return beam_search(backbone, batch, trie, beams=beams, free=False, exclude=exclude, grow=grow)


def shares(beams: int, groups: int) -> list[int]:
    """`beams` divided among at most `groups` groups, none empty, the larger ones first."""
    groups = min(groups, beams)
    return [beams // groups + (group < beams % groups) for group in range(groups)]


def _grow(
    beam: Beam,
    answer: Answer,
    trie: Trie,
    step: int,
    beams: int,
    free: bool,
    excluded: Tensor | None,
    *,
    sizes: list[int],
    penalty: float,
) -> tuple[Beam, Tensor]:
    """One step of all groups; group `g` owns `sizes[g]` neighbouring positions of the beam. All begin at the one root."""
    groups = [beam] * len(sizes) if step == 0 else _divide(beam, sizes)
    grown: list[Beam] = []
    bound = taken = None
    for group, size in zip(groups, sizes, strict=True):
        rank: Rank | None = None if taken is None else partial(_rank, trie=trie, taken=taken, penalty=penalty)
        group, left = extend(group, answer, trie, step, size, free, excluded, rank)
        group.score = group.key = group.score.masked_fill(group.key == -INF, -INF)
        grown.append(_fill(group, size))
        bound = left if bound is None else bound
        taken = torch.cat([part.node.masked_fill(part.key == -INF, -1) for part in grown], 1).sort(1).values
    assert bound is not None
    return _join(grown), bound


def _rank(
    beam: Beam, added: Tensor, node: Tensor | None, *, trie: Trie, taken: Tensor, penalty: float
) -> tuple[Tensor, Tensor]:
    """Sums, and sums less the penalty, (U, B, C); `taken` (U, T) are the sorted nodes of the earlier groups."""
    assert node is not None
    flat = node.flatten(1).contiguous()
    times = torch.searchsorted(taken, flat, right=True) - torch.searchsorted(taken, flat)
    times = times.view(node.shape)
    first, last = trie.leaves(node.long())
    sums = (beam.score[..., None] + added).masked_fill(times >= last - first, -INF)
    return sums, sums - penalty * times


def _divide(beam: Beam, sizes: list[int]) -> list[Beam]:
    parts = [getattr(beam, field.name).split(sizes, dim=1) for field in fields(Beam)]
    return [Beam(*part) for part in zip(*parts, strict=True)]


def _join(groups: list[Beam]) -> Beam:
    return Beam(*(torch.cat([getattr(group, field.name) for group in groups], 1) for field in fields(Beam)))


def _fill(group: Beam, size: int) -> Beam:
    """The group with `size` places, the new ones empty."""
    by = size - group.score.shape[1]
    score = pad(group.score, (0, by), value=-INF)
    tokens = pad(group.tokens, (0, 0, 0, by), value=PAD)
    node, slot, still = (pad(part, (0, by)) for part in (group.node, group.slot, group.open))
    return Beam(score, score, tokens, node, slot, still)
