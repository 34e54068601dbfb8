"""Popularity: every user gets the items with the most training events. The floor that a generator has to beat.

Needs counts only; knows no codes, no network and no user beyond what must be left out of the list.
"""

from __future__ import annotations

import numpy as np

from genrec_bench.core.arrays import PAD, Int64, Ragged
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries, TrainView
from genrec_bench.host.contracts import Baseline, BaselineContext


class Popularity(Baseline):
    """The most popular items of the training part, the same for everybody."""

    contract = 1

    def fit(self, train: TrainView, ctx: BaselineContext) -> None:
        """Count the training events of every item; nothing is chosen on validation."""
        self.counts = np.bincount(train.sequences.values, minlength=train.n_items)
        self.order = np.lexsort((np.arange(train.n_items), -self.counts))  # ties by item number

    def rank(self, queries: Queries, *, k: int, exclude: Ragged | None = None) -> Ranking:
        """The `k` most popular items per query without those of `exclude`, scored by their counts.

        Equal counts are equal scores, so the scorer's tie rule applies. Items nobody met close the list.
        """
        n_items = len(self.order)
        places = np.broadcast_to(np.arange(min(k, n_items)), (len(queries), min(k, n_items)))
        if exclude is not None:
            places = places + self._shift(exclude, places.shape[1])
        there = places < n_items
        items = np.where(there, self.order[np.minimum(places, n_items - 1)], PAD).astype(np.int32)
        scores = np.where(there, self.counts[items], -np.inf).astype(np.float32)
        return Ranking(items, scores, depth=k)

    def _shift(self, exclude: Ragged, width: int) -> Int64:
        """How far place `j` of each list moves down the order, `(n, width)`: never builds users x items.

        The i-th excluded place `p` of a user (ascending, from 0) has `p - i` allowed places before it, so it pushes
        down exactly the places `j >= p - i`.
        """
        n_items, n = len(self.order), len(exclude)
        place_of = np.argsort(self.order)  # item -> place in the order
        keys = np.unique(exclude.rows * n_items + place_of[exclude.values])  # (user, place), repeats gone
        users, out = keys // n_items, keys % n_items
        first = out - (np.arange(len(keys)) - np.searchsorted(users, users))  # p - i
        near = first < width
        pushed = np.bincount(users[near] * width + first[near], minlength=n * width)
        return np.cumsum(pushed.reshape(n, width), axis=1)
