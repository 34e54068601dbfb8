"""Columns of one table as ids, numbers, times, texts or lists, with the line number of every fault.

Knows values, not files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from genrec_bench.core.arrays import Int32, Int64, Text
from genrec_bench.core.ids import EXACT, LOST, NotAnId, exact_power, is_text, normal_ids
from genrec_bench.core.raw_files import fail
from genrec_bench.core.tables.times import RANGE, SINCE, NotATime, form_of, read_dates, read_seconds

Float64 = NDArray[np.float64]
SHOWN = 60  # characters of a value in an error
LONGEST = 1_000  # characters of an id: anything longer comes from a garbled file; longer texts are cut
ZONED = r"(Z|[+-]\d\d:?\d\d)$"
ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?" + ZONED[:-1] + "?)?$"


AROUND_COMMA = re.compile(r"\s*,\s*")
BRACKETED = re.compile(r"\[(.*)\]", re.DOTALL)


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
        """A column of external ids as numbers `(n,)` in order of first appearance, and the ids in their normal form.

        DataError for an empty, lost or garbled one; `core.ids` says what is normal.
        """
        column = self.columns[name]
        lost = column.is_null()
        if column.null_count:
            self.fail(_first(lost), f"the {name} is empty")

        # Each id is looked at once, however often it occurs.
        coded = self._encoded(name)
        try:
            normal = normal_ids(coded.dictionary).dictionary_encode()
        except NotAnId as error:
            if error.row < 0:
                fail(self.path, f"the column {name} {error}")
            self.fail(_first(pc.equal(coded.indices, error.row)), f"the {name} {error}")

        long = pc.greater(pc.utf8_length(normal.dictionary), LONGEST)
        numbers = normal.indices.to_numpy()[coded.indices.to_numpy()].astype(np.int32)
        if pc.any(long).as_py():
            row = int(np.argmax(numbers == _first(long)))
            self.fail(row, f"the {name} is longer than {LONGEST} characters; is the file garbled?")
        return numbers, _text(normal.dictionary)

    def texts(self, name: str) -> Text:
        """A column of texts, `(n,)`; missing ones are empty, and those of more than 1,000 characters end in `...`."""
        column = self._strings(name)
        long = pc.greater(pc.utf8_length(column), LONGEST)
        if pc.any(long).as_py():
            dots, nothing = (pa.scalar(text, pa.large_string()) for text in ("...", ""))
            cut = pc.binary_join_element_wise(pc.utf8_slice_codeunits(column, 0, LONGEST - 3), dots, nothing)
            column = pc.if_else(long, cut, column)
        return _text(column)

    def lists(self, name: str) -> tuple[Int64, Table]:
        """A column of lists: how many values each row has, `(n,)`, and their table, with the one column `name`.

        A text is a list parted by blanks (RecBole's `token_seq`), by one mark of `,` `;` `|` if no text of the column holds
        a blank, or by commas in brackets. An empty one is empty. DataError for texts parted by blanks and by commas.
        """
        column = self.columns[name]
        if not is_list(column.type):
            column = self._split(name)
        lengths = pc.list_value_length(column).fill_null(0).to_numpy().astype(np.int64)
        rows = np.repeat(np.arange(len(self)), lengths)
        return lengths, Table(
            self.path, {name: column.flatten()}, lambda value: self.line_of(int(rows[value])), self.unit
        )

    def gaps(self, name: str) -> int:
        """How many values of a column are missing: empty, null or NaN."""
        return int(pc.sum(pc.is_in(_trimmed(self._strings(name)), pa.array(["", *LOST], pa.large_string()))).as_py())

    def floats(self, name: str, advice: str = "") -> Float64:
        """A column of finite numbers, `(n,)`, in double precision, which holds them exactly if they are whole.

        DataError ends in `advice` for anything else.
        """
        values = self._finite(name, advice)
        large = np.abs(values) >= 2.0 ** EXACT[64]
        if large.any():
            self._refuse(name, int(np.argmax(large)), f"too large to be exact (2**{EXACT[64]} or more){advice}")
        return values

    def _finite(self, name: str, advice: str) -> Float64:
        """A column of finite numbers, `(n,)`; the last digits of large ones may be lost."""
        column = self._numbers(name)
        try:
            values = column.cast(pa.float64(), safe=not pa.types.is_integer(column.type)).to_numpy(zero_copy_only=False)
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
        column = self._numbers(name)
        # pyarrow would read 0x10 as 16, and a large float without a word on the digits that it has lost.
        doubtful = pa.types.is_floating(column.type) or (is_text(column.type) and _has_x(column))
        try:
            if column.null_count == 0 and not doubtful:
                return cast(Int64, column.cast(pa.int64()).to_numpy())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass  # floats or a fault; reading floats shows which

        values = self._finite(name, f"; {advice or 'give whole numbers (seconds since 1970) or ISO times'}")
        fractional = values != np.floor(values)
        if fractional.any():
            row = int(np.argmax(fractional))
            self._refuse(name, row, f"not a whole number; {advice or 'use a finer unit, such as milliseconds'}")

        large = np.abs(values) >= 2 ** exact_power(column.type)
        if large.any():
            row = int(np.argmax(large))
            why = "too large to be exact in this notation" if abs(values[row]) < 2**63 else "too large for 64 bits"
            self._refuse(name, row, f"{why}; {advice or 'use a coarser unit, such as seconds'}")
        return values.astype(np.int64)

    def _numbers(self, name: str) -> pa.Array:
        """A column of numbers or of texts that spell them. DataError for truth values, times and the like."""
        column = _trimmed(self.columns[name])
        kind = column.type
        spelled = is_text(kind) or pa.types.is_null(kind)
        if not (spelled or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            fail(self.path, f"the column {name} holds {kind}, not numbers")
        return column

    def times(self, name: str) -> tuple[Int64, str]:
        """A column of times, `(n,)`, and their unit: dates and fractions of seconds in nanoseconds since 1970, numbers as they are.

        DataError for anything else, for dates that mean two days, and for times of which only some name their time zone.
        """
        column = _trimmed(self.columns[name])
        if pa.types.is_temporal(column.type):
            return self._stamps(name, column)

        first = _first_text(column)
        if form := form_of(first):
            short = pc.replace_substring_regex(column, " ?UTC$", "Z") if first.endswith("UTC") else column
            if pc.all(pc.match_substring_regex(short, ISO)).as_py():  # the usual form, which pyarrow reads fast
                return self._iso(name, short)
            try:
                return read_dates(column, form)
            except NotATime as error:
                if error.row < 0:
                    fail(self.path, f"the column {name} ({first[:SHOWN]}) {error}")
                self._refuse(name, error.row, str(error))

        seconds = read_seconds(column)
        return (self.whole_numbers(name), "whole numbers") if seconds is None else (seconds, f"{SINCE}, UTC")

    def _iso(self, name: str, column: pa.Array) -> tuple[Int64, str]:
        """ISO texts in nanoseconds since 1970, and their unit."""
        zoned = pc.match_substring_regex(column, ZONED)
        if pc.any(zoned).as_py() and not pc.all(zoned).as_py():
            row, state = _first(pc.xor(zoned, zoned[0])), "without" if zoned[0].as_py() else "with"
            self._refuse(name, row, f"{state} a time zone, unlike {str(self.columns[name][0])!r} in the first row")
        return self._stamps(name, column, pa.timestamp("ns", "UTC") if zoned[0].as_py() else pa.timestamp("ns"))

    def _stamps(self, name: str, column: pa.Array, kind: pa.DataType | None = None) -> tuple[Int64, str]:
        """Dates, timestamps, or texts that are cast to `kind`, in nanoseconds since 1970, and their unit."""
        if column.null_count:
            self.fail(_first(column.is_null()), f"the {name} is empty")

        kind = kind or pa.timestamp("ns", getattr(column.type, "tz", None))
        try:
            stamps = cast(Int64, column.cast(kind).cast(pa.int64()).to_numpy())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            row = next((i for i, value in enumerate(column) if not _casts(value, kind)), 0)
            self._refuse(name, row, RANGE)
        return stamps, SINCE if kind.tz is None else f"{SINCE}, UTC"

    def _refuse(self, name: str, row: int, what: str) -> NoReturn:
        """DataError for one value: it is empty, or it is `what`."""
        try:
            value = self.columns[name][row].as_py()
        except (OverflowError, ValueError):  # Python has no such date
            self.fail(row, f"the {name} is {what}")
        shown = repr(value[:SHOWN]) if isinstance(value, str) else str(value)
        self.fail(row, f"the {name} is empty" if value in ("", None) else f"the {name} {shown} is {what}")

    def _encoded(self, name: str) -> pa.DictionaryArray:
        column = self.columns[name]
        if is_list(column.type):
            fail(
                self.path,
                f"the {name} holds lists where ids are expected; give one list of ids, or a row for each pair",
            )
        try:
            return (column.dictionary_decode() if pa.types.is_dictionary(column.type) else column).dictionary_encode()
        except pa.ArrowException:
            fail(self.path, f"the column {name} holds {self.columns[name].type}, not texts or numbers")

    def _strings(self, name: str) -> pa.Array:
        """A column as texts, missing ones empty. DataError for other types."""
        try:
            return pc.fill_null(self.columns[name].cast(pa.large_string()), "")
        except pa.ArrowException:
            fail(self.path, f"the column {name} holds {self.columns[name].type}, not texts or numbers")

    def _split(self, name: str) -> pa.Array:
        """A column of texts as lists of texts."""
        texts = [AROUND_COMMA.sub(",", text.strip()) for text in self._strings(name).to_pylist()]
        plain = [text for text in texts if not BRACKETED.fullmatch(text)]
        blanks = any(re.search(r"\s", text) for text in plain)
        marks = sorted({mark for text in plain for mark in text if mark in (",;|" if not blanks else ",")})
        if len(marks) + blanks > 1:
            row = next(row for row, text in enumerate(texts) if marks[-1] in text and not BRACKETED.fullmatch(text))
            others = "blanks" if blanks else f"{marks[0]!r}"
            self._refuse(
                name, row, f"parted by {marks[-1]!r}, and the column by {others} too; write [a, b], or a list in JSON"
            )

        rows = [words_in(text, marks[0] if marks else "") for text in texts]
        return pa.array(rows, pa.large_list(pa.large_string()))


def words_in(cell: Any, mark: str = "") -> list[Any]:
    """The members of a list in one cell: of a text, what commas part in brackets, or else `mark`, or blanks without one."""
    if isinstance(cell, list):
        return cell
    text = "" if cell is None else str(cell).strip()
    bracketed = BRACKETED.fullmatch(text)
    words = re.split(r"[,\s]+", bracketed[1].strip()) if bracketed else text.split(mark or None)
    return [word.strip().strip("'\"") for word in words if word.strip()]


def _text(column: pa.Array) -> Text:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.str_)


def _has_x(column: pa.Array) -> bool:
    return any(pc.any(pc.match_substring(column, letter)).as_py() for letter in "xX")


def _trimmed(column: pa.Array) -> pa.Array:
    """A column without blanks around its texts, each text written out."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return pc.utf8_trim_whitespace(column.cast(pa.large_string())) if is_text(column.type) else column


def _first_text(column: pa.Array) -> str:
    """The first text of a column; empty if it is missing, no text, or garbled."""
    try:
        return str(column[0].as_py() or "") if is_text(column.type) else ""
    except UnicodeDecodeError:
        return ""


def is_list(kind: pa.DataType) -> bool:
    """Whether each cell of a column of that type holds a list."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _first(flags: pa.Array) -> int:
    return int(pc.index(flags, True).as_py())


def _is_number(value: pa.Scalar) -> bool:
    return _casts(value, pa.float64())


def _casts(value: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        return bool(value.cast(kind).is_valid)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
