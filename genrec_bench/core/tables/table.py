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
from genrec_bench.core.ids import EXACT, LOST, NotAnId, exact_power, normal_ids
from genrec_bench.core.raw_files import fail

Float64 = NDArray[np.float64]
SHOWN = 60  # characters of a value in an error
LONGEST = 1_000  # characters of an id: anything longer comes from a garbled file; longer texts are cut
ZONED = r"(Z|[+-]\d\d:?\d\d)$"
ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?" + ZONED[:-1] + "?)?$"
SINCE = "nanoseconds since 1970"  # the unit of times that are written as dates


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

        A text is a list separated by blanks (RecBole's `token_seq`), or with commas in brackets. An empty one is empty.
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
        doubtful = pa.types.is_floating(column.type) or (_is_text(column.type) and _has_x(column))
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
        spelled = _is_text(kind) or pa.types.is_null(kind)
        if not (spelled or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            fail(self.path, f"the column {name} holds {kind}, not numbers")
        return column

    def times(self, name: str) -> tuple[Int64, str]:
        """A column of times, `(n,)`, and their unit: dates and ISO times in nanoseconds since 1970, numbers as they are.

        DataError for anything else, and for times of which only some name their time zone.
        """
        column = _trimmed(self.columns[name])
        if pa.types.is_temporal(column.type):
            return self._since_1970(name, column), SINCE
        if _is_text(column.type) and (dated := pc.match_substring_regex(column, ISO)) and dated[0].as_py():
            if not pc.all(dated).as_py():
                row = _first(pc.invert(dated.fill_null(False)))
                self._refuse(name, row, f"not an ISO time, as {str(column[0])!r} in the first row is")
            return self._since_1970(name, column), SINCE
        return self.whole_numbers(name), "whole numbers"

    def _since_1970(self, name: str, column: pa.Array) -> Int64:
        """Dates, timestamps or ISO texts in nanoseconds since 1970."""
        if column.null_count:
            self.fail(_first(column.is_null()), f"the {name} is empty")

        kind = pa.timestamp("ns")
        if _is_text(column.type):
            zoned = pc.match_substring_regex(column, ZONED)
            if pc.any(zoned).as_py() and not pc.all(zoned).as_py():
                self._refuse(
                    name, _first(pc.xor(zoned, zoned[0])), "with and the first without a time zone, or the reverse"
                )
            kind = pa.timestamp("ns", "UTC") if zoned[0].as_py() else kind

        try:
            stamps = column if pa.types.is_timestamp(column.type) else column.cast(kind)
            return cast(
                Int64, stamps.cast(pa.timestamp("ns", getattr(stamps.type, "tz", None))).cast(pa.int64()).to_numpy()
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            row = next((i for i, value in enumerate(column) if not _casts(value, kind)), 0)
            self._refuse(name, row, "not a time between the years 1678 and 2262")

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
        rows = []
        for text in self._strings(name).to_pylist():
            bracketed = re.fullmatch(r"\s*\[(.*)\]\s*", text, re.DOTALL)
            words = re.split(r"[,\s]+", bracketed[1].strip()) if bracketed else text.split()
            rows.append([word.strip("'\"") for word in words if word])
        return pa.array(rows, pa.large_list(pa.large_string()))


def looks_like_times(values: list[Any]) -> bool:
    """Whether all of a column's first values are dates, ISO times, or whole seconds or milliseconds of 1990 to 2065."""
    texts = [str(value).strip() for value in values if value is not None and str(value).strip()]
    return bool(texts) and all(_looks_like_time(text) for text in texts)


def _looks_like_time(text: str) -> bool:
    if re.match(r"\d{4}-\d\d-\d\d", text):
        return True
    try:
        number = float(text)
    except ValueError:
        return False
    return number == number // 1 and any(6.3e8 <= number / unit <= 3e9 for unit in (1, 1e3, 1e6, 1e9))


def _text(column: pa.Array) -> Text:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.str_)


def _has_x(column: pa.Array) -> bool:
    return any(pc.any(pc.match_substring(column, letter)).as_py() for letter in "xX")


def _trimmed(column: pa.Array) -> pa.Array:
    """A column without blanks around its texts, each text written out."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return pc.utf8_trim_whitespace(column) if _is_text(column.type) else column


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_string(kind))


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
