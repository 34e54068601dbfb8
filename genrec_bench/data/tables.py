"""Tables from text (CSV, TSV, RecBole's atomic files) and Parquet, with the line number of every fault.

Knows columns and values, not what they mean. pyarrow reads; only when it meets a fault does a second, slow pass over
the text find the line.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, NoReturn, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from genrec_bench.core.arrays import Int32, Int64, Text
from genrec_bench.data.raw_files import (
    BLOCK,
    check_file,
    check_text,
    fail,
)

Format = Literal["inter", "csv", "tsv", "parquet"]
Float64 = NDArray[np.float64]
LONGEST = 1_000  # characters of an id or a title; anything longer comes from a garbled file
EXACT = 2**53  # up to here a float holds whole numbers exactly


@dataclass(frozen=True)
class Table:
    """Named columns of one file, `n` rows each; `line_of` gives the line (1-based) of a row (0-based)."""

    path: Path
    columns: dict[str, pa.Array]
    line_of: Callable[[int], int | None]
    unit: Literal["line", "row"] = "line"

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def fail(self, row: int, why: str) -> NoReturn:
        """DataError that names the file and the line of `row`."""
        fail(self.path, why, self.line_of(row), self.unit)

    def ids(self, name: str) -> tuple[Int32, Text]:
        """A column of external ids as numbers `(n,)` in order of first appearance, and the ids. DataError if one is empty."""
        column = self._strings(name)
        empty = pc.equal(pc.utf8_trim_whitespace(column), "")
        if pc.any(empty).as_py():
            self.fail(_first(empty), f"the {name} is empty")
        coded = column.dictionary_encode()
        return coded.indices.to_numpy().astype(np.int32), _text(coded.dictionary)

    def texts(self, name: str) -> Text:
        """A column of texts, `(n,)`; missing ones are empty."""
        return _text(self._strings(name))

    def floats(self, name: str, advice: str = "") -> Float64:
        """A column of finite numbers, `(n,)`, in double precision; DataError ends in `advice` for anything else."""
        column = _trimmed(self.columns[name])
        try:
            values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            row = next((i for i, value in enumerate(column) if not _is_number(value)), 0)
            self._refuse(name, row, f"not a number{advice}")
        if not np.isfinite(values).all():
            self._refuse(name, int(np.argmin(np.isfinite(values))), "not a finite number")
        return cast(Float64, values)

    def whole_numbers(self, name: str, advice: str = "") -> Int64:
        """A column of whole numbers, `(n,)`: `8.0` and `1e9` count as whole, `0.5` does not.

        DataError ends in `advice`, or in advice on times.
        """
        column = _trimmed(self.columns[name])
        try:
            if column.null_count == 0:
                return cast(Int64, column.cast(pa.int64()).to_numpy())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass  # floats or a fault; reading floats shows which

        values = self.floats(name, f"; {advice or 'give times as whole numbers, such as seconds since 1970'}")
        fractional = values != np.floor(values)
        if fractional.any():
            row = int(np.argmax(fractional))
            self._refuse(name, row, f"not a whole number; {advice or 'use a finer unit, such as milliseconds'}")
        large = np.abs(values) > EXACT
        if large.any():
            row = int(np.argmax(large))
            why = "too large to be exact in this notation" if abs(values[row]) < 2**63 else "too large for 64 bits"
            self._refuse(name, row, f"{why}; {advice or 'use a coarser unit, such as seconds'}")
        return values.astype(np.int64)

    def _refuse(self, name: str, row: int, what: str) -> NoReturn:
        """DataError for one value: it is empty, or it is `what`."""
        value = self.columns[name][row].as_py()
        self.fail(row, f"the {name} is empty" if value in ("", None) else f"the {name} {value!r} is {what}")

    def _strings(self, name: str) -> pa.Array:
        """A column as texts, missing ones empty. DataError for other types and for garbled ones."""
        try:
            column = pc.fill_null(self.columns[name].cast(pa.large_string()), "")
        except pa.ArrowException:
            fail(self.path, f"the column {name} holds {self.columns[name].type}, not texts or numbers")
        long = pc.greater(pc.utf8_length(column), LONGEST)
        if pc.any(long).as_py():
            self.fail(_first(long), f"the {name} is longer than {LONGEST} characters; is the file garbled?")
        return column


def column_names(path: Path, format: Format) -> tuple[str, ...]:
    """The columns of a file, from its header. RecBole's `name:type` loses the type."""
    check_file(path)
    if format == "parquet":
        return tuple(_parquet(path).schema_arrow.names)
    try:
        header = next(iter(_records(path, format)), (1, []))[1]
    except UnicodeDecodeError:
        check_text(path)
        raise
    if not any(header):
        check_text(path)
        fail(path, "the first line is blank; it must name the columns", 1)
    return tuple(name.split(":")[0].strip() if format == "inter" else name.strip() for name in header)


def check_columns(path: Path, format: Format, wanted: list[str]) -> tuple[str, ...]:
    """The columns of a file; DataError unless each of `wanted` is one of them, once."""
    if format != "parquet":
        check_text(check_file(path))
    known = column_names(path, format)
    _check_wanted(path, wanted, known)
    return known


def _check_wanted(path: Path, wanted: list[str], known: tuple[str, ...]) -> None:
    """DataError unless each of `wanted` is in `known` once."""
    for name in wanted:
        if known.count(name) != 1:
            state = "no column" if name not in known else "more than one column"
            shown = ", ".join(name if name.isprintable() else ascii(name) for name in known)
            shown = shown if len(shown) <= 300 else f"{shown[:300]} ..."
            fail(path, f"there is {state} {name!r}; its columns: {shown}{_other_separator(known)}")


def _other_separator(known: tuple[str, ...]) -> str:
    """What to try if the whole header was read as one column."""
    advice = {"\t": "set dataset.format=tsv", ",": "set dataset.format=csv", ";": "write the file with commas"}
    separator = next((mark for mark in advice if len(known) == 1 and mark in known[0]), None)
    return f". Is it separated by {separator!r}? Then {advice[separator]}" if separator else ""


def read_table(path: Path, format: Format, wanted: list[str], names: tuple[str, ...] | None = None) -> Table:
    """The `wanted` columns of a file. `names` are the columns of a text file without a header.

    DataError, with the line, for a file that is missing, empty or not text, and for rows of different widths.
    """
    if names is None:
        known = check_columns(path, format, wanted)
    else:
        known = names
        _check_wanted(path, wanted, known)
        check_text(check_file(path))
    if format == "parquet":
        return _read_parquet(path, wanted)

    # Columns are read by number: names may repeat outside `wanted`.
    header = 0 if names else 1
    numbered = [str(known.index(name)) for name in wanted]
    try:
        read = pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(column_names=[str(i) for i in range(len(known))], skip_rows=header),
            pyarrow.csv.ParseOptions(
                delimiter=_delimiter(format),
                quote_char='"' if format == "csv" else False,
                newlines_in_values=format == "csv",
            ),
            pyarrow.csv.ConvertOptions(
                include_columns=numbered, column_types=dict.fromkeys(numbered, pa.large_string())
            ),
        )
    except pa.ArrowInvalid as error:
        _find_fault(path, format, len(known))
        fail(path, f"cannot be parsed: {error}")

    if format == "csv" and _odd_quotes(path):  # pyarrow reads an unclosed quote to the end of the file
        _find_fault(path, format, len(known))

    if not len(read):
        fail(path, "has a header but no rows")
    columns = {name: read.column(i).combine_chunks() for i, name in enumerate(wanted)}
    return Table(path, columns, lambda row: _line_of(path, format, row + header))


def _read_parquet(path: Path, wanted: list[str]) -> Table:
    try:
        read = _parquet(path).read(wanted)
    except (pa.ArrowException, OSError) as error:
        fail(path, f"is not a valid Parquet file: {error}")
    if not len(read):
        fail(path, "has no rows")
    columns = {name: read.column(name).combine_chunks() for name in wanted}
    return Table(path, columns, lambda row: row + 1, "row")


def _parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    """The open file, its footer read. DataError if it is not Parquet."""
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        fail(path, f"is not a valid Parquet file: {error}")


def _records(path: Path, format: Format) -> Iterator[tuple[int, list[str]]]:
    """Every record of a text file with the line that it ends on; blank lines are empty records."""
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if format == "csv" else csv.QUOTE_NONE
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=_delimiter(format), quoting=quoting, strict=True)
        ended = 0  # the line on which the last sound record ended
        try:
            for record in reader:
                ended = reader.line_num
                yield ended, record
        except csv.Error as error:
            open_quote = "unexpected end" in str(error)
            why = "a quote that is opened here is never closed" if open_quote else f"cannot be parsed: {error}"
            fail(path, why, ended + 1 if open_quote else reader.line_num)


def _odd_quotes(path: Path) -> bool:
    """Whether the number of quotes is odd: then one is never closed."""
    with path.open("rb") as file:
        return sum(block.count(b'"') for block in iter(lambda: file.read(BLOCK), b"")) % 2 == 1


def _find_fault(path: Path, format: Format, width: int) -> None:
    """DataError for the first record that is not `width` wide or cannot be parsed, if there is one."""
    for line, record in _records(path, format):
        if record and len(record) != width:
            fail(path, f"has {len(record)} columns instead of {width}; is the file cut short or garbled?", line)


def _line_of(path: Path, format: Format, row: int) -> int | None:
    """The line of the `row`-th record that is not blank."""
    filled = (line for line, record in _records(path, format) if record)
    return next(islice(filled, row, None), None)


def _delimiter(format: Format) -> str:
    return "," if format == "csv" else "\t"


def _text(column: pa.Array) -> Text:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.str_)


def _trimmed(column: pa.Array) -> pa.Array:
    return pc.utf8_trim_whitespace(column) if pa.types.is_large_string(column.type) else column


def _first(flags: pa.Array) -> int:
    return int(pc.index(flags, True).as_py())


def _is_number(value: pa.Scalar) -> bool:
    try:
        return bool(value.cast(pa.float64()).is_valid)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
