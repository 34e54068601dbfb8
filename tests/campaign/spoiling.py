"""Seeded ways to spoil bytes, cells of tables, and JSON or TOML values. Know nothing of readers."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
from collections.abc import Callable
from random import Random
from typing import Any

CELLS = [
    *[
        "",
        " ",
        "nan",
        "NaN",
        "null",
        "None",
        "<NA>",
        "\\N",
        "inf",
        "-inf",
        "Infinity",
        "1e400",
        "1e-400",
        "0x10",
        "0b1",
    ],
    *[
        "1_000",
        "1,5",
        "1.",
        ".5",
        "-0",
        "+7",
        "007",
        "7.0",
        "7.5",
        "1e3",
        "1e5",
        "1E+3",
        "1d",
        "1f",
        "0x1p3",
        "$1",
        "5%",
    ],
    *["9007199254740993", "9007199254740993.0", "9223372036854775808", "-9223372036854775809", "1" * 30, "9" * 5000],
    *["true", "false", "~", "*", "-", "?", "'", '"', '""', '"a', 'a"b', ' "a"', "'a'", "[1, 2]", "[]", "{}", "(1)"],
    *[
        "\u0661\u0662",
        "\uff11",
        "\u00b2",
        "\u00bd",
        "\u2212" + "1",
        "\u00a0x",
        "x\u3000",
        "\u202ex",
        "\ufeffx",
        "\u00e9",
    ],
    *["e\u0301", "\U0001f600", "\u0130", "a,b", "a;b", "a\tb", "a::b", "a:b", "a|b", "a b", "a\rb", "a\nb", "a\r\nb"],
    *[
        "a\0b",
        "\x1f",
        "\x1c",
        "\x85",
        "\u2028",
        "\x0b",
        "../x",
        "/etc/passwd",
        "=1+1",
        "#x",
        "<b>",
        "\x1b[31m",
        "%s",
        "{0}",
    ],
    *["2020-01-01", "2020-01-01T00:00:00Z", "2020-01-01 10:00", "2020-01-01T00:00:00.123456789+05:30", "2020-02-30"],
    *["2020-01-01T24:00:00", "0001-01-01", "9999-12-31", "2020-01-01T00:00:60", "12:00", "x" * 1001, "x" * 999],
    *["user_id", "item_id", "timestamp", "rating", "u0", "u1", "i0", "i1", "I1", "1", "0", "-1"],
]
ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"", b"\x0c", b"\x85", b"\xe2\x80\xa8"]
LEAVES: list[Any] = [
    *[None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 0.5, 7.0, 1e308, -0.0],
    *["", " ", "7", "7.0", "nan", "0x10", "\ud800", "\u0000", "\u202e", "a\nb", "x" * 1001, "../x", "<b>", "true"],
    *[[], {}, [1, 2], ["a", "b"], [None], [[1]], {"a": 1}, {"": {}}, [True], [1.5], ["a", 1]],
]
RAW_LEAVES = [
    "NaN",
    "Infinity",
    "1e999",
    "9" * 5000,
    "-" + "9" * 30,
    "[" * 3000,
    '{"a":' * 3000,
    "01",
    "'a'",
    '"\\ud800"',
]
TOML = [
    *[
        "0",
        "-1",
        "1.5",
        "nan",
        "inf",
        '""',
        '"x"',
        "true",
        "[]",
        "[1]",
        '["a"]',
        "{}",
        "{a = 1}",
        "2020-01-01",
        "0x10",
        "1_000",
    ],
    *[
        "9" * 5000,
        "9" * 25,
        '"' + "x" * 1001 + '"',
        '"\\u0000"',
        '"a\\nb"',
        "07",
        "'''x'''",
        "[" * 500 + "]" * 500,
        "12:00:00",
    ],
]

Spoil = Callable[[Random, bytes], bytes]


# bytes ----------------------------------------------------------------------------------------------------------------


def flip_bit(rng: Random, content: bytes) -> bytes:
    """One bit turned round."""
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def cut(rng: Random, content: bytes) -> bytes:
    """The beginning of the content, or all but its beginning."""
    place = rng.randrange(len(content))
    return content[:place] if rng.random() < 0.8 else content[place:]


def remove_some(rng: Random, content: bytes) -> bytes:
    """A few bytes less."""
    place = rng.randrange(len(content))
    return content[:place] + content[place + rng.choice((1, 2, 7, 40)) :]


def insert_some(rng: Random, content: bytes) -> bytes:
    """A few bytes more: random ones, a nasty cell, or the end of a line."""
    place = rng.randrange(len(content) + 1)
    more = rng.choice((rng.randbytes(rng.choice((1, 2, 8))), rng.choice(CELLS).encode(), rng.choice(ENDS)))
    return content[:place] + more + content[place:]


def repeat_some(rng: Random, content: bytes) -> bytes:
    """A stretch of bytes twice, the second time elsewhere."""
    start, place = rng.randrange(len(content)), rng.randrange(len(content) + 1)
    return content[:place] + content[start : start + rng.choice((1, 5, 30, 200))] + content[place:]


def overwrite(rng: Random, content: bytes) -> bytes:
    """A few bytes replaced."""
    place = rng.randrange(len(content))
    more = rng.choice((b"\0" * 8, b"\xff" * 4, rng.randbytes(4), b"\x80", b"\r"))
    return content[:place] + more + content[place + len(more) :]


BYTES: list[Spoil] = [flip_bit, cut, remove_some, insert_some, repeat_some, overwrite]


# text -----------------------------------------------------------------------------------------------------------------


def of_lines(rng: Random, content: bytes) -> bytes:
    """Lines twice, gone, in another order, blank, or ended otherwise."""
    lines = content.split(b"\n")
    place, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(7):
        case 0:
            lines.insert(other, lines[place])
        case 1:
            del lines[place]
        case 2:
            lines[place], lines[other] = lines[other], lines[place]
        case 3:
            lines.insert(place, rng.choice((b"", b" ", b"\t", b"#", b"\r")))
        case 4:
            return rng.choice(ENDS).join(lines)
        case 5:
            lines[place] += rng.choice((b" ", b"\t", b",", b";", b"\r", b"|", b"::"))
        case 6:
            lines = lines[: place + 1]
    return b"\n".join(lines)


def of_cells(separator: bytes) -> Spoil:
    """Spoils one cell of a table, or of its header."""

    def spoil(rng: Random, content: bytes) -> bytes:
        lines = content.split(b"\n")
        filled = [number for number, line in enumerate(lines) if line]
        if not filled:
            return content
        place = 0 if rng.random() < 0.15 else rng.choice(filled)
        cells = lines[place].split(separator)
        cell = rng.randrange(len(cells))
        match rng.randrange(6):
            case 0 | 1 | 2:
                cells[cell] = rng.choice(CELLS).encode("utf-8", "surrogatepass")
            case 3:
                cells[cell] = (
                    rng.choice((b" %b", b"%b ", b'"%b"', b"'%b'", b"%b.0", b"-%b", b"0%b", b"%b\t")) % cells[cell]
                )
            case 4:
                cells.insert(cell, rng.choice(cells))
            case 5:
                del cells[cell]
        lines[place] = separator.join(cells)
        return b"\n".join(lines)

    return spoil


def of_column(separator: bytes) -> Spoil:
    """Spoils a whole column: all its cells alike, gone, or changed in form."""

    def spoil(rng: Random, content: bytes) -> bytes:
        rows = [line.split(separator) for line in content.split(b"\n") if line]
        column, kind, value = rng.randrange(len(rows[0])), rng.randrange(5), rng.choice(CELLS).encode()
        for number, row in enumerate(rows):
            if column >= len(row) or (not number and kind < 4):
                continue
            if kind == 0:
                row[column] = value
            elif kind == 1:
                row[column] += b".0"
            elif kind == 2:
                row[column] = b""
            elif kind == 3:
                row[column] = b"2020-01-%02dT%02d:00:00" % (1 + number % 28, number % 24)
            else:
                del row[column]
        return b"\n".join(separator.join(row) for row in rows) + b"\n"

    return spoil


def of_encoding(rng: Random, content: bytes) -> bytes:
    """The text in another encoding, with a mark, or packed (and perhaps damaged then)."""
    text = content.decode("utf-8", "replace")
    match rng.randrange(6):
        case 0:
            return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-7")))
        case 1:
            return b"\xef\xbb\xbf" + content
        case 2:
            return ("\u00e9" + text).encode("latin-1", "replace")
        case 3:
            return content.replace(b"\n", b"\r\n")
    packed = rng.choice((gzip.compress, bz2.compress, lzma.compress))(content)
    return packed if rng.random() < 0.4 else rng.choice(BYTES)(rng, packed)


def text_table(separator: bytes) -> Spoil:
    """Spoils a table in text in any of these ways, sometimes in two."""
    ways = [*BYTES, of_lines, of_lines, of_encoding, *[of_cells(separator)] * 6, of_column(separator)]
    return several(ways)


def several(ways: list[Spoil]) -> Spoil:
    """One of `ways`, and now and then another one after it."""

    def spoil(rng: Random, content: bytes) -> bytes:
        for _ in range(rng.choice((1, 1, 1, 2))):
            content = rng.choice(ways)(rng, content) or b"\n"
        return content

    return spoil


# values ---------------------------------------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside plain data; long lists of numbers count by their ends."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for key, inner in list(enumerate(value))[:12]:
            found += places(inner, (*path, key))
    return found


def of_values(rng: Random, content: bytes) -> bytes:
    """One value of a JSON document replaced, removed, renamed, added or repeated."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):  # spoilt already
        return flip_bit(rng, content)
    path = rng.choice(places(value) or [()])
    if not path:
        return json.dumps(rng.choice(LEAVES)).encode()
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    key, mark = path[-1], "\u0001mark\u0001"
    raw = ""
    match rng.randrange(7):
        case 0 | 1 | 2:
            holder[key] = rng.choice(LEAVES)
        case 3:
            del holder[key]
        case 4 if isinstance(holder, dict):
            inner = holder.pop(key)
            holder[rng.choice(("", "x", "\ud800", str(key).upper(), f"{key} ", "u0", "i1"))] = inner
        case 5 if isinstance(holder, dict):
            text = json.dumps(value)
            pair = f"{json.dumps(key)}: {json.dumps(holder[key])}"
            return text.replace(pair, f"{pair}, {json.dumps(key)}: {json.dumps(rng.choice(LEAVES))}", 1).encode()
        case _:
            holder[key] = mark
            raw = rng.choice(RAW_LEAVES)
    text = json.dumps(value, indent=rng.choice((None, 1)))
    return (text.replace(json.dumps(mark), raw) if raw else text).encode()


def of_json_lines(rng: Random, content: bytes) -> bytes:
    """One value in one line of a file of JSON lines."""
    lines = content.splitlines()
    place = rng.randrange(len(lines))
    try:
        lines[place] = of_values(rng, lines[place])
    except ValueError:
        lines[place] = lines[place][: rng.randrange(len(lines[place]) + 1)]
    return b"\n".join(lines) + rng.choice((b"\n", b"\n", b""))


def of_toml(rng: Random, content: bytes) -> bytes:
    """One value or key of a TOML file."""
    lines = content.decode("utf-8", "replace").splitlines()
    place = rng.randrange(len(lines))
    key, equals, _ = lines[place].partition("=")
    match rng.randrange(5):
        case 0 | 1 | 2 if equals:
            lines[place] = f"{key}= {rng.choice(TOML)}"
        case 3:
            lines[place] = re.sub(r"\w+", rng.choice(("x", "set", "seed", "1", '"a b"', "a.b")), lines[place], count=1)
        case _:
            lines.insert(place, f"{rng.choice(('x', 'set', 'seed', 'baseline', 'dataset'))} = {rng.choice(TOML)}")
    return "\n".join(lines).encode() + b"\n"


json_document = several([of_values, of_values, of_values, *BYTES, of_encoding])
json_lines = several([of_json_lines, of_json_lines, of_json_lines, *BYTES, of_lines, of_encoding])
toml_document = several([of_toml, of_toml, of_toml, *BYTES, of_lines])
binary = several(BYTES)
