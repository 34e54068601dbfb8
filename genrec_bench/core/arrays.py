"""Array types, and `Ragged`: rows of different lengths in one flat array."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]
Text = NDArray[np.str_]
PAD = -1  # pads codes and short ranked lists on the right


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
        """The rows numbered `rows`, in that order."""
        return self.slice(self.offsets[:-1][rows], self.offsets[1:][rows])

    def tail(self, most: int) -> Ragged:
        """The last `most` values of each row."""
        ends = self.offsets[1:]
        return self.slice(np.maximum(self.offsets[:-1], ends - most), ends)

    def slice(self, starts: NDArray[Any], ends: NDArray[Any]) -> Ragged:
        """A new array whose row `i` is `values[starts[i]:ends[i]]`."""
        offsets = np.zeros(len(starts) + 1, np.int64)
        np.cumsum(ends - starts, out=offsets[1:])
        return Ragged(self.values[spread(starts, offsets)], offsets)


def spread(starts: NDArray[Any], offsets: Int64) -> Int64:
    """Flat positions `starts[i], starts[i] + 1, ...` of each row; row lengths are `diff(offsets)`."""
    positions: Int64 = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], np.diff(offsets))
    return positions
