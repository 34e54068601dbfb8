"""Opens a file of any format as a table: text with a header (or named columns), Parquet or JSON.

Knows formats and separators, not what columns mean. `open_table` reads a header only; `TableFile.read` reads columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet

from genrec_bench.core.printable import printable_cell
from genrec_bench.core.raw_files import check_file, fail, open_binary, suffix_of
from genrec_bench.core.tables.table import Table

Format = Literal["auto", "inter", "csv", "tsv", "parquet", "json"]
PARQUET = (".parquet", ".pq")
JSON = (".json", ".jsonl", ".ndjson")
SAMPLE = 50  # rows


class TableFile(ABC):
    """A file whose columns are known by name: `names`, in the file's order. `about` says in words how it was read."""

    def __init__(self, path: Path, names: Sequence[str], about: str = "") -> None:
        self.path, self.names, self.about = path, tuple(names), about
        self.hint = ""  # what else may be wrong if a column is not found

    def read(self, wanted: Sequence[str]) -> Table:
        """The `wanted` columns, at least one row. DataError unless each is a column, once, and the file is sound."""
        self.check(wanted)
        table = self._read(tuple(dict.fromkeys(wanted)))
        if not len(table):
            fail(self.path, "has no rows")
        return table

    def check(self, wanted: Sequence[str]) -> None:
        """DataError unless each of `wanted` is the name of one column."""
        for name in wanted:
            if self.names.count(name) != 1:
                state = "no column" if name not in self.names else "more than one column"
                fail(self.path, f"there is {state} {name!r}; its columns: {shown(self.names)}")

    @abstractmethod
    def sample(self) -> dict[str, list[Any]]:
        """The first values of every column, at most 50."""

    @abstractmethod
    def _read(self, wanted: tuple[str, ...]) -> Table:
        """The `wanted` columns, which exist."""


class ParquetFile(TableFile):
    """Columns of a Parquet file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _parquet(path).schema_arrow.names)

    def sample(self) -> dict[str, list[Any]]:
        try:
            batch = next(_parquet(self.path).iter_batches(SAMPLE), None)
        except (pa.ArrowException, OSError) as error:
            fail(self.path, f"is not a valid Parquet file: {error}")
        return {} if batch is None else {name: _values(batch.column(i)) for i, name in enumerate(self.names)}

    def _read(self, wanted: tuple[str, ...]) -> Table:
        try:
            read = _parquet(self.path).read(list(wanted))
        except (pa.ArrowException, OSError) as error:
            fail(self.path, f"is not a valid Parquet file: {error}")
        columns = {name: _joined(read.column(name)) for name in wanted}
        return Table(self.path, columns, lambda row: row + 1, "row")


def open_table(
    path: Path, format: Format = "auto", columns: Sequence[str] | None = None, part: str = "dataset"
) -> TableFile:
    """The table in a file, compressed or not; `auto` goes by its suffix and its first line.

    `columns` names the columns of a text file without a header. `part` is the part of a run whose options the advice
    names; empty for a command that has its own option. DataError for a file that is missing, empty or garbled, or whose header cannot be told from a row.
    """
    check_file(path)
    if format == "auto":
        format = recognised(path)
    if columns is not None and format in ("parquet", "json"):
        fail(path, f"names its columns itself ({format}); leave the option columns out")

    if format == "parquet":
        return ParquetFile(path)
    if format == "json":
        from genrec_bench.core.tables.json_file import JsonFile

        return JsonFile(path)

    from genrec_bench.core.tables.text_file import open_text

    return open_text(path, format, columns, part)


def shown(names: Sequence[str]) -> str:
    """Names for a message: on one line, not too many."""
    text = ", ".join(printable_cell(name) or "(no name)" for name in names)
    return text if len(text) <= 300 else f"{text[:300]} ..."


def recognised(path: Path) -> Format:
    """The format by suffix, or by the first bytes; `auto` means text whose separator its first line shows."""
    suffix = suffix_of(path)
    with open_binary(path) as file:
        first = file.read(200)
    if suffix in PARQUET or first.startswith(b"PAR1"):
        return "parquet"
    if suffix in JSON or first.removeprefix(b"\xef\xbb\xbf").lstrip()[:2] in (b'{"', b"{\n", b"[{", b"[["):
        return "json"
    return "auto"


def _parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    """The open file, its footer read. DataError if it is not Parquet."""
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        fail(path, f"is not a valid Parquet file: {error}")


def _values(column: pa.Array) -> list[Any]:
    """The values of a column; all None if Python has nothing like one of them, such as a date in the year 20000."""
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):
        return [None] * len(column)


def _joined(column: pa.ChunkedArray) -> pa.Array:
    """One array. Texts get 64-bit offsets first: their bytes may exceed 2 GiB, and views of texts lack most functions."""
    if pa.types.is_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    joined = column.combine_chunks()
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined
