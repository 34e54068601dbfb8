"""From the events of a file to the events of a benchmark: rating threshold, k-core, users too short to split.

Knows arrays, not files: what it is given is already parsed. Everything left out is counted in `Interactions.dropped`.
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

    min_interactions: NonNegativeInt = 0  # k-core: users and items with fewer events leave, until none is left to leave
    min_rating: float | None = None  # events rated lower leave; none: all stay
    short_users: Literal["drop", "error"] = (
        "drop"  # users with fewer than 3 events after filtering: left out, or refused
    )


def prepare(data: Interactions, config: PrepareConfig) -> Interactions:
    """The events that pass `config`'s filters, renumbered; users and items without an event leave.

    Order: rating threshold, then k-core and the three-event rule in turn until both hold. ConfigError for a rating
    threshold on data without ratings, DataError if a filter leaves nothing, or for short users under `error`.
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
        _refuse_short(data, counts, short, config)
        keep = core & ~short[data.user]
        dropped["users_below_3"] += int(short.sum())
        dropped["interactions_of_users_below_3"] += int(core.sum() - keep.sum())
    if not core.any():
        raise DataError(
            f"nothing is left of {len(data)} interactions after filtering ({_why(config)}): relax the filters, or give "
            "more data",
            path=None,
        )
    return select(replace(data, dropped=_nonzero(dropped)), core)


def k_core(user: Int32, item: Int32, k: int, keep: Bool | None = None) -> Bool:
    """The largest set of events (of those in `keep`) in which every user and every item has at least `k`, `(n,)`."""
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
    """The events in `keep` (in their order), users and items numbered anew; those without an event leave."""
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
    )


def _renumbered(numbers: Int32, count: int) -> tuple[Int64, Int32]:
    """Which of `count` numbers occur, ascending, and `numbers` as places among those. Sorts nothing."""
    there = np.bincount(numbers, minlength=count) > 0
    return np.flatnonzero(there), (np.cumsum(there, dtype=np.int32) - np.int32(1))[numbers]


def _present(numbers: Int32, keep: Bool) -> int:
    return int(np.count_nonzero(np.bincount(numbers[keep])))


def _refuse_short(data: Interactions, counts: Int64, short: Bool, config: PrepareConfig) -> None:
    if config.short_users == "error":
        first = int(np.argmax(short))
        raise DataError(
            f"{int(short.sum())} of {int((counts > 0).sum())} users have fewer than {MIN_EVENTS} interactions (user "
            f"{str(data.user_ids[first])!r} has {counts[first]}): leave-one-out needs one each for training, "
            "validation and test. --set dataset.short_users=drop leaves them out",
            path=None,
            users=int(short.sum()),
        )


def _why(config: PrepareConfig) -> str:
    reasons = [f"a user needs {MIN_EVENTS} interactions"]
    if config.min_interactions:
        reasons.append(f"min_interactions = {config.min_interactions}")
    if config.min_rating is not None:
        reasons.append(f"min_rating = {config.min_rating:g}")
    return ", ".join(reasons)


def _nonzero(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
