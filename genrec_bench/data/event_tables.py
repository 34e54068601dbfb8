"""Interactions from tables: a row per interaction, or a row per user with a list of items.

Knows what people call the columns of users, items, times and ratings. Says in `Interactions.read_as` what it took.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from genrec_bench.core.arrays import Float32, Int64, Text
from genrec_bench.core.events import Interactions
from genrec_bench.core.tables.files import TableFile, shown
from genrec_bench.core.tables.roles import AUTO, MARK, Role, Taken, repeated_column, take, words_of
from genrec_bench.core.tables.table import Table, words_in
from genrec_bench.core.tables.times import EPOCH, looks_like_times
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
        "artistid article articleid news newsid video videoid game gameid business businessid poi poiid venue venueid sku stockcode",
    ),
    "--set dataset.item_column",
)
ITEMS = Role("items", ("itemidlist", "items itemids itemlist itemsequence", "value"), "--set dataset.item_column")
TIME = Role(
    "time",
    (
        "timestamp time ts unixtime unixtimestamp unixreviewtime eventtime at",
        "date datetime createdat reviewtime eventdate invoicedate orderdate",
    ),
    "--set dataset.time_column",
)
TIMES = replace(  # a list of times for each list of items
    TIME,
    names=(f"timestamps times timestamplist timelist timesequence {TIME.names[0]}", f"dates datelist {TIME.names[1]}"),
)
TIME_WORDS = frozenset(
    [
        "date",
        "dates",
        "datetime",
        "time",
        "times",
        "timestamp",
        "timestamps",
        "ts",
        "when",
        "moment",
        "epoch",
        "created",
    ]
)
NO_TIME = frozenset(["zone", "spent", "duration", "id"])  # words beside which a "time" is none
ORDER_WORDS = frozenset(["position", "pos", "order", "step", "seq", "sequence", "index", "idx", "turn", "day", "week"])
RATING = Role("rating", ("rating ratings stars overall bookrating",), "--set dataset.rating_column")
SHOWN_CELL = 60  # characters of a cell in a message
SEVERAL = re.compile(rf"[0-9]+({MARK})[0-9]+(?:\1[0-9]+)*")  # numbers in one text: "0-0-1"
LISTING = frozenset(",|; ")  # marks that part the members of a list; the others also stand in ids
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
            taken = _with_lists(file, named)
        if taken.get("item") is None and taken.get("items") is None:
            take(file, (USER, replace(ITEM, required=True)), named)
        _check_repeats(file, taken, named)
        return cls(file, taken, named)

    @property
    def columns(self) -> list[str]:
        """All columns to read."""
        return list(self.taken.columns.values())

    def unused_times(self) -> list[str]:
        """The columns that look like times, by their values or their names, and are not used."""
        sample = self.file.sample()
        return [name for name in self.taken.left if _looks_like_time(name, sample.get(name, []))]


def _looks_like_time(name: str, cells: Sequence[Any]) -> bool:
    """Whether a column may hold times, be they alone or in lists."""
    values = [value for cell in cells for value in (cell if isinstance(cell, list) else [cell])]
    if looks_like_times(values) or looks_like_times([word for cell in cells for word in words_in(cell)]):
        return True
    words = words_of(name)
    return bool(words & TIME_WORDS and not words & NO_TIME) and any(value not in (None, "") for value in values)


def _holds_lists(cells: Sequence[Any]) -> bool:
    """Whether a column's cells are lists, or texts of several words that are not one time each."""
    if any(isinstance(cell, list) for cell in cells):
        return True
    return not looks_like_times(cells) and any(len(words_in(cell)) > 1 for cell in cells)


def _with_lists(file: TableFile, named: Mapping[str, str | None]) -> Taken:
    """The columns of a table of lists. Times count if they are lists beside the items', and no item follows the list."""
    taken = take(file, (USER, ITEM, ITEMS, TIMES), named)
    if taken.get("items") is None or taken.get("time") is None or named.get("time", AUTO) != AUTO:
        return taken
    is_list = _holds_lists(file.sample().get(taken.columns["time"], []))
    return taken if is_list and taken.get("item") is None else take(file, (USER, ITEM, ITEMS), named)


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
    for table in tables[1:]:
        _check_alike(tables[0], table)
    if tables[0].taken.get("items") is not None:
        data = _from_lists(tables)
    else:
        data = _concatenated([_from_rows(table, needs_rating) for table in tables], tables)

    read_as = {"columns": str(tables[0].taken), **data.read_as}
    if tables[0].file.about:
        read_as["format"] = tables[0].file.about
    if unused := tables[0].unused_times():
        read_as["unused_times"] = shown(unused)
    return replace(data, read_as=read_as)


def _check_alike(first: EventTable, other: EventTable) -> None:
    """DataError unless two parts of a data set have the same columns, in any order."""
    if first.taken.columns == other.taken.columns and sorted(first.file.names) == sorted(other.file.names):
        return
    raise DataError(
        f"{other.file.path}: its columns ({shown(other.file.names)}) are not those of {first.file.path.name} "
        f"({shown(first.file.names)}), and both are parts of one data set; write all parts alike",
        path=other.file.path,
    )


def _check_one_unit(tables: Sequence[EventTable], units: Sequence[str]) -> None:
    """DataError unless the times of all parts of a data set are read alike; `units` say how."""
    for table, unit in zip(tables, units, strict=True):
        if unit != units[0]:
            raise DataError(
                f"{table.file.path}: the times are {unit or 'none'}, and those of {tables[0].file.path.name} are "
                f"{units[0] or 'none'}, so they cannot be compared; write the times of all parts alike",
                path=table.file.path,
            )


def _scale(times: Int64 | None) -> str:
    """Which part of a second numbers count since 1970, in words; empty if it is nanoseconds, or if no size shows it."""
    if times is None or not len(times):
        return ""
    for name, unit in (("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6)):
        if EPOCH[0] * unit <= times.min() and times.max() <= EPOCH[1] * unit:
            return f" ({name} by their size)"
    return ""


def odd_times(times: Int64 | None) -> str:
    """What a person must know about times that order little or wrongly, in words; empty if there is nothing.

    Missing values written as 0 or -1 among times that count since 1970; and one time for all.
    """
    if times is None or not len(times):
        return ""
    if times.min() == times.max() and len(times) > 1:
        return f"all its times are {times[0]}, so a hash decides the order (protocol P2)"
    missing = (times == 0) | (times == -1)
    if not missing.any() or not _scale(times[~missing]):
        return ""
    values = " or ".join(str(value) for value in sorted({*times[missing].tolist()}, reverse=True))
    return f"{int(missing.sum()):,} of its {len(times):,} times are {values}, so they come first; remove such rows if that is no time"


def _check_one_scale(table: Table, name: str, times: Int64) -> None:
    """DataError for a column in which some times are seconds and others milli- or microseconds, by their size."""
    scale = np.zeros(len(times), np.int8)
    for power in (1, 2, 3):
        unit = 1000 ** (power - 1)
        scale[(times >= EPOCH[0] * unit) & (times <= EPOCH[1] * unit)] = power
    if not len(scale) or not scale.all() or scale.min() == scale.max():
        return
    row = int(np.argmax(scale != scale[0]))
    table.fail(
        row,
        f"the {name} {times[row]} counts in another unit since 1970 than {times[0]} in the first row, by their size; write "
        "all times alike",
    )


def _from_rows(source: EventTable, needs_rating: bool) -> Interactions:
    """The interactions of a table with a row for each."""
    table, columns = source.file.read(source.columns), source.taken
    user, user_ids = table.ids(columns.columns["user"])
    item, item_ids = table.ids(columns.columns["item"])

    _check_lists(source, table, USER, user_ids)
    _check_lists(source, table, ITEM, item_ids)

    read_as: dict[str, str] = {}
    time = _times(source, table, read_as)
    rating = _ratings(source, table, needs_rating, read_as)
    data = Interactions(user, item, time, user_ids, item_ids, rating, read_as=read_as)
    if time is None:
        _check_order(source, data)
    return data


def joined_numbers(ids: Text) -> str:
    """Which of these ids are several numbers in one text, in words; empty if none is."""
    several = [name for name in ids.tolist() if SEVERAL.fullmatch(name)]
    if not several:
        return ""
    example = several[0][:SHOWN_CELL]
    return f"{len(several)} of {len(ids)} ids are several numbers in one text, such as {example!r}; each is one id"


def _check_lists(source: EventTable, table: Table, role: Role, ids: Text) -> None:
    """DataError if all ids of a column look like lists, unless an option names the column."""
    lists = all(SEVERAL.fullmatch(name) and not LISTING.isdisjoint(name) for name in ids.tolist())
    if not lists or source.named[role.name] != AUTO:
        return
    name = source.taken.columns[role.name]
    table.fail(
        0,
        f"the {name} {str(ids[0])[:SHOWN_CELL]!r} is several numbers in one cell. Give a row for each, or a list (JSON, "
        f"Parquet); {role.option}={name} takes each cell as one id",
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
    _check_one_scale(table, name, times)
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
    ratings = table.floats(name)
    large = np.abs(ratings) > np.finfo(np.float32).max
    if large.any():
        table.fail(int(np.argmax(large)), f"the {name} is beyond single precision")
    return ratings.astype(np.float32)


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

    if name := _contradicted(source, data):
        raise DataError(
            f"{source.file.path}: has no times, and the rows of a user are not in the order of the column {shown([name])}: "
            f"--set dataset.time_column={name} orders them by it, {as_they_are}",
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


def _contradicted(source: EventTable, data: Interactions) -> str:
    """The first unused column that numbers the rows by its name, and falls within the rows of a user; empty if none does."""
    same = data.user[1:] == data.user[:-1]
    for name in source.taken.left:
        words = words_of(name)
        if not words & ORDER_WORDS or words & NO_TIME or source.file.names.count(name) > 1:
            continue
        try:
            places = source.file.read([name]).floats(name)
        except DataError:
            continue  # it numbers nothing
        if (same & (np.diff(places) < 0)).any():
            return name
    return ""


def _from_lists(tables: Sequence[EventTable]) -> Interactions:
    """The interactions of tables with a list of items in each row, and perhaps the item that followed it.

    A user may have many rows, if each is a part of the longest: RecBole writes every beginning of a sequence.
    """
    read = [_list_rows(table) for table in tables]
    units = [unit for _, unit in read]
    _check_one_unit(tables, [unit + _scale(np.concatenate([row.times for row in rows])) for rows, unit in read])
    for table in tables:
        _check_list_order(table)

    rows = [row for of_table, _ in read for row in of_table]
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

    filled = {user: row for user, row in longest.items() if row.items}
    if not filled:
        raise DataError(f"{tables[0].file.path}: all lists are empty", path=tables[0].file.path)
    items = np.array([item for row in filled.values() for item in row.items], np.str_)
    item_ids, item = np.unique(items, return_inverse=True)
    lengths = [len(row.items) for row in filled.values()]
    return Interactions(
        user=np.repeat(np.arange(len(filled), dtype=np.int32), lengths),
        item=item.astype(np.int32),
        time=np.concatenate([row.times for row in filled.values()]) if units[0] else None,
        user_ids=np.array(list(filled), np.str_),
        item_ids=item_ids,
        read_as={"times": units[0] or "none: the order in the lists"},
    )


def _check_list_order(source: EventTable) -> None:
    """DataError if lists have no times, nobody said that they are in order, and a column may hold lists of times."""
    if source.taken.get("time") is not None or source.named["time"] is None:
        return
    sample = source.file.sample()
    lists = [name for name in source.unused_times() if _holds_lists(sample[name])]
    if lists:
        use = f"--set dataset.time_column={lists[0]} uses it, " if source.taken.get("item") is None else ""
        raise DataError(
            f"{source.file.path}: no column is known to be the time, but {shown(lists)} looks like lists of times: {use}--set "
            "dataset.time_column=none takes the lists in their order",
            path=source.file.path,
        )


@dataclass(frozen=True)
class _ListRow:
    """One row: a user's items, oldest first or with their times."""

    table: Table
    number: int
    user: str
    items: list[str]
    times: Int64


def _list_rows(source: EventTable) -> tuple[list[_ListRow], str]:
    """The rows of a table of lists, and how their times were read; empty if there are none."""
    taken = source.taken
    table = source.file.read(source.columns)
    users = _texts_of(table, taken.columns["user"])
    lengths, flat = table.lists(taken.columns["items"])
    values = _texts_of(flat, taken.columns["items"]) if len(flat) else []
    targets = _texts_of(table, taken.columns["item"]) if taken.get("item") else None
    times, unit = _list_times(source, table, lengths)

    rows, start = [], 0
    for number, (user, length) in enumerate(zip(users, lengths.tolist(), strict=True)):
        last = [] if targets is None else [targets[number]]
        part = slice(start, start + length)
        rows.append(_ListRow(table, number, user, [*values[part], *last], times[part]))
        start += length
    return rows, unit


def _list_times(source: EventTable, table: Table, lengths: Int64) -> tuple[Int64, str]:
    """The times of all items in lists, and how they were read. DataError unless each list has as many as there are items."""
    name = source.taken.get("time")
    if name is None:
        return np.zeros(0, np.int64), ""
    counts, flat = table.lists(name)
    if source.taken.get("item") is not None:
        table.fail(
            0, f"the lists of times ({name}) have none for the item that follows; --set dataset.time_column=none"
        )

    wrong = counts != lengths
    if wrong.any():
        row = int(np.argmax(wrong))
        table.fail(row, f"has {lengths[row]} items and {counts[row]} times ({name}); give one for each item")
    if not len(flat):
        return np.zeros(0, np.int64), f"{name}, whole numbers"
    times, unit = flat.times(name)
    return times, f"{name}, {unit}"


def _texts_of(table: Table, name: str) -> list[str]:
    numbers, ids = table.ids(name)
    return [str(text) for text in ids[numbers].tolist()]


def _is_part(part: list[str], whole: list[str]) -> bool:
    """Whether `part` stands in `whole`, without gaps."""
    return part == whole[: len(part)] or any(
        part == whole[start : start + len(part)] for start in range(1, len(whole) - len(part) + 1)
    )


def _concatenated(parts: Sequence[Interactions], tables: Sequence[EventTable]) -> Interactions:
    """Several parts as one. Ratings count only if all parts have them. DataError if their times cannot be compared."""
    if len(parts) == 1:
        return parts[0]
    _check_one_unit(tables, [part.read_as.get("times", "") + _scale(part.time) for part in parts])

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
        read_as={key: value for part in reversed(parts) for key, value in part.read_as.items()},
    )
