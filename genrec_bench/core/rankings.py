"""What decoders emit (`Generations`) and what is scored (`Ranking`)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genrec_bench.core.arrays import PAD, Float32, Int32
from genrec_bench.core.frames import data_frame
from genrec_bench.errors import InvalidRanking

if TYPE_CHECKING:
    import pandas as pd

NOT_AN_ITEM = -1  # a hypothesis that is not the code of any catalogue item
NO_HYPOTHESIS = -2  # an empty slot of a beam


@dataclass(frozen=True)
class Generations:
    """What a decoder emitted, before anything is dropped.

    `tokens` `(n, beams, width)`: padded with -1. `scores` `(n, beams)`: sums of log-probabilities, best first. `items`
    `(n, beams)`: item number, -1 = not a catalogue item, -2 = no hypothesis. `bound` `(n,)`: the best score among the
    hypotheses that the search discarded (-inf if none; +inf where the search certifies nothing).

    Codes made elsewhere differ in two ways. Several items may share a code: such a hypothesis has one place for each, with
    one score, and only the first has tokens. And `bound` is NaN, because nobody knows what that search discarded.
    """

    tokens: Int32
    scores: Float32
    items: Int32
    bound: Float32

    def __post_init__(self) -> None:
        assert (
            self.tokens.shape[:2] == self.scores.shape == self.items.shape and self.bound.shape == self.scores.shape[:1]
        )

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: NDArray[Any]) -> Generations:
        """The given cases, in the given order."""
        return Generations(self.tokens[rows], self.scores[rows], self.items[rows], self.bound[rows])

    @classmethod
    def concatenate(cls, parts: list[Generations]) -> Generations:
        """All cases of several batches."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


@dataclass(frozen=True, repr=False)
class Ranking:
    """A ranked list per case: item numbers and scores `(n, length)`; unfilled positions are -1 at the end.

    `depth` is the length that was asked for. InvalidRanking for repeated items, gaps and rising scores.
    """

    items: Int32
    scores: Float32
    depth: int

    def __post_init__(self) -> None:
        if self.items.shape != self.scores.shape or self.items.ndim != 2 or self.items.shape[1] > self.depth:
            raise InvalidRanking(
                f"a ranking of shape {self.items.shape} with scores {self.scores.shape}, depth {self.depth}"
            )

        filled = self.items >= 0
        if (filled[:, 1:] & ~filled[:, :-1]).any():
            raise InvalidRanking("a ranked list has a gap: empty positions belong at its end")

        both = filled[:, 1:]  # a position and the one before it
        if np.isnan(self.scores[filled]).any() or (self.scores[:, 1:][both] > self.scores[:, :-1][both]).any():
            raise InvalidRanking("scores of a ranked list must not rise or be NaN")

        ordered = np.sort(self.items, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            raise InvalidRanking("a ranked list names an item twice")

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"<ranking: {len(self):,} lists of up to {self.depth} items>"

    def to_pandas(self) -> pd.DataFrame:
        """One row per place that is filled: `case` (row of the ranking), `rank` from 1, `item` number, `score`.

        NeedsMissing without pandas.
        """
        case, place = np.nonzero(self.items >= 0)
        return data_frame(
            {"case": case, "rank": place + 1, "item": self.items[case, place], "score": self.scores[case, place]}
        )

    @classmethod
    def concatenate(cls, parts: list[Ranking]) -> Ranking:
        """All cases of several batches; narrower ones are padded."""
        length = max(part.items.shape[1] for part in parts)
        pad = [((0, 0), (0, length - part.items.shape[1])) for part in parts]
        items = [np.pad(part.items, by, constant_values=PAD) for part, by in zip(parts, pad, strict=True)]
        scores = [np.pad(part.scores, by, constant_values=-np.inf) for part, by in zip(parts, pad, strict=True)]
        return cls(np.concatenate(items), np.concatenate(scores), parts[0].depth)
