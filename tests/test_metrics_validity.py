"""From what was emitted to ranked lists: what is dropped, what is counted, what stays short."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.rankings import Generations, Ranking
from genrec_bench.protocol.validity import (
    certified,
    contained,
    ranking_from,
    repeated,
    validity,
    validity_of_ranking,
)


def generations(items: list[list[int]], scores: list[list[float]] | None = None) -> Generations:
    """Generations with falling scores, unless given; -1 = no item, -2 = no hypothesis."""
    numbers = np.array(items, np.int32)
    if scores is None:
        scores = np.tile(-np.arange(numbers.shape[1], dtype=np.float32), (len(items), 1)).tolist()
    none = np.full(len(items), -np.inf, np.float32)
    return Generations(np.zeros((*numbers.shape, 2), np.int32), np.array(scores, np.float32), numbers, none)


@st.composite
def emitted(draw: st.DrawFn) -> tuple[Generations, Ragged]:
    beams = draw(st.integers(1, 7))
    rows = draw(st.lists(st.lists(st.integers(-2, 6), min_size=beams, max_size=beams), min_size=1, max_size=5))
    history = draw(st.lists(st.lists(st.integers(0, 8), max_size=4), min_size=len(rows), max_size=len(rows)))
    return generations(rows), Ragged.of(history)


@given(emitted())
def test_a_list_is_the_hypotheses_without_non_items_repeats_and_excluded_items(
    drawn: tuple[Generations, Ragged],
) -> None:
    found, history = drawn
    lists = ranking_from(found, depth=4, exclude=history)
    for row, own, got in zip(found.items.tolist(), history, lists.items.tolist(), strict=True):
        expected = [item for item in dict.fromkeys(row) if item >= 0 and item not in own.tolist()][:4]
        assert [item for item in got if item >= 0] == expected


@given(emitted())
def test_every_hypothesis_is_counted_once(drawn: tuple[Generations, Ragged]) -> None:
    found, history = drawn
    told = validity(found, history, ks=(1, 3))
    good = [
        len({item for item in row if item >= 0} - set(own.tolist()))
        for row, own in zip(found.items.tolist(), history, strict=True)
    ]
    assert told["emitted"] == sum(told["dropped"].values()) + sum(good)
    for k in (1, 3):
        assert told[f"fill@{k}"] == pytest.approx(np.mean([min(count, k) / k for count in good]))


def test_shares_are_of_all_that_was_emitted() -> None:
    told = validity(generations([[5, -1, 5, 3], [-1, -1, 2, -2]]), Ragged.of([[3], [9]]))
    assert told["emitted"] == 7
    assert told["dropped"] == {"non_items": 3, "duplicates": 1, "seen": 1}
    assert told["hallucination_rate"] == 3 / 7
    assert told["duplicate_rate"] == told["seen_rate"] == 1 / 7
    assert told["fill@5"] == 2 / 10


def test_where_nothing_was_emitted_no_share_was_measured() -> None:
    told = validity(generations([[-2, -2]]), Ragged.empty(1))
    assert told["hallucination_rate"] is None
    assert told["emitted"] == told["fill@10"] == 0


def test_lists_keep_their_scores_and_stay_short() -> None:
    lists = ranking_from(generations([[5, -1, 7, -2]]), depth=4)
    assert lists.items.tolist() == [[5, 7, -1, -1]]
    assert lists.scores[0, :2].tolist() == [0.0, -2.0]
    assert lists.depth == 4


def test_equal_scores_stand_by_item_number() -> None:
    lists = ranking_from(generations([[9, 4, 6]], [[0.0, -1.0, -1.0]]), depth=3)
    assert lists.items.tolist() == [[9, 4, 6]]
    lists = ranking_from(generations([[9, 6, 4]], [[0.0, -1.0, -1.0]]), depth=3)
    assert lists.items.tolist() == [[9, 4, 6]]


def test_depth_cuts_the_list() -> None:
    assert ranking_from(generations([[3, 2, 1]]), depth=2).items.tolist() == [[3, 2]]


def test_a_ranking_cannot_hallucinate_so_nobody_measured_it() -> None:
    lists = Ranking(np.array([[3, 1, -1]], np.int32), np.array([[2, 1, -np.inf]], np.float32), 3)
    told = validity_of_ranking(lists, Ragged.of([[1]]))
    assert told["hallucination_rate"] is told["duplicate_rate"] is None
    assert told["seen_rate"] == 0.5
    assert told["emitted"] == 2
    assert told["fill@5"] == 1 / 5
    assert set(told) == set(validity(generations([[1]]), Ragged.empty(1)))


def test_contained_looks_into_the_own_row_only() -> None:
    rows = Ragged.of([[1, 1], [0]])
    assert contained(np.array([[0, 1, -1], [0, 1, 9]], np.int32), rows).tolist() == [
        [False, True, False],
        [True, False, False],
    ]


def test_repeated_marks_all_but_the_first_of_an_item() -> None:
    assert repeated(np.array([[3, -1, 3, -1, 3]], np.int32)).tolist() == [[False, False, True, False, True]]


def test_empty_places_have_no_score() -> None:
    lists = ranking_from(generations([[5, -1, -2]]), depth=3)
    assert lists.scores.tolist() == [[0.0, -np.inf, -np.inf]]
    assert (lists.scores.dtype, lists.items.dtype) == (np.float32, np.int32)


def certain_of(items: list[int], scores: list[float], bound: float, k: int = 3) -> bool:
    """Whether the first `k` of one list are certain; negative items are no good."""
    generated = generations([items], [scores])
    generated = Generations(generated.tokens, generated.scores, generated.items, np.array([bound], np.float32))
    (sure,) = certified(generated, generated.items >= 0, k)
    return bool(sure)


def test_a_list_is_certified_once_its_last_place_is_above_what_was_discarded() -> None:
    scores = [-1.0, -2.0, -3.0, -4.0]
    assert certain_of([7, 8, 9, 6], scores, bound=-3.5)
    assert not certain_of([7, 8, 9, 6], scores, bound=-2.5)
    assert not certain_of([7, -1, 9, 6], scores, bound=-3.5)  # now the third good one is the last
    assert certain_of([7, 8, 9], scores[:3], bound=-3.5)


def test_a_list_that_is_too_short_is_certified_only_if_nothing_was_discarded() -> None:
    assert not certain_of([7, 8], [-1.0, -2.0], bound=-50.0)
    assert not certain_of([7, -1, -1], [-1.0, -2.0, -3.0], bound=-50.0)
    assert certain_of([7, 8], [-1.0, -2.0], bound=-np.inf)
    assert certain_of([7, -1, -1], [-1.0, -2.0, -3.0], bound=-np.inf)


def test_a_certified_place_has_to_beat_the_bound_by_more_than_rounding() -> None:
    bound, margin = np.float32(-2), np.float32(1e-5)
    for third, sure in ((bound, False), (bound + margin, False), (bound + 2 * margin, True)):
        assert certain_of([7, 8, 9], [0.0, -1.0, float(third)], float(bound)) is sure


def test_validity_certifies_the_first_ten_of_what_is_good() -> None:
    def share(items: list[int], bounds: list[float]) -> float:
        generated = generations([items] * len(bounds))
        generated = Generations(generated.tokens, generated.scores, generated.items, np.array(bounds, np.float32))
        return validity(generated, Ragged.of([[3]] * len(bounds)))["certified@10"]

    fresh = [*range(10, 21)]  # eleven hypotheses with scores 0, -1, ... -10
    assert share(fresh, [-9.5, -8.5, -11.0, -20.0]) == 0.75
    assert share([3, *fresh[:10]], [-9.5, -8.5, -11.0, -20.0]) == 0.5  # the user has item 3: the tenth is one further


def test_no_cases_have_no_shares() -> None:
    generated = generations([[1, 2]])
    counts = validity(generated.take(np.arange(0)), Ragged.empty(0))
    assert counts["certified@10"] is counts["fill@5"] is counts["hallucination_rate"] is None
    assert counts["emitted"] == 0


def test_an_empty_ranking_has_no_share_of_seen_items() -> None:
    lists = Ranking(np.array([[-1, -1]], np.int32), np.full((1, 2), -np.inf, np.float32), 2)
    counts = validity_of_ranking(lists, Ragged.of([[1]]))
    assert counts["seen_rate"] is None
    assert counts["emitted"] == counts["fill@5"] == 0


def test_item_zero_is_an_item_and_the_counts_of_a_ranking_are_named() -> None:
    lists = Ranking(np.array([[0, 1, 2]], np.int32), np.array([[3, 2, 1]], np.float32), 3)
    counts = validity_of_ranking(lists, Ragged.of([[2]]))
    assert counts["emitted"] == 3
    assert counts["fill@5"] == 2 / 5
    assert counts["dropped"] == {"non_items": None, "duplicates": None, "seen": 1}


def test_lists_without_places_contain_nothing() -> None:
    assert contained(np.zeros((2, 0), np.int32), Ragged.of([[1], [2]])).shape == (2, 0)
