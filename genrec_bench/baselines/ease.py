"""EASE: a linear model that predicts every item from all others, in closed form (Steck 2019, arXiv 1905.03375).

One inverse of an items x items matrix in double precision, and nothing to train. Knows no order of events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass
from scipy.linalg import lapack

from genrec_bench.baselines.lists import (
    blocks,
    known_items,
    rank_dense,
    user_item,
)
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries, TrainView
from genrec_bench.errors import UsageError
from genrec_bench.host.contracts import Baseline, BaselineContext

MOST_ITEMS = 25_000  # 5 GB for the inverse; its time grows with the cube of the number of items


@dataclass(frozen=True)
class Config:
    """Options of EASE."""

    l2: PositiveFloat = 250.0  # the paper's lambda: added to the diagonal of the items' co-occurrence counts


class EASE(Baseline):
    """Embarrassingly shallow autoencoders: least squares with a zero diagonal, solved exactly.

    With P the inverse of X'X + l2, where X says which user met which item, the weight of item i for item j is
    -P(i, j) / P(j, j), and an item's score is the sum of the weights of the user's items for it. In the task `direct`
    the user's items are those of training: the validation item is not looked at, since generators do not see it there.
    A catalogue of more than 25,000 items is refused: the inverse would need more than 5 GB.
    """

    Config = Config
    contract = 1
    search_space: Mapping[str, Any] = {"l2": (1.0, 1e4, "log")}

    def fit(self, train: TrainView, ctx: BaselineContext) -> None:
        """Solve; nothing is chosen on validation. UsageError for more than `MOST_ITEMS` items, or an l2 too small."""
        n = train.n_items
        if n > MOST_ITEMS:
            raise UsageError(
                f"ease inverts an items x items matrix, {8 * n * n / 1e9:,.1f} GB for {n:,} items; it takes at most "
                f"{MOST_ITEMS:,} items: use item-knn, or a smaller data set"
            )
        self.train, self.task = train, ctx.task
        met = user_item(train.sequences, n)
        inverse = (met.T @ met).toarray(order="F")
        inverse[np.diag_indices(n)] += self.config.l2
        norm = inverse.sum(axis=0).max()  # of counts, which are not negative
        inverse, failed = lapack.dpotrf(inverse, lower=1, overwrite_a=1, clean=0)  # in place: one matrix is held
        if failed or lapack.dpocon(inverse, norm, uplo="L")[0] < np.finfo(np.float64).eps:
            raise UsageError(
                f"ease cannot solve its equations with l2={self.config.l2:g}: to double precision their matrix has no "
                "inverse; set a larger baseline.l2"
            )
        inverse, _ = lapack.dpotri(inverse, lower=1, overwrite_c=1)
        mirror_below(inverse)
        self.weights = inverse.T  # symmetric so far; (from, to), rows contiguous
        self.weights /= -np.diag(self.weights).copy()
        self.weights[np.diag_indices(n)] = 0

    def rank(self, queries: Queries, *, k: int, exclude: Ragged | None = None) -> Ranking:
        """The `k` best items per query among those of a positive score."""
        known = known_items(queries, self.train, self.task)
        parts = []
        for rows in blocks(len(queries)):
            scores = user_item(known.take(rows), self.train.n_items) @ self.weights
            parts.append(rank_dense(scores, k, None if exclude is None else exclude.take(rows)))
        return Ranking.concatenate(parts)


def mirror_below(matrix: np.ndarray) -> None:
    """Copy what is below the diagonal above it, in place, a strip at a time."""
    n, step = len(matrix), 512
    for at in range(0, n, step):
        end = min(at + step, n)
        corner = np.tril(matrix[at:end, at:end], -1)
        matrix[at:end, at:end] = corner + corner.T + np.diag(np.diag(matrix)[at:end])
        matrix[at:end, end:] = matrix[end:, at:end].T
