"""What a file says, by strict parsers of our own: the standard library and the rules of docs/own-data.md, nothing of the toolkit.

`Refused` means that no reader may accept the file. Where a reader may take a text in two ways, it has to say which, and the
parser takes the same.
"""

from __future__ import annotations

import ast
import bz2
import csv
import gzip
import io
import json
import lzma
import math
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

EXACT = 2**53
LOST = {"NaN", "nan", "<NA>", "None", "null", "NULL"}
WHOLE = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
FLOAT = re.compile(r"-?[0-9]+\.[0-9]*([eE][-+]?[0-9]+)?")
ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
SHORTEST = 3  # interactions of a user who can be split

Event = tuple[str, str, int | None, float | None]


class Refused(Exception):
    """The file says nothing that may be taken for data."""


# text -----------------------------------------------------------------------------------------------------------------


def unpacked(content: bytes) -> bytes:
    """The content of a file that may be compressed."""
    try:
        if content.startswith(b"\x1f\x8b"):
            return gzip.decompress(content)
        if content.startswith(b"BZh"):
            return bz2.decompress(content)
        if content.startswith(b"\xfd7zXZ"):
            return lzma.decompress(content)
    except (OSError, EOFError, ValueError, lzma.LZMAError, struct.error) as error:
        raise Refused(str(error)) from None
    except Exception as error:  # zlib.error
        raise Refused(str(error)) from None
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        try:
            return bytes(pa.input_stream(pa.BufferReader(content), compression="zstd").read())
        except OSError as error:
            raise Refused(str(error)) from None
    return content


def text_of(content: bytes) -> str:
    """The text of a file."""
    try:
        text = unpacked(content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(str(error)) from None
    if "\0" in text:
        raise Refused("a NUL")
    return text


def cells(content: bytes, separator: str, quoted: bool) -> list[list[str]]:
    """The rows of a table in text, blank lines left out, all of one width."""
    text = text_of(content)
    if len(separator) > 1 or separator == " ":
        lines = re.split(r"\r\n|\r|\n", text)
        rows = [re.split(r"[ \t]+", line.strip(" \t")) if separator == " " else line.split(separator) for line in lines]
        rows = [row for row in rows if row != [""]]
    else:
        quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, quoting=quoting) if row]
        try:
            list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, quoting=quoting, strict=True))
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise Refused("a quote that nobody closes") from None

    if not rows or len({len(row) for row in rows}) != 1:
        raise Refused("rows of different widths")
    return rows


def columns(rows: list[list[str]], names: Sequence[str] | None, wanted: Mapping[str, str]) -> dict[str, list[Any]]:
    """The column of each role in `wanted`; the first row is the header unless `names` are given."""
    header, body = ([cell.strip() for cell in rows[0]], rows[1:]) if names is None else (list(names), rows)
    found = {}
    for role, name in wanted.items():
        if header.count(name) != 1:
            raise Refused(f"{header.count(name)} columns {name!r}")
        found[role] = [row[header.index(name)] for row in body]
    return found


# JSON -----------------------------------------------------------------------------------------------------------------


def loads(text: str | bytes) -> Any:
    """One JSON value in which no object names a key twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise Refused("a key twice")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)) from None


def objects(content: bytes, lines: bool) -> list[dict[str, Any]]:
    """The objects of a JSON list, or one a line."""
    text = text_of(content)
    if lines:
        values = [loads(line) for line in re.split(r"\r\n|\r|\n", text) if line.strip()]
    else:
        values = loads(text)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise Refused("no list of objects")
    return values


def fields(rows: list[dict[str, Any]], wanted: Mapping[str, str]) -> dict[str, list[Any]]:
    """The field of each role in all objects, missing ones None."""
    return {role: as_column([row.get(name) for row in rows]) for role, name in wanted.items()}


def as_column(values: list[Any]) -> list[Any]:
    """JSON values as a column: numbers if all are numbers, else texts."""
    if any(isinstance(value, bool | dict | list) for value in values):
        raise Refused("a value of another kind")
    if all(value is None or isinstance(value, int | float) for value in values):
        return values
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]


# values ---------------------------------------------------------------------------------------------------------------


def ids(column: Sequence[Any]) -> list[str]:
    """Ids in the form that docs/own-data.md states."""
    if any(value is None for value in column):
        raise Refused("an empty id")
    if column and all(isinstance(value, int | float) for value in column):
        if all(isinstance(value, int) for value in column):
            return [str(value) for value in column]
        return [whole(float(value)) for value in column]

    texts = [str(value).strip() for value in column]
    for given, text in zip(column, texts, strict=True):
        if not text or text in LOST or len(text) > 1_000:
            raise Refused(f"the id {text[:20]!r}")
        if re.fullmatch(r'\s+".*"\s*', str(given)) or re.fullmatch(r"\[.*\]", text):
            raise Refused(f"the id {given!r}")
    if all(FLOAT.fullmatch(text) or re.fullmatch(r"-?[0-9]+", text) for text in texts):
        numbers = {text: float(text) for text in texts if FLOAT.fullmatch(text)}
        if all(number == math.floor(number) for number in numbers.values() if math.isfinite(number)):
            return [whole(numbers[text]) if text in numbers else text for text in texts]
    return texts


def whole(number: float) -> str:
    """A whole float as a text."""
    if not math.isfinite(number) or number != math.floor(number) or abs(number) >= EXACT:
        raise Refused(f"the id {number}")
    return str(int(number))


def times(column: Sequence[Any]) -> list[int]:
    """Whole numbers as they are, ISO times in nanoseconds since 1970."""
    values = [value.strip() if isinstance(value, str) else value for value in column]
    if values and isinstance(values[0], str) and ISO.fullmatch(values[0]):
        return iso_times(values)
    return [whole_number(value) for value in values]


def whole_number(value: Any) -> int:
    """A whole number of 64 bits."""
    number: float | int
    if isinstance(value, str):
        if WHOLE.fullmatch(value):
            number = int(value) if len(value) < 25 else 2**70
        elif NUMBER.fullmatch(value):
            number = float(value)
        else:
            raise Refused(f"the time {value[:20]!r}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    else:
        raise Refused(f"the time {value!r}")

    if isinstance(number, float) and (
        not math.isfinite(number) or number != math.floor(number) or abs(number) >= EXACT
    ):
        raise Refused(f"the time {value}")
    if not -(2**63) <= number < 2**63:
        raise Refused(f"the time {value}")
    return int(number)


def iso_times(values: Sequence[Any]) -> list[int]:
    """ISO texts in nanoseconds; all of them name a zone, or none does."""
    read, zones = [], set()
    for value in values:
        match = ISO.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise Refused(f"the time {value!r}")
        day, minute, second, fraction, zone = match.groups()
        zones.add(zone is not None)
        try:
            moment = datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}{zone or '+00:00'}")
        except ValueError as error:
            raise Refused(str(error)) from None
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        seconds = since.days * 86_400 + since.seconds
        read.append(seconds * 10**9 + int((fraction or "").ljust(9, "0")))
        if not -(2**63) <= read[-1] < 2**63:
            raise Refused(f"the time {value}")
    if len(zones) > 1:
        raise Refused("some times name a zone")
    return read


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, str):
        if not NUMBER.fullmatch(value.strip()):
            raise Refused(f"the number {value[:20]!r}")
        value = float(value)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise Refused(f"the number {value!r}")
    return float(value)


# events ---------------------------------------------------------------------------------------------------------------


def events(found: Mapping[str, Sequence[Any]]) -> list[Event]:
    """The interactions in columns by role, in the order of the rows; users with fewer than three are left out.

    Ratings count only if every row has one, and an empty column of times is none: then a user's rows stand together.
    """
    users, items = ids(found["user"]), ids(found["item"])
    moments: Sequence[int | None] = [None] * len(users)
    if "time" in found and any(value not in ("", None) for value in found["time"]):
        moments = times(found["time"])
        rows = list(zip(users, items, moments, strict=True))
        if len(set(rows)) < len(rows):
            raise Refused("an interaction twice")
    else:
        check_together(users)

    ratings: Sequence[float | None] = [None] * len(users)
    if "rating" in found and not any(is_gap(value) for value in found["rating"]):
        ratings = [number(value) for value in found["rating"]]
    return enough(list(zip(users, items, moments, ratings, strict=True)))


def is_gap(value: Any) -> bool:
    """Whether a rating is missing."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or str(value).strip() in {"", *LOST}


def check_together(users: Sequence[str]) -> None:
    """Refused if the rows of a user are scattered."""
    starts = [user for user, before in zip(users, [None, *users], strict=False) if user != before]
    if len(set(starts)) < len(starts):
        raise Refused("scattered rows without times")


def enough(rows: list[Event]) -> list[Event]:
    """The events of users who have three."""
    count = Counter(row[0] for row in rows)
    return [row for row in rows if count[row[0]] >= SHORTEST]


def histories(lists: Sequence[tuple[Any, Sequence[Any]]]) -> list[Event]:
    """The events of a list of items for each user, oldest first; of several, each is a part of the longest."""
    users = ids([user for user, _ in lists])
    flat = ids([item for _, items in lists for item in items])
    longest: dict[str, list[str]] = {}
    parts, start = [], 0
    for user, (_, items) in zip(users, lists, strict=True):
        parts.append((user, flat[start : start + len(items)]))
        start += len(items)
    for user, items in parts:
        if len(items) > len(longest.setdefault(user, [])):
            longest[user] = items
    for user, items in parts:
        best = longest[user]
        if not any(items == best[at : at + len(items)] for at in range(len(best) - len(items) + 1)):
            raise Refused(f"two lists of {user}")
    return enough([(user, item, None, None) for user, items in longest.items() for item in items])


def sequences(content: bytes) -> list[Event]:
    """The events of a sequence file."""
    text = text_of(content)
    rows = [row for line in text.encode().split(b"\n") if (row := line.split())]
    if any(len(row) < 2 for row in rows) or len({row[0] for row in rows}) < len(rows):
        raise Refused("a user without items, or twice")
    return histories([(row[0].decode(), [item.decode() for item in row[1:]]) for row in rows])


def words(text: str) -> list[str]:
    """A list of ids in one cell, parted by blanks, or by commas in brackets."""
    inside = re.fullmatch(r"\s*\[(.*)\]\s*", text, re.DOTALL)
    parts = re.split(r"[,\s]+", inside[1].strip()) if inside else text.split()
    return [part.strip("'\"") for part in parts if part]


# arrays ---------------------------------------------------------------------------------------------------------------


def npy(content: bytes) -> tuple[tuple[int, ...], list[Any]]:
    """The shape and the numbers of a `.npy` file of whole numbers or floats, in C order."""
    try:
        if content[:6] != b"\x93NUMPY" or content[6] not in (1, 2, 3):
            raise Refused("no .npy")
        size, start = (struct.unpack("<H", content[8:10])[0], 10)
        if content[6] > 1:
            size, start = struct.unpack("<I", content[8:12])[0], 12
        header = ast.literal_eval(content[start : start + size].decode("latin1").strip())
        order, kind, width = re.fullmatch(r"([<>|=])([iuf])(\d)", header["descr"]).groups()  # type: ignore[union-attr]
        letters = {"i": "bhiq", "u": "BHIQ", "f": " efd"}[kind]
        letter = letters[{1: 0, 2: 1, 4: 2, 8: 3}[int(width)]]
        shape = tuple(header["shape"])
        count = math.prod(shape)
        body = content[start + size :][: count * int(width)]
        numbers = list(struct.unpack(f"{'>' if order == '>' else '<'}{count}{letter}", body))
    except (ValueError, SyntaxError, KeyError, TypeError, AttributeError, IndexError, struct.error) as error:
        raise Refused(str(error)) from None

    if header["fortran_order"] and len(shape) == 2:
        numbers = [numbers[column * shape[0] + row] for row in range(shape[0]) for column in range(shape[1])]
    return shape, numbers


def npz(content: bytes) -> dict[str, tuple[tuple[int, ...], list[Any]]]:
    """The arrays of a `.npz` file by name."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name.removesuffix(".npy"): npy(archive.read(name)) for name in archive.namelist()}
    except Refused:
        raise
    except Exception as error:  # a garbled archive raises anything
        raise Refused(str(error)) from None


def code_rows(shape: Sequence[int], numbers: Sequence[Any]) -> list[tuple[str, ...]]:
    """The code of every row of a matrix; of a matrix with more columns than rows, that of every column."""
    if len(shape) != 2:
        raise Refused("no matrix")
    rows = [list(numbers[row * shape[1] : (row + 1) * shape[1]]) for row in range(shape[0])]
    if shape[1] > shape[0]:
        rows = [list(row) for row in zip(*rows, strict=True)]

    codes = []
    for row in rows:
        if any(not math.isfinite(value) or value != math.floor(value) or value < -1 for value in row):
            raise Refused("no token")
        code = [int(value) for value in row]
        while code and code[-1] == -1:
            code.pop()
        if -1 in code or not code:
            raise Refused("a gap, or an empty code")
        codes.append(tuple(map(str, code)))
    return codes
