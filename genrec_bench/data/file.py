"""Your own data: interactions from one file, in any format that `core.tables` reads, or as sequences.

Knows options and what to tell about them; `event_tables` knows columns, and the protocol decides the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from genrec_bench.core.arrays import Int32, Int64, Text
from genrec_bench.core.events import Interactions
from genrec_bench.core.files import expand_home
from genrec_bench.core.progress import Progress
from genrec_bench.core.raw_files import check_file, fail, suffix_of
from genrec_bench.core.tables.files import open_table, recognised
from genrec_bench.core.tables.roles import AUTO, Role, is_usual, repeated_column, take
from genrec_bench.core.tables.text_file import only_blanks_part
from genrec_bench.data.cache import load_prepared
from genrec_bench.data.event_tables import USER, EventTable, joined_numbers, odd_times, presplit, read_events
from genrec_bench.data.prepare import PrepareConfig
from genrec_bench.data.sequences import read_sequences
from genrec_bench.errors import DataError
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import Dataset, DatasetContext

ITEM_ID = Role(
    "item",
    ("item itemid iid", "product productid asin parentasin isbn movie movieid book bookid key"),
    "--set dataset.items_id_column",
    required=True,
)
TITLE = Role(
    "title",
    ("title itemtitle movietitle booktitle producttitle", "name itemname", "value"),
    "--set dataset.items_title_column",
    required=True,
)


@dataclass(frozen=True, kw_only=True)
class FileConfig(PrepareConfig):
    """Where the file is and how to read it."""

    path: str  # a relative one counts from the working folder, or else from --data-dir
    format: Literal["auto", "inter", "csv", "tsv", "parquet", "json", "sequence"] = (
        "auto"  # how the file is laid out; auto: as its suffix and its first lines show
    )
    columns: tuple[str, ...] | None = None  # names of the columns, in order, of a text file without a header
    user_column: str = AUTO  # column of the user ids; auto: the one with a usual name
    item_column: str = AUTO  # column of the item ids
    time_column: str | None = AUTO  # whole numbers, ISO times or dates; none: rows are in order
    rating_column: str | None = AUTO  # column of the ratings; none: there are none
    duplicates: Literal["error", "drop", "keep"] = "error"  # interactions of equal user, item and time (needs times)
    items_path: str | None = None  # a table of titles, in any format
    items_id_column: str = AUTO  # column of the item ids in items_path
    items_title_column: str = AUTO  # column of the titles in items_path

    @model_validator(mode="after")
    def _columns_have_one_purpose(self) -> Self:
        named = [name for name in self.named().values() if name not in (None, AUTO)]
        if self.format == "sequence" and (named or self.columns):
            raise ValueError("a sequence file has no columns, so columns and *_column mean nothing")
        if len(set(named)) != len(named):
            raise ValueError(f"one column is named for two purposes: {', '.join(map(str, named))}")
        return self

    def named(self) -> dict[str, str | None]:
        """What the options say of each role: a column, `auto`, or None for no column."""
        return {
            "user": self.user_column,
            "item": self.item_column,
            "time": self.time_column,
            "rating": self.rating_column,
        }


class FileDataset(Dataset):
    """Your own interactions, from a CSV, TSV, Parquet, JSON, RecBole or sequence file."""

    Config = FileConfig
    contract = 1

    def __init__(self, config: Any = None) -> None:
        super().__init__(make_config(FileConfig, {}, "dataset") if config is None else config)

    @property
    def offers(self) -> frozenset[str]:  # type: ignore[override]
        """What the options and the file's header promise. An unreadable file offers nothing; `load` says why.

        Ratings are promised only if an option asks for them: others are left out where one cannot be read.
        """
        offers = set() if self.config.items_path is None else {"item_titles"}
        try:
            tables = _event_tables(self.config, located(self.config.path, None))
        except DataError:
            return frozenset(offers)

        if tables and all(table.taken.get("time") for table in tables):
            offers.add("times")
        if tables and _needs_rating(self.config) and all(table.taken.get("rating") for table in tables):
            offers.add("ratings")
        return frozenset(offers)

    def load(self, ctx: DatasetContext) -> Interactions:
        """The interactions in the file, filtered. DataError, with the line, for anything missing or garbled."""
        config: FileConfig = self.config
        path = located(config.path, ctx.data_dir)
        items_path = None if config.items_path is None else located(config.items_path, ctx.data_dir)
        files = [check_file(file) for file in (*presplit(path), items_path) if file is not None]
        tables = _event_tables(config, path)

        def parse() -> Interactions:
            if tables:
                data = read_events(tables, needs_rating=_needs_rating(config))
            else:
                data = replace(read_sequences(path), read_as={"format": "sequence, a user and its items a line"})
            joined = {"users": joined_numbers(data.user_ids), "items": joined_numbers(data.item_ids)}
            doubts = {**joined, "odd_times": odd_times(data.time)}
            data = replace(data, read_as={**data.read_as, **{what: text for what, text in doubts.items() if text}})
            data = _without_duplicates(config, data, path, tables)
            return data if items_path is None else _with_titles(config, items_path, data)

        data = load_prepared(ctx, "file", config, files, parse)
        _tell(path, files, config.format, data, ctx.progress)
        return data


def located(name: str, data_dir: Path | None) -> Path:
    """Where a file is: a relative path counts from the working folder, or else from `data_dir`."""
    path = Path(expand_home(name))
    if data_dir is None or path.is_absolute() or path.exists():
        return path
    inside = data_dir / path
    return inside if inside.exists() else path


def _needs_rating(config: FileConfig) -> bool:
    return config.min_rating is not None or config.rating_column not in (None, AUTO)


def _event_tables(config: FileConfig, path: Path) -> list[EventTable]:
    """The tables that make the data set, their columns known; none for a sequence file."""
    files = presplit(path)
    format = config.format
    if format == "auto" and config.columns is None and _is_sequence(path):
        format = "sequence"
    if format == "sequence":
        return []
    return [EventTable.of(open_table(file, format, config.columns), config.named()) for file in files]


def _is_sequence(path: Path) -> bool:
    """Whether a text, whose words only blanks part, is a sequence file. DataError if it may as well be a table."""
    check_file(path)
    if suffix_of(path) not in (".txt", ".dat", ".seq", ".sequence", "") or recognised(path) != "auto":
        return False
    rows = only_blanks_part(path)
    widths = {len(row) for row in rows}
    if not rows or any(is_usual(word, USER) for word in rows[0]):
        return False

    if len(widths) == 1:
        width = widths.pop()
        fail(
            path,
            f"has {width} words in each of its first lines, so it may be a table or sequences: {' '.join(rows[0])[:80]}. For a "
            "user and its items a line, --set dataset.format=sequence; for a table without a header, name its columns with "
            "--set dataset.columns=user_id,item_id,...",
        )
    return True


def _tell(path: Path, files: list[Path], format: str, data: Interactions, progress: Progress) -> None:
    """What a person must know about how the file was read, in the `format` that was asked for."""
    read_as: Mapping[str, str] = data.read_as
    about = [read_as[key] for key in ("format", "columns") if key in read_as]
    if "columns" in read_as or format == "auto":  # a sequence file that was called one has nothing to tell
        progress.note(f"{path}: {'; '.join(about)}")
    if len(presplit(path)) > 1:
        progress.note(f"{', '.join(file.name for file in files)} are read as one data set; the protocol splits it anew")

    if "unused_times" in read_as:
        columns = read_as["unused_times"]
        progress.note(f"{path}: {columns} looks like a time and is not used; --set dataset.time_column=... uses it")
    if " first" in read_as.get("times", ""):
        progress.note(f"{path}: times are {read_as['times']}")
    if "odd_times" in read_as:
        progress.note(f"{path}: {read_as['odd_times']}")
    if "ratings" in read_as:
        progress.note(f"ratings are {read_as['ratings']}")
    for what in ("users", "items"):
        if what in read_as:
            progress.note(f"{path}: of its {what}, {read_as[what]}")
    if "titles" in read_as:
        progress.note(f"titles: {read_as['titles']}")
    if data.time is None and "columns" in read_as:
        order = "lists" if "items = " in read_as["columns"] else "rows"
        progress.note(f"{path} has no times: the order of its {order} is the order of interactions")


def _without_duplicates(config: FileConfig, data: Interactions, path: Path, tables: list[EventTable]) -> Interactions:
    """The first row of each interaction. DataError under `duplicates=error` if there is a second."""
    if data.time is None or config.duplicates == "keep":
        return data
    repeats = _repeats(data.user, data.item, data.time)
    if not len(repeats):
        return data

    if config.duplicates == "error":
        _refuse_duplicate(data, data.time, repeats, path, tables)
    keep = np.delete(np.arange(len(data)), repeats)
    return replace(
        data,
        user=data.user[keep],
        item=data.item[keep],
        time=data.time[keep],
        rating=None if data.rating is None else data.rating[keep],
        dropped={"duplicate_interactions": len(repeats)},
    )


def _refuse_duplicate(data: Interactions, time: Int64, repeats: Int64, path: Path, tables: list[EventTable]) -> None:
    """DataError that names both rows of the first duplicate."""
    row = int(repeats[0])
    same = (data.user == data.user[row]) & (data.item == data.item[row]) & (time == time[row])
    user, item = str(data.user_ids[data.user[row]]), str(data.item_ids[data.item[row]])
    first = line = None
    unit = "line"
    if len(tables) == 1 and tables[0].taken.get("items") is None:  # elsewhere, an interaction has no line of its own
        table = tables[0].file.read(tables[0].columns[:1])
        first, line, unit = table.line_of(int(np.argmax(same))), table.line_of(row), table.unit

    fail(
        path,
        f"a second row for user {user!r}, item {item!r} and time {time[row]} "
        f"({f'the first is {unit} {first}; ' if first else ''}{len(repeats)} such row{'s' if len(repeats) > 1 else ''}). "
        "--set dataset.duplicates=drop keeps the first of each, =keep keeps all",
        line,
        unit,
    )


def _with_titles(config: FileConfig, path: Path, data: Interactions) -> Interactions:
    """The data with the title of each item; empty where the file has none. DataError for an item with two rows."""
    file = open_table(path)
    named = {"item": config.items_id_column, "title": config.items_title_column}
    taken = take(file, (ITEM_ID, TITLE), named)
    table = file.read(list(taken.columns.values()))
    number, ids = table.ids(taken.columns["item"])

    if len(ids) < len(number):
        row = int(np.argmax(np.diff(np.maximum.accumulate(number), prepend=-1) == 0))
        first = table.line_of(int(np.argmax(number == number[row])))
        table.fail(row, f"item {str(ids[number[row]])!r} has two rows (the first is {table.unit} {first}); keep one")

    titles = dict(zip(ids.tolist(), table.texts(taken.columns["title"]).tolist(), strict=True))
    found: Text = np.array([titles.get(item, "") for item in data.item_ids.tolist()], np.str_)
    without = int((found == "").sum())
    if without == data.n_items:
        fail(
            path,
            f"has a title for none of the {data.n_items} items; are its ids ({ids[0]!s}) those of the data "
            f"({data.item_ids[0]!s})?",
        )
    lacking = f"; {without} of {data.n_items} items have none" if without else ""
    repeats = "; the titles repeat the items' ids" if repeated_column(file, taken) else ""
    return replace(data, item_titles=found, read_as={**data.read_as, "titles": f"{taken}{lacking}{repeats}"})


def _repeats(user: Int32, item: Int32, time: Int64) -> Int64:
    """Rows whose user, item and time an earlier row has too, ascending."""
    order = np.lexsort((user, item, time))
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for column in (user, item, time):
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    return np.sort(order[1:][same])
