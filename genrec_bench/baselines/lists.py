"""What the baselines share: what may be known of a user in each task, and how scores become ranked lists.

Only items with a score above zero are listed, so lists may be short. Scores are compared as float32, so sums that
differ only by rounding are ties. Knows no method.
"""

from __future__ import annotations

from collections.abc import Callable
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

USERS_AT_ONCE = 256  # users scored together; bounds the memory for scores


def known_items(queries: Queries, train: TrainView, task: Task | None) -> Ragged:
    """What a baseline may know of each query's user, oldest item first: in the task `direct` the training items.

    In the direct task `queries.history` says what to mask, and in the test it includes the validation item. A generator
    does not see that item: its input is the user, and its weights come from training. So a baseline must not see it
    either. In the other tasks the history is what everybody sees.
    """
    return train.sequences.take(queries.user) if task == "direct" else queries.history


def user_item(rows: Ragged, n_items: int) -> sparse.csr_array:
    """The binary matrix `(len(rows), n_items)` of which row contains which item."""
    keys = np.unique(rows.rows * n_items + rows.values)
    users, items = keys // n_items, keys % n_items
    return sparse.csr_array((np.ones(len(keys)), (users, items)), shape=(len(rows), n_items))


def rank_in_blocks(known: Ragged, scores_of: Callable[[Ragged], Any], k: int, exclude: Ragged | None) -> Ranking:
    """The `k` best items per row of `known`, without those of `exclude`, scored `USERS_AT_ONCE` rows at a time.

    `scores_of(rows)` gives the scores of some rows, `(len(rows), n_items)`, as a dense or a sparse array.
    """
    parts = []
    for first in range(0, max(len(known), 1), USERS_AT_ONCE):  # one empty block if there are no rows
        rows = np.arange(first, min(first + USERS_AT_ONCE, len(known)))
        scores = scores_of(known.take(rows))
        rank = rank_sparse if sparse.issparse(scores) else rank_dense
        parts.append(rank(scores, k, None if exclude is None else exclude.take(rows)))
    return Ranking.concatenate(parts)


def rank_dense(scores: NDArray[Any], k: int, exclude: Ragged | None) -> Ranking:
    """The `k` best of every row of `scores` `(n, n_items)`, without those of `exclude`."""
    n, n_items = scores.shape
    scores = scores.astype(np.float32)
    if exclude is not None:
        scores[exclude.rows, exclude.values] = -np.inf

    kth = np.zeros((n, 1), np.float32)
    if k < n_items:
        kth = np.partition(scores, n_items - k, axis=1)[:, n_items - k, None]
    rows, items = np.nonzero((scores >= kth) & (scores > 0))  # includes all that tie with the k-th
    return _top(rows, items, scores[rows, items], n, k)


def rank_sparse(scores: sparse.csr_array, k: int, exclude: Ragged | None) -> Ranking:
    """The `k` best of every row of the sparse `scores` `(n, n_items)`, without those of `exclude`."""
    n, n_items = scores.shape
    rows, items = np.repeat(np.arange(n), np.diff(scores.indptr)), scores.indices
    values = scores.data.astype(np.float32)
    if exclude is not None:
        excluded = np.zeros((n, n_items), np.bool_)
        excluded[exclude.rows, exclude.values] = True
        values[excluded[rows, items]] = 0

    kth = [_kth_best(values[start:end], k) for start, end in pairwise(scores.indptr)]
    keep = (values > 0) & (values >= np.array(kth, np.float32)[rows])  # includes all that tie with the k-th
    return _top(rows[keep], items[keep], values[keep], n, k)


def _kth_best(scores: Float32, k: int) -> float:
    """The k-th largest of `scores` `(n,)`; 0 if there are at most k."""
    return float(np.partition(scores, len(scores) - k)[len(scores) - k]) if len(scores) > k else 0.0


def _top(rows: Int64, items: NDArray[Any], scores: Float32, n: int, k: int) -> Ranking:
    """Ranked lists from (row, item, score) triplets: best score first, equal scores by item number."""
    order = np.lexsort((items, -scores, rows))
    rows, items, scores = rows[order], items[order], scores[order]
    position = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = position < k

    listed, listed_scores = np.full((n, k), PAD, np.int32), np.full((n, k), -np.inf, np.float32)
    places = rows[kept], position[kept]
    listed[places], listed_scores[places] = items[kept], scores[kept]
    return Ranking(listed, listed_scores, depth=k)
