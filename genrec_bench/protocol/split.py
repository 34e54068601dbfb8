"""The protocol's numbering, order of interactions, split and validation sample.

A run's seed moves none of it: it moves only the indexer and the training.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from genrec_bench.core.arrays import Int64, Ragged
from genrec_bench.core.events import Interactions
from genrec_bench.core.hashing import hash_ids, mix
from genrec_bench.core.sequences import Cases, Split, TrainView
from genrec_bench.errors import DataError
from genrec_bench.protocol.constants import (
    EXTERNAL_IDS,
    MIN_EVENTS,
    PROTOCOL,
    SAMPLE_ABOVE,
    SAMPLE_SEED,
    SAMPLE_SIZE,
    SHUFFLE_SEED,
    TIE_SEED,
    check_protocol,
)


def shuffle_numbers(data: Interactions, seed: int = SHUFFLE_SEED) -> Interactions:
    """Renumber users and items by a seeded hash of their external ids.

    Released numberings leak the order of first appearance (protocol P3). A hash of the id does not, nor does it depend
    on the order of rows in the file.
    """
    users = np.lexsort((data.user_ids, hash_ids(data.user_ids, 2 * seed + 1)))
    items = np.lexsort((data.item_ids, hash_ids(data.item_ids, 2 * seed + 2)))

    return Interactions(
        user=np.argsort(users).astype(np.int32)[data.user],
        item=np.argsort(items).astype(np.int32)[data.item],
        time=data.time,
        user_ids=data.user_ids[users],
        item_ids=data.item_ids[items],
        rating=data.rating,
        item_titles=None if data.item_titles is None else data.item_titles[items],
        item_features=None if data.item_features is None else data.item_features.take(items),
        dropped=data.dropped,
        read_as=data.read_as,
    )


def order_events(data: Interactions, seed: int = TIE_SEED) -> Int64:
    """Rows sorted by user, then time; equal times by a seeded hash of user and item id. Without times, by row."""
    if data.time is None:
        return np.argsort(data.user, kind="stable")
    tie = mix(hash_ids(data.user_ids, seed)[data.user] * np.uint64(3) + hash_ids(data.item_ids, seed)[data.item])
    return np.lexsort((tie, data.time, data.user))


def leave_one_out(data: Interactions, seed: int = TIE_SEED) -> Split:
    """Per user: the last interaction is the test case, the one before it validation, the rest training.

    Users and items keep their numbers. `info` holds `tie_users`: users whose split falls on equal timestamps, so that
    the tie rule alone decides it. DataError if a user has fewer than three interactions.
    """
    order = order_events(data, seed)
    counts = np.bincount(data.user, minlength=data.n_users)
    if not len(data) or counts.min() < MIN_EVENTS:
        short = int((counts < MIN_EVENTS).sum())
        raise DataError(
            f"{short} of {data.n_users} users have fewer than {MIN_EVENTS} interactions: leave-one-out needs "
            f"{MIN_EVENTS} (training, validation, test); drop such users first",
            path=None,
        )

    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    sequences = Ragged(data.item[order], offsets)
    users = np.arange(data.n_users, dtype=np.int32)
    ends = offsets[1:]

    def cases(back: int) -> Cases:
        """Every user's `back`-th interaction from the end."""
        return Cases(users, (counts - back).astype(np.int32), sequences.values[ends - back])

    info: dict[str, Any] = {"tie_users": None}
    if data.time is not None:
        last, second, third = (data.time[order][ends - back] for back in (1, 2, 3))
        info["tie_users"] = int(((last == second) | (second == third)).sum())
    return Split(sequences, (counts - 2).astype(np.int32), cases(2), cases(1), data.n_items, PROTOCOL, info)


def split_data(data: Interactions, protocol: str = PROTOCOL) -> tuple[Interactions, Split]:
    """The data with the protocol's shuffled numbers, and its split in those numbers."""
    check_protocol(protocol)
    data = shuffle_numbers(data)
    return data, leave_one_out(data)


def train_view(data: Interactions, split: Split, needs: Set[str] = frozenset()) -> TrainView:
    """What may be learned from. External ids only where `needs` names them: their order leaks (P3)."""
    ids = {name: getattr(data, name) for name in EXTERNAL_IDS & needs}
    return TrainView(split.train(), split.n_items, data.item_titles, data.item_features, **ids)


def validation_sample(cases: Cases) -> Cases:
    """All validation cases, or 2,000 of them (fixed by the protocol) when there are more than 5,000."""
    if len(cases) <= SAMPLE_ABOVE:
        return cases
    rows = np.random.default_rng(SAMPLE_SEED).choice(len(cases), SAMPLE_SIZE, replace=False)
    return cases.take(np.sort(rows))
