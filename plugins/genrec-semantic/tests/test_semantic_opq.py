"""Product quantisation on vectors whose codes are known beforehand."""

import numpy as np
import pytest
from genrec_semantic.coding import reconstruction_error
from genrec_semantic.opq import ProductConfig, ProductQuantiser, rotation
from semantic_data import films

from genrec_bench.api import IndexerContext


def quantise(vectors, **options):
    quantiser = ProductQuantiser(ProductConfig(**{"digits": 3, "codebook_size": 4, **options}))
    return quantiser.quantise(vectors.astype(np.float32), np.ones(len(vectors), np.int64), IndexerContext(seed=1))


def products(n=200, width=2, seed=0):
    """Vectors of three pieces, each one of four points that lie far apart, and which ones."""
    rng = np.random.default_rng(seed)
    points = 10 * rng.permutation(12 * width).reshape(3, 4, width)
    chosen = rng.integers(4, size=(n, 3))
    return np.concatenate([points[digit, chosen[:, digit]] for digit in range(3)], axis=1).astype(np.float32), chosen


def test_a_digit_is_the_point_of_its_piece():
    vectors, chosen = products()
    vectors = np.unique(vectors + np.random.default_rng(1).normal(0, 0.01, vectors.shape), axis=0)
    found = quantise(vectors, rotate=False)
    nearest, _ = products(0)
    assert found.labels.shape == (200, 3) and nearest.shape == (0, 6)
    for digit in range(3):
        piece = np.round(vectors[:, 2 * digit : 2 * digit + 2])
        pairs = {
            (tuple(point), label) for point, label in zip(piece.tolist(), found.labels[:, digit].tolist(), strict=True)
        }
        assert len(pairs) == 4 and len({label for _, label in pairs}) == 4
    np.testing.assert_allclose(found.restored, vectors, atol=0.1)
    assert len(np.unique(chosen[:, 0])) == 4


def test_turned_vectors_lose_less_and_are_turned_back():
    vectors, _ = products()
    noisy = vectors + np.random.default_rng(1).normal(0, 0.1, vectors.shape)
    mixing, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))
    mixed = (noisy @ mixing).astype(np.float32)
    weights = np.ones(len(mixed), np.int64)
    turned, plain = (
        reconstruction_error(mixed, quantise(mixed, rotate=rotate).restored, weights) for rotate in (True, False)
    )
    assert turned < 0.8 * plain


def test_the_rotation_is_orthogonal_and_the_same_every_time():
    vectors = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    turn = rotation(vectors, 4, 16)
    np.testing.assert_allclose(turn @ turn.T, np.eye(8), atol=1e-5)
    np.testing.assert_array_equal(turn, rotation(vectors, 4, 16))
    assert np.abs(turn - np.eye(8)).max() > 0.1


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_fewer_vectors_than_dimensions_stay_as_they_are(rows):
    np.testing.assert_array_equal(rotation(np.ones((rows, 8), np.float32), 4, 16), np.eye(8))


def test_dimensions_that_the_digits_do_not_divide_are_padded():
    vectors = np.random.default_rng(0).normal(size=(60, 7))
    found = quantise(vectors, codebook_size=64)
    assert found.labels.shape == (60, 3) and found.restored.shape == (60, 7)
    np.testing.assert_allclose(found.restored, vectors, atol=1e-4)  # a centroid for each of the 60


def test_items_without_content_have_a_token_of_their_own():
    titles = films(per_topic=10)[0].item_titles.copy()
    titles[:5] = ""
    view, _ = films(per_topic=10, item_titles=titles, item_features=None)
    options = ProductConfig(digits=3, codebook_size=8, dimensions=12)
    codes = ProductQuantiser(options).build(view, IndexerContext()).items.codes
    assert len(np.unique(codes[:5, :2], axis=0)) == 1 and len(np.unique(codes[:5, 2])) == 5
    for digit in range(3):
        assert not set(codes[:5, digit].tolist()) & set(codes[5:, digit].tolist())
