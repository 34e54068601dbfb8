"""Numbering, order of events, split, and what a component is given to learn from."""

from __future__ import annotations

import numpy as np
import pytest

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.events import Interactions
from genrec_bench.core.hashing import hash_ids
from genrec_bench.errors import DataError, UsageError
from genrec_bench.protocol.constants import check_protocol
from genrec_bench.protocol.split import (
    leave_one_out,
    order_events,
    shuffle_numbers,
    split_data,
    train_view,
)


def interactions(sequences: list[list[int]], times: list[list[int]] | None = None, **columns) -> Interactions:
    """Users `u0`, `u1`, ... and items `i0`, `i1`, ..., one event per entry."""
    user = np.repeat(np.arange(len(sequences)), [len(row) for row in sequences]).astype(np.int32)
    item = np.array([item for row in sequences for item in row], np.int32)
    time = None if times is None else np.array([time for row in times for time in row], np.int64)
    user_ids = np.array([f"u{number}" for number in range(len(sequences))])
    item_ids = np.array([f"i{number}" for number in range(item.max(initial=0) + 1)])
    return Interactions(user, item, time, user_ids, item_ids, **columns)


def described() -> Interactions:
    """Four users, five items, with all that a data set can have; an item's title and features tell its number."""
    return interactions(
        [[0, 1, 2], [3, 4, 0, 1], [1, 4, 2], [2, 3, 4]],
        rating=np.arange(13, dtype=np.float32),
        item_titles=np.array([f"title of i{number}" for number in range(5)]),
        item_features=Ragged.of([[number, 9] for number in range(5)]),
        dropped={"users_below_3": 7},
    )


def test_new_numbers_take_everything_along() -> None:
    before, after = described(), shuffle_numbers(described())
    assert after.item_ids.tolist() != before.item_ids.tolist()
    assert after.user_ids[after.user].tolist() == before.user_ids[before.user].tolist()
    assert after.item_ids[after.item].tolist() == before.item_ids[before.item].tolist()
    assert after.item_titles.tolist() == [f"title of {name}" for name in after.item_ids]
    assert [row.tolist() for row in after.item_features] == [[int(name[1:]), 9] for name in after.item_ids]
    assert after.rating.tolist() == before.rating.tolist()
    assert after.dropped == {"users_below_3": 7}


@pytest.mark.parametrize("seed", [0, 1])
def test_numbers_follow_hashes_that_users_and_items_do_not_share(seed: int) -> None:
    data = shuffle_numbers(described(), seed)
    for names, stream in ((data.user_ids, 2 * seed + 1), (data.item_ids, 2 * seed + 2)):
        hashes = hash_ids(names, stream).tolist()
        assert hashes == sorted(hashes)


def test_events_without_times_keep_the_order_of_their_rows() -> None:
    data = interactions([[3, 1, 2, 0], [0, 2, 1]])
    assert order_events(data).tolist() == list(range(7))
    assert leave_one_out(data).info == {"tie_users": None}


def test_another_tie_seed_gives_another_split_and_is_used() -> None:
    data = interactions([list(range(8)), list(range(8))], [[5] * 8] * 2)
    orders = [leave_one_out(data, seed).sequences.values.tolist() for seed in (0, 1)]
    assert orders[0] != orders[1]
    assert orders[0] == leave_one_out(data).sequences.values.tolist()


def test_users_cut_at_a_tie_are_counted() -> None:
    times = [[1, 1, 2], [1, 2, 2], [1, 2, 3], [1, 2, 2, 3], [1, 1, 2, 3]]
    data = interactions([list(range(len(row))) for row in times], times)
    assert leave_one_out(data).info == {"tie_users": 3}  # the first, second and fourth


def test_users_too_short_to_split_are_counted() -> None:
    with pytest.raises(DataError, match="1 of 2 users have fewer than 3 interactions"):
        leave_one_out(interactions([[0, 1], [0, 1, 2]]))


def test_a_user_without_an_event_and_data_without_any_are_refused() -> None:
    data = interactions([[0, 1, 2], []])
    with pytest.raises(DataError, match="1 of 2 users"):
        leave_one_out(data)
    with pytest.raises(DataError, match="0 of 0 users"):
        leave_one_out(interactions([]))


def test_external_ids_are_given_to_those_who_need_them_alone() -> None:
    data, split = split_data(described())
    plain = train_view(data, split)
    assert (plain.item_ids, plain.user_ids) == (None, None)
    assert plain.item_titles is data.item_titles and plain.item_features is data.item_features

    items_only = train_view(data, split, {"item_ids", "item_titles"})
    assert items_only.item_ids is data.item_ids and items_only.user_ids is None
    both = train_view(data, split, {"item_ids", "user_ids"})
    assert both.item_ids is data.item_ids and both.user_ids is data.user_ids


def test_an_unknown_protocol_is_refused_with_those_there_are() -> None:
    check_protocol("loo-full/1")
    with pytest.raises(UsageError, match=r"no protocol 'loo/1'.* Protocols: loo-full/1\.$"):
        check_protocol("loo/1")
