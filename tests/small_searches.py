"""A small catalogue, network and batches, shared by the tests of captured searches."""

import numpy as np
import torch

from genrec_bench.core.sequences import Sources
from genrec_bench.testing import synthetic

INDEX = synthetic.catalogue(900)
SIZES = {"layers": 2, "d_model": 32, "heads": 2, "d_ff": 8}


def network(seed=0):
    backbone = synthetic.network(INDEX.n_tokens, "cpu", **SIZES)
    if seed:
        with torch.no_grad():
            backbone.net.embedding.weight.mul_(-1)
    return backbone


def batch_of(users, length, seed=0):
    """Sources of different lengths, the longest first."""
    whole = synthetic.sources(INDEX, users + seed, length)
    parts = [whole.take(np.array([row + seed])) for row in range(users)]
    kept = [max(1, length - 2 * row) for row in range(users)]
    columns = (
        np.concatenate([getattr(part, name)[:n] for part, n in zip(parts, kept, strict=True)])
        for name in ("tokens", "levels", "words")
    )
    return Sources(*columns, np.concatenate([[0], np.cumsum(kept)]))


def assert_same(found, expected):
    """The same lists, and scores up to rounding."""
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.bound, expected.bound, atol=1e-4)
