"""From users to source tokens: codes alone, or codes inside the words of a prompt.

`direct` shows the user's own code; `sequential` the codes of the last items, oldest first, and no user code unless a
prompt asks for one. Code tokens keep their numbers; the words of a prompt are numbered above them. Knows no network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from genrec_bench.core.arrays import Int64, spread
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.sequences import Queries, Sources
from genrec_bench.errors import NeedsMissing
from genrec_bench.host.contracts import Task, Template

NO_LEVEL = -1  # the level of a token that belongs to no code


class IdTemplate(Template):
    """Codes and nothing else. Each code is one word (whole-word numbers from 1, counted back from the latest item);
    `levels` is the position in the code."""

    def __init__(self, task: Task, index: Index, history: int) -> None:
        self.task, self.index, self.history = task, index, history
        if task == "direct":
            users_of(index)

    def render(self, queries: Queries) -> Sources:
        """One source per query; a user without history gets an empty one."""
        if self.task == "direct":
            return one_each(users_of(self.index), queries)
        return recent_items(self.index, queries, self.history)


def users_of(index: Index) -> CodeTable:
    """The user codes of `index`. NeedsMissing if it has none."""
    if index.users is None:
        raise NeedsMissing("the task names the user by a code, and this index has none", needs="user codes")
    return index.users


def one_each(users: CodeTable, queries: Queries) -> Sources:
    """The code of each query's user."""
    return _codes_of(users, queries.user, np.arange(len(queries) + 1, dtype=np.int64))


def recent_items(index: Index, queries: Queries, most: int) -> Sources:
    """The codes of the last `most` items of each query's history, oldest first."""
    recent = queries.history.tail(most)
    return _codes_of(index.items, recent.values, recent.offsets)


def _codes_of(table: CodeTable, numbers: np.ndarray, offsets: Int64) -> Sources:
    """The codes of `numbers`, one after another; `offsets` groups the numbers into sources."""
    codes = table.codes[numbers]
    there = codes >= 0
    word = np.repeat(offsets[1:], np.diff(offsets)) - np.arange(len(numbers))
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    levels = np.broadcast_to(np.arange(codes.shape[1], dtype=np.int32), codes.shape)
    words = np.broadcast_to(word[:, None].astype(np.int32), codes.shape)
    return Sources(codes[there], levels[there], words[there], ends[offsets].astype(np.int64))


class Vocabulary(Protocol):
    """The words of prompts as numbers from 0: `size` of them; `end` closes every prompt."""

    size: int
    end: Sequence[int]

    def encode(self, word: str) -> Sequence[int]:
        """The pieces of one word, at least one."""
        ...


class WordList:
    """A word-level vocabulary: every word of the given prompts is one piece, any other word the last one."""

    end: Sequence[int] = ()

    def __init__(self, prompts: Iterable[str]) -> None:
        words = sorted({word for prompt in prompts for word in prompt.split() if not word.startswith("{")})
        self.numbers: Mapping[str, int] = {word: number for number, word in enumerate(words)}
        self.size = len(words) + 1

    def encode(self, word: str) -> Sequence[int]:
        return (self.numbers.get(word, self.size - 1),)


class PromptTemplate(Template):
    """One prompt for everybody: words, with `{user}` and `{history}` where the codes go.

    Whole-word numbers: items count back from the latest, as in `IdTemplate`; every other word, and the user's code, has
    `history` plus its position in the prompt.
    """

    def __init__(self, index: Index, history: int, vocabulary: Vocabulary, prompt: str) -> None:
        self.index, self.history, self.vocabulary, self.prompt = index, history, vocabulary, prompt
        if "{user}" in prompt:
            users_of(index)

    def render(self, queries: Queries) -> Sources:
        """One source per query, all of the same prompt."""
        return self.write(self.prompt, queries)

    def write(self, prompt: str, queries: Queries) -> Sources:
        """`prompt` for each query."""
        parts, position = [], self.history

        for text in re.split(r"(\{user\}|\{history\})", prompt):
            if text == "{history}":
                parts.append(recent_items(self.index, queries, self.history))
            elif text == "{user}":
                position += 1
                code = one_each(users_of(self.index), queries)
                parts.append(Sources(code.tokens, code.levels, np.full_like(code.words, position), code.offsets))
            else:
                pieces = [self.vocabulary.encode(word) for word in text.split()]
                parts.append(self._same(pieces, position, len(queries)))
                position += len(pieces)

        return join([*parts, self._same([self.vocabulary.end], position, len(queries))])

    def _same(self, words: Sequence[Sequence[int]], position: int, n: int) -> Sources:
        """The same words `n` times, numbered from `position` + 1."""
        tokens = np.array([piece + self.index.n_tokens for word in words for piece in word], np.int32)
        of_words = np.arange(position + 1, position + 1 + len(words), dtype=np.int32)
        numbers = np.repeat(of_words, [len(word) for word in words])
        levels = np.full(n * len(tokens), NO_LEVEL, np.int32)
        offsets = np.arange(n + 1, dtype=np.int64) * len(tokens)
        return Sources(np.tile(tokens, n), levels, np.tile(numbers, n), offsets)


class SampledPrompts(PromptTemplate):
    """Several prompts, one drawn for each source and epoch of training; `prompt` alone is used everywhere else."""

    def __init__(
        self, index: Index, history: int, vocabulary: Vocabulary, prompt: str, training: Sequence[str]
    ) -> None:
        super().__init__(index, history, vocabulary, prompt)
        self.drawn = tuple(training)

    def training(self, queries: Queries, rng: np.random.Generator) -> Sources:
        """One source per query, its prompt drawn evenly."""
        which = rng.integers(len(self.drawn), size=len(queries))
        order = np.argsort(which, kind="stable")
        groups = np.split(order, np.cumsum(np.bincount(which, minlength=len(self.drawn)))[:-1])
        parts = [self.write(prompt, queries.take(rows)) for prompt, rows in zip(self.drawn, groups, strict=True)]
        return stack(parts).take(np.argsort(order, kind="stable"))


def join(parts: Sequence[Sources]) -> Sources:
    """Source `i` is source `i` of every part, one after the other."""
    lengths = np.stack([part.lengths for part in parts], axis=1)  # (n, parts)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)  # row by row, part by part
    tokens, levels, words = (np.empty(starts[-1], np.int32) for _ in range(3))
    for number, part in enumerate(parts):
        at = spread(starts[number : -1 : len(parts)], part.offsets)
        tokens[at], levels[at], words[at] = part.tokens, part.levels, part.words
    return Sources(tokens, levels, words, starts[:: len(parts)])


def stack(parts: Sequence[Sources]) -> Sources:
    """The sources of all parts, one part after the other."""
    lengths = np.concatenate([part.lengths for part in parts])
    return Sources(
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([part.levels for part in parts]),
        np.concatenate([part.words for part in parts]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )
