"""Tables in JSON: a list of objects, one object a line, or one object whose keys are ids.

An object from key to value, whole or one pair a line, gives the columns `key` and `value`; one from key to objects gives
`key` and their fields, or `value` if these are ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from genrec_bench.core.raw_files import check_text, fail, has_half_characters, open_binary
from genrec_bench.core.tables.files import SAMPLE, TableFile
from genrec_bench.core.tables.table import Table

KEY, VALUE = "key", "value"
COLUMN = re.compile(
    r"(user|item)[\W_]*(ids?|names?|keys?|codes?|s)?[\W_]*(lists?)?", re.IGNORECASE
)  # no user is called so
Row = Mapping[str, Any]


class JsonFile(TableFile):
    """Columns of a JSON file: the fields of its objects, in order of appearance."""

    def __init__(self, path: Path) -> None:
        check_text(path)
        names: dict[str, None] = {}
        self.places: list[int] = []  # the line or the number of each row
        self.rows: list[Row] = []
        self.unit = "line"

        for place, row in self._parsed(path):
            self.places.append(place)
            self.rows.append(row)
            names.update(dict.fromkeys(row))
        super().__init__(path, [name for name in names if isinstance(name, str)])

    def sample(self) -> dict[str, list[Any]]:
        return {name: [row.get(name) for row in self.rows[:SAMPLE]] for name in self.names}

    def pairs(self, names: tuple[str, str, str]) -> Table | None:
        """`{key: {id: number}}` as a table with a row per pair, whose columns are called `names`; None for any other file."""
        keys = [row.get(KEY) for row in self.rows]
        of_key = [row[VALUE] if VALUE in row else _without_key(row) for row in self.rows]
        if not all(isinstance(key, str) for key in keys) or not all(map(_holds_numbers, of_key)):
            return None

        owners = [row for row, pairs in enumerate(of_key) for _ in pairs]
        columns = (
            pa.array([keys[row] for row in owners], pa.large_string()),
            pa.array([name for pairs in of_key for name in pairs], pa.large_string()),
            _plain([number for pairs in of_key for number in pairs.values()]),
        )
        named = dict(zip(names, columns, strict=True))
        return Table(self.path, named, lambda row: self.places[owners[row]], self.unit)  # type: ignore[arg-type]

    def _read(self, wanted: tuple[str, ...]) -> Table:
        columns = {name: self._column(name) for name in wanted}
        return Table(self.path, columns, lambda row: self.places[row], self.unit)  # type: ignore[arg-type]

    def _column(self, name: str) -> pa.Array:
        """A field of all rows: numbers, if all are, or else texts; lists of those. DataError for objects and truth values."""
        values = [row.get(name) for row in self.rows]
        for row, value in enumerate(values):
            if isinstance(value, Mapping | bool):
                fail(
                    self.path,
                    f"the {name} is {json.dumps(value):.60}, not a text or number"
                    + ("; give a list of ids, or a row for each pair" if isinstance(value, Mapping) else ""),
                    self.places[row],
                    self.unit,
                )

        if any(isinstance(value, list) for value in values):
            return self._lists(name, values)
        return _plain(values)

    def _lists(self, name: str, values: list[Any], rows: Sequence[int] | None = None) -> pa.Array:
        """Lists of numbers or texts, or lists of such lists. `rows` says which row each value belongs to."""
        flat, ends, owners = [], [0], []
        for number, value in enumerate(values):
            row = number if rows is None else rows[number]
            members = [] if value is None else value
            if not isinstance(members, list) or any(isinstance(member, Mapping | bool) for member in members):
                fail(
                    self.path, f"the {name} is {json.dumps(value):.60}, not a list of ids", self.places[row], self.unit
                )
            if None in members:
                fail(self.path, f"the {name} holds null", self.places[row], self.unit)
            flat += members
            owners += [row] * len(members)
            ends.append(len(flat))

        nested = any(isinstance(member, list) for member in flat)
        inner = self._lists(name, flat, owners) if nested else _plain(flat)
        return pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), inner)

    def _parsed(self, path: Path) -> Iterator[tuple[int, Row]]:
        """Every row with its line, or with its number if the file is one value."""
        with open_binary(path) as file:
            lines = file.read().removeprefix(b"\xef\xbb\xbf").splitlines()
        filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
        if not filled:
            fail(path, "holds blank lines only")

        if len(filled) > 1 and _is_object(filled[0][1]) and _is_object(filled[1][1]):
            rows = [decode(path, line, number) for number, line in filled]
            for (number, _), row in zip(filled, rows, strict=True):
                if not isinstance(row, dict):
                    fail(path, "is not a JSON object, as the first line is", number)

            if all(len(row) == 1 for row in rows) and len({name for row in rows for name in row}) > 1:
                rows = [{KEY: key, VALUE: value} for row in rows for key, value in row.items()]  # an id and its value
            yield from zip((number for number, _ in filled), rows, strict=True)
            return

        self.unit = "row"
        whole = decode(path, b"\n".join(lines), None)
        for number, row in enumerate(_rows_of(path, whole), 1):
            if not isinstance(row, dict):
                fail(path, f"is {json.dumps(row):.60}, not an object with named fields", number, "row")
            yield number, row


def _rows_of(path: Path, whole: Any) -> list[Any]:
    """The rows of one JSON value."""
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict) or not whole:
        fail(path, "is not a JSON object or a list of objects")

    values = list(whole.values())
    if all(isinstance(value, dict) for value in values):
        if all(map(_holds_numbers, values)) and not set.intersection(*map(set, values)):
            return [{KEY: key, VALUE: value} for key, value in whole.items()]  # no field is in all: they are ids
        return [{KEY: key, **value} for key, value in whole.items()]
    if (
        len(whole) > 1
        and all(isinstance(value, list) and len(value) == len(values[0]) for value in values)
        and any(COLUMN.fullmatch(key) for key in whole)
    ):
        return [dict(zip(whole, row, strict=True)) for row in zip(*values, strict=True)]  # a column each
    return [{KEY: key, VALUE: value} for key, value in whole.items()]


def _holds_numbers(value: Any) -> bool:
    """Whether a value is an object whose fields are all numbers."""
    return isinstance(value, dict) and all(type(number) in (int, float) for number in value.values())


def _without_key(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != KEY}


def _is_object(line: bytes) -> bool:
    return line.strip().startswith(b"{") and line.strip().endswith(b"}")


def decode(path: Path, text: bytes, line: int | None) -> Any:
    """One JSON value. DataError, which names `line` if there is one, for anything else and for a key that stands twice."""
    try:
        value = json.loads(text, object_pairs_hook=lambda pairs: _unique(path, pairs, line))
    except json.JSONDecodeError as error:
        python = " (a quote ' is Python's, not JSON's: write it with json.dump)" if b"{'" in text[:50] else ""
        fail(path, f"is not valid JSON: {error.msg}{python}", line or error.lineno)
    except RecursionError:
        fail(path, "is nested too deeply to be a table", line)
    except ValueError as error:  # a number of thousands of digits
        fail(path, f"cannot be read: {error}", line)
    if b"\\u" in text and has_half_characters(value):
        fail(path, "holds half a character (a lone surrogate), which is no text", line)
    return value


def _unique(path: Path, pairs: list[tuple[str, Any]], line: int | None) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        fail(path, f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object", line)
    return values


def _plain(values: list[Any]) -> pa.Array:
    """Numbers if all are numbers, else texts."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        try:
            return pa.array(values, pa.float64() if float in kinds else pa.int64())
        except (OverflowError, pa.ArrowInvalid):
            pass  # whole numbers beyond 64 bits stay texts
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pa.array(texts, pa.large_string())
