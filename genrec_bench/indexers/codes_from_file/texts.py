"""Codes in text files: JSON in its usual shapes, tables, and OpenP5's lines."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genrec_bench.indexers.codes_from_file.code_file import CODES, KEYS, Code, CodeFile, fail, one_of

MARKS = "-,|;:/_."  # that may join tokens
IN_BRACKETS = re.compile(
    rf"\s*<[^<>\s]+>(?:\s*[{re.escape(MARKS)}]?\s*<[^<>\s]+>)*\s*"
)  # "<a_12><b_3>", "<a_12>|<b_3>"
JOINED = re.compile(rf"\d+([{re.escape(MARKS)}])\d+(?:\1\d+)*")  # "0-0-1"
LEVEL = re.compile(r"(.*?)[_ ]?(\d+)")  # "code_0"
SHOWN = 60  # characters of a value in a message


class CodeTexts:
    """The tokens of code texts. Numbers of one file are joined by one mark, or by none."""

    def __init__(self, path: Path) -> None:
        self.path, self.example = path, ""
        self.mark: str | None = None

    def tokens(self, text: str, place: str) -> Code:
        """The tokens of one text. DataError if another joins its numbers by another mark."""
        if IN_BRACKETS.fullmatch(text):
            return tuple(re.findall(r"<[^<>]+>", text))

        joined = JOINED.fullmatch(text.strip())
        if joined is None:
            return tuple(text.split())
        if self.mark is None:
            self.mark, self.example = joined[1], text.strip()
        if joined[1] != self.mark:
            fail(
                self.path, f"{text.strip()!r} is joined by {joined[1]!r}, and {self.example!r} by {self.mark!r}", place
            )
        return tuple(text.strip().split(self.mark))

    def notes(self) -> list[str]:
        """What was split, if anything was."""
        if self.mark is None:
            return []
        return [f"{self.example!r} is read as the tokens {' '.join(self.example.split(self.mark))}"]


# JSON -----------------------------------------------------------------------------------------------------------------


class Pairs(list[tuple[str, Any]]):
    """The pairs of a JSON object in order, so that repeated keys are noticed."""


def read_json(path: Path, text: str, format: str = "json") -> CodeFile:
    """An object from key to code or from code to key, or a list of objects with a field for each."""
    try:
        value: Any = json.loads(text, object_pairs_hook=Pairs)
    except RecursionError:
        fail(path, "is nested too deeply; it must map each item to its code")
    except json.JSONDecodeError as error:
        fail(path, f"is not JSON: {error.msg}; was it cut short?", f"line {error.lineno}")
    except ValueError as error:  # a number of thousands of digits
        fail(path, f"cannot be read: {error}")

    if _is_list(value) and value and all(isinstance(entry, Pairs) for entry in value) and _field(path, value[0], KEYS):
        return _of_objects(path, value, lambda row: f"entry {row + 1}")
    if _is_list(value) and value:
        value = value[0]  # LightLM and P5 put a vocabulary after the codes
    if not isinstance(value, Pairs):
        fail(path, "holds no object; it must map each item to its code")
    return of_pairs(path, value)


def read_json_lines(path: Path, text: str, format: str = "jsonl") -> CodeFile:
    """One object a line, with a field for the key and one for the code."""
    objects, lines = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=Pairs)
        except (ValueError, RecursionError) as error:
            fail(path, f"is not JSON: {str(error)[:SHOWN]}; a file of one object has the format json", f"line {number}")
        if not isinstance(value, Pairs):
            fail(path, "is no object with the fields item_id and codes", f"line {number}")
        objects.append(value)
        lines.append(number)
    return _of_objects(path, objects, lambda row: f"line {lines[row]}")


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, Pairs)


def _field(path: Path, entry: Pairs, role: frozenset[str]) -> str | None:
    return one_of(path, [name for name, _ in entry], role, "the item" if role is KEYS else "its code")


def of_pairs(path: Path, pairs: Pairs) -> CodeFile:
    """Codes from `{key: code}`; `{code: key}` is turned round."""
    texts, notes = CodeTexts(path), []
    if pairs and all(_is_code(key) and _is_key(value) for key, value in pairs):
        pairs = Pairs((str(key), code) for code, key in pairs)
        notes.append("its keys are codes and its values items: read from code to item")

    keys = [key for key, _ in pairs]
    codes = [_code(texts, value, f"key {key!r}") for key, value in pairs]
    return CodeFile(path, keys, codes, lambda row: f"key {keys[row]!r}", [*notes, *texts.notes()])


def _is_code(key: str) -> bool:
    """Whether a text can only be a code: it has several tokens."""
    return bool(JOINED.fullmatch(key.strip())) or len(re.findall(r"<[^<>\s]+>", key)) > 1 or len(key.split()) > 1


def _is_key(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, str) and bool(value.strip()) and not _is_code(value))


def _of_objects(path: Path, objects: Sequence[Pairs], place: Any) -> CodeFile:
    texts = CodeTexts(path)
    keys, codes = [], []
    for row, entry in enumerate(objects):
        key, code = _field(path, entry, KEYS), _field(path, entry, CODES)
        if key is None or code is None:
            names = ", ".join(name for name, _ in entry)
            fail(
                path,
                f"has no field for {'the item (item_id)' if key is None else 'its code (codes)'}: {names}",
                place(row),
            )
        values = dict(entry)
        keys.append(_key(path, values[key], place(row)))
        codes.append(_code(texts, values[code], place(row)))
    return CodeFile(path, keys, codes, place, texts.notes())


def _key(path: Path, value: Any, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        fail(path, f"the item is {json.dumps(value)[:SHOWN]}, not a text or a whole number", place)
    return str(value).strip()


def _code(texts: CodeTexts, value: Any, place: str) -> Code:
    """The tokens of one JSON value."""
    if isinstance(value, str):
        return texts.tokens(value, place)
    if not _is_list(value):
        fail(texts.path, f"the code is {json.dumps(value)[:SHOWN]}, not a list of tokens or a text", place)
    for token in value:
        if isinstance(token, bool) or not isinstance(token, int | str) or token == "":
            fail(texts.path, f"the token {json.dumps(token)[:SHOWN]} is not a whole number or a text", place)
    return tuple(str(token) for token in value)


# tables and lines -----------------------------------------------------------------------------------------------------


def read_table(path: Path, text: str, format: str) -> CodeFile:
    """A table whose header names the key and the code, whole or level by level. Other columns are left, with a note."""
    reader = csv.reader(text.splitlines(keepends=True), delimiter="\t" if format == "tsv" else ",", strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                fail(path, f"{len(row)} columns where the header has {len(header)}", f"line {reader.line_num}")
            rows.append([cell.strip() for cell in row])
            lines.append(reader.line_num)
    except csv.Error as error:
        fail(path, f"is not CSV: {error}", f"line {reader.line_num}")

    def place(row: int) -> str:
        return f"line {lines[row]}"

    key = one_of(path, header, KEYS, "the item")
    whole, levels = one_of(path, header, CODES, "the code"), _levels(path, header)
    if key is None:
        fail(path, f"no column names the item: call it item_id; its columns: {', '.join(header)}", "line 1")
    if not levels and whole is None:
        fail(
            path,
            f"no column holds the code: call it code, or code_0, code_1, ...; its columns: {', '.join(header)}",
            "line 1",
        )

    texts = CodeTexts(path)
    of_whole = [texts.tokens(row[header.index(whole)], place(n)) for n, row in enumerate(rows)] if whole else []
    codes = (
        [_tokens(path, [row[column] for column in levels], place(n)) for n, row in enumerate(rows)]
        if levels
        else of_whole
    )
    if (
        levels
        and whole
        and (other := next((n for n, pair in enumerate(zip(codes, of_whole, strict=True)) if pair[0] != pair[1]), None))
        is not None
    ):
        fail(path, f"{whole} and the columns of its levels give two codes; keep one of them", place(other))

    left = [
        name for number, name in enumerate(header) if name != key and number not in levels and (levels or name != whole)
    ]
    notes = [f"columns beside the code are left out: {', '.join(left)}"] if left else []
    return CodeFile(
        path, [row[header.index(key)] for row in rows], codes, place, [*notes, *([] if levels else texts.notes())]
    )


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) < 2:
        fail(path, "the header needs two columns or more, such as item_id,code", "line 1")
    if "" in header:
        fail(
            path, f"column {header.index('') + 1} has no name: drop it (pandas writes it unless index=False)", "line 1"
        )
    if all(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in header):
        fail(path, "has no header: its first line is numbers; put item_id,code_0,code_1,... above it", "line 1")
    repeated = next((name for name in header if header.count(name) > 1), None)
    if repeated is not None:
        fail(path, f"two columns are called {repeated}", "line 1")


def _levels(path: Path, header: list[str]) -> list[int]:
    """The columns that hold one level each, by their numbers: `code_0`, `code_1`, ... or `c1`, `c2`, ..."""
    stems: dict[str, dict[int, int]] = {}
    for column, name in enumerate(header):
        if (match := LEVEL.fullmatch(name)) is not None:
            stems.setdefault(match[1], {})[int(match[2])] = column

    rising = {
        stem: of for stem, of in stems.items() if sorted(of) in (list(range(len(of))), list(range(1, len(of) + 1)))
    }
    if len(rising) > 1:
        fail(
            path,
            f"{' and '.join(repr(stem) for stem in rising)} both number their columns: keep the levels of one code",
            "line 1",
        )
    return [column for of in rising.values() for _, column in sorted(of.items())]


def _tokens(path: Path, cells: list[str], place: str) -> Code:
    """The tokens of one row, a cell each; only the last cells may be empty."""
    tokens = list(cells)
    while tokens and not tokens[-1]:
        tokens.pop()
    if "" in tokens:
        fail(path, "a column is empty before the end of the code", place)
    several = next((token for token in tokens if JOINED.fullmatch(token) and "." not in token), None)
    if several is not None:
        fail(path, f"{several!r} is several numbers in the column of one level", place)
    return tuple(tokens)


def read_lines(path: Path, text: str, format: str = "txt") -> CodeFile:
    """A key, a blank and its code in each line, as OpenP5 writes them."""
    texts = CodeTexts(path)
    keys, codes, lines = [], [], []
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.split(maxsplit=1)
        if not parts:
            continue
        if len(parts) < 2:
            fail(path, f"{line.strip()[:SHOWN]!r} has no code behind its key", f"line {number}")
        keys.append(parts[0])
        codes.append(texts.tokens(parts[1], f"line {number}"))
        lines.append(number)
    return CodeFile(path, keys, codes, lambda row: f"line {lines[row]}", texts.notes())
