"""The data that everything turns on: frozen NumPy arrays, checked once at construction, trusted afterwards.

Knows nothing of models, files or the terminal. Users and items are dense 0-based *numbers* here; the *external ids* a
person knows live in `Interactions` only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec_bench.errors import DataError, InvalidRanking

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]
Text = NDArray[np.str_]

NOT_AN_ITEM = -1  # a hypothesis that is the code of no catalogue item
NO_HYPOTHESIS = -2  # an empty place of a beam
PAD = -1  # right padding of codes and of short ranked lists


def digest(*parts: Any) -> str:
    """SHA-256 (hex) of arrays, strings and numbers; shape and dtype count, so no two contents collide by layout."""
    return digest_of(parts)


def digest_of(parts: Iterable[Any]) -> str:
    """`digest` of parts that are made one after the other."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype.str}{part.shape}".encode())
            if part.nbytes:
                sha.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        else:
            sha.update(f"{type(part).__name__}:{part!r};".encode())
    return sha.hexdigest()


def hash_ids(ids: Text, seed: int) -> NDArray[np.uint64]:
    """One 64-bit hash per string, `(n,)`: FNV-1a over the characters, then a seeded SplitMix64 finaliser.

    Equal on every platform and independent of the order of `ids`; what the protocol's shuffle and tie rule rest on.
    """
    ids = np.ascontiguousarray(ids, dtype=np.str_)
    width = ids.dtype.itemsize // 4
    hashes = np.full(len(ids), 0xCBF29CE484222325, np.uint64)
    for column in ids.view(np.uint32).reshape(len(ids), width).T if width else ():
        stirred = (hashes ^ column.astype(np.uint64)) * np.uint64(0x100000001B3)
        hashes = np.where(column > 0, stirred, hashes)
    return mix(hashes + np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64))


def mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The SplitMix64 finaliser, element by element."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths in one flat array: row `i` is `values[offsets[i]:offsets[i + 1]]`."""

    values: NDArray[Any]
    offsets: Int64

    def __post_init__(self) -> None:
        assert self.offsets.ndim == 1 and len(self.offsets) >= 1 and self.offsets[-1] == len(self.values)

    @classmethod
    def of(cls, rows: list[Any] | list[list[Any]], dtype: Any = np.int32) -> Ragged:
        """From a list of sequences."""
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        flat = np.concatenate([np.asarray(row, dtype) for row in rows]) if rows else np.zeros(0, dtype)
        return cls(flat.astype(dtype), offsets)

    @classmethod
    def empty(cls, rows: int) -> Ragged:
        """`rows` rows of length zero."""
        return cls(np.zeros(0, np.int32), np.zeros(rows + 1, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> Int64:
        """Length of each row, `(n,)`."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> Int64:
        """The row each value belongs to, shaped like `values`."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows: NDArray[Any]) -> Ragged:
        """The given rows, in the given order."""
        return self.slice(self.offsets[:-1][rows], self.offsets[1:][rows])

    def tail(self, most: int) -> Ragged:
        """The last `most` values of each row."""
        ends = self.offsets[1:]
        return self.slice(np.maximum(self.offsets[:-1], ends - most), ends)

    def slice(self, starts: NDArray[Any], ends: NDArray[Any]) -> Ragged:
        """Row `i` is `values[starts[i]:ends[i]]`."""
        offsets = np.zeros(len(starts) + 1, np.int64)
        np.cumsum(ends - starts, out=offsets[1:])
        return Ragged(self.values[spread(starts, offsets)], offsets)


def spread(starts: NDArray[Any], offsets: Int64) -> Int64:
    """Flat positions `starts[i], starts[i] + 1, ...` for rows whose lengths are `diff(offsets)`."""
    positions: Int64 = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], np.diff(offsets))
    return positions


@dataclass(frozen=True)
class Interactions:
    """Who met what, and when. One row per event; `user` and `item` are numbers into `user_ids` and `item_ids`.

    `time` (integers, any unit) may be missing: then the rows of a user stand in their order. `item_titles` and
    `item_features` (attribute numbers of each item) are optional; `dropped` counts what preparation left out.
    """

    user: Int32
    item: Int32
    time: Int64 | None
    user_ids: Text
    item_ids: Text
    rating: Float32 | None = None
    item_titles: Text | None = None
    item_features: Ragged | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, ids, column in (("user", self.user_ids, self.user), ("item", self.item_ids, self.item)):
            if len(np.unique(ids)) != len(ids):
                raise DataError(f"two {name}s share one external id", path=None)
            if len(column) and not (int(column.min()) >= 0 and int(column.max()) < len(ids)):
                raise DataError(f"a {name} number lies outside the {len(ids)} known {name}s", path=None)
        for values in (self.item, self.time, self.rating):
            if values is not None and len(values) != len(self.user):
                raise DataError("columns of different lengths", path=None)

    def __len__(self) -> int:
        return len(self.user)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def fingerprint(self) -> str:
        """SHA-256 of the events by external id: independent of numbering and, where times exist, of the row order."""
        users, items = hash_ids(self.user_ids, 0), hash_ids(self.item_ids, 0)
        time = np.arange(len(self)) if self.time is None else self.time
        order = np.lexsort((_places(items)[self.item], time, _places(users)[self.user]))

        def columns() -> Iterator[NDArray[Any]]:  # one at a time: there may be many events
            yield users[self.user[order]]
            yield items[self.item[order]]
            yield from (each[order] for each in (self.time, self.rating) if each is not None)

        return digest_of(columns())


def _places(hashes: NDArray[np.uint64]) -> Int32:
    """The rank of each hash, equal ones alike: the same order in half the bytes."""
    return np.unique(hashes, return_inverse=True)[1].astype(np.int32)


@dataclass(frozen=True)
class Cases:
    """What is predicted: for `user[i]`, knowing the first `end[i]` events of that user, the item `target[i]`."""

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
    """Every user's events in order, how many of them are training, and the cases of validation and test."""

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
        """The cases without their targets: what a system may see."""
        starts = self.sequences.offsets[:-1][cases.user]
        return Queries(cases.user, self.sequences.slice(starts, starts + cases.end))

    def train(self) -> Ragged:
        """The training part of every user."""
        starts = self.sequences.offsets[:-1]
        return self.sequences.slice(starts, starts + self.train_end)


@dataclass(frozen=True)
class Queries:
    """Users to recommend to, `(n,)`, with all items each already has, oldest first. Holds no target."""

    user: Int32
    history: Ragged

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[Any]) -> Queries:
        """The given queries, in the given order."""
        return Queries(self.user[rows], self.history.take(rows))


@dataclass(frozen=True)
class TrainView:
    """All that an indexer, a backbone or a baseline may learn from: training sequences and the catalogue's size.

    Held-out events are not in this object, so they cannot leak. The catalogue includes items without a training event.

    External ids are given only to a component that declares it `needs` them, to look its own files up by: released
    numberings follow the order of first appearance, held-out events included, so learning from an id is a leak. That
    order is why the protocol shuffles the numbers (P3).
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
    """Source token sequences of many users, flat. `levels` is a token's place in its code (-1: not part of one), `words`
    the number of the word (a whole code, or one template word) it belongs to, counted from 1 (P5's whole-word ids)."""

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
        at = spread(starts, offsets)
        return Sources(self.tokens[at], self.levels[at], self.words[at], offsets)


@dataclass(frozen=True)
class Examples:
    """Training examples: source `i` has the targets `targets[target_offsets[i]:target_offsets[i + 1]]`.

    `targets` are codes, `(m, width)` int32, padded with -1 on the right; `n_tokens` is the output alphabet's size.
    `redraw`, where it is given, makes the sources of another epoch (prompts drawn anew from a generator).
    """

    sources: Sources
    targets: Int32
    target_offsets: Int64
    n_tokens: int
    redraw: Callable[[np.random.Generator], Sources] | None = None

    def __post_init__(self) -> None:
        assert len(self.target_offsets) == len(self.sources) + 1 and self.target_offsets[-1] == len(self.targets)

    def __len__(self) -> int:
        return len(self.sources)


@dataclass(frozen=True)
class Generations:
    """What a decoder truly emitted, before anything is dropped.

    `tokens` `(n, beams, width)`, padded with -1; `scores` `(n, beams)`, sums of log-probabilities, best first;
    `items` `(n, beams)`: item number, -1 = no catalogue item, -2 = no hypothesis; `bound` `(n,)`: the best score among
    the hypotheses that the search discarded (-inf if none; +inf where a search proves nothing).
    """

    tokens: Int32
    scores: Float32
    items: Int32
    bound: Float32

    def __post_init__(self) -> None:
        assert (
            self.tokens.shape[:2] == self.scores.shape == self.items.shape and self.bound.shape == self.scores.shape[:1]
        )

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: NDArray[Any]) -> Generations:
        """The given cases, in the given order."""
        return Generations(self.tokens[rows], self.scores[rows], self.items[rows], self.bound[rows])

    @classmethod
    def concatenate(cls, parts: list[Generations]) -> Generations:
        """Batches back into one."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


@dataclass(frozen=True)
class Ranking:
    """Per case, ranked item numbers `(n, places)` and their scores; places a system did not fill are -1 at the end.

    `depth` is how many places were asked for. Refuses repeated items, gaps and rising scores.
    """

    items: Int32
    scores: Float32
    depth: int

    def __post_init__(self) -> None:
        if self.items.shape != self.scores.shape or self.items.ndim != 2 or self.items.shape[1] > self.depth:
            raise InvalidRanking(
                f"a ranking of shape {self.items.shape} with scores {self.scores.shape}, depth {self.depth}"
            )
        filled = self.items >= 0
        if (filled[:, 1:] & ~filled[:, :-1]).any():
            raise InvalidRanking("a ranked list has a gap: empty places belong at its end")
        both = filled[:, 1:]
        if np.isnan(self.scores[filled]).any() or (self.scores[:, 1:][both] > self.scores[:, :-1][both]).any():
            raise InvalidRanking("scores of a ranked list must not rise or be NaN")
        ordered = np.sort(self.items, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            raise InvalidRanking("a ranked list names an item twice")

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def concatenate(cls, parts: list[Ranking]) -> Ranking:
        """Batches back into one; narrower parts are padded."""
        places = max(part.items.shape[1] for part in parts)
        pad = [((0, 0), (0, places - part.items.shape[1])) for part in parts]
        items = [np.pad(part.items, by, constant_values=PAD) for part, by in zip(parts, pad, strict=True)]
        scores = [np.pad(part.scores, by, constant_values=-np.inf) for part, by in zip(parts, pad, strict=True)]
        return cls(np.concatenate(items), np.concatenate(scores), parts[0].depth)
