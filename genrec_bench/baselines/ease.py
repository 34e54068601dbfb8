"""EASE: a linear model that predicts every item from all others, in closed form (Steck 2019, arXiv 1905.03375).

Inverts one items x items matrix in double precision; trains nothing. Ignores the order of interactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass
from scipy.linalg import lapack

from genrec_bench.baselines.lists import known_items, rank_in_blocks, user_item
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

    Let P be the inverse of X'X + l2, where X is the binary user x item matrix. Item i has the weight -P(i, j) / P(j, j)
    for item j, and an item's score is the sum of the weights that the user's items have for it. In the task `direct`
    the user's items are the training items; the validation item is ignored, since generators do not see it either.
    Refuses catalogues of more than 25,000 items: the inverse would need more than 5 GB.
    """

    Config = Config
    contract = 1
    search_space: ClassVar[Mapping[str, Any]] = {"l2": (1.0, 1e4, "log")}

    def fit(self, train: TrainView, ctx: BaselineContext) -> None:
        """Solve; chooses nothing on validation. UsageError for more than `MOST_ITEMS` items, or an l2 that is too small."""
        n = train.n_items
        if n > MOST_ITEMS:
            raise UsageError(
                f"ease inverts an items x items matrix, {8 * n * n / 1e9:,.1f} GB for {n:,} items; it takes at most "
                f"{MOST_ITEMS:,} items: use item-knn, or a smaller data set"
            )
        self.train, self.task = train, ctx.task

        # In place throughout, so that only one matrix is held.
        interactions = user_item(train.sequences, n)
        inverse = (interactions.T @ interactions).toarray(order="F")
        inverse[np.diag_indices(n)] += self.config.l2
        norm = inverse.sum(axis=0).max()  # counts are not negative
        inverse, failed = lapack.dpotrf(inverse, lower=1, overwrite_a=1, clean=0)
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
        """The `k` best items per query among those with a positive score."""
        known = known_items(queries, self.train, self.task)
        return rank_in_blocks(known, lambda rows: user_item(rows, self.train.n_items) @ self.weights, k, exclude)


def mirror_below(matrix: np.ndarray) -> None:
    """Copy the lower triangle to the upper one, in place, one strip at a time."""
    n, step = len(matrix), 512
    for first in range(0, n, step):
        last = min(first + step, n)
        corner = np.tril(matrix[first:last, first:last], -1)
        matrix[first:last, first:last] = corner + corner.T + np.diag(np.diag(matrix)[first:last])
        matrix[first:last, last:] = matrix[last:, first:last].T
