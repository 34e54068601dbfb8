"""Checks of data sets: every load gives the same valid interactions, and everything that is offered.

Knows columns and the protocol's split, not what the interactions mean.
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
    """The data from a fresh component."""
    data: Interactions = subject.make().load(DatasetContext(data_dir=subject.data_dir, cache_dir=cache_dir))
    return data


def loaded(subject: Subject) -> Interactions:
    """The data, loaded once for all checks that only read it."""
    data: Interactions = subject.once("data", lambda: load(subject))
    return data


@check("dataset", essential=True)
def events_are_sound(subject: Subject) -> None:
    """Loading gives at least one interaction, with int32 numbers in range and external ids without repeats."""
    data = loaded(subject)
    expect(
        isinstance(data, Interactions),
        f"load gave {type(data).__name__}",
        "Return genrec_bench.core.events.Interactions.",
    )
    expect(len(data) > 0, "there are no interactions", "Raise DataError if a source is empty.")

    for name, column, ids in (("user", data.user, data.user_ids), ("item", data.item, data.item_ids)):
        expect(column.dtype == np.int32, f"{name} numbers are {column.dtype}", "They are int32.")
        expect(
            int(column.min()) >= 0 and int(column.max()) < len(ids),
            f"{name} numbers run from {int(column.min())} to {int(column.max())}, but there are {len(ids)} ids",
            "Number users and items from 0, without gaps.",
        )
        expect(ids.dtype.kind == "U", f"{name} ids are {ids.dtype}", "External ids are an array of strings (np.str_).")
        expect(len(np.unique(ids)) == len(ids), f"two {name}s share an id", "An external id names one thing.")

    if data.time is not None:
        expect(np.issubdtype(data.time.dtype, np.integer), f"times are {data.time.dtype}", "Times are whole numbers.")
    if data.rating is not None:
        expect(not np.isnan(data.rating).any(), "a rating is NaN", "Drop interactions without a rating, or the column.")


@check("dataset")
def what_is_offered_is_there(subject: Subject) -> None:
    """`offers` holds known words only, and the loaded data has each of them for every item or interaction."""
    offers = set(subject.make().offers)
    expect(offers <= KNOWN_NEEDS, f"it offers {sorted(offers)}", f"The known words are {sorted(KNOWN_NEEDS)}.")

    data = loaded(subject)
    columns: dict[str, Any] = {
        "times": data.time,
        "ratings": data.rating,
        "item_titles": data.item_titles,
        "item_features": data.item_features,
    }

    for name in sorted(offers):
        expect(
            columns[name] is not None,
            f"it offers {name}, but the loaded data has none",
            "Offer what every load gives; if that depends on options, set `offers` in __init__.",
        )

    for name in ("item_titles", "item_features"):
        if columns[name] is not None:
            expect(
                len(columns[name]) == data.n_items,
                f"{len(columns[name])} rows of {name} for {data.n_items} items",
                "Give every item one, which may be empty.",
            )


@check("dataset")
def a_second_load_gives_the_same(subject: Subject) -> None:
    """Loading again, with an empty cache and with a filled one, gives the same interactions in the same order."""
    first = loaded(subject)
    with folder() as cache:
        for how in ("with an empty cache", "from the cache"):
            again = load(subject, cache)
            expect(
                first.fingerprint() == again.fingerprint() and same_columns(first, again),
                f"a second load, {how}, gave other interactions",
                "Read the source in a fixed order, and let the cache depend on source and options.",
            )


def same_columns(one: Interactions, other: Interactions) -> bool:
    """Whether two loads agree in every column."""
    for name in ("user", "item", "time", "rating", "user_ids", "item_ids", "item_titles"):
        column, other_column = getattr(one, name), getattr(other, name)
        if (column is None) != (other_column is None):
            return False
        if column is not None and not np.array_equal(column, other_column):
            return False

    features, other_features = one.item_features, other.item_features
    if features is None or other_features is None:
        return features is other_features
    return np.array_equal(features.values, other_features.values) and np.array_equal(
        features.offsets, other_features.offsets
    )


@check("dataset")
def the_protocol_can_split_it(subject: Subject) -> None:
    """Every user has at least three interactions for leave-one-out: training, validation and test."""
    data = loaded(subject)
    counts = np.bincount(data.user, minlength=data.n_users)
    short = int((counts < 3).sum())
    expect(
        not short,
        f"{short} of {data.n_users} users have fewer than 3 interactions",
        "Drop such users, and say how many in Interactions.dropped.",
    )
    split_data(data)


@check("dataset")
def global_randomness_is_left_alone(subject: Subject) -> None:
    """Loading neither draws from nor seeds the global generators of random, NumPy and torch."""
    without_global_randomness(lambda: load(subject), "load")
