"""hypothesis strategies: codes, training views, sources and generations. The only module that needs hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from genrec_bench.core.arrays import PAD, Ragged
from genrec_bench.core.codes import Index
from genrec_bench.core.rankings import NO_HYPOTHESIS, NOT_AN_ITEM, Generations
from genrec_bench.core.sequences import Sources, TrainView
from genrec_bench.testing.fakes import code_table, index_of


@st.composite
def prefix_free(draw: Any, most: int = 5, width: int = 3) -> list[list[int]]:
    """1 to 12 codes of at most `width` tokens below `most`, none a prefix of another."""
    wanted = draw(st.lists(st.lists(st.integers(0, most - 1), min_size=1, max_size=width), min_size=1, max_size=12))
    kept: list[list[int]] = []
    for code in wanted:
        if not any(code[: len(other)] == other or other[: len(code)] == code for other in kept):
            kept.append(code)
    return kept


@st.composite
def indexes(draw: Any, most: int = 5, width: int = 3, users: int = 0) -> Index:
    """An index over a small alphabet; with `users`, that many user codes in tokens of their own."""
    index = index_of(draw(prefix_free(most, width)), most)
    return index.with_users(np.arange(users, dtype=np.int32)[:, None], "drawn") if users else index


@st.composite
def train_views(draw: Any, users: int = 6, items: int = 8, length: int = 7) -> TrainView:
    """Training views of 1 to `users` users and 1 to `items` items, with cold items and empty histories."""
    n_items = draw(st.integers(1, items))
    row = st.lists(st.integers(0, n_items - 1), max_size=length)
    rows = draw(st.lists(row, min_size=1, max_size=users))
    titles = np.array([f"item {number}" for number in range(n_items)])
    return TrainView(Ragged.of(rows), n_items, titles, Ragged.of([[number % 3] for number in range(n_items)]))


@st.composite
def token_sources(draw: Any, n_tokens: int = 5, users: int = 4, length: int = 6) -> Sources:
    """1 to `users` sources of different lengths, some of them empty. Every token is a word of its own."""
    rows = draw(st.lists(st.lists(st.integers(0, n_tokens - 1), max_size=length), min_size=1, max_size=users))
    ragged = Ragged.of(rows)
    position = np.arange(len(ragged.values)) - ragged.offsets[ragged.rows]
    return Sources(ragged.values, np.zeros_like(ragged.values), (position + 1).astype(np.int32), ragged.offsets)


@st.composite
def generations(draw: Any, codes: list[list[int]] | None = None, cases: int = 4, beams: int = 5) -> Generations:
    """What a decoder might emit over `codes`: items, repeats, hypotheses that are not items, and empty places."""
    codes = draw(prefix_free()) if codes is None else codes
    table = code_table(codes).codes
    n = draw(st.integers(1, cases))
    kinds = st.integers(NOT_AN_ITEM, len(codes) - 1)
    rows = [draw(st.lists(kinds, max_size=beams)) for _ in range(n)]
    items = np.array([row + [NO_HYPOTHESIS] * (beams - len(row)) for row in rows], np.int32).reshape(n, beams)
    tokens = np.where(items[..., None] >= 0, table[np.maximum(items, 0)], PAD).astype(np.int32)
    tokens[items == NOT_AN_ITEM] = int(table.max()) + 1  # a token that no code has

    falls = np.array(draw(st.lists(st.floats(0, 3, width=32), min_size=n * beams, max_size=n * beams)), np.float32)
    scores = np.where(items == NO_HYPOTHESIS, -np.inf, -np.cumsum(falls.reshape(n, beams), axis=1)).astype(np.float32)
    bound = np.array(draw(st.lists(st.floats(-20, 0, width=32), min_size=n, max_size=n)), np.float32)
    return Generations(tokens, scores, items, bound)
