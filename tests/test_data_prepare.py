"""Filters: rating threshold, k-core, users too short to split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.events import Interactions
from genrec_bench.data.prepare import PrepareConfig, k_core, prepare
from genrec_bench.errors import ConfigError, DataError
from genrec_bench.host.config import make_config

EVENTS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60)
CORE = [(user, item) for user in range(8, 12) for item in range(8, 12)]  # survives every filter below


def interactions(rows, **columns):
    """Rows `(user, item)` with the ids `u0`, `i0`, ..."""
    users, items = np.array(rows, np.int32).T
    return Interactions(
        users,
        items,
        None,
        np.array([f"u{u}" for u in range(users.max() + 1)]),
        np.array([f"i{i}" for i in range(items.max() + 1)]),
        **columns,
    )


def peel(rows, k):
    """The k-core by taking one offender away at a time: slow, and obviously right."""
    rows = list(rows)
    while True:
        for side in (0, 1):
            counts = {}
            for row in rows:
                counts[row[side]] = counts.get(row[side], 0) + 1
            few = [who for who, count in counts.items() if count < k]
            if few:
                rows = [row for row in rows if row[side] != few[0]]
                break
        else:
            return rows


@given(EVENTS, st.integers(0, 5))
def test_k_core_is_the_fixed_point_that_peeling_one_by_one_reaches(rows, k):
    users, items = np.array(rows, np.int32).T
    kept = k_core(users, items, k)
    assert [row for row, stays in zip(rows, kept, strict=True) if stays] == peel(rows, k)


@given(EVENTS, st.integers(0, 4))
def test_prepared_data_obeys_both_rules_at_once(rows, k):
    data = prepare(interactions(rows + CORE), PrepareConfig(min_interactions=k))
    assert np.bincount(data.user, minlength=data.n_users).min() >= max(k, 3)
    assert np.bincount(data.item, minlength=data.n_items).min() >= max(k, 1)


@given(EVENTS)
def test_every_interaction_is_either_kept_or_counted_as_dropped(rows):
    data = prepare(interactions(rows + CORE), PrepareConfig(min_interactions=2))
    left_out = sum(count for name, count in data.dropped.items() if name.startswith(("interactions_", "k_core_inter")))
    assert len(data) + left_out == len(rows + CORE)


def test_a_short_user_is_dropped_counted_and_its_own_items_leave_the_catalogue():
    data = prepare(interactions([(0, 0), (0, 1), (0, 2), (1, 0), (1, 3)]), PrepareConfig())
    assert data.user_ids.tolist() == ["u0"]
    assert data.item_ids.tolist() == ["i0", "i1", "i2"]
    assert data.dropped == {
        "users_below_3": 1,
        "interactions_of_users_below_3": 2,
        "users": 1,
        "items": 1,
        "interactions": 2,
    }


def test_a_short_user_is_refused_by_option():
    with pytest.raises(DataError, match=r"1 of 2 users have fewer than 3 interactions \(user 'u1' has 2\)"):
        prepare(interactions([(0, 0), (0, 1), (0, 2), (1, 0), (1, 3)]), PrepareConfig(short_users="error"))


def test_the_rating_threshold_keeps_ratings_at_the_threshold():
    ratings = np.array([3, 4, 5, 4, 3.5], np.float32)
    rated = interactions([(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)], rating=ratings)
    data = prepare(rated, PrepareConfig(min_rating=4))
    assert data.rating.tolist() == [4, 5, 4]
    assert data.dropped == {"interactions_below_min_rating": 2, "items": 2, "interactions": 2}


def test_a_rating_threshold_without_ratings_is_a_usage_error():
    with pytest.raises(ConfigError, match=r"dataset.min_rating = 4, but this data has no ratings"):
        prepare(interactions([(0, 0), (0, 1), (0, 2)]), PrepareConfig(min_rating=4))


def test_filters_that_leave_nothing_say_which():
    with pytest.raises(
        DataError,
        match=r"nothing is left of 3 interactions after filtering \(a user needs 3 interactions, min_interactions = 2\)",
    ):
        prepare(interactions([(0, 0), (0, 1), (0, 2)]), PrepareConfig(min_interactions=2))


def test_titles_and_features_follow_their_items():
    rows = [(0, 0), (1, 1), (1, 2), (1, 3)]
    titles, features = np.array(["A", "B", "C", "D"]), Ragged.of([[0], [1, 2], [], [3]])
    data = prepare(interactions(rows, item_titles=titles, item_features=features), PrepareConfig())
    assert data.item_titles.tolist() == ["B", "C", "D"]
    assert [row.tolist() for row in data.item_features] == [[1, 2], [], [3]]


def test_a_negative_minimum_is_refused():
    with pytest.raises(ConfigError, match="min_interactions = '-1': must be at least 0"):
        make_config(PrepareConfig, {"min_interactions": "-1"}, "dataset")
