"""Intervals and tests of published boards: right on cases that can be known, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from genrec_bench.protocol.scores import from_ranks
from genrec_bench.protocol.statistics import (
    DRAWS,
    FLIPS,
    SEED,
    detectable,
    differences,
    gains,
    holm,
    p_value,
)
from genrec_bench.protocol.statistics import intervals as intervals_of

GOOD = np.array([[1, 2, 3, 0, 1, 5, 9, 14] * 30])
WORSE = np.array([[4, 7, 0, 0, 3, 9, 0, 0] * 30])


def intervals(ranks: np.ndarray) -> dict[str, tuple[float, float]]:
    """Those of one system."""
    return intervals_of([ranks])[0]


def some_ranks(seeds: int, users: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((seeds, users)) < 0.4, rng.integers(1, 30, (seeds, users)), 0)


@pytest.mark.parametrize(("seeds", "users"), [(1, 7), (3, 50), (5, 200)])
def test_intervals_are_those_of_drawing_seeds_and_users_one_draw_at_a_time(seeds: int, users: int) -> None:
    ranks, rng, drawn = some_ranks(seeds, users), np.random.default_rng(SEED), []
    for _ in range(DRAWS):
        rows = (rng.random(seeds) * seeds).astype(np.int64)
        columns = (rng.random(users) * users).astype(np.int64)
        drawn.append(from_ranks(ranks[rows][:, columns].ravel())["ndcg@10"])
    drawn.sort()
    assert intervals(ranks)["ndcg@10"] == pytest.approx((drawn[25], drawn[-26]), abs=1e-12)


def test_intervals_do_not_depend_on_what_stands_beside() -> None:
    systems = [some_ranks(1, 30), some_ranks(3, 30, 1), some_ranks(1, 30, 2), some_ranks(3, 40)]
    assert intervals_of(systems) == [intervals(ranks) for ranks in systems]
    assert intervals_of(systems[::-1])[::-1] == intervals_of(systems)


def p_of_every_sign(a: np.ndarray, b: np.ndarray) -> float:
    """The p-value by drawing one sign per user that differs, all flips at once."""
    nonzero = differences(a, b)[differences(a, b) != 0]
    flipped = np.random.default_rng(SEED).random((FLIPS, len(nonzero))) < 0.5
    sums = nonzero.sum() - 2 * (flipped * nonzero).sum(axis=1)
    extreme = (np.abs(sums) >= abs(nonzero.sum())).sum()
    return (1 + extreme) / (1 + FLIPS)


@pytest.mark.parametrize("users", [3, 60, 700])
def test_p_values_are_those_of_drawing_every_sign(users: int) -> None:
    a, b = some_ranks(2, users), some_ranks(1, users, 1)
    assert p_value(a, b) == p_of_every_sign(a, b)


def test_p_values_of_more_users_than_are_drawn_for_at_least() -> None:
    a, b = np.ones((1, 1025), np.int64), np.full((1, 1025), 2)
    a[0, ::2], b[0, ::2] = 2, 1  # every user differs, one more in favour of b
    assert p_value(a, b) == p_of_every_sign(a, b)


def test_users_without_a_hit_have_an_interval_of_zero() -> None:
    assert set(intervals(np.zeros((2, 9), np.int64)).values()) == {(0.0, 0.0)}


@pytest.mark.parametrize("key", ["hit@5", "ndcg@10", "hit@20"])
def test_an_interval_holds_the_mean(key: str) -> None:
    low, high = intervals(GOOD)[key]
    assert low < from_ranks(GOOD[0])[key] < high


def test_more_users_narrow_an_interval_about_as_the_square_root_says() -> None:
    widths = [high - low for low, high in (intervals(ranks)["ndcg@10"] for ranks in (GOOD, np.tile(GOOD, (1, 4))))]
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.15)


def test_seeds_that_disagree_widen_an_interval() -> None:
    low, high = intervals(np.concatenate([GOOD, WORSE]))["ndcg@10"]
    assert low == pytest.approx(intervals(WORSE)["ndcg@10"][0], abs=0.05)
    assert high == pytest.approx(intervals(GOOD)["ndcg@10"][1], abs=0.05)


def test_equal_systems_are_never_told_apart() -> None:
    assert p_value(GOOD, GOOD) == 1.0
    assert p_value(GOOD, np.concatenate([GOOD, GOOD])) == 1.0


def test_a_plain_difference_is_found_from_either_side() -> None:
    assert p_value(GOOD, WORSE) == p_value(WORSE, GOOD) < 0.001


def test_chance_is_found_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(3)
    significant = [p_value(*rng.integers(0, 30, (2, 1, 60))) <= 0.05 for _ in range(200)]
    assert 0.01 <= np.mean(significant) <= 0.1


def test_the_test_agrees_with_all_sign_flips_where_they_can_be_counted() -> None:
    a, b = np.array([[1, 2, 3, 4, 5, 6, 0, 1]]), np.array([[2, 4, 9, 0, 3, 7, 5, 0]])
    worth = [(0 if r == 0 else 1 / np.log2(r + 1)) for r in a[0]], [(0 if r == 0 else 1 / np.log2(r + 1)) for r in b[0]]
    apart = np.subtract(*worth)
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1)
    exact = np.mean(np.abs(apart @ signs) >= abs(apart.sum()) - 1e-9)
    assert p_value(a, b) == pytest.approx(exact, abs=0.02)


def test_holm_never_lowers_a_p_value_and_keeps_their_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_can_be_detected_shrinks_with_more_users() -> None:
    few, many = (detectable(np.tile(GOOD, (1, n)), [np.tile(WORSE, (1, n))]) for n in (1, 4))
    assert few / many == pytest.approx(2, rel=0.02)
    assert detectable(GOOD, []) is None


def test_a_gain_is_ndcg_at_ten_in_millionths_summed_over_seeds() -> None:
    ranks = np.arange(25)[None]
    expected = [round(1e6 / np.log2(rank + 1)) if 1 <= rank <= 10 else 0 for rank in range(25)]
    assert gains(ranks).tolist() == expected
    assert gains(np.concatenate([ranks, ranks])).tolist() == [2 * gain for gain in expected]


@pytest.mark.parametrize("k", [5, 10, 20])
def test_every_interval_is_that_of_its_own_depth(k: int) -> None:
    drawn = {name: intervals(np.where(GOOD == 1, rank, 0)) for name, rank in (("last", k), ("beyond", k + 1))}
    low, high = drawn["last"][f"hit@{k}"]
    assert 0 < low < 0.25 < high
    assert drawn["beyond"][f"hit@{k}"] == (0.0, 0.0)
    assert drawn["last"][f"ndcg@{k}"] == pytest.approx((low / np.log2(k + 1), high / np.log2(k + 1)))


def test_the_draws_of_intervals_and_tests_are_pinned() -> None:
    a, b = some_ranks(3, 100), some_ranks(2, 100, 1)
    assert intervals(a)["ndcg@10"] == pytest.approx((0.0263277966413694, 0.0723123863333568), abs=1e-12)
    assert p_value(a, b) == 0.0811918808119188


def test_what_can_be_detected_is_the_formula_of_a_paired_comparison() -> None:
    def ndcg(ranks: np.ndarray) -> np.ndarray:
        inside = (ranks > 0) & (ranks <= 10)
        return np.where(inside, 1 / np.log2(np.where(inside, ranks, 1) + 1), 0).mean(axis=0)

    reference, others = some_ranks(2, 90), [some_ranks(3, 90, seed) for seed in range(1, 6)]
    smallest = []
    for other in others:
        apart = ndcg(reference) - ndcg(other)
        error = apart.std(ddof=1) / np.sqrt(90)
        smallest.append((1.959964 + 0.841621) * error / ndcg(reference).mean())
    assert detectable(reference, others) == pytest.approx(np.median(smallest), rel=1e-5)
    assert detectable(np.zeros((1, 9), np.int64), [reference[:, :9]]) is None
