"""Filters parsed interactions for a benchmark: rating threshold, k-core, users with too few to split.

Knows arrays, not files. Counts everything that it leaves out in `Interactions.dropped`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass

from genrec_bench.core.arrays import Bool, Int32, Int64
from genrec_bench.core.events import Interactions
from genrec_bench.errors import ConfigError, DataError
from genrec_bench.protocol.constants import MIN_EVENTS


@dataclass(frozen=True)
class PrepareConfig:
    """Options that every data set has."""

    min_interactions: NonNegativeInt = 0  # k-core: drop users and items with fewer interactions, repeatedly
    min_rating: float | None = None  # drop interactions rated lower; none: keep all
    short_users: Literal["drop", "error"] = (
        "drop"  # users with fewer than 3 interactions after filtering: left out, or refused
    )


def prepare(data: Interactions, config: PrepareConfig) -> Interactions:
    """The interactions that pass the filters of `config`, renumbered without gaps.

    `dropped` counts what was left out by reason, and in all as `users`, `items` and `interactions`.
    Applies the rating threshold, then the k-core and the rule of three interactions in turn until both hold.
    ConfigError for a rating threshold on data without ratings; DataError if nothing is left, or for short users under
    `short_users=error`.
    """
    dropped = Counter(data.dropped)
    keep = np.ones(len(data), np.bool_)
    if config.min_rating is not None:
        if data.rating is None:
            raise ConfigError(
                f"dataset.min_rating = {config.min_rating:g}, but this data has no ratings; leave the option out",
                part="dataset",
                key="min_rating",
            )
        keep = data.rating >= config.min_rating
        dropped["interactions_below_min_rating"] += int((~keep).sum())

    while True:
        core = k_core(data.user, data.item, config.min_interactions, keep)
        if core is not keep:
            dropped["k_core_users"] += _present(data.user, keep) - _present(data.user, core)
            dropped["k_core_items"] += _present(data.item, keep) - _present(data.item, core)
            dropped["k_core_interactions"] += int(keep.sum() - core.sum())

        counts = np.bincount(data.user[core], minlength=data.n_users)
        short = (counts > 0) & (counts < MIN_EVENTS)
        if not short.any():
            break
        if config.short_users == "error":
            raise _short_users(data, counts, short)
        keep = core & ~short[data.user]
        dropped["users_below_3"] += int(short.sum())
        dropped["interactions_of_users_below_3"] += int(core.sum() - keep.sum())

    if not core.any():
        raise DataError(
            f"nothing is left of {len(data)} interactions after filtering ({_filters(config)}): relax the filters, or "
            "give more data",
            path=None,
        )
    if lost := len(data) + dropped["duplicate_interactions"] - int(core.sum()):
        everything = np.ones(len(data), np.bool_)
        dropped["users"] = _present(data.user, everything) - _present(data.user, core)
        dropped["items"] = _present(data.item, everything) - _present(data.item, core)
        dropped["interactions"] = lost
    nonzero = {name: count for name, count in dropped.items() if count}
    return select(replace(data, dropped=nonzero), core)


def k_core(user: Int32, item: Int32, k: int, keep: Bool | None = None) -> Bool:
    """The largest part of `keep` in which every user and every item has at least `k` interactions, `(n,)`."""
    core = np.ones(len(user), np.bool_) if keep is None else keep
    if k < 2:
        return core

    while True:
        users, items = np.bincount(user[core], minlength=1), np.bincount(item[core], minlength=1)
        enough = np.zeros_like(core)
        enough[core] = (users[user[core]] >= k) & (items[item[core]] >= k)
        if enough.sum() == core.sum():
            return core
        core = enough


def select(data: Interactions, keep: Bool) -> Interactions:
    """The interactions in `keep`, in order. Users and items without any are removed, the others renumbered."""
    users, user = _renumbered(data.user[keep], data.n_users)
    items, item = _renumbered(data.item[keep], data.n_items)

    return Interactions(
        user=user,
        item=item,
        time=None if data.time is None else data.time[keep],
        user_ids=data.user_ids[users],
        item_ids=data.item_ids[items],
        rating=None if data.rating is None else data.rating[keep],
        item_titles=None if data.item_titles is None else data.item_titles[items],
        item_features=None if data.item_features is None else data.item_features.take(items),
        dropped=data.dropped,
        read_as=data.read_as,
    )


def _renumbered(numbers: Int32, count: int) -> tuple[Int64, Int32]:
    """The numbers below `count` that occur, ascending, and `numbers` renumbered without gaps. Needs no sorting."""
    present = np.bincount(numbers, minlength=count) > 0
    return np.flatnonzero(present), (np.cumsum(present, dtype=np.int32) - np.int32(1))[numbers]


def _present(numbers: Int32, keep: Bool) -> int:
    """How many different numbers occur in `keep`."""
    return int(np.count_nonzero(np.bincount(numbers[keep])))


def _short_users(data: Interactions, counts: Int64, short: Bool) -> DataError:
    """The error for users with too few interactions; `counts` and `short` are `(users,)`."""
    first = int(np.argmax(short))
    return DataError(
        f"{int(short.sum())} of {int((counts > 0).sum())} users have fewer than {MIN_EVENTS} interactions (user "
        f"{str(data.user_ids[first])!r} has {counts[first]}): leave-one-out needs one each for training, "
        "validation and test. --set dataset.short_users=drop leaves them out",
        path=None,
        users=int(short.sum()),
    )


def _filters(config: PrepareConfig) -> str:
    reasons = [f"a user needs {MIN_EVENTS} interactions"]
    if config.min_interactions:
        reasons.append(f"min_interactions = {config.min_interactions}")
    if config.min_rating is not None:
        reasons.append(f"min_rating = {config.min_rating:g}")
    return ", ".join(reasons)
