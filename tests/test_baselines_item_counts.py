"""Item-to-item counts, by hand."""

from __future__ import annotations

import math

import pytest
from small_baselines import fitted, listed, queries

from genrec_bench.baselines.item_counts import Config, ItemCounts
from genrec_bench.core.arrays import Ragged
from genrec_bench.errors import ConfigError
from genrec_bench.host.config import make_config


def counted(rows, n_items=6, task="sequential", **options) -> ItemCounts:
    return fitted(ItemCounts(Config(**options)), rows, n_items, task)


def test_next_previous_and_skipped_items_are_counted_with_their_weights() -> None:
    counts = counted([[0, 1, 2]]).counts.toarray()
    assert counts[:3, :3].tolist() == [[0, 1, 0.5], [0.5, 0, 1], [0, 0.5, 0]]
    assert counts.sum() == 3.5


def test_a_step_never_leads_from_one_user_to_the_next() -> None:
    assert counted([[0, 1], [2, 3]]).counts[[1]].toarray().tolist() == [[0.5, 0, 0, 0, 0, 0]]


def test_a_score_is_the_weighted_count_over_the_root_of_popularity_plus_one() -> None:
    lists = counted([[0, 1], [0, 1], [2, 1]]).rank(queries([[2, 0]]), k=5)
    # after 0, the latest: twice 1; after 2, half as recent: once 1; item 1 was met three times
    assert listed(lists) == {1: pytest.approx((1.0 * 2 + 0.5 * 1) / math.sqrt(4))}


def test_the_last_three_items_count_and_older_ones_do_not() -> None:
    baseline = counted([[0, 5], [1, 5], [2, 5], [3, 5]])
    weights = [listed(baseline.rank(queries([history]), k=1))[5] for history in ([3], [3, 4], [3, 4, 4])]
    assert weights == pytest.approx([1 / math.sqrt(5), 0.5 / math.sqrt(5), 0.25 / math.sqrt(5)])
    assert listed(baseline.rank(queries([[3, 4, 4, 4]]), k=1)) == {}


def test_an_item_that_no_count_leads_to_is_not_listed() -> None:
    lists = counted([[0, 1], [2, 3]]).rank(queries([[0], [4], []]), k=5)
    assert [list(listed(lists, row)) for row in range(3)] == [[1], [], []]


def test_equal_counts_are_equal_scores() -> None:
    lists = counted([[0, 3], [0, 2], [0, 1]]).rank(queries([[0]]), k=5)
    assert list(listed(lists)) == [1, 2, 3]
    assert len(set(listed(lists).values())) == 1


def test_the_direct_task_starts_from_the_last_training_items_whatever_the_history_says() -> None:
    baseline = counted([[0, 1], [2, 3]], task="direct")
    assert listed(baseline.rank(queries([[0, 1, 3]]), k=5)) == listed(baseline.rank(queries([[0, 1]]), k=5))
    assert list(listed(baseline.rank(queries([[0, 1, 3]]), k=5, exclude=Ragged.of([[0, 1, 3]])))) == []


def test_weights_are_options() -> None:
    counts = counted([[0, 1, 2]], after=2, before=0, skip=0).counts.toarray()
    assert counts[:3, :3].tolist() == [[0, 2, 0], [0, 0, 2], [0, 0, 0]]
    assert make_config(Config, {"recency": "1,0.1"}, "baseline").recency == (1.0, 0.1)
    with pytest.raises(ConfigError, match="skip = -1: must be at least 0"):
        make_config(Config, {"skip": -1}, "baseline")
