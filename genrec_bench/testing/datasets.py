"""Checks of data sets: the same sound events at every load, and all that was offered.

Knows columns and the protocol's split; what the events mean is nobody's business here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genrec_bench.core.events import Interactions
from genrec_bench.host.contracts import DatasetContext
from genrec_bench.protocol.split import split_data
from genrec_bench.testing.kit import (
    Subject,
    check,
    expect,
    folder,
    without_global_randomness,
)
from genrec_bench.testing.options import KNOWN_NEEDS


def load(subject: Subject, cache_dir: Path | None = None) -> Interactions:
    """The data, by a fresh component."""
    data: Interactions = subject.make().load(DatasetContext(data_dir=subject.data_dir, cache_dir=cache_dir))
    return data


def loaded(subject: Subject) -> Interactions:
    """The data, loaded once for all checks that only look at it."""
    data: Interactions = subject.once("data", lambda: load(subject))
    return data


@check("dataset", essential=True)
def events_are_sound(subject: Subject) -> None:
    """Loading gives Interactions with at least one event, of whole numbers in range and external ids without repeats."""
    data = loaded(subject)
    expect(
        isinstance(data, Interactions),
        f"load gave {type(data).__name__}",
        "Return genrec_bench.core.events.Interactions.",
    )
    expect(len(data) > 0, "there are no events", "Raise DataError where a source holds nothing.")
    for name, column, ids in (("user", data.user, data.user_ids), ("item", data.item, data.item_ids)):
        expect(column.dtype == np.int32, f"{name} numbers are {column.dtype}", "They are int32.")
        expect(
            int(column.min()) >= 0 and int(column.max()) < len(ids),
            f"{name} numbers run from {int(column.min())} to {int(column.max())}, and there are {len(ids)} ids",
            "Numbers are dense and count from 0.",
        )
        expect(ids.dtype.kind == "U", f"{name} ids are {ids.dtype}", "External ids are an array of texts (np.str_).")
        expect(len(np.unique(ids)) == len(ids), f"two {name}s share an id", "An external id names one thing.")
    if data.time is not None:
        expect(np.issubdtype(data.time.dtype, np.integer), f"times are {data.time.dtype}", "Times are whole numbers.")
    if data.rating is not None:
        expect(not np.isnan(data.rating).any(), "a rating is no number", "Drop events without a rating, or the column.")


@check("dataset")
def what_is_offered_is_there(subject: Subject) -> None:
    """Everything in `offers` is a known word, and is there once the data is loaded, for every item or event."""
    offers = set(subject.make().offers)
    expect(offers <= KNOWN_NEEDS, f"it offers {sorted(offers)}", f"The known words are {sorted(KNOWN_NEEDS)}.")
    data = loaded(subject)
    there: dict[str, Any] = {
        "times": data.time,
        "ratings": data.rating,
        "item_titles": data.item_titles,
        "item_features": data.item_features,
    }
    for name in sorted(offers):
        expect(
            there[name] is not None,
            f"it offers {name}, and they are not there",
            "Offer what every load gives; where that depends on options, set `offers` in __init__.",
        )
    for name in ("item_titles", "item_features"):
        if there[name] is not None:
            expect(
                len(there[name]) == data.n_items,
                f"{len(there[name])} rows of {name} for {data.n_items} items",
                "Give every item one, empty if there is nothing to say.",
            )


@check("dataset")
def a_second_load_gives_the_same(subject: Subject) -> None:
    """Loading again, with a cache that is empty and with one that is filled, gives the same events in the same order."""
    first = loaded(subject)
    with folder() as cache:
        for how in ("with an empty cache", "from the cache"):
            again = load(subject, cache)
            expect(
                first.fingerprint() == again.fingerprint() and same_columns(first, again),
                f"a second load, {how}, gave other events",
                "Read the same source in the same order, and let what is cached depend on source and options.",
            )


def same_columns(one: Interactions, other: Interactions) -> bool:
    """Whether two loads agree in every column."""
    for name in ("user", "item", "time", "rating", "user_ids", "item_ids", "item_titles"):
        a, b = getattr(one, name), getattr(other, name)
        if (a is None) != (b is None) or (a is not None and not np.array_equal(a, b)):
            return False
    a, b = one.item_features, other.item_features
    if a is None or b is None:
        return a is b
    return np.array_equal(a.values, b.values) and np.array_equal(a.offsets, b.offsets)


@check("dataset")
def the_protocol_can_split_it(subject: Subject) -> None:
    """Leave-one-out finds three events for every user: training, validation and test."""
    data = loaded(subject)
    counts = np.bincount(data.user, minlength=data.n_users)
    short = int((counts < 3).sum())
    expect(
        not short,
        f"{short} of {data.n_users} users have fewer than 3 events",
        "Drop such users, and say how many in Interactions.dropped.",
    )
    split_data(data)


@check("dataset")
def global_randomness_is_left_alone(subject: Subject) -> None:
    """Loading neither draws from nor seeds the global generators of random, NumPy and torch."""
    without_global_randomness(lambda: load(subject), "load")
