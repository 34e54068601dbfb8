"""A person's own data: interactions from one file, as RecBole atomic file, CSV, TSV, Parquet or sequences.

Knows formats and column names; the protocol decides the rest. Every fault is named with its line.
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
from genrec_bench.data.files import check_file
from genrec_bench.data.prepare import PrepareConfig
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
    format: Literal["inter", "csv", "tsv", "parquet", "sequence"]
    user_column: str = "user_id"
    item_column: str = "item_id"
    time_column: str | None = None  # whole numbers, any unit; none: `timestamp` if there is one, else the file's order
    rating_column: str | None = None  # none: `rating` if there is one
    duplicates: Literal["error", "drop", "keep"] = "error"  # events of equal user, item and time (needs times)
    items_path: str | None = None  # titles: .csv, .tsv, .parquet, or RecBole's .item
    items_id_column: str = "item_id"
    items_title_column: str = "title"

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

    _data_dir: Path | None = None  # known once data is loaded

    def __init__(self, config: Any = None) -> None:
        super().__init__(make_config(FileConfig, {}, "dataset") if config is None else config)
        self.offers = self._offers()  # type: ignore[misc]

    def load(self, ctx: DatasetContext) -> Interactions:
        """The file's events, filtered. DataError, with the line, for anything missing or garbled."""
        self._data_dir = ctx.data_dir
        files = [check_file(self._path)]
        if self.config.items_path is not None:
            files.append(check_file(self._place(self.config.items_path)))
        if self.config.format != "sequence":
            check_columns(self._path, self.config.format, self._wanted())
        data = load_prepared(ctx, "file", self.config, files, self._parse)
        if self.config.format != "sequence" and data.time is None:
            ctx.progress.note(f"{self._path} has no times: the order of its rows is the order of events")
        return data

    @property
    def _path(self) -> Path:
        return self._place(self.config.path)

    def _place(self, written: str) -> Path:
        """Where a file lies: a run's relative path is found from elsewhere with the run's folder as `data_dir`."""
        path = Path(written).expanduser()
        moved = None if self._data_dir is None or path.is_absolute() else self._data_dir / path
        return moved if moved is not None and not path.exists() and moved.exists() else path

    def _offers(self) -> frozenset[str]:
        """What the header promises; nothing, where the file cannot be read (`load` says why)."""
        titles = {"item_titles"} if self.config.items_path is not None else set()
        if self.config.format == "sequence":
            return frozenset(titles)
        try:
            columns = {"times": self._time_column(), "ratings": self._rating_column()}
        except DataError:
            return frozenset(titles)
        return frozenset(titles | {what for what, column in columns.items() if column})

    def _time_column(self) -> str | None:
        return self.config.time_column or self._column_if_there("timestamp")

    def _rating_column(self) -> str | None:
        return self.config.rating_column or self._column_if_there("rating")

    def _column_if_there(self, name: str) -> str | None:
        used = (self.config.user_column, self.config.item_column, self.config.time_column, self.config.rating_column)
        return name if name not in used and name in column_names(self._path, self.config.format) else None

    def _parse(self) -> Interactions:
        data = read_sequences(self._path) if self.config.format == "sequence" else self._parse_table()
        if self.config.items_path is None:
            return data
        return replace(data, item_titles=self._titles(data.item_ids))

    def _wanted(self) -> list[str]:
        optional = filter(None, (self._time_column(), self._rating_column()))
        return [self.config.user_column, self.config.item_column, *optional]

    def _parse_table(self) -> Interactions:
        config, time_column, rating_column = self.config, self._time_column(), self._rating_column()
        table = read_table(self._path, config.format, self._wanted())
        user, user_ids = table.ids(config.user_column)
        item, item_ids = table.ids(config.item_column)
        data = Interactions(
            user,
            item,
            table.whole_numbers(time_column) if time_column else None,
            user_ids,
            item_ids,
            table.floats(rating_column).astype(np.float32) if rating_column else None,
        )
        if data.time is None or config.duplicates == "keep":
            return data
        return self._without_duplicates(data, data.time, table)

    def _without_duplicates(self, data: Interactions, time: Int64, table: Table) -> Interactions:
        """One row of each event, the first; under `error`, DataError if any event has two."""
        repeats = _repeats(data.user, data.item, time)
        if not len(repeats):
            return data
        if self.config.duplicates == "error":
            row = int(repeats[0])
            same = (data.user == data.user[row]) & (data.item == data.item[row]) & (time == time[row])
            table.fail(
                row,
                f"user {str(data.user_ids[data.user[row]])!r} meets item {str(data.item_ids[data.item[row]])!r} at time "
                f"{time[row]} again (first on {table.unit} {table.line_of(int(np.argmax(same)))}; {len(repeats)} "
                f"such row{'s' if len(repeats) > 1 else ''}). --set dataset.duplicates=drop keeps the first of each, =keep keeps all",
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

    def _titles(self, item_ids: Text) -> Text:
        """The title of each item; empty where the file has none."""
        path = self._place(self.config.items_path)
        columns = [self.config.items_id_column, self.config.items_title_column]
        table = read_table(path, SUFFIXES.get(path.suffix.lower(), "inter"), columns)
        number, ids = table.ids(columns[0])
        if len(ids) < len(number):
            row = int(np.argmax(np.diff(np.maximum.accumulate(number), prepend=-1) == 0))
            first = table.line_of(int(np.argmax(number == number[row])))
            table.fail(row, f"item {str(ids[number[row]])!r} stands twice (first on {table.unit} {first}); keep one")
        titles = dict(zip(ids.tolist(), table.texts(columns[1]).tolist(), strict=True))
        return np.array([titles.get(item, "") for item in item_ids.tolist()], np.str_)


def _repeats(user: Int32, item: Int32, time: Int64) -> Int64:
    """Rows `(n,)` whose user, item and time stood in an earlier row, ascending."""
    order = np.lexsort((user, item, time))
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for column in (user, item, time):
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    return np.sort(order[1:][same])
