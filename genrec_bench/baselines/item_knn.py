"""Item neighbourhoods: an item is recommended for the user's items that it resembles, by the users they share.

Cosine over the user x item matrix with shrinkage (Sarwar et al. 2001; the shrinkage as in Dacrema et al. 2019,
arXiv 1907.06902). Knows no order of events. The similarities are kept sparse and made a block of items at a time: no
items x items array is ever held.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from scipy import sparse

from genrec_bench.baselines.lists import (
    blocks,
    known_items,
    rank_sparse,
    user_item,
)
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries, TrainView
from genrec_bench.host.contracts import Baseline, BaselineContext

ITEMS_AT_ONCE = 512  # whose similarities to all items are held together


@dataclass(frozen=True)
class Config:
    """Options of the neighbourhoods; the defaults did well on validation of ml-100k and beauty, sequential."""

    neighbours: PositiveInt = 200  # most similar items kept of each item
    shrink: NonNegativeFloat = 50.0  # added to the cosine's denominator: few common users are little evidence


class ItemKNN(Baseline):
    """Item-based nearest neighbours by shrunk cosine: common(i, j) / (sqrt(users(i) users(j)) + shrink).

    The score of item i is the sum of its similarities to those of its `neighbours` nearest items that the user has;
    neighbours of equal similarity go by item number. In the task `direct` the user has the training items only: the
    validation item is not looked at, since generators do not see it there.
    """

    Config = Config
    contract = 1
    search_space: Mapping[str, Any] = {"neighbours": (10, 1000, "log"), "shrink": (0.0, 200.0)}

    def fit(self, train: TrainView, ctx: BaselineContext) -> None:
        """Find every item's neighbours; nothing is chosen on validation."""
        self.train, self.task = train, ctx.task
        met = user_item(train.sequences, train.n_items)
        by_item, size = met.T.tocsr(), np.sqrt(met.sum(axis=0))
        parts = []
        for at in range(0, train.n_items, ITEMS_AT_ONCE):
            alike = sparse.csr_array(by_item[at : at + ITEMS_AT_ONCE] @ met)  # common users, (block, n_items)
            items = np.repeat(np.arange(alike.shape[0]), np.diff(alike.indptr))
            alike.data /= size[at + items] * size[alike.indices] + self.config.shrink
            alike.data[alike.indices == at + items] = 0  # an item is no neighbour of itself
            parts.append(self._nearest(alike))
        self.similar = sparse.vstack(parts).T.tocsr()  # (neighbour, item): a user's row times this gives scores

    def _nearest(self, alike: sparse.csr_array) -> sparse.csr_array:
        """Each row's largest values."""
        nearest = rank_sparse(alike, self.config.neighbours, None)
        rows, places = np.nonzero(nearest.items >= 0)
        entries = nearest.scores[rows, places].astype(np.float64), (rows, nearest.items[rows, places])
        return sparse.csr_array(entries, shape=alike.shape)

    def rank(self, queries: Queries, *, k: int, exclude: Ragged | None = None) -> Ranking:
        """The `k` best items per query that have a neighbour among the user's items."""
        known = known_items(queries, self.train, self.task)
        parts = []
        for rows in blocks(len(queries)):
            scores = user_item(known.take(rows), self.train.n_items) @ self.similar
            parts.append(rank_sparse(scores, k, None if exclude is None else exclude.take(rows)))
        return Ranking.concatenate(parts)
