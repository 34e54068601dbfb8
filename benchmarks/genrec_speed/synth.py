"""Synthetic interactions with planted clusters, for tests of scale.

They are drawn in blocks of users, so memory does not bound the number of users. Each user and each item belongs to one
cluster; most interactions of a user are with items of the user's cluster, more often with popular ones. How a method
does here says how it scales, not how well it recommends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrec_bench.api import Int32, Int64, OutputError, Ragged, TrainView, UsageError
from genrec_bench.core.files import beside, sweep

MIN_LENGTH = 3  # interactions per user: the split needs as many
BLOCK = 200_000  # users drawn at a time: some 50 MB at ten interactions each
MOST_USERS, MOST_ITEMS = 2**31 - 1, 10**8  # items are held in memory, some 16 bytes each
LOYALTY = 0.8  # share of interactions with the user's own cluster
SKEW = 2  # an item's rank in its cluster is size * uniform ** SKEW: the first tenth gets about a third of all
START, YEAR, STEP = 1_500_000_000, 365 * 86_400, 3_600  # seconds: users start within a year, one interaction an hour


@dataclass(frozen=True)
class Plan:
    """The sizes of a data set, and how closely users keep to their clusters. UsageError for an impossible plan.

    `mean_length` is the mean number of interactions per user: 3, which the split needs, and a Poisson number more.
    `loyalty` is the share of interactions with the user's cluster; the others are with any cluster. Equal plans give
    equal data.
    """

    users: int
    items: int
    clusters: int
    mean_length: float = 10.0
    seed: int = 0
    loyalty: float = LOYALTY

    def __post_init__(self) -> None:
        for name in ("users", "items", "clusters"):
            most = MOST_USERS if name == "users" else MOST_ITEMS
            if not 1 <= getattr(self, name) <= most:
                raise UsageError(f"{name} must be from 1 to {most:,}, not {getattr(self, name):,}")

        if self.clusters > self.items:
            raise UsageError(f"{self.clusters:,} clusters need at least as many items, not {self.items:,}")
        if not MIN_LENGTH <= self.mean_length <= 10_000:
            why = f"the split needs {MIN_LENGTH} interactions per user"
            raise UsageError(f"mean length must be from {MIN_LENGTH} to 10,000, not {self.mean_length:g}: {why}")

        if self.seed < 0:
            raise UsageError(f"seed must be 0 or more, not {self.seed}")
        if not 0 <= self.loyalty <= 1:
            raise UsageError(f"loyalty must be a share from 0 to 1, not {self.loyalty:g}")

    @property
    def item_clusters(self) -> Int32:
        """The planted cluster of each item, (items,); sizes differ by one at most."""
        clusters = np.empty(self.items, np.int32)
        clusters[self._shelves()] = np.arange(self.items, dtype=np.int64) * self.clusters // self.items
        return clusters

    def blocks(self) -> Iterator[Ragged]:
        """The item sequences of up to `BLOCK` users at a time, oldest item first."""
        shelves = self._shelves()
        starts = -(-np.arange(self.clusters + 1, dtype=np.int64) * self.items // self.clusters)
        for block, first in enumerate(range(0, self.users, BLOCK)):
            rng = np.random.default_rng([self.seed, 1, block])
            yield self._block(min(BLOCK, self.users - first), shelves, starts, rng)

    def _shelves(self) -> Int32:
        """The items, cluster by cluster; within a cluster the popular ones first."""
        return np.random.default_rng([self.seed, 0]).permutation(np.arange(self.items, dtype=np.int32))

    def _block(self, users: int, shelves: Int32, starts: Int64, rng: np.random.Generator) -> Ragged:
        lengths = MIN_LENGTH + rng.poisson(self.mean_length - MIN_LENGTH, users)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

        cluster = np.repeat(rng.integers(self.clusters, size=users, dtype=np.int32), lengths)
        strays = np.flatnonzero(rng.random(len(cluster), np.float32) >= self.loyalty)
        cluster[strays] = rng.integers(self.clusters, size=len(strays), dtype=np.int32)

        first, size = starts[cluster], np.diff(starts)[cluster]
        return Ragged(shelves[first + (size * rng.random(len(cluster)) ** SKEW).astype(np.int64)], offsets)


def synthetic_train(plan: Plan) -> TrainView:
    """All interactions of a plan as a training part, in memory."""
    blocks = list(plan.blocks())
    lengths = np.concatenate([block.lengths for block in blocks])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TrainView(Ragged(np.concatenate([block.values for block in blocks]), offsets), plan.items)


def write_synthetic(plan: Plan, path: Path, clusters_path: Path | None = None, tick: Any = None) -> dict[str, int]:
    """Write a plan's interactions as Parquet; the number of users, of items with interactions, and of interactions.

    Columns are `user_id`, `item_id` (int32) and `timestamp` (int64, seconds), which `--dataset file` reads by default.
    `clusters_path` gets every item's planted cluster (`item_id`, `cluster`). `tick` is called with the number of users
    just written. Folders are created, and a file appears whole or not at all. OutputError if a file exists already or
    cannot be written.
    """
    if clusters_path is not None and clusters_path.resolve() == path.resolve():
        raise OutputError(f"interactions and clusters need a file each, not both {path}", path=path)
    for target in filter(None, (path, clusters_path)):
        if target.exists():
            raise OutputError(f"{target} exists already: remove it, or name another file", path=target)

    seen, interactions = np.zeros(plan.items, np.bool_), 0
    with contextlib.ExitStack() as files:
        write = files.enter_context(_whole(path, ("user_id", "item_id", "timestamp"), ("int32", "int32", "int64")))
        if clusters_path is not None:
            write_clusters = files.enter_context(_whole(clusters_path, ("item_id", "cluster"), ("int32", "int32")))
            write_clusters([np.arange(plan.items, dtype=np.int32), plan.item_clusters])

        for number, block in enumerate(plan.blocks()):
            seen[block.values] = True
            interactions += len(block.values)
            write(_columns(plan, number, block))
            if tick is not None:
                tick(len(block))
    return {"users": plan.users, "items": int(seen.sum()), "interactions": interactions}


def _columns(plan: Plan, number: int, block: Ragged) -> list[Any]:
    """User, item and time of every interaction of a block."""
    rng = np.random.default_rng([plan.seed, 2, number])
    began = START + rng.integers(YEAR, size=len(block))
    users = (number * BLOCK + block.rows).astype(np.int32)
    position = np.arange(len(block.values)) - np.repeat(block.offsets[:-1], block.lengths)
    return [users, block.values, np.repeat(began, block.lengths) + STEP * position]


@contextlib.contextmanager
def _whole(path: Path, names: tuple[str, ...], types: tuple[str, ...]) -> Iterator[Callable[[list[Any]], None]]:
    """A function that appends columns to a Parquet file as a row group; the file gets its name when it is complete."""
    import pyarrow as pa
    import pyarrow.parquet

    schema = pa.schema([(name, pa.type_for_alias(type_)) for name, type_ in zip(names, types, strict=True)])
    part: Path | None = None
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        sweep(path.absolute())
        part = beside(path.absolute())
        with pa.parquet.ParquetWriter(part, schema, compression="zstd") as writer:
            yield lambda columns: writer.write_table(pa.table(columns, schema=schema))
        part.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; name another file", path=path
        ) from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
