"""Fits a baseline on a handful of sequences and asks it, shared by the tests of the baselines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries, TrainView
from genrec_bench.host.contracts import Baseline, BaselineContext, Task

Rows = Sequence[Sequence[int]]


def fitted(baseline: Baseline, rows: Rows, n_items: int, task: Task = "sequential", **more) -> Baseline:
    baseline.fit(TrainView(Ragged.of(list(rows)), n_items, **more), BaselineContext(task=task))
    return baseline


def queries(histories: Rows) -> Queries:
    """A query per history; the users are 0, 1, 2 and so on."""
    return Queries(np.arange(len(histories), dtype=np.int32), Ragged.of(list(histories)))


def listed(ranking: Ranking, row: int = 0) -> dict[int, float]:
    """Items and scores of one list, in its order."""
    there = ranking.items[row] >= 0
    return dict(zip(ranking.items[row][there].tolist(), ranking.scores[row][there].tolist(), strict=True))


def dense_lists(scores: np.ndarray, k: int) -> list[list[int]]:
    """The plain rule: per row, items of positive float32 score, best first, equal ones by number."""
    scores = scores.astype(np.float32)
    ranked = (sorted(range(len(row)), key=lambda item: (-row[item], item)) for row in scores)
    return [[item for item in order if row[item] > 0][:k] for order, row in zip(ranked, scores, strict=True)]


def as_lists(ranking: Ranking) -> list[list[int]]:
    return [[item for item in row if item >= 0] for row in ranking.items.tolist()]


def random_rows(users: int = 30, items: int = 25, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(items, size=rng.integers(1, 12)).tolist() for _ in range(users)]


def binary(rows: Rows, n_items: int) -> np.ndarray:
    """The dense user x item matrix of ones."""
    matrix = np.zeros((len(rows), n_items))
    for user, row in enumerate(rows):
        matrix[user, list(row)] = 1
    return matrix
