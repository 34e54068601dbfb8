"""The id canary: guesses by arithmetic on item numbers, and nothing else. It should find nothing.

Released numberings follow the order of first appearance, so "the last item's number plus one" finds test items; that is
why the protocol shuffles numbers (P3). Where this baseline beats popularity, the numbers tell what comes next, and a
system that sees them can look good without having learnt anything. Counts nothing and learns nothing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic.dataclasses import dataclass
from scipy import sparse

from genrec_bench.baselines.lists import blocks, known_items, rank_sparse
from genrec_bench.core.arrays import Int64, Ragged, Text
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

    `last` and `prev` are the user's last two items, `max` the highest number. Numbers that no item has are skipped. In
    the task `direct` the items are those of training: the validation item is not looked at, since generators do not see
    it there. With `ids = "raw"` the numbers are the external ids, which have to be whole numbers.
    """

    Config = Config
    contract = 1

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        raw = self.config.ids == "raw"
        self.needs = frozenset({"item_ids"}) if raw else frozenset()
        self.warning = (  # what it means if this baseline beats popularity
            "the raw item ids alone tell what comes next, so a system that sees them may owe its rows to them"
            if raw
            else "the shuffled item numbers alone tell what comes next, which they should not"
        )

    def fit(self, train: TrainView, ctx: BaselineContext) -> None:
        """Note the numbers. NeedsMissing for raw ids that are no whole numbers."""
        self.train, self.task = train, ctx.task
        self.number = np.arange(train.n_items) if train.item_ids is None else whole_numbers(train.item_ids)
        self.order = np.argsort(self.number)

    def rank(self, queries: Queries, *, k: int, exclude: Ragged | None = None) -> Ranking:
        """The first `k` guesses per query that are items; fewer where guesses lead out of the catalogue."""
        known = known_items(queries, self.train, self.task)
        parts = []
        for rows in blocks(len(queries)):
            scores = self._guess(known.take(rows))
            parts.append(rank_sparse(scores, k, None if exclude is None else exclude.take(rows)))
        return Ranking.concatenate(parts)

    def _guess(self, known: Ragged) -> sparse.csr_array:
        """Scores `(n, n_items)` that fall from guess to guess."""
        n, n_items = len(known), self.train.n_items
        guesses, made = guessed(Ragged(self.number[known.values], known.offsets))
        at = np.minimum(np.searchsorted(self.number, guesses, sorter=self.order), n_items - 1)
        items = self.order[at]
        made &= self.number[items] == guesses
        rows, places = np.nonzero(made)
        _, first = np.unique(rows * n_items + items[made], return_index=True)  # a number is guessed once
        rows, places = rows[first], places[first]
        scores = (guesses.shape[1] - places).astype(np.float32)
        return sparse.csr_array((scores, (rows, items[rows, places])), shape=(n, n_items))


def guessed(numbers: Ragged) -> tuple[Int64, np.ndarray]:
    """Guesses `(n, places)`, the first choice first, and which of them are made: all but `prev` needs one number."""
    lengths, ends = numbers.lengths, numbers.offsets[1:]
    last, prev = (numbers.values[np.maximum(ends - back, 0)] if len(numbers.values) else ends * 0 for back in (1, 2))
    highest = np.full(len(numbers), np.iinfo(np.int64).min)
    np.maximum.at(highest, numbers.rows, numbers.values)
    first = [last + 1, highest + 1, last + 2, last + 3, prev + 1, last - 1]
    guesses = np.column_stack([*first, last[:, None] + np.arange(4, REACH + 1)])
    made = np.repeat(lengths[:, None] > 0, guesses.shape[1], axis=1)
    made[:, 4] &= lengths > 1
    return guesses, made


def whole_numbers(ids: Text) -> Int64:
    """External ids as numbers, `(n,)`. NeedsMissing if they are none, or two are equal as numbers."""
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
