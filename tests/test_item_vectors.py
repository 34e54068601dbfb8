"""Item vectors: pairs, positive information and attributes have the values that one can work out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from genrec_bench import api
from genrec_bench.core import item_vectors
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.item_vectors import (
    attribute_vectors,
    cooccurrence_vectors,
    pair_weights,
    positive_information,
    rarity_weights,
    token_vectors,
    unit_rows,
)
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import GenrecError


def symmetric(entries: dict[tuple[int, int], float], size: int) -> sparse.csr_array:
    dense = np.zeros((size, size))
    for (one, other), weight in entries.items():
        dense[one, other] = dense[other, one] = weight
    return sparse.csr_array(dense)


def random_rows(users: int, items: int, longest: int, seed: int = 0) -> Ragged:
    rng = np.random.default_rng(seed)
    return Ragged.of([rng.integers(items, size=rng.integers(longest)).astype(np.int32) for _ in range(users)])


def test_a_pair_counts_one_over_its_distance_each_time_in_either_order():
    rows = Ragged.of([[0, 1, 2], [1, 2, 1], [3]])
    expected = symmetric({(0, 1): 1, (0, 2): 1 / 2, (1, 2): 3}, 4).toarray()
    assert np.allclose(pair_weights(rows, 4).toarray(), expected)


def test_a_window_leaves_out_what_is_farther():
    rows = Ragged.of([[0, 1, 2, 3]])
    assert np.allclose(pair_weights(rows, 4, 1).toarray(), symmetric({(0, 1): 1, (1, 2): 1, (2, 3): 1}, 4).toarray())
    assert pair_weights(rows, 4, 2)[0, 2] == 1 / 2 and pair_weights(rows, 4, 2)[0, 3] == 0
    assert (pair_weights(rows, 4, 3) != pair_weights(rows, 4)).nnz == 0


@pytest.mark.parametrize("window", [0, 1, 3])
@pytest.mark.parametrize("chunk", [1, 10, 10_000_000])
def test_pairs_are_those_of_a_plain_loop(monkeypatch, window, chunk):
    monkeypatch.setattr(item_vectors, "CHUNK", chunk)
    rows, expected = random_rows(20, 9, 12), np.zeros((9, 9))
    for row in rows:
        for first, one in enumerate(row):
            for second, other in enumerate(row):
                distance = abs(second - first)
                if one != other and (distance <= window or not window):
                    expected[one, other] += 1 / distance
    assert np.allclose(pair_weights(rows, 9, window).toarray(), expected)


def test_more_pairs_than_fit_into_memory_ask_for_a_window(monkeypatch):
    monkeypatch.setattr(item_vectors, "MAX_ENTRIES", 99)
    rows = Ragged.of([range(10)])
    with pytest.raises(GenrecError, match="may hold 100 pairs, more than 99: set a window of fewer steps"):
        pair_weights(rows, 10)
    assert pair_weights(rows, 10, 1).nnz == 18


def test_information_is_how_much_likelier_a_pair_is_than_its_items_apart():
    # Row sums 3, 2, 1; their powers of 0.75 are 2.2795, 1.6818 and 1, together 4.9613.
    found = positive_information(symmetric({(0, 1): 2, (0, 2): 1}, 3)).toarray()
    first = (math.log(2 / 3 * 4.9613 / 1.6818) + math.log(2 / 2 * 4.9613 / 2.2795)) / 2
    second = (math.log(1 / 3 * 4.9613 / 1) + math.log(1 / 1 * 4.9613 / 2.2795)) / 2
    assert found == pytest.approx(np.array([[0, first, second], [first, 0, 0], [second, 0, 0]]), abs=1e-4)
    assert (first, second) == pytest.approx((0.7270, 0.6404), abs=1e-4)


def test_a_pair_that_is_rarer_than_chance_says_nothing():
    found = positive_information(symmetric({(0, 1): 10, (2, 3): 10, (1, 2): 0.1}, 4))
    assert found[1, 2] == 0 and found[0, 1] > 0


def test_vectors_are_the_leading_singular_vectors_times_the_roots_of_their_values():
    rows = random_rows(200, 120, 15)
    dense = positive_information(pair_weights(rows, 120)).toarray()
    left, sizes, _ = np.linalg.svd(dense)
    for dimensions in (8, 50):  # by the sparse and by the dense solver
        expected = left[:, :dimensions] * np.sqrt(sizes[:dimensions])
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        found = cooccurrence_vectors(TrainView(rows, 120), dimensions)
        assert found.shape == (120, dimensions) and found.dtype == np.float32
        assert np.allclose(found @ found.T, expected @ expected.T, atol=1e-5)


def test_items_of_one_crowd_point_one_way():
    rng = np.random.default_rng(0)
    rows = [2 * rng.choice(15, 6, replace=False) + user % 2 for user in range(40)]
    vectors = cooccurrence_vectors(TrainView(Ragged.of(rows), 30), 2)
    alike = vectors @ vectors.T
    assert alike[::2, ::2].min() > 0.8 and np.abs(alike[::2, 1::2]).max() < 0.1


def test_items_without_company_have_no_vector():
    train = TrainView(Ragged.of([[0, 1], [1, 0], [2], [4, 4]]), 5)
    vectors = cooccurrence_vectors(train)
    assert np.linalg.norm(vectors, axis=1).tolist() == pytest.approx([1, 1, 0, 0, 0])
    assert not cooccurrence_vectors(TrainView(Ragged.of([[0], []]), 3)).any()
    assert cooccurrence_vectors(TrainView(Ragged.empty(0), 2)).shape == (2, 1)


def test_an_attribute_weighs_the_logarithm_of_its_rarity_once():
    features = Ragged.of([[0, 1], [0], [1, 0, 1], [0, 2], []])
    expected = np.zeros((5, 3))
    expected[:4, 0], expected[[0, 2], 1], expected[3, 2] = math.log(5 / 4), math.log(5 / 2), math.log(5)
    assert np.allclose(rarity_weights(features).toarray(), expected)


def test_an_attribute_of_all_items_tells_none_apart():
    vectors = attribute_vectors(Ragged.of([[0, 1], [0], [1, 0], [0, 2]]))
    alike = vectors @ vectors.T
    assert np.linalg.norm(vectors, axis=1).tolist() == pytest.approx([1, 0, 1, 1])
    assert (alike[0, 2], alike[0, 3]) == pytest.approx((1, 0), abs=1e-6)


def test_attributes_are_projected_on_their_leading_directions():
    features = random_rows(150, 90, 9)
    dense = rarity_weights(features).toarray()
    left, sizes, _ = np.linalg.svd(dense, full_matrices=False)
    for dimensions in (8, 50):
        expected = unit_rows(left[:, :dimensions] * sizes[:dimensions])
        found = attribute_vectors(features, dimensions)
        assert np.allclose(found @ found.T, expected @ expected.T, atol=1e-5)


def test_vectors_are_the_same_every_time():
    train = TrainView(random_rows(200, 120, 15), 120)
    assert np.array_equal(cooccurrence_vectors(train, 8), cooccurrence_vectors(train, 8))
    assert np.array_equal(attribute_vectors(train.sequences, 8), attribute_vectors(train.sequences, 8))


def test_rounding_is_not_scaled_up_to_a_direction():
    assert unit_rows(np.array([[3, 4], [1e-9, 0], [0, 0]])).tolist() == [pytest.approx([0.6, 0.8]), [0, 0], [0, 0]]


def test_plugins_may_use_it():
    assert api.cooccurrence_vectors is cooccurrence_vectors


def test_vectors_of_a_codes_tokens_sum_to_its_items():
    codes = np.array([[0, 2], [0, 3], [1, 4]], np.int32)
    vectors = np.array([[1, 0], [3, 2], [0, 5]], np.float32)
    tokens = token_vectors(codes, vectors, np.full((6, 2), np.nan, np.float32))
    assert tokens[:5].tolist() == [[2, 1], [0, 5], [-1, -1], [1, 1], [0, 0]] and np.isnan(tokens[5]).all()
    for code, vector in zip(codes, vectors, strict=True):
        assert tokens[code].sum(0).tolist() == vector.tolist()

    # a user in the first cluster: its own token has what the cluster's leaves
    users = token_vectors(np.array([[0, 5]], np.int32), np.array([[2, 3]], np.float32), tokens)
    assert users[5].tolist() == [0, 2] and users[:5].tolist() == tokens[:5].tolist()


def test_a_token_of_many_items_has_their_mean_and_padding_has_none():
    codes = np.array([[0, 1], [0, 1], [1, -1]], np.int32)  # token 1 at two levels: the first one that has it decides
    vectors = np.array([[4], [2], [8]], np.float32)
    assert token_vectors(codes, vectors, np.full((2, 1), np.nan, np.float32)).tolist() == [[3], [8]]
