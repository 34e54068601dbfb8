"""Whether two searches gave the same lists: what a comparison of their speed has to show first. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genrec_bench.core.arrays import Bool, Float32
from genrec_bench.errors import GenrecError

TIE = 1e-4  # scores this close are a tie: fp32 sums in another order


class ListsDiffer(GenrecError):
    """Two sides of a benchmark gave different lists, so their times may not be compared (`case`, `user`)."""


@dataclass(frozen=True)
class Agreement:
    """Per user: whether the lists are equal place by place, and whether they are but for ties. `tied` is the share of all
    places that a tie excuses."""

    equal: Bool
    same: Bool
    tied: float

    @property
    def share(self) -> float:
        """Per cent of users whose lists are the same, ties excepted."""
        return 100 * float(self.same.mean())


def compare(ours: Any, our_scores: Float32, theirs: Any, their_scores: Float32) -> Agreement:
    """Of hypotheses (users, places) or (users, places, width) with their scores (users, places), best first.

    Lists are the same if every hypothesis of theirs has the score that it has with us, within `TIE`, and so has every
    place. One that we do not list may be as good as our last: which of them a list ends with is a tie as well.
    """
    if ours.ndim == 2:
        ours, theirs = ours[..., None], theirs[..., None]
    found = (theirs[:, :, None] == ours[:, None]).all(axis=-1)  # (users, their places, our places)
    here = np.where(found.any(axis=2), found.argmax(axis=2), ours.shape[1] - 1)
    near = _near(their_scores, np.take_along_axis(our_scores, here, 1)) & _near(their_scores, our_scores)
    differs = (ours != theirs).any(axis=-1)
    return Agreement(~differs.any(axis=1), near.all(axis=1), float((differs & near).mean()))


def _near(one: Float32, other: Float32) -> Bool:
    with np.errstate(invalid="ignore"):  # -inf less -inf, in empty places
        return (np.abs(one - other) <= TIE) | (np.isneginf(one) & np.isneginf(other))


def insist(case: str, found: Agreement) -> Agreement:
    """`found`, if all users' lists are the same; ListsDiffer otherwise."""
    if not found.same.all():
        user = int(np.flatnonzero(~found.same)[0])
        raise ListsDiffer(
            f"{case}: the lists of {int((~found.same).sum())} of {len(found.same)} users differ by more than ties of "
            f"{TIE:g} (first: user {user}); no time is printed for sides that do different work",
            case=case,
            user=user,
        )
    return found
