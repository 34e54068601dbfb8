"""EASE against the paper's formula written out densely, and the size it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from small_baselines import as_lists, binary, dense_lists, fitted, listed, queries, random_rows

from genrec_bench.baselines.ease import (
    EASE,
    MOST_ITEMS,
    Config,
    mirror_below,
)
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import ConfigError, UsageError
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import BaselineContext


def plain(rows: list[list[int]], n_items: int, l2: float) -> np.ndarray:
    """The weights as the paper's few lines of Python give them."""
    matrix = binary(rows, n_items)
    inverse = np.linalg.inv(matrix.T @ matrix + l2 * np.eye(n_items))
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices(n_items)] = 0
    return weights


@pytest.mark.parametrize("l2", [0.5, 250.0])
def test_weights_and_lists_equal_those_of_the_papers_formula(l2) -> None:
    rows, histories = random_rows(), random_rows(users=9, seed=1)
    baseline, expected = fitted(EASE(Config(l2)), rows, 25), plain(rows, 25, l2)
    assert np.allclose(baseline.weights, expected, rtol=1e-9, atol=1e-12)
    lists = baseline.rank(queries(histories), k=10)
    assert as_lists(lists) == dense_lists(binary(histories, 25) @ expected, 10)


def test_two_items_of_the_same_users_by_hand() -> None:
    # X'X + 1 = [[2, 1], [1, 2]], its inverse [[2, -1], [-1, 2]] / 3, so each weight is (1/3) / (2/3)
    baseline = fitted(EASE(Config(l2=1.0)), [[0, 1]], 2)
    assert listed(baseline.rank(queries([[0]]), k=2)) == {1: pytest.approx(0.5)}


def test_the_zero_diagonal_keeps_an_item_from_speaking_for_itself() -> None:
    assert as_lists(fitted(EASE(), [[0, 1], [2]], 4).rank(queries([[0], [2], []]), k=4)) == [[1], [], []]


def test_a_matrix_is_mirrored_strip_by_strip() -> None:
    lower = np.tril(np.random.default_rng(0).normal(size=(1100, 1100)))
    matrix = lower.copy()
    mirror_below(matrix)
    assert np.array_equal(matrix, lower + np.tril(lower, -1).T)


def test_a_catalogue_too_large_for_its_inverse_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"5\.0 GB for 25,001 items; it takes at most 25,000 items: use item-knn"):
        EASE().fit(TrainView(Ragged.of([[0]]), MOST_ITEMS + 1), BaselineContext())


@pytest.mark.parametrize("rows", [[[0, 1]], [[0, 1], [0, 1]]])
def test_equations_without_a_solution_in_double_precision_are_refused_in_one_line(rows) -> None:
    with pytest.raises(UsageError, match=r"l2=1e-20: .* set a larger baseline\.l2"):
        fitted(EASE(Config(l2=1e-20)), rows, 2)


def test_l2_is_above_zero() -> None:
    with pytest.raises(ConfigError, match="l2 = 0: must be above 0"):
        make_config(Config, {"l2": 0}, "baseline")
