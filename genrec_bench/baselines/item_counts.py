"""Item-to-item counts: what came right after, right before, or two steps after a user's last items.

Counts, trains nothing; every sequential model has to beat it (protocol P14). Knows no similarity beyond these counts,
and of a user only the last few items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass
from scipy import sparse

from genrec_bench.baselines.lists import known_items, rank_in_blocks
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries, TrainView
from genrec_bench.host.contracts import Baseline, BaselineContext

Weights = Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Config:
    """Options of the counts; the defaults were chosen once by hand, not tuned."""

    after: NonNegativeFloat = 1.0  # weight of an item that came right after
    before: NonNegativeFloat = 0.5  # of one that came right before
    skip: NonNegativeFloat = 0.5  # of one that came two steps after
    recency: Weights = (1.0, 0.5, 0.25)  # weights of a user's last items, the latest first


class ItemCounts(Baseline):
    """Directed item-to-item counts of the training sequences, from a user's last items.

    The score of item j is the sum over the user's last items i of recency times count(i, j), divided by
    sqrt(popularity(j) + 1). Items without a count are not listed. In the task `direct` the last items are training
    items; the validation item is ignored, since generators do not see it either.
    """

    Config = Config
    contract = 1
    search_space: ClassVar[Mapping[str, Any]] = {  # relative to `after`, which stays fixed
        "before": (0.0, 1.0),
        "skip": (0.0, 1.0),
        "recency": [[1.0], [1.0, 0.5], [1.0, 0.5, 0.25], [1.0, 0.8, 0.64, 0.512], [1.0, 1.0, 1.0, 1.0, 1.0]],
    }

    def fit(self, train: TrainView, ctx: BaselineContext) -> None:
        """Count; chooses nothing on validation."""
        self.train, self.task = train, ctx.task
        n, values, users = train.n_items, train.sequences.values, train.sequences.rows

        counts = sparse.csr_array((n, n))
        steps = ((1, self.config.after, False), (1, self.config.before, True), (2, self.config.skip, False))
        for step, weight, backwards in steps:
            same = users[step:] == users[:-step]
            first, then = values[:-step][same], values[step:][same]
            pair = (then, first) if backwards else (first, then)
            counts = counts + sparse.csr_array((np.full(len(first), weight), pair), shape=(n, n))
        self.counts = counts  # (from, to)
        self.damping = 1 / np.sqrt(np.bincount(values, minlength=n) + 1.0)

    def rank(self, queries: Queries, *, k: int, exclude: Ragged | None = None) -> Ranking:
        """The `k` best items per query among those with a count; often fewer than `k`."""
        known = known_items(queries, self.train, self.task).tail(len(self.config.recency))
        return rank_in_blocks(known, self._scores, k, exclude)

    def _scores(self, latest: Ragged) -> sparse.csr_array:
        """Scores `(n, n_items)` from each row's last items."""
        scores = self._recency(latest) @ self.counts  # sums of exact fractions: equal counts tie
        scores.data *= self.damping[scores.indices]
        return scores

    def _recency(self, latest: Ragged) -> sparse.csr_array:
        """Recency weights of each row's items, `(n, n_items)`; repeated items add up."""
        back = latest.offsets[1:][latest.rows] - 1 - np.arange(len(latest.values))  # 0: the latest
        weights = np.asarray(self.config.recency)[back]
        return sparse.csr_array((weights, (latest.rows, latest.values)), shape=(len(latest), self.train.n_items))
