"""Item neighbourhoods: recommends items that resemble the user's items, by the users that they share.

Cosine over the user x item matrix with shrinkage (Sarwar et al. 2001; the shrinkage as in Dacrema et al. 2019,
arXiv 1907.06902). Ignores the order of interactions. Similarities are sparse and computed for a block of items at a
time: no items x items array is ever held.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from scipy import sparse

from genrec_bench.baselines.lists import known_items, rank_in_blocks, user_item
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries, TrainView
from genrec_bench.host.contracts import Baseline, BaselineContext

ITEMS_AT_ONCE = 512  # whose similarities to all items are held together


@dataclass(frozen=True)
class Config:
    """Options of the neighbourhoods; the defaults did well on validation of ml-100k and beauty, sequential."""

    neighbours: PositiveInt = 200  # most similar items kept of each item, and those equal to the last
    shrink: NonNegativeFloat = 50.0  # added to the cosine's denominator: few common users are little evidence


class ItemKNN(Baseline):
    """Item-based nearest neighbours by shrunk cosine: common(i, j) / (sqrt(users(i) users(j)) + shrink).

    The score of item i is the sum of its similarities to those of its `neighbours` nearest items that the user has
    seen; neighbours as near as the last of these count too. In the task `direct` only training items count; the
    validation item is ignored, since generators do not see it either.
    """

    Config = Config
    contract = 1
    search_space: ClassVar[Mapping[str, Any]] = {"neighbours": (10, 1000, "log"), "shrink": (0.0, 200.0)}

    def fit(self, train: TrainView, ctx: BaselineContext) -> None:
        """Find every item's neighbours; chooses nothing on validation."""
        self.train, self.task = train, ctx.task
        interactions = user_item(train.sequences, train.n_items)
        by_item, users = interactions.T.tocsr(), np.asarray(interactions.sum(axis=0), np.float64)

        parts = []
        for first in range(0, train.n_items, ITEMS_AT_ONCE):
            common_users = by_item[first : first + ITEMS_AT_ONCE] @ interactions
            similarity = sparse.csr_array(common_users)  # (block, n_items)
            items = np.repeat(np.arange(similarity.shape[0]), np.diff(similarity.indptr))
            similarity.data /= np.sqrt(users[first + items] * users[similarity.indices]) + self.config.shrink
            similarity.data[similarity.indices == first + items] = 0  # an item is not its own neighbour
            parts.append(self._nearest(similarity))
        self.similarity = sparse.vstack(parts).T.tocsr()  # (neighbour, item): a user's row times this gives scores

    def _nearest(self, similarity: sparse.csr_array) -> sparse.csr_array:
        """The `neighbours` largest values of each row, and those equal to the last: a choice among them would go by number."""
        most = self.config.neighbours
        for start, end in itertools.pairwise(similarity.indptr):
            row = similarity.data[start:end]
            if len(row) > most:
                row[row < np.partition(row, -most)[-most]] = 0
        similarity.eliminate_zeros()
        return similarity

    def rank(self, queries: Queries, *, k: int, exclude: Ragged | None = None) -> Ranking:
        """The `k` best items per query among those with a neighbour among the user's items."""
        known = known_items(queries, self.train, self.task)
        return rank_in_blocks(known, lambda rows: user_item(rows, self.train.n_items) @ self.similarity, k, exclude)
