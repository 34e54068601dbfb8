"""Interactions: what a data set gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genrec_bench.core.arrays import Float32, Int32, Int64, Ragged, Text
from genrec_bench.core.frames import data_frame
from genrec_bench.core.hashing import digest_of, hash_ids
from genrec_bench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Interactions:
    """Which user interacted with which item, and when. One row each; columns are `(n,)`.

    `user` and `item` number the external ids in `user_ids` and `item_ids`. `time` (whole numbers, any unit) may be
    missing: then a user's rows are in order. `item_titles` and `item_features` (each item's attribute numbers) are
    optional; `dropped` counts what preparation left out, and `read_as` says in words what a person's file was taken for.
    DataError if the columns contradict each other.
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
    read_as: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, ids, column in (("user", self.user_ids, self.user), ("item", self.item_ids, self.item)):
            if len(np.unique(ids)) != len(ids):
                raise DataError(f"two {name}s share one external id", path=None)
            if len(column) and not (int(column.min()) >= 0 and int(column.max()) < len(ids)):
                raise DataError(f"a {name} number lies outside the {len(ids)} known {name}s", path=None)

        for values in (self.item, self.time, self.rating):
            if values is not None and len(values) != len(self.user):
                raise DataError("the columns have different lengths", path=None)

    def __len__(self) -> int:
        return len(self.user)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The rows by external id: `user`, `item`, and `time` and `rating` where there are any."""
        optional = {"time": self.time, "rating": self.rating}
        ids = {"user": self.user_ids[self.user], "item": self.item_ids[self.item]}
        return ids | {name: column for name, column in optional.items() if column is not None}

    def to_pandas(self) -> pd.DataFrame:
        """One row per interaction, by external id. NeedsMissing without pandas."""
        return data_frame(self.columns())

    def __repr__(self) -> str:
        return f"<{len(self):,} interactions of {self.n_users:,} users with {self.n_items:,} items>"

    def fingerprint(self) -> str:
        """SHA-256 of the rows by external id. Numbering does not matter, nor, with times, the order of rows."""
        users, items = hash_ids(self.user_ids, 0), hash_ids(self.item_ids, 0)
        time = np.arange(len(self)) if self.time is None else self.time
        order = np.lexsort((_ranks(items)[self.item], time, _ranks(users)[self.user]))

        def columns() -> Iterator[NDArray[Any]]:  # one at a time: there may be many rows
            yield users[self.user[order]]
            yield items[self.item[order]]
            yield from (column[order] for column in (self.time, self.rating) if column is not None)

        return digest_of(columns())


def _ranks(hashes: NDArray[np.uint64]) -> Int32:
    """The rank of each hash, equal for equal hashes: the same order in half the bytes."""
    return np.unique(hashes, return_inverse=True)[1].astype(np.int32)
