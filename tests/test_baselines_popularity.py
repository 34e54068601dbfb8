"""Popularity: counts of training interactions, the same for everybody, without what must be left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genrec_bench.baselines.popularity import Popularity
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.sequences import Queries, TrainView
from genrec_bench.host.contracts import BaselineContext


def fitted(rows: list[list[int]], n_items: int) -> Popularity:
    baseline = Popularity()
    baseline.fit(TrainView(Ragged.of(rows), n_items), BaselineContext())
    return baseline


def queries(histories: list[list[int]]) -> Queries:
    return Queries(np.arange(len(histories), dtype=np.int32), Ragged.of(histories))


def test_the_most_met_items_come_first_and_ties_share_a_score() -> None:
    lists = fitted([[2, 0], [2, 1], [2]], n_items=4).rank(queries([[2, 0]]), k=4)
    assert lists.items.tolist() == [[2, 0, 1, 3]]
    assert lists.scores.tolist() == [[3, 1, 1, 0]]


def test_a_list_is_shorter_than_asked_where_the_catalogue_ends() -> None:
    lists = fitted([[2, 0], [2, 1], [2]], n_items=4).rank(queries([[2, 0]]), k=6, exclude=Ragged.of([[2, 0]]))
    assert lists.items[lists.items >= 0].tolist() == [1, 3]
    assert lists.depth == 6


@given(
    st.lists(st.lists(st.integers(0, 8), max_size=6), min_size=1, max_size=5),
    st.lists(st.lists(st.integers(0, 8), max_size=12), min_size=1, max_size=5),
    st.integers(1, 12),
)
def test_lists_equal_those_of_a_plain_loop(train: list[list[int]], exclude: list[list[int]], k: int) -> None:
    counts = np.bincount([item for row in train for item in row], minlength=9) if any(train) else np.zeros(9, int)
    lists = fitted(train, 9).rank(queries(exclude), k=k, exclude=Ragged.of(exclude))
    for got, scores, out in zip(lists.items.tolist(), lists.scores.tolist(), exclude, strict=True):
        expected = sorted(set(range(9)) - set(out), key=lambda item: (-counts[item], item))[:k]
        assert [item for item in got if item >= 0] == expected
        assert scores[: len(expected)] == [counts[item] for item in expected]
