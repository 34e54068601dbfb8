"""Prompts: a user becomes code tokens, and for a text checkpoint a few words around them.

`direct` shows the user's own code; `sequential` the codes of the last items, oldest first, and no user code. Knows the
index and a tokenizer, never the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from genrec_bench.api import CodeTable, Index, NeedsMissing, Queries, Ragged, Sources, Task, Template

NO_CODE = -1  # the level of a template word
TEXT = {  # before the codes, between two of them, after the last; the code to be written follows
    "direct": ("User", "", ". Next item:"),
    "sequential": ("Purchase history:", ",", ". Next item:"),
}


@dataclass(frozen=True)
class Words:
    """Token numbers of a checkpoint's own vocabulary around the codes: before them, between two, after the last."""

    before: tuple[int, ...] = ()
    between: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @classmethod
    def of(cls, task: Task, encode: Callable[[str], list[int]], first: tuple[int, ...] = ()) -> Words:
        """The task's text through `encode`; `first` is what the checkpoint wants at the very start (its BOS)."""
        before, between, after = (tuple(encode(text)) if text else () for text in TEXT[task])
        return cls(first + before, between, after)


class PromptTemplate(Template):
    """Source tokens of one task: code tokens as they are, words numbered from `n_tokens` up."""

    def __init__(self, task: Task, index: Index, history: int, words: Words) -> None:
        self.task, self.index, self.history, self.words = task, index, history, words
        if task == "direct" and index.users is None:
            raise NeedsMissing("the direct task names the user by a code, and this index has none", needs="user codes")

    def render(self, queries: Queries) -> Sources:
        """One prompt per query. Without words, a user without history gets an empty one."""
        if self.task == "direct" and self.index.users is not None:
            own = Ragged(queries.user, np.arange(len(queries) + 1, dtype=np.int64))
            return self._prompts(self.index.users, own)
        return self._prompts(self.index.items, queries.history.tail(self.history))

    def _prompts(self, table: CodeTable, shown: Ragged) -> Sources:
        """One row of tokens per entry of `shown` (numbers into `table`), words included, then cut into sources."""
        width, count = table.width, len(shown.values)
        before, between, after = (
            self._number(part) for part in (self.words.before, self.words.between, self.words.after)
        )

        # blocks in order: per source one with `before`, one per code (with `between` in front), one with `after`
        block_width = max(len(before), len(between) + width, len(after))
        sizes = shown.lengths + 2
        ends = np.cumsum(sizes)
        starts = ends - sizes

        tokens = np.full((int(sizes.sum()), block_width), -1, np.int32)
        levels = np.full_like(tokens, NO_CODE)

        tokens[starts, : len(before)] = before
        tokens[ends - 1, : len(after)] = after

        at = np.arange(count) + 2 * shown.rows + 1  # the block of each code
        codes = table.codes[shown.values]
        tokens[at[:, None], len(between) + np.arange(width)] = codes
        levels[at[:, None], len(between) + np.arange(width)] = np.arange(width)

        later = at[at != starts[shown.rows] + 1]  # every code but a source's first
        tokens[later[:, None], np.arange(len(between))] = between

        there = tokens >= 0
        offsets = np.concatenate(
            [[0], np.cumsum(np.bincount(np.repeat(np.arange(len(shown)), sizes), there.sum(1), len(shown)))]
        )

        # The positions of words and codes count from 1 in each source.
        flat_levels = levels[there]
        opens = flat_levels <= 0  # a word, or the first token of a code
        number = np.cumsum(opens)
        offsets = offsets.astype(np.int64)
        lengths = np.diff(offsets)
        base = np.repeat(np.concatenate([[0], number])[offsets[:-1]], lengths)
        return Sources(tokens[there], flat_levels, (number - base).astype(np.int32), offsets)

    def _number(self, words: tuple[int, ...]) -> np.ndarray:
        return np.asarray(words, np.int32) + np.int32(self.index.n_tokens)
