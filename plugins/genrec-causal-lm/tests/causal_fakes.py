"""Toy sources, examples and an index, and the vocabulary of the tiny checkpoints."""

import numpy as np

from genrec_bench.api import CodeTable, Examples, Index, Ragged, Sources

WORDS = ["[UNK]", "<s>", "User", "Purchase", "history", "Next", "item", ":", ".", ",", "a"]


def sources_of(rows: list[list[int]]) -> Sources:
    """Sources with the given tokens."""
    flat = Ragged.of(rows)
    ones = np.ones(len(flat.values), np.int32)
    return Sources(flat.values, ones - 1, ones, flat.offsets)


def cycle_examples(items: int = 9, users: int = 36, targets: int = 1) -> Examples:
    """A planted cycle: after item i comes i + 1. Codes of items are two tokens, (i // 3, 3 + i % 3)."""
    codes = np.array([[i // 3, 3 + i % 3] for i in range(items)], np.int32)
    last = np.arange(users) % items
    rows = [np.concatenate([codes[(at - back) % items] for back in range(at % 3, -1, -1)]).tolist() for at in last]
    follow = (last[:, None] + 1 + np.arange(targets)) % items
    offsets = np.arange(users + 1, dtype=np.int64) * targets
    return Examples(sources_of(rows), codes[follow.flatten()], offsets, 6, CodeTable(codes), Ragged.empty(0))


def small_index() -> Index:
    """Five items and two users with codes of different lengths over seven tokens."""
    items = CodeTable(np.array([[0, 2], [0, 3], [1, -1], [4, 2], [4, 3]], np.int32))
    return Index(items, CodeTable(np.array([[5, -1], [6, 2]], np.int32)), 7)
