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
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

EXACT = 2**53
LOST = {"NaN", "nan", "NAN", "NaT", "None", "none", "NONE", "null", "Null", "NULL", "undefined"}
LOST |= {"NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "\\N"}
WHOLE = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
FLOAT = re.compile(r"-?[0-9]+(\.[0-9]*([eE][-+]?[0-9]+)?|[eE]\+[0-9]+)")
SHORTENED = re.compile(r"-?[0-9]\.[0-9]{2}E\+[0-9]{2}")
BRACKETED = re.compile(r"\s*\[(.*)\]\s*", re.DOTALL)
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
CLOCK = re.compile(
    r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?: ?([AaPp][Mm]))?(?: ?(Z|z|(?:UTC|GMT)?[+-]\d\d(?::?\d\d)?|UTC|GMT))?"
)
DATES = {  # how a date begins, and what its parts are
    "year first": (re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})", re.ASCII), "ymd"),
    "numbers": (re.compile(r"(\d{1,2})[-/. ](\d{1,2})(?:[-/.]|, ?)(\d{4})", re.ASCII), "aby"),
    "weekday": (
        re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([A-Z][a-z]{2}) (\d\d) (\S+ \S+) (\d{4})", re.ASCII),
        "mdcy",
    ),
}
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

    texts = [unicodedata.normalize("NFC", str(value)).strip() for value in column]
    for given, text in zip(column, texts, strict=True):
        if not text or text in LOST or len(text) > 1_000:
            raise Refused(f"the id {text[:20]!r}")
        if re.fullmatch(r'\s+".*"\s*', str(given)) or re.fullmatch(r"\[.*\]", text):
            raise Refused(f"the id {given!r}")
    return [whole_text(text) for text in texts]


def whole_text(text: str) -> str:
    """An id in a text: a whole float is a whole number, whatever stands beside it."""
    if SHORTENED.fullmatch(text):
        raise Refused(f"the id {text} has lost its digits")
    if FLOAT.fullmatch(text) and (not math.isfinite(float(text)) or float(text) == math.floor(float(text))):
        return whole(float(text))
    return text


def whole(number: float) -> str:
    """A whole float as a text."""
    if not math.isfinite(number) or number != math.floor(number) or abs(number) >= EXACT:
        raise Refused(f"the id {number}")
    return str(int(number))


def times(column: Sequence[Any]) -> list[int]:
    """Whole numbers as they are; dates, and seconds with a fraction, in nanoseconds since 1970."""
    values = [value.strip() if isinstance(value, str) else value for value in column]
    if values and isinstance(values[0], str) and any(begin.match(values[0]) for begin, _ in DATES.values()):
        return dates(values)
    return fractions(values) or [whole_number(value) for value in values]


def fractions(values: Sequence[Any]) -> list[int]:
    """Seconds of 1990 to 2065 in nanoseconds, if one has a fraction; else nothing."""
    texts = [repr(value) if isinstance(value, float) else str(value) for value in values]
    if not all(re.fullmatch(r"[0-9]{9,10}(\.[0-9]{0,9})?", text) and 6.3e8 < float(text) < 3e9 for text in texts):
        return []
    read = [int(text.partition(".")[0]) * 10**9 + int(text.partition(".")[2].ljust(9, "0")) for text in texts]
    return read if any(moment % 10**9 for moment in read) else []


def dates(values: Sequence[Any]) -> list[int]:
    """Dates of one form in nanoseconds; all name a zone or none does, and a number above 12 tells days from months."""
    form = next(name for name, (begin, _) in DATES.items() if begin.match(values[0]))
    begin, kinds = DATES[form]
    found = []
    for value in values:
        match = begin.match(value) if isinstance(value, str) else None
        if match is None:
            raise Refused(f"the time {value!r}")
        parts = dict(zip(kinds, match.groups(), strict=True))
        rest = value[match.end() :]
        if rest and not re.match(r"[Tt:]|,? +", rest):
            raise Refused(f"the time {value!r}")
        found.append((parts, parts.pop("c", "") or re.sub(r"^([Tt:]|,? +)", "", rest)))

    if form == "numbers":
        late = {kind for parts, _ in found for kind in "ab" if int(parts[kind]) > 12}
        if len(late) != 1:
            raise Refused("days and months that look alike")
        day, month = ("a", "b") if late == {"a"} else ("b", "a")
        found = [({"y": parts["y"], "m": parts[month], "d": parts[day]}, clock) for parts, clock in found]
    moments = [moment(parts, clock) for parts, clock in found]
    if len({zoned for _, zoned in moments}) > 1:
        raise Refused("some times name a zone")
    return [since for since, _ in moments]


def moment(parts: Mapping[str, str], clock: str) -> tuple[int, bool]:
    """A date and its clock in nanoseconds since 1970, and whether it names a zone."""
    match = CLOCK.fullmatch(clock) if clock else None
    if clock and match is None:
        raise Refused(f"the clock {clock!r}")
    hour, minute, second, fraction, half, zone = match.groups() if match else ("0", "0", "0", "", None, None)
    name = parts["m"].lower()
    if not name.isdigit() and name not in MONTHS:
        raise Refused(f"the month {name!r}")
    if half and not 1 <= int(hour) <= 12:
        raise Refused(f"the hour {hour}")
    hours = int(hour) % 12 + 12 * (half.lower() == "pm") if half else int(hour)

    ahead = re.search(r"([+-])(\d\d):?(\d\d)?$", zone or "")
    offset = int(f"{ahead[1]}1") * (int(ahead[2]) * 60 + int(ahead[3] or 0)) if ahead else 0
    try:
        month = int(name) if name.isdigit() else MONTHS.index(name) + 1
        at = datetime(int(parts["y"]), month, int(parts["d"]), hours, int(minute), int(second or 0), tzinfo=UTC)
    except ValueError as error:
        raise Refused(str(error)) from None
    past = at - datetime(1970, 1, 1, tzinfo=UTC)
    since = (past.days * 86_400 + past.seconds - offset * 60) * 10**9 + int((fraction or "").ljust(9, "0"))
    if not -(2**63) <= since < 2**63:
        raise Refused(f"the year {parts['y']}")
    return since, zone is not None


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


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, str):
        text = value.strip()
        if not NUMBER.fullmatch(text):
            raise Refused(f"the number {value[:20]!r}")
        value = float(text)
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


def words_in_all(texts: Sequence[str]) -> list[list[str]]:
    """Lists in the cells of one column: all but those in brackets are parted by blanks, or by one mark."""
    plain = [re.sub(r"\s*,\s*", ",", text.strip()) for text in texts if not BRACKETED.fullmatch(text)]
    blanks = any(re.search(r"\s", text) for text in plain)
    marks = {mark for mark in ("," if blanks else ",;|") if any(mark in text for text in plain)}
    if len(marks) + blanks > 1:
        raise Refused("lists parted in two ways")
    if not marks:
        return [words(text) for text in texts]
    (mark,) = marks
    return [
        words(text)
        if BRACKETED.fullmatch(text)
        else [part.strip().strip("'\"") for part in text.split(mark) if part.strip()]
        for text in texts
    ]


def words(text: str) -> list[str]:
    """A list of ids in one cell, parted by blanks, or by commas in brackets."""
    inside = BRACKETED.fullmatch(text)
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
