"""Whether two searches gave the same lists, which a comparison of their speed must show first. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genrec_bench.api import Bool, Float32, GenrecError

TIE = 1e-4  # closer scores are a tie: fp32 sums differ by their order


class ListsDiffer(GenrecError):
    """Two sides of a benchmark gave different lists, so their times may not be compared (`case`, `user`)."""


@dataclass(frozen=True)
class Agreement:
    """How far two sides' lists agree.

    Per user, `equal` says whether the lists are equal at every position, and `same` whether they are equal up to ties.
    `tied` is the share of all positions that differ by a tie.
    """

    equal: Bool
    same: Bool
    tied: float

    @property
    def share(self) -> float:
        """Per cent of users whose lists are equal up to ties."""
        return 100 * float(self.same.mean())


def compare(ours: Any, our_scores: Float32, peers: Any, peer_scores: Float32) -> Agreement:
    """Compare hypotheses (users, positions) or (users, positions, width), best first, by scores (users, positions).

    Lists are the same if every hypothesis of the peer has the score that we give it, within `TIE`, and if the scores
    agree at every position. A hypothesis that we do not list is compared with our last: which of several equal ones
    ends a list is a tie as well.
    """
    if ours.ndim == 2:
        ours, peers = ours[..., None], peers[..., None]

    equal = (peers[:, :, None] == ours[:, None]).all(axis=-1)  # (users, peer positions, our positions)
    position = np.where(equal.any(axis=2), equal.argmax(axis=2), ours.shape[1] - 1)
    our_score = np.take_along_axis(our_scores, position, 1)

    near = _near(peer_scores, our_score) & _near(peer_scores, our_scores)
    differs = (ours != peers).any(axis=-1)
    return Agreement(~differs.any(axis=1), near.all(axis=1), float((differs & near).mean()))


def _near(one: Float32, other: Float32) -> Bool:
    with np.errstate(invalid="ignore"):  # -inf minus -inf, at empty positions
        return (np.abs(one - other) <= TIE) | (np.isneginf(one) & np.isneginf(other))


def require_same(case: str, agreement: Agreement) -> Agreement:
    """The agreement, if every user's lists are the same. ListsDiffer otherwise."""
    if agreement.same.all():
        return agreement

    differing = np.flatnonzero(~agreement.same)
    raise ListsDiffer(
        f"{case}: the lists of {len(differing)} of {len(agreement.same)} users differ by more than ties of {TIE:g} "
        f"(first: user {differing[0]}); no time is printed for sides that do different work",
        case=case,
        user=int(differing[0]),
    )
