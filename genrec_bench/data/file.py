"""Your own data: interactions from one file, in RecBole's atomic format, CSV, TSV, Parquet or as sequences.

Knows formats and column names; the protocol decides the rest. Every error names the line.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from genrec_bench.core.arrays import Int32, Int64, Text
from genrec_bench.core.events import Interactions
from genrec_bench.data.cache import load_prepared
from genrec_bench.data.prepare import PrepareConfig
from genrec_bench.data.raw_files import check_file
from genrec_bench.data.sequences import read_sequences
from genrec_bench.data.tables import (
    Format,
    Table,
    check_columns,
    column_names,
    read_table,
)
from genrec_bench.errors import DataError
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import Dataset, DatasetContext

SUFFIXES: dict[str, Format] = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".tsv": "tsv", ".txt": "tsv"}


@dataclass(frozen=True, kw_only=True)
class FileConfig(PrepareConfig):
    """Where the file is and how to read it."""

    path: str  # a relative one counts from the working folder, or else from --data-dir
    format: Literal["inter", "csv", "tsv", "parquet", "sequence"]  # how the file is laid out
    user_column: str = "user_id"  # column of the user ids
    item_column: str = "item_id"  # column of the item ids
    time_column: str | None = None  # whole numbers, any unit; none: `timestamp` if there is one, else the file's order
    rating_column: str | None = None  # none: `rating` if there is one
    duplicates: Literal["error", "drop", "keep"] = "error"  # interactions of equal user, item and time (needs times)
    items_path: str | None = None  # titles: .csv, .tsv, .parquet, or RecBole's .item
    items_id_column: str = "item_id"  # column of the item ids in items_path
    items_title_column: str = "title"  # column of the titles in items_path

    @model_validator(mode="after")
    def _columns_have_one_purpose(self) -> Self:
        if self.format == "sequence" and (self.time_column or self.rating_column):
            raise ValueError("a sequence file has no columns, so time_column and rating_column mean nothing")
        named = [name for name in (self.user_column, self.item_column, self.time_column, self.rating_column) if name]
        if len(set(named)) != len(named):
            raise ValueError(f"one column is named for two purposes: {', '.join(named)}")
        return self


class FileDataset(Dataset):
    """Your own interactions, from an .inter, .csv, .tsv, .parquet or sequence file."""

    Config = FileConfig
    contract = 1

    def __init__(self, config: Any = None) -> None:
        super().__init__(make_config(FileConfig, {}, "dataset") if config is None else config)

    @property
    def offers(self) -> frozenset[str]:  # type: ignore[override]
        """What the options and the file's header promise. An unreadable file offers nothing; `load` says why."""
        offers = set() if self.config.items_path is None else {"item_titles"}
        if self.config.format == "sequence":
            return frozenset(offers)
        try:
            columns = _Columns.of(self.config, located(self.config.path, None))
        except DataError:
            return frozenset(offers)
        if columns.time:
            offers.add("times")
        if columns.rating:
            offers.add("ratings")
        return frozenset(offers)

    def load(self, ctx: DatasetContext) -> Interactions:
        """The interactions in the file, filtered. DataError, with the line, for anything missing or garbled."""
        config: FileConfig = self.config
        path = located(config.path, ctx.data_dir)
        items_path = None if config.items_path is None else located(config.items_path, ctx.data_dir)
        files = [check_file(file) for file in (path, items_path) if file is not None]
        if config.format != "sequence":
            check_columns(path, config.format, _Columns.of(config, path).names())

        data = load_prepared(ctx, "file", config, files, lambda: _parse(config, path, items_path))
        if config.format != "sequence" and data.time is None:
            ctx.progress.note(f"{path} has no times: the order of its rows is the order of interactions")
        return data


def located(name: str, data_dir: Path | None) -> Path:
    """Where a file is: a relative path counts from the working folder, or else from `data_dir`."""
    path = Path(name).expanduser()
    if data_dir is None or path.is_absolute() or path.exists():
        return path
    inside = data_dir / path
    return inside if inside.exists() else path


@dataclass(frozen=True)
class _Columns:
    """The columns that a table is read from; None where it has no times or no ratings."""

    user: str
    item: str
    time: str | None
    rating: str | None

    @classmethod
    def of(cls, config: FileConfig, path: Path) -> _Columns:
        """As the options name them, or by their usual names if the header has those. DataError without a header."""
        named = (config.user_column, config.item_column, config.time_column, config.rating_column)

        def usual(name: str) -> str | None:
            return name if name not in named and name in column_names(path, config.format) else None

        time, rating = config.time_column or usual("timestamp"), config.rating_column or usual("rating")
        return cls(config.user_column, config.item_column, time, rating)

    def names(self) -> list[str]:
        """All columns to read."""
        return [name for name in (self.user, self.item, self.time, self.rating) if name is not None]


def _parse(config: FileConfig, path: Path, items_path: Path | None) -> Interactions:
    """All interactions of the file, with titles where there is a file of items."""
    data = read_sequences(path) if config.format == "sequence" else _parse_table(config, path)
    return data if items_path is None else replace(data, item_titles=_titles(config, items_path, data.item_ids))


def _parse_table(config: FileConfig, path: Path) -> Interactions:
    columns = _Columns.of(config, path)
    table = read_table(path, config.format, columns.names())

    user, user_ids = table.ids(columns.user)
    item, item_ids = table.ids(columns.item)
    data = Interactions(
        user,
        item,
        table.whole_numbers(columns.time) if columns.time else None,
        user_ids,
        item_ids,
        table.floats(columns.rating).astype(np.float32) if columns.rating else None,
    )

    if data.time is None or config.duplicates == "keep":
        return data
    return _without_duplicates(config, data, data.time, table)


def _without_duplicates(config: FileConfig, data: Interactions, time: Int64, table: Table) -> Interactions:
    """The first row of each interaction. DataError under `duplicates=error` if there is a second."""
    repeats = _repeats(data.user, data.item, time)
    if not len(repeats):
        return data

    if config.duplicates == "error":
        row = int(repeats[0])
        same = (data.user == data.user[row]) & (data.item == data.item[row]) & (time == time[row])
        user, item = str(data.user_ids[data.user[row]]), str(data.item_ids[data.item[row]])
        table.fail(
            row,
            f"a second row for user {user!r}, item {item!r} and time {time[row]} (the first is {table.unit} "
            f"{table.line_of(int(np.argmax(same)))}; {len(repeats)} such row{'s' if len(repeats) > 1 else ''}). "
            "--set dataset.duplicates=drop keeps the first of each, =keep keeps all",
        )

    keep = np.delete(np.arange(len(data)), repeats)
    return replace(
        data,
        user=data.user[keep],
        item=data.item[keep],
        time=time[keep],
        rating=None if data.rating is None else data.rating[keep],
        dropped={"duplicate_interactions": len(repeats)},
    )


def _titles(config: FileConfig, path: Path, item_ids: Text) -> Text:
    """The title of each item; empty where the file has none. DataError for an item with two rows."""
    columns = [config.items_id_column, config.items_title_column]
    table = read_table(path, SUFFIXES.get(path.suffix.lower(), "inter"), columns)
    number, ids = table.ids(columns[0])

    if len(ids) < len(number):
        row = int(np.argmax(np.diff(np.maximum.accumulate(number), prepend=-1) == 0))
        first = table.line_of(int(np.argmax(number == number[row])))
        table.fail(row, f"item {str(ids[number[row]])!r} has two rows (the first is {table.unit} {first}); keep one")

    titles = dict(zip(ids.tolist(), table.texts(columns[1]).tolist(), strict=True))
    return np.array([titles.get(item, "") for item in item_ids.tolist()], np.str_)


def _repeats(user: Int32, item: Int32, time: Int64) -> Int64:
    """Rows whose user, item and time an earlier row has too, ascending."""
    order = np.lexsort((user, item, time))
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for column in (user, item, time):
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    return np.sort(order[1:][same])
