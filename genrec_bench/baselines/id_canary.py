"""The id canary: guesses by arithmetic on item numbers, and should find nothing.

Released numberings follow the order of first appearance, so "the last item's number plus one" hits test items; the
protocol shuffles its numbers for this reason (P3). Where this baseline beats popularity, the numbers leak what comes
next, and a system that sees them can look good without learning anything. Counts nothing and learns nothing.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic.dataclasses import dataclass
from scipy import sparse

from genrec_bench.baselines.lists import known_items, rank_in_blocks
from genrec_bench.core.arrays import Bool, Int64, Ragged, Text
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries, TrainView
from genrec_bench.errors import NeedsMissing
from genrec_bench.host.contracts import Baseline, BaselineContext

REACH = 200  # guesses go up to the last item's number plus this


@dataclass(frozen=True)
class Config:
    """Options of the canary."""

    ids: Literal["shuffled", "raw"] = "shuffled"  # the protocol's numbers, or the external ids


class IdCanary(Baseline):
    """Guesses last+1, max+1, last+2, last+3, prev+1, last-1, then last+4, last+5 and so on, from a user's item numbers.

    `last` and `prev` are the user's last two items, `max` is the user's highest number. Skips numbers that no item has.
    In the task `direct` the items are the training items; the validation item is ignored, since generators do not see
    it either. With `ids=raw` the numbers are the external ids, which must be whole numbers.
    """

    Config = Config
    contract = 1

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        raw = self.config.ids == "raw"
        self.needs = frozenset({"item_ids"}) if raw else frozenset()
        self.warning = (  # what it means if this baseline beats popularity
            "the raw item ids alone tell what comes next, so a system that sees them may owe its rows to them"
            if raw
            else "the shuffled item numbers alone tell what comes next, which they should not"
        )

    def fit(self, train: TrainView, ctx: BaselineContext) -> None:
        """Look up the numbers. NeedsMissing for raw ids that are not whole numbers."""
        self.train, self.task = train, ctx.task
        self.number = np.arange(train.n_items) if train.item_ids is None else whole_numbers(train.item_ids)
        self.order = np.argsort(self.number)

    def rank(self, queries: Queries, *, k: int, exclude: Ragged | None = None) -> Ranking:
        """The first `k` guesses per query that are items; fewer where guesses leave the catalogue."""
        return rank_in_blocks(known_items(queries, self.train, self.task), self._scores, k, exclude)

    def _scores(self, known: Ragged) -> sparse.csr_array:
        """Scores `(n, n_items)` that fall from guess to guess."""
        n, n_items = len(known), self.train.n_items
        guesses, valid = ordered_guesses(Ragged(self.number[known.values], known.offsets))

        # Keep the guesses that are items' numbers.
        nearest = np.minimum(np.searchsorted(self.number, guesses, sorter=self.order), n_items - 1)
        items = self.order[nearest]
        valid &= self.number[items] == guesses

        # Of equal guesses, keep the first.
        rows, positions = np.nonzero(valid)
        _, first = np.unique(rows * n_items + items[valid], return_index=True)
        rows, positions = rows[first], positions[first]
        scores = (guesses.shape[1] - positions).astype(np.float32)
        return sparse.csr_array((scores, (rows, items[rows, positions])), shape=(n, n_items))


def ordered_guesses(numbers: Ragged) -> tuple[Int64, Bool]:
    """Guesses `(n, guesses)`, best first, and which are valid: `prev` needs two numbers, the others one."""
    lengths, ends = numbers.lengths, numbers.offsets[1:]
    last, prev = (numbers.values[np.maximum(ends - back, 0)] if len(numbers.values) else ends * 0 for back in (1, 2))
    highest = np.full(len(numbers), np.iinfo(np.int64).min)
    np.maximum.at(highest, numbers.rows, numbers.values)

    first = [last + 1, highest + 1, last + 2, last + 3, prev + 1, last - 1]
    guesses = np.column_stack([*first, last[:, None] + np.arange(4, REACH + 1)])

    valid = np.repeat(lengths[:, None] > 0, guesses.shape[1], axis=1)
    valid[:, 4] &= lengths > 1
    return guesses, valid


def whole_numbers(ids: Text) -> Int64:
    """External ids as numbers, `(n,)`. NeedsMissing unless they are distinct whole numbers."""
    try:
        numbers = ids.astype(np.int64)
    except (ValueError, OverflowError):
        numbers = np.zeros(0, np.int64)
    if len(np.unique(numbers)) < len(ids):
        raise NeedsMissing(
            "id-canary with ids=raw does arithmetic on the data set's own item ids, and these are not distinct whole "
            f"numbers (the first is {ids[0]!s:.40}): use ids=shuffled, or another data set",
            needs=frozenset({"whole-number item ids"}),
        )
    return numbers
