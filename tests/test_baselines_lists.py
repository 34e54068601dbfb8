"""From scores to lists: what is listed, how ties stand, and what a user is known by in each task."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from small_baselines import as_lists, dense_lists, queries

from genrec_bench.baselines import lists
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.sequences import TrainView

SCORES = np.array([[0.5, 2.0, 0.0, 2.0, -1.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
RANKERS = {
    "dense": lists.rank_dense,
    "sparse": lambda scores, k, exclude: lists.rank_sparse(sparse.csr_array(scores), k, exclude),
}


@pytest.fixture(params=RANKERS)
def rank(request):
    return RANKERS[request.param]


def test_equal_scores_stand_by_item_number_and_nothing_without_a_score_is_listed(rank) -> None:
    ranking = rank(SCORES.copy(), 4, None)
    assert as_lists(ranking) == [[1, 3, 0], []]
    assert ranking.scores[0].tolist() == [2.0, 2.0, 0.5, -np.inf]


def test_what_is_excluded_frees_its_place(rank) -> None:
    assert as_lists(rank(SCORES.copy(), 1, Ragged.of([[1], []]))) == [[3], []]


def test_sums_that_differ_by_rounding_alone_are_ties(rank) -> None:
    ranking = rank(np.array([[0.1 + 0.2, 0.3]]), 2, None)
    assert 0.1 + 0.2 != 0.3
    assert ranking.scores[0, 0] == ranking.scores[0, 1]


@given(
    st.lists(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), min_size=7, max_size=7), min_size=1, max_size=4),
    st.lists(st.lists(st.integers(0, 6), max_size=7), min_size=4, max_size=4),
    st.integers(1, 9),
)
def test_dense_and_sparse_scores_give_the_lists_of_a_plain_loop(rows, out, k) -> None:
    scores, exclude = np.array(rows), Ragged.of(out[: len(rows)])
    masked = scores.copy()
    masked[exclude.rows, exclude.values] = 0
    for rank_ in RANKERS.values():
        assert as_lists(rank_(scores.copy(), k, exclude)) == dense_lists(masked, k)


def test_in_the_direct_task_a_user_is_known_by_the_training_items_alone() -> None:
    train, asked = TrainView(Ragged.of([[0, 1], [2]]), 5), queries([[0, 1, 4], [2, 3]])
    assert [row.tolist() for row in lists.known_items(asked, train, "direct")] == [[0, 1], [2]]
    assert [row.tolist() for row in lists.known_items(asked, train, "sequential")] == [[0, 1, 4], [2, 3]]


def test_an_item_met_twice_is_one_entry() -> None:
    assert lists.user_item(Ragged.of([[2, 0, 2], []]), 3).toarray().tolist() == [[1, 0, 1], [0, 0, 0]]
