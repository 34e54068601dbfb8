"""Interactions: the events of a data set, as data sets hand them over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec_bench.core.arrays import Float32, Int32, Int64, Ragged, Text
from genrec_bench.core.hashing import digest_of, hash_ids
from genrec_bench.errors import DataError


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
