"""Interactions from tables: a row per interaction, or a row per user with a list of items.

Knows what people call the columns of users, items, times and ratings. Says in `Interactions.read_as` what it took.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genrec_bench.core.arrays import Float32, Int64, Text
from genrec_bench.core.events import Interactions
from genrec_bench.core.tables.files import TableFile, shown
from genrec_bench.core.tables.roles import AUTO, Role, Taken, repeated_column, take
from genrec_bench.core.tables.table import Table, looks_like_times
from genrec_bench.errors import DataError

USER = Role(
    "user",
    (
        "user userid uid",
        "reviewerid visitor visitorid customer customerid member memberid account accountid person personid reader readerid",
        "session sessionid",
        "key",
    ),
    "--set dataset.user_column",
    required=True,
)
ITEM = Role(
    "item",
    (
        "item itemid iid",
        "product productid asin parentasin isbn movie movieid film filmid book bookid song songid track trackid artist "
        "artistid article articleid news newsid video videoid game gameid business businessid poi poiid venue venueid sku",
    ),
    "--set dataset.item_column",
)
ITEMS = Role("items", ("itemidlist", "items itemids itemlist itemsequence", "value"), "--set dataset.item_column")
TIME = Role(
    "time",
    (
        "timestamp time ts unixtime unixtimestamp unixreviewtime eventtime at",
        "date datetime createdat reviewtime eventdate",
    ),
    "--set dataset.time_column",
)
RATING = Role("rating", ("rating ratings stars overall bookrating",), "--set dataset.rating_column")
SHOWN_CELL = 60  # characters of a cell in a message
SEVERAL = re.compile(r"[0-9]+([-,|;:/_ ])[0-9]+(?:\1[0-9]+)*")  # numbers in one text: "0-0-1"
LISTED = ",|; "  # marks that part the members of a list; the others also stand in ids
PARTS = ("train", "valid", "test")  # what RecBole calls the files of a split data set
PART = re.compile(r"(?P<name>.+)\.(train|valid|test)(?P<rest>\.inter.*)")


@dataclass(frozen=True)
class EventTable:
    """A table of interactions, and the column of each role. `named` is what the options say of each role."""

    file: TableFile
    taken: Taken
    named: Mapping[str, str | None]

    @classmethod
    def of(cls, file: TableFile, named: Mapping[str, str | None]) -> EventTable:
        """DataError if there is no user, no item, or a doubt which column is which."""
        taken = take(file, (USER, ITEM, TIME, RATING), named)
        if taken.get("item") is None or "item_id_list" in file.names:
            taken = take(file, (USER, ITEM, ITEMS), named)
        if taken.get("item") is None and taken.get("items") is None:
            take(file, (USER, replace(ITEM, required=True)), named)
        _check_repeats(file, taken, named)
        return cls(file, taken, named)

    @property
    def columns(self) -> list[str]:
        """All columns to read."""
        return list(self.taken.columns.values())

    def unused_times(self) -> list[str]:
        """The columns that look like times and are not used."""
        sample = self.file.sample()
        return [name for name in self.taken.left if looks_like_times(sample.get(name, []))]


def _check_repeats(file: TableFile, taken: Taken, named: Mapping[str, str | None]) -> None:
    """DataError if the column of one role repeats that of another, unless an option names it."""
    repeats = repeated_column(file, taken)
    if repeats is None or named.get("item" if repeats[0] == "items" else repeats[0], AUTO) != AUTO:
        return
    role, other = repeats
    column = taken.columns[role]
    option = next(known.option for known in (USER, ITEM, ITEMS, TIME, RATING) if known.name == role)
    raise DataError(
        f"{file.path}: the column {shown([column])}, known to be the {role}, repeats the {other} ({shown([taken.columns[other]])}) "
        f"in every row, such as {shown([str(file.sample()[column][0])[:SHOWN_CELL]])!r}. Name the right one: {option}=..., or "
        f"{option}={shown([column])} takes it as it is",
        path=file.path,
    )


def presplit(path: Path) -> list[Path]:
    """The files of the data set that `path` is a part of, in order of time: RecBole's train, valid and test files."""
    match = PART.fullmatch(path.name)
    if match is None:
        return [path]
    beside = [path.with_name(f"{match['name']}.{part}{match['rest']}") for part in PARTS]
    return [file for file in beside if file.is_file()] or [path]


def read_events(tables: Sequence[EventTable], *, needs_rating: bool) -> Interactions:
    """The interactions in `tables`, which are one data set: a user's rows in a later one come later.

    `needs_rating`: a missing rating is refused; else ratings are left out then, and `read_as` says so. DataError for
    anything else that is missing or garbled, and for rows whose order nothing tells.
    """
    if any(table.taken.get("items") is not None for table in tables):
        data = _from_lists(tables)
    else:
        data = _concatenated([_from_rows(table, needs_rating) for table in tables])

    read_as = {"columns": str(tables[0].taken), **data.read_as}
    if tables[0].file.about:
        read_as["format"] = tables[0].file.about
    if tables[0].taken.get("items") is None and (unused := tables[0].unused_times()):
        read_as["unused_times"] = shown(unused)
    return replace(data, read_as=read_as)


def _from_rows(source: EventTable, needs_rating: bool) -> Interactions:
    """The interactions of a table with a row for each."""
    table, columns = source.file.read(source.columns), source.taken
    user, user_ids = table.ids(columns.columns["user"])
    item, item_ids = table.ids(columns.columns["item"])

    read_as: dict[str, str] = {}
    for role, ids in (("user", user_ids), ("item", item_ids)):
        _tell_several(source, table, role, ids, read_as)
    time = _times(source, table, read_as)
    rating = _ratings(source, table, needs_rating, read_as)
    data = Interactions(user, item, time, user_ids, item_ids, rating, read_as=read_as)
    if time is None:
        _check_order(source, data)
    return data


def _tell_several(source: EventTable, table: Table, role: str, ids: Text, read_as: dict[str, str]) -> None:
    """Say in `read_as` that ids look like several numbers in one cell. DataError if all look like lists.

    A column that an option names is taken as it is.
    """
    several = np.array([SEVERAL.fullmatch(name) is not None for name in ids.tolist()], np.bool_)
    if not several.any():
        return

    name = source.taken.columns[role]
    example = str(ids[int(np.argmax(several))])
    listed = several.all() and any(mark in example for mark in LISTED)
    if listed and source.named[role] == AUTO:
        option = USER.option if role == "user" else ITEM.option
        row = int(np.argmax(table.ids(name)[0] == int(np.argmax(several))))
        table.fail(
            row,
            f"the {name} {example[:SHOWN_CELL]!r} is several numbers in one cell. Give a row for each, or a list (JSON, Parquet); "
            f"{option}={name} takes each cell as one id",
        )

    read_as[f"{role}s"] = (
        f"{int(several.sum())} of {len(ids)} ids in the column {name} are several numbers in one cell, such as "
        f"{example[:SHOWN_CELL]!r}; each is one id"
    )


def _times(source: EventTable, table: Table, read_as: dict[str, str]) -> Int64 | None:
    """The times; None if there is no column of them, or if the one that has a usual name is empty."""
    name = source.taken.get("time")
    if name is None:
        return None
    if source.named["time"] == AUTO and not any(table.texts(name).tolist()):
        read_as["times"] = f"none: the column {name} is empty"
        return None

    times, unit = table.times(name)
    read_as["times"] = f"{name}, {unit}"
    return times


def _ratings(source: EventTable, table: Table, needed: bool, read_as: dict[str, str]) -> Float32 | None:
    """The ratings; None if there are none, or if nothing asks for them and one is missing."""
    name = source.taken.get("rating")
    if name is None:
        return None
    asked = needed or source.named["rating"] != AUTO
    if not asked and (gaps := table.gaps(name)):
        read_as["ratings"] = f"left out: {gaps} of {len(table)} cells of the column {name} are empty"
        return None
    return table.floats(name).astype(np.float32)


def _check_order(source: EventTable, data: Interactions) -> None:
    """DataError if rows have no times and nobody said that they are in order."""
    if source.named["time"] is None:
        return
    as_they_are = "--set dataset.time_column=none takes the rows in their order"
    if unused := source.unused_times():
        raise DataError(
            f"{source.file.path}: no column is known to be the time, but {shown(unused)} looks like one: --set "
            f"dataset.time_column={unused[0]} uses it, {as_they_are}",
            path=source.file.path,
        )

    starts = np.flatnonzero(np.diff(data.user, prepend=-1))
    apart = np.bincount(data.user[starts], minlength=data.n_users) > 1
    if apart.any():
        raise DataError(
            f"{source.file.path}: has no times, and the rows of {int(apart.sum())} of {data.n_users} users are scattered, so "
            f"nothing tells which came last (its columns: {shown(source.file.names)}): name the column of times with --set "
            f"dataset.time_column=..., or {as_they_are}",
            path=source.file.path,
        )


def _from_lists(tables: Sequence[EventTable]) -> Interactions:
    """The interactions of tables with a list of items in each row, and perhaps the item that followed it.

    A user may have many rows, if each is a part of the longest: RecBole writes every beginning of a sequence.
    """
    rows = [row for table in tables for row in _list_rows(table)]
    longest: dict[str, _ListRow] = {}
    for row in rows:
        best = longest.get(row.user)
        if best is None or len(row.items) > len(best.items):
            longest[row.user] = row

    for row in rows:
        best = longest[row.user]
        if not _is_part(row.items, best.items):
            row.table.fail(
                row.number,
                f"the items of user {row.user!r} are not a part of the user's longest list ({best.table.path.name}, "
                f"{best.table.unit} {best.table.line_of(best.number)}); give each user one list, oldest item first",
            )

    filled = {user: row.items for user, row in longest.items() if row.items}
    if not filled:
        raise DataError(f"{tables[0].file.path}: all lists are empty", path=tables[0].file.path)
    items = np.array([item for row in filled.values() for item in row], np.str_)
    item_ids, item = np.unique(items, return_inverse=True)
    lengths = [len(row) for row in filled.values()]
    return Interactions(
        user=np.repeat(np.arange(len(filled), dtype=np.int32), lengths),
        item=item.astype(np.int32),
        time=None,
        user_ids=np.array(list(filled), np.str_),
        item_ids=item_ids,
        read_as={"times": "none: the order in the lists"},
    )


@dataclass(frozen=True)
class _ListRow:
    """One row: a user's items, oldest first."""

    table: Table
    number: int
    user: str
    items: list[str]


def _list_rows(source: EventTable) -> list[_ListRow]:
    taken = source.taken
    table = source.file.read(source.columns)
    users = _texts_of(table, taken.columns["user"])
    if taken.get("items") is None:
        raise DataError(f"{source.file.path}: has no lists of items, as the other parts have", path=source.file.path)

    lengths, flat = table.lists(taken.columns["items"])
    values = _texts_of(flat, taken.columns["items"]) if len(flat) else []
    targets = _texts_of(table, taken.columns["item"]) if taken.get("item") else None

    rows, start = [], 0
    for number, (user, length) in enumerate(zip(users, lengths.tolist(), strict=True)):
        last = [] if targets is None else [targets[number]]
        rows.append(_ListRow(table, number, user, [*values[start : start + length], *last]))
        start += length
    return rows


def _texts_of(table: Table, name: str) -> list[str]:
    numbers, ids = table.ids(name)
    return [str(text) for text in ids[numbers].tolist()]


def _is_part(part: list[str], whole: list[str]) -> bool:
    """Whether `part` stands in `whole`, without gaps."""
    return part == whole[: len(part)] or any(
        part == whole[start : start + len(part)] for start in range(1, len(whole) - len(part) + 1)
    )


def _concatenated(parts: Sequence[Interactions]) -> Interactions:
    """Several parts as one. Times and ratings count only if all parts have them."""
    if len(parts) == 1:
        return parts[0]

    def joined(ids: list[Text], numbers: list[np.ndarray]) -> tuple[Text, np.ndarray]:
        all_ids, new = np.unique(np.concatenate(ids), return_inverse=True)
        starts = np.cumsum([0, *map(len, ids)])
        return all_ids, np.concatenate([new[start + n] for start, n in zip(starts, numbers, strict=False)]).astype(
            np.int32
        )

    user_ids, user = joined([part.user_ids for part in parts], [part.user for part in parts])
    item_ids, item = joined([part.item_ids for part in parts], [part.item for part in parts])
    times = [part.time for part in parts if part.time is not None]
    ratings = [part.rating for part in parts if part.rating is not None]
    return Interactions(
        user,
        item,
        np.concatenate(times) if len(times) == len(parts) else None,
        user_ids,
        item_ids,
        np.concatenate(ratings) if len(ratings) == len(parts) else None,
        read_as=parts[0].read_as,
    )
