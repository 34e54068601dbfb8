"""Popularity: every user gets the items with the most training interactions. Every generator has to beat it.

Needs counts only; knows nothing of a user but what to leave out of the list.
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
        """Count the training interactions of every item; chooses nothing on validation."""
        self.counts = np.bincount(train.sequences.values, minlength=train.n_items)
        self.order = np.lexsort((np.arange(train.n_items), -self.counts))  # ties by item number

    def rank(self, queries: Queries, *, k: int, exclude: Ragged | None = None) -> Ranking:
        """The `k` most popular items per query without those of `exclude`, scored by their counts.

        Equal counts are equal scores, so the scorer's tie rule applies. Items without interactions come last.
        """
        n_items = len(self.order)
        in_order = np.broadcast_to(np.arange(min(k, n_items)), (len(queries), min(k, n_items)))  # positions in `order`
        if exclude is not None:
            in_order = in_order + self._shift(exclude, in_order.shape[1])

        filled = in_order < n_items
        items = np.where(filled, self.order[np.minimum(in_order, n_items - 1)], PAD).astype(np.int32)
        scores = np.where(filled, self.counts[items], -np.inf).astype(np.float32)
        return Ranking(items, scores, depth=k)

    def _shift(self, exclude: Ragged, width: int) -> Int64:
        """How far position `j` of each list moves down the order, `(n, width)`; never builds users x items.

        The i-th excluded position `p` of a user (ascending, from 0) has `p - i` allowed positions before it, so it
        moves exactly the positions `j >= p - i`.
        """
        n_items, n = len(self.order), len(exclude)
        position = np.argsort(self.order)  # of each item in the order
        keys = np.unique(exclude.rows * n_items + position[exclude.values])  # (user, position), without repeats
        users, excluded = keys // n_items, keys % n_items

        first_moved = excluded - (np.arange(len(keys)) - np.searchsorted(users, users))  # p - i
        inside = first_moved < width
        moves = np.bincount(users[inside] * width + first_moved[inside], minlength=n * width)
        return np.cumsum(moves.reshape(n, width), axis=1)
