"""Item neighbourhoods against the formula written out densely."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_baselines import as_lists, binary, dense_lists, fitted, listed, queries, random_rows

from genrec_bench.baselines import item_knn
from genrec_bench.baselines.item_knn import Config, ItemKNN
from genrec_bench.errors import ConfigError
from genrec_bench.host.config import make_config


def test_similarity_is_the_shrunk_cosine_of_two_items_users() -> None:
    baseline = fitted(ItemKNN(Config(shrink=2.0)), [[0, 1], [0, 1, 1], [0, 2]], 4)
    lists = baseline.rank(queries([[0]]), k=5)
    assert listed(lists) == pytest.approx({1: 2 / (math.sqrt(3 * 2) + 2), 2: 1 / (math.sqrt(3 * 1) + 2)})


def plain(rows: list[list[int]], histories: list[list[int]], n_items: int, neighbours: int, shrink: float):
    """Scores by loops over a dense matrix."""
    matrix = binary(rows, n_items)
    common, size = matrix.T @ matrix, matrix.sum(axis=0)
    cosine = np.zeros((n_items, n_items))
    for i in range(n_items):
        for j in range(n_items):
            if i != j and common[i, j]:
                cosine[i, j] = common[i, j] / (np.sqrt(size[i] * size[j]) + shrink)
        cosine[i, cosine[i] < sorted(cosine[i])[-min(neighbours, n_items)]] = 0
    return binary(histories, n_items) @ cosine.T


@pytest.mark.parametrize("neighbours", [1, 4, 100])
@pytest.mark.parametrize("shrink", [0.0, 10.0])
def test_scores_equal_those_of_a_dense_formula(neighbours, shrink, monkeypatch) -> None:
    monkeypatch.setattr(item_knn, "ITEMS_AT_ONCE", 7)  # several blocks
    rows, histories = random_rows(), random_rows(users=9, seed=1)
    lists = fitted(ItemKNN(Config(neighbours, shrink)), rows, 25).rank(queries(histories), k=25)
    expected = plain(rows, histories, 25, neighbours, shrink)
    for row, items in enumerate(as_lists(lists)):
        assert set(items) == set(np.flatnonzero(expected[row] > 0))
        assert lists.scores[row, : len(items)] == pytest.approx(expected[row, items], rel=1e-6)


def test_scores_do_not_depend_on_how_items_are_numbered() -> None:
    rows, histories = random_rows(), random_rows(users=9, seed=1)
    number = np.random.default_rng(5).permutation(25)
    renumbered = [[[int(number[item]) for item in row] for row in lists] for lists in (rows, histories)]

    scores = []
    for train, asked in ((rows, histories), renumbered):
        lists = fitted(ItemKNN(Config(2, 0.0)), train, 25).rank(queries(asked), k=25)
        scores.append(
            [dict(zip(items, lists.scores[row].tolist(), strict=False)) for row, items in enumerate(as_lists(lists))]
        )
    moved = [{int(number[item]): score for item, score in row.items()} for row in scores[0]]
    assert [row.keys() for row in moved] == [row.keys() for row in scores[1]]
    for mine, theirs in zip(moved, scores[1], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-6)


def test_the_best_come_first() -> None:
    rows = random_rows(seed=2)
    lists = fitted(ItemKNN(Config(shrink=0.0)), rows, 25).rank(queries(rows[:3]), k=5)
    assert as_lists(lists) == dense_lists(plain(rows, rows[:3], 25, 200, 0.0), 5)


def test_items_without_common_users_are_not_listed() -> None:
    lists = fitted(ItemKNN(), [[0, 1], [2]], 5).rank(queries([[0], [2], [4], []]), k=5)
    assert as_lists(lists) == [[1], [], [], []]


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="neighbours = 0: must be above 0"):
        make_config(Config, {"neighbours": 0}, "baseline")
