"""A small catalogue, network and batches, shared by the tests of captured searches."""

import numpy as np
import torch

from genrec_bench.api import CodeTable, Index, Sources
from genrec_bench.testing import Subject

SIZES = {"layers": 2, "d_model": 32, "heads": 2, "d_ff": 8, "word_embedding": False}
SHAPE = (10, 3, 3, 10)  # children of a node, level by level: 900 items


def catalogue():
    """An index of shuffled items; every level has tokens of its own."""
    codes = np.stack(np.unravel_index(np.random.default_rng(0).permutation(900), SHAPE), axis=1)
    return Index(CodeTable((codes + np.cumsum([0, *SHAPE[:-1]])).astype(np.int32)), None, sum(SHAPE))


INDEX = catalogue()


def network(seed=0, device="cpu"):
    """A LightLM with random weights whose scores spread and depend on the source; other ones under another seed."""
    backbone = Subject.of("backbone", "lightlm", SIZES).make()
    backbone.begin(INDEX.n_tokens, device=device)
    with torch.no_grad():
        backbone.net.decoder_norm.weight.mul_(3)
        for layer in backbone.net.decoder:
            layer.cross.attention.o.weight.mul_(4)
        if seed:
            backbone.net.embedding.weight.mul_(-1)
    return backbone


def batch_of(users, length, seed=0):
    """Histories of item codes, of different lengths, the longest first."""
    items = np.random.default_rng(seed).integers(0, 900, (users, length))
    lengths = np.maximum(1, length - 2 * np.arange(users))
    tokens = [INDEX.items.codes[row].ravel()[:n] for row, n in zip(items, lengths, strict=True)]
    place = np.concatenate([np.arange(n, dtype=np.int32) for n in lengths])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sources(np.concatenate(tokens), place % 4, place // 4 + 1, offsets)


def assert_same(generations, expected):
    """The same lists, and scores up to rounding."""
    np.testing.assert_array_equal(generations.items, expected.items)
    np.testing.assert_array_equal(generations.tokens, expected.tokens)
    np.testing.assert_allclose(generations.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(generations.bound, expected.bound, atol=1e-4)
