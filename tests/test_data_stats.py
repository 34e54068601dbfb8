"""The description of a data set, on data that fits on a screen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec_bench.core.events import Interactions
from genrec_bench.data.stats import describe
from genrec_bench.protocol.split import split_data

SEQUENCES = st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=8), min_size=1, max_size=6)


def interactions(sequences, times=None):
    items = np.array([item for row in sequences for item in row], np.int32)
    _, items = np.unique(items, return_inverse=True)
    users = np.repeat(np.arange(len(sequences), dtype=np.int32), [len(row) for row in sequences])
    ids = [
        np.array([f"{kind}{n}" for n in range(count)])
        for kind, count in (("u", len(sequences)), ("i", items.max() + 1))
    ]
    return Interactions(users, items.astype(np.int32), None if times is None else np.array(times), *ids)


def test_a_small_set_is_described_to_the_last_number():
    told = describe(*split_data(interactions([[0, 1, 0, 2, 0], [1, 3, 4]])))
    assert (told["users"], told["items"], told["interactions"], told["training_interactions"]) == (2, 5, 8, 4)
    assert told["density"] == 0.8
    assert told["length"] == {"min": 3, "25%": 3.5, "50%": 4, "75%": 4.5, "max": 5, "mean": 4}
    assert told["repeats"] == {
        "users": 1, "interactions": 2, "validation_targets": 0, "test_targets": 1, "mask_ceiling": 0.5
    }  # fmt: skip
    assert told["cold"] == {"items": 3, "validation_targets": 2, "test_targets": 1}
    assert told["ties"] is None


def test_users_whose_cut_falls_on_equal_times_are_counted():
    told = describe(*split_data(interactions([[0, 1, 2, 3], [0, 1, 2]], [1, 1, 2, 3, 1, 2, 2])))
    assert told["ties"] == {"users": 1, "share": 0.5}


@given(SEQUENCES)
def test_repeats_agree_with_counting_by_hand(sequences):
    repeats = describe(*split_data(interactions(sequences)))["repeats"]
    assert repeats["users"] == sum(len(set(row)) < len(row) for row in sequences)
    assert repeats["interactions"] == sum(len(row) - len(set(row)) for row in sequences)
    assert repeats["test_targets"] == sum(row[-1] in row[:-1] for row in sequences)
    assert repeats["validation_targets"] == sum(row[-2] in row[:-2] for row in sequences)


@given(SEQUENCES)
def test_cold_items_agree_with_counting_by_hand(sequences):
    cold = describe(*split_data(interactions(sequences)))["cold"]
    trained = {item for row in sequences for item in row[:-2]}
    assert cold["items"] == len({item for row in sequences for item in row} - trained)
    assert cold["test_targets"] == sum(row[-1] not in trained for row in sequences)
    assert cold["validation_targets"] == sum(row[-2] not in trained for row in sequences)


def test_what_was_dropped_and_the_fingerprints_are_told():
    data, split = split_data(interactions([[0, 1, 2]]))
    told = describe(data, split)
    assert told["fingerprints"] == {"data": data.fingerprint(), "split": split.fingerprint}
    assert told["dropped"] == {} and told["protocol"] == split.protocol
    assert told["repeats"]["mask_ceiling"] == pytest.approx(1)
