"""Intervals and tests of published boards: right on cases that can be known, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from genrec_bench.protocol.scores import from_ranks
from genrec_bench.protocol.statistics import (
    DRAWS,
    SEED,
    detectable,
    difference,
    gains,
    holm,
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


FIXED, SEEDED = (False, False), (True, True)


def p_value(a: np.ndarray, b: np.ndarray, seeded: tuple[bool, bool] = FIXED) -> float:
    found = difference(a, b, seeded=seeded)
    assert found is not None
    return found.p


def test_equal_systems_are_never_told_apart() -> None:
    assert p_value(GOOD, GOOD) == 1.0
    assert p_value(GOOD, np.concatenate([GOOD, GOOD])) == 1.0


def test_a_plain_difference_is_found_from_either_side() -> None:
    assert p_value(GOOD, WORSE) == p_value(WORSE, GOOD) < 0.001


def test_of_two_fixed_systems_it_is_the_paired_t_test_over_users() -> None:
    a, b = some_ranks(1, 80), some_ranks(1, 80, 1)
    assert p_value(a, b) == pytest.approx(stats.ttest_rel(gains(a)[0], gains(b)[0]).pvalue)


def test_without_a_spread_over_users_it_is_welchs_test_over_seeds() -> None:
    a, b = (np.repeat([[rank] for rank in ranks], 40, axis=1) for ranks in ((1, 2, 2, 3), (3, 4, 6)))
    of_seeds = stats.ttest_ind(gains(a)[:, 0], gains(b)[:, 0], equal_var=False).pvalue
    assert p_value(a, b, SEEDED) == pytest.approx(of_seeds)


def test_one_seed_of_what_a_seed_moves_shows_nothing() -> None:
    assert difference(GOOD, WORSE, seeded=(True, False)) is None
    assert difference(np.concatenate([GOOD, GOOD]), WORSE, seeded=(True, True)) is None
    assert difference(np.concatenate([GOOD, GOOD]), WORSE, seeded=(True, False)) is not None


def planted(rng: np.random.Generator, seeds: int, users: int, apart: float) -> np.ndarray:
    """Ranks of a system whose seeds differ by more than its users do; `apart` moves all of them."""
    chance = np.clip(0.3 + apart + rng.normal(0, 0.1, (seeds, 1)) + rng.normal(0, 0.05, (1, users)), 0, 1)
    return (rng.random((seeds, users)) < chance).astype(np.int64)


def test_chance_is_found_as_often_as_the_level_says_and_not_where_users_alone_are_counted() -> None:
    rng = np.random.default_rng(3)
    pairs = [(planted(rng, 5, 300, 0), planted(rng, 5, 300, 0)) for _ in range(300)]
    assert np.mean([p_value(a, b, SEEDED) <= 0.05 for a, b in pairs]) <= 0.08
    assert np.mean([p_value(a, b, FIXED) <= 0.05 for a, b in pairs]) > 0.3


def test_a_difference_as_large_as_the_detectable_one_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(4)
    found = [difference(planted(rng, 5, 300, 0), planted(rng, 5, 300, 0.2), seeded=SEEDED) for _ in range(300)]
    (first, last) = detectable(1.0, found)
    assert first > last
    assert last == pytest.approx(0.2, rel=0.15)
    assert np.mean([one.p <= 0.05 for one in found]) == pytest.approx(0.8, abs=0.12)


def test_holm_never_lowers_a_p_value_and_keeps_their_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_can_be_detected_shrinks_with_more_users() -> None:
    pairs = ((np.tile(GOOD, (1, n)), np.tile(WORSE, (1, n))) for n in (1, 4))
    few, many = (detectable(0.5, [difference(a, b, seeded=FIXED)])[1] for a, b in pairs)
    assert few / many == pytest.approx(2, rel=0.02)
    assert detectable(0.5, []) is None and detectable(0.0, [difference(GOOD, WORSE, seeded=FIXED)]) is None


def test_a_gain_is_ndcg_at_ten_of_one_list() -> None:
    ranks = np.arange(25)[None]
    expected = [1 / np.log2(rank + 1) if 1 <= rank <= 10 else 0 for rank in range(25)]
    assert gains(ranks)[0] == pytest.approx(expected)
    assert gains(np.full((1, 3), 10**6)).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("k", [5, 10, 20])
def test_every_interval_is_that_of_its_own_depth(k: int) -> None:
    drawn = {name: intervals(np.where(GOOD == 1, rank, 0)) for name, rank in (("last", k), ("beyond", k + 1))}
    low, high = drawn["last"][f"hit@{k}"]
    assert 0 < low < 0.25 < high
    assert drawn["beyond"][f"hit@{k}"] == (0.0, 0.0)
    assert drawn["last"][f"ndcg@{k}"] == pytest.approx((low / np.log2(k + 1), high / np.log2(k + 1)))


def test_the_draws_of_intervals_are_pinned() -> None:
    assert intervals(some_ranks(3, 100))["ndcg@10"] == pytest.approx(
        (0.0263277966413694, 0.0723123863333568), abs=1e-12
    )


def test_what_can_be_detected_is_the_formula_of_power_and_level() -> None:
    found = [difference(some_ranks(1, 90), some_ranks(1, 90, seed), seeded=FIXED) for seed in range(1, 4)]
    first, last = detectable(0.25, found)
    errors = sorted(one.error for one in found)
    steps = [(stats.t.ppf(1 - level / 2, 89) + stats.t.ppf(0.8, 89)) * errors[1] / 0.25 for level in (0.05 / 3, 0.05)]
    assert (first, last) == pytest.approx(steps)
