"""What the floors share: what a user may be known by in each task, and how scores become ranked lists.

An item is listed only if something speaks for it, which is a score above zero: a list of fewer items stays short. Scores
are compared as float32, so sums that differ by rounding alone are ties. Knows no method.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec_bench.core.arrays import (
    PAD,
    Float32,
    Int64,
    Ragged,
)
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries, TrainView
from genrec_bench.host.contracts import Task

USERS_AT_ONCE = 256  # whose scores are held together, whatever the number of queries


def known_items(queries: Queries, train: TrainView, task: Task | None) -> Ragged:
    """What each query's user is known by, oldest first: in the task `direct` the user's training items, else the history.

    In the direct task `queries.history` says what to mask, and at the test it holds the validation item. A generator does
    not see that one there: its input is the user, its weights are from training. So a floor does not see it either.
    """
    return train.sequences.take(queries.user) if task == "direct" else queries.history


def blocks(n: int) -> Iterator[NDArray[Any]]:
    """The rows 0 to n - 1, `USERS_AT_ONCE` at a time; one empty block if there are none."""
    for at in range(0, max(n, 1), USERS_AT_ONCE):
        yield np.arange(at, min(at + USERS_AT_ONCE, n))


def user_item(rows: Ragged, n_items: int) -> sparse.csr_array:
    """Which row met which item, `(len(rows), n_items)`: ones, however often."""
    keys = np.unique(rows.rows * n_items + rows.values)
    users, items = keys // n_items, keys % n_items
    return sparse.csr_array((np.ones(len(keys)), (users, items)), shape=(len(rows), n_items))


def rank_dense(scores: NDArray[Any], k: int, exclude: Ragged | None) -> Ranking:
    """The `k` best of every row of `scores` `(n, n_items)`, without those of `exclude`."""
    n, n_items = scores.shape
    scores = scores.astype(np.float32)
    if exclude is not None:
        scores[exclude.rows, exclude.values] = -np.inf
    worst = np.zeros((n, 1), np.float32)
    if k < n_items:
        worst = np.partition(scores, n_items - k, axis=1)[:, n_items - k, None]  # the k-th best
    rows, items = np.nonzero((scores >= worst) & (scores > 0))  # with all that tie with the k-th
    return _top(rows, items, scores[rows, items], n, k)


def rank_sparse(scores: sparse.csr_array, k: int, exclude: Ragged | None) -> Ranking:
    """The `k` best of every row of `scores` `(n, n_items)`, without those of `exclude`; what is not stored is zero."""
    n, n_items = scores.shape
    rows, items = np.repeat(np.arange(n), np.diff(scores.indptr)), scores.indices
    values = scores.data.astype(np.float32)
    if exclude is not None:
        out = np.zeros((n, n_items), np.bool_)
        out[exclude.rows, exclude.values] = True
        values[out[rows, items]] = 0
    worst = [_kth_best(values[start:end], k) for start, end in pairwise(scores.indptr)]
    keep = (values > 0) & (values >= np.array(worst, np.float32)[rows])  # with all that tie with the k-th
    return _top(rows[keep], items[keep], values[keep], n, k)


def _kth_best(scores: Float32, k: int) -> float:
    """The k-th largest of `scores` `(n,)`, 0 if there are no more than k: only so many need sorting."""
    return float(np.partition(scores, len(scores) - k)[len(scores) - k]) if len(scores) > k else 0.0


def _top(rows: Int64, items: NDArray[Any], scores: Float32, n: int, k: int) -> Ranking:
    """Lists from (row, item, score) triplets: best score first, equal ones by item number."""
    order = np.lexsort((items, -scores, rows))
    rows, items, scores = rows[order], items[order], scores[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    rows, items, scores, place = (column[place < k] for column in (rows, items, scores, place))
    listed, told = np.full((n, k), PAD, np.int32), np.full((n, k), -np.inf, np.float32)
    listed[rows, place], told[rows, place] = items, scores
    return Ranking(listed, told, depth=k)
