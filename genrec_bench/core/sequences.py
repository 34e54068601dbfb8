"""Users' interactions in order: the split, what a system may see of it, and what a backbone reads and learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec_bench.core.arrays import Float32, Int32, Int64, Ragged, Text, spread
from genrec_bench.core.codes import CodeTable
from genrec_bench.core.hashing import digest


@dataclass(frozen=True)
class Cases:
    """What is predicted: the item `target[i]` for `user[i]`, given that user's first `end[i]` items."""

    user: Int32
    end: Int32
    target: Int32

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[Any]) -> Cases:
        """The given cases, in the given order."""
        return Cases(self.user[rows], self.end[rows], self.target[rows])


@dataclass(frozen=True)
class Split:
    """Every user's items in order, how many of them are training, and the cases of validation and test."""

    sequences: Ragged
    train_end: Int32
    validation: Cases
    test: Cases
    n_items: int
    protocol: str
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = self.sequences.lengths
        assert (self.train_end <= lengths).all()
        for cases in (self.validation, self.test):
            assert (cases.end < lengths[cases.user]).all() and (cases.end >= self.train_end[cases.user]).all()

    @property
    def n_users(self) -> int:
        return len(self.sequences)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content."""
        arrays = [self.sequences.values, self.sequences.offsets, self.train_end]
        for cases in (self.validation, self.test):
            arrays += [cases.user, cases.end, cases.target]
        return digest(self.protocol, self.n_items, *arrays)

    def queries(self, cases: Cases) -> Queries:
        """The cases without their targets: what a system may see of them."""
        starts = self.sequences.offsets[:-1][cases.user]
        return Queries(cases.user, self.sequences.slice(starts, starts + cases.end))

    def train(self) -> Ragged:
        """The training part of every user."""
        starts = self.sequences.offsets[:-1]
        return self.sequences.slice(starts, starts + self.train_end)


@dataclass(frozen=True)
class Queries:
    """Users to recommend to, `(n,)`, with each user's history, oldest item first. Holds no target."""

    user: Int32
    history: Ragged

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[Any]) -> Queries:
        """The given queries, in the given order."""
        return Queries(self.user[rows], self.history.take(rows))


@dataclass(frozen=True)
class TrainView:
    """All that an indexer, a backbone or a baseline may learn from: training sequences and the catalogue.

    Holds no held-out interaction, so none can leak. The catalogue includes items that nobody interacted with in
    training.

    External ids are there only for components that declare that they `needs` them, to match rows of their own files.
    Learning from ids is a leak: released numberings follow the order of first appearance, held-out interactions
    included. The protocol shuffles its numbers for this reason (P3).
    """

    sequences: Ragged
    n_items: int
    item_titles: Text | None = None
    item_features: Ragged | None = None
    item_ids: Text | None = None
    user_ids: Text | None = None

    @property
    def n_users(self) -> int:
        return len(self.sequences)


@dataclass(frozen=True)
class Sources:
    """The source tokens of many users in flat arrays; source `i` is `offsets[i]:offsets[i + 1]`.

    `levels` is a token's level in its code (-1: not part of a code). `words` numbers the word that a token belongs to,
    from 1; a word is a whole code or one word of a template (P5's whole-word ids).
    """

    tokens: Int32
    levels: Int32
    words: Int32
    offsets: Int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64:
        return np.diff(self.offsets)

    def take(self, rows: NDArray[Any]) -> Sources:
        """The given sources, in the given order."""
        offsets = np.zeros(len(rows) + 1, np.int64)
        starts = self.offsets[:-1][rows]
        np.cumsum(self.offsets[1:][rows] - starts, out=offsets[1:])
        flat = spread(starts, offsets)
        return Sources(self.tokens[flat], self.levels[flat], self.words[flat], offsets)


@dataclass(frozen=True)
class Examples:
    """Training examples: source `i` has the targets `targets[target_offsets[i]:target_offsets[i + 1]]`.

    `targets` are codes, `(m, width)` int32, padded with -1 on the right; `n_tokens` is the size of the output alphabet and
    `catalogue` holds the codes of all items, those that nobody has included, and `sequences` every user's training items as
    its rows, in order. `vectors` `(n_items, d)` are what the codes were made from, where the index has them. Target `j` sees the first `visible[j]` tokens
    of its source, int64 `(m,)`; None: every target sees the whole of it. `redraw`, if given, draws the sources of another
    epoch (new prompts) from a generator.
    """

    sources: Sources
    targets: Int32
    target_offsets: Int64
    n_tokens: int
    catalogue: CodeTable
    sequences: Ragged
    visible: Int64 | None = None
    vectors: Float32 | None = None
    redraw: Callable[[np.random.Generator], Sources] | None = None

    def __post_init__(self) -> None:
        assert len(self.target_offsets) == len(self.sources) + 1 and self.target_offsets[-1] == len(self.targets)
        assert self.visible is None or len(self.visible) == len(self.targets)

    def __len__(self) -> int:
        return len(self.sources)
