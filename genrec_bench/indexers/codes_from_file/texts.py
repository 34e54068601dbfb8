"""Codes in text files: JSON in its usual shapes, and OpenP5's lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from genrec_bench.core.raw_files import has_half_characters
from genrec_bench.indexers.codes_from_file.code_file import CODES, KEYS, Code, CodeFile, fail, one_of

MARKS = "-,|;:/_."  # that may join tokens
IN_BRACKETS = re.compile(
    rf"\s*<[^<>\s]+>(?:\s*[{re.escape(MARKS)}]?\s*<[^<>\s]+>)*\s*"
)  # "<a_12><b_3>", "<a_12>|<b_3>"
BRACKETED = re.compile(r"<[^<>\s]+>")
JOINED = re.compile(rf"\d+([{re.escape(MARKS)}])\d+(?:\1\d+)*")  # "0-0-1"
SHOWN = 60  # characters of a value in a message


class CodeTexts:
    """The tokens of a file's code texts; `place(row)` says where one stands. Numbers are joined by one mark, or by none."""

    def __init__(self, path: Path, place: Callable[[int], str]) -> None:
        self.path, self.place, self.example = path, place, ""
        self.mark: str | None = None

    def tokens(self, text: str, row: int) -> Code:
        """The tokens of one text. DataError if another joins its numbers by another mark."""
        if IN_BRACKETS.fullmatch(text):
            return tuple(re.findall(r"<[^<>]+>", text))

        if BRACKETED.search(text) or text.lstrip().startswith("<"):
            self.fail(row, f"{text.strip()[:SHOWN]!r} is not whole: all tokens stand in brackets, or none")

        joined = JOINED.fullmatch(text.strip())
        if joined is None:
            return tuple(text.split())
        if self.mark is None:
            self.mark, self.example = joined[1], text.strip()
        if joined[1] != self.mark:
            self.fail(row, f"{text.strip()!r} is joined by {joined[1]!r}, and {self.example!r} by {self.mark!r}")
        return tuple(text.strip().split(self.mark))

    def fail(self, row: int, why: str) -> NoReturn:
        """DataError that names the place of `row`."""
        fail(self.path, why, self.place(row))

    def notes(self) -> list[str]:
        """What was split, if anything was."""
        if self.mark is None:
            return []
        return [f"{self.example!r} is read as the tokens {' '.join(self.example.split(self.mark))}"]


# JSON -----------------------------------------------------------------------------------------------------------------


class Pairs(list[tuple[str, Any]]):
    """The pairs of a JSON object in order, so that repeated keys are noticed."""


def read_json(path: Path, text: str) -> CodeFile:
    """An object from key to code or from code to key, or a list of objects with a field for each."""
    try:
        value: Any = json.loads(text, object_pairs_hook=Pairs)
    except RecursionError:
        fail(path, "is nested too deeply; it must map each item to its code")
    except json.JSONDecodeError as error:
        fail(path, f"is not JSON: {error.msg}; was it cut short?", f"line {error.lineno}")
    except ValueError as error:  # a number of thousands of digits
        fail(path, f"cannot be read: {error}")

    if "\\u" in text and has_half_characters(value):
        fail(path, "holds half a character (a lone surrogate), which is no text")

    if _is_list(value) and value and all(isinstance(entry, Pairs) for entry in value) and _field(path, value[0], KEYS):
        return _of_objects(path, value, lambda row: f"entry {row + 1}")
    if _is_list(value) and value:
        value = value[0]  # LightLM and P5 put a vocabulary after the codes
    if not isinstance(value, Pairs):
        fail(path, "holds no object; it must map each item to its code")
    return of_pairs(path, value)


def read_json_lines(path: Path, text: str) -> CodeFile:
    """One object a line, with a field for the key and one for the code."""
    objects, lines = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=Pairs)
        except (ValueError, RecursionError) as error:
            fail(path, f"is not JSON: {str(error)[:SHOWN]}; a file of one object has the format json", f"line {number}")
        if "\\u" in line and has_half_characters(value):
            fail(path, "holds half a character (a lone surrogate), which is no text", f"line {number}")
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
    notes = []
    if pairs and all(_is_code(key) and _is_key(value) for key, value in pairs):
        pairs = Pairs((str(key), code) for code, key in pairs)
        notes.append("its keys are codes and its values items: read from code to item")

    keys = [key for key, _ in pairs]
    texts = CodeTexts(path, lambda row: f"key {keys[row]!r}")
    codes = [_code(texts, value, row) for row, (_, value) in enumerate(pairs)]
    return CodeFile(path, keys, codes, texts.place, [*notes, *texts.notes()])


def _is_code(key: str) -> bool:
    """Whether a text can only be a code: it has several tokens."""
    return bool(JOINED.fullmatch(key.strip())) or len(re.findall(r"<[^<>\s]+>", key)) > 1 or len(key.split()) > 1


def _is_key(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, str) and bool(value.strip()) and not _is_code(value))


def _of_objects(path: Path, objects: Sequence[Pairs], place: Any) -> CodeFile:
    texts = CodeTexts(path, place)
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
        codes.append(_code(texts, values[code], row))
    return CodeFile(path, keys, codes, place, texts.notes())


def _key(path: Path, value: Any, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        fail(path, f"the item is {json.dumps(value)[:SHOWN]}, not a text or a whole number", place)
    return str(value).strip()


def _code(texts: CodeTexts, value: Any, row: int) -> Code:
    """The tokens of one JSON value."""
    if isinstance(value, str):
        return texts.tokens(value, row)
    if not _is_list(value):
        texts.fail(row, f"the code is {json.dumps(value)[:SHOWN]}, not a list of tokens or a text")
    for token in value:
        if isinstance(token, bool) or not isinstance(token, int | str) or token == "":
            texts.fail(row, f"the token {json.dumps(token)[:SHOWN]} is not a whole number or a text")
    return tuple(str(token) for token in value)


# lines ----------------------------------------------------------------------------------------------------------------


def read_lines(path: Path, text: str) -> CodeFile:
    """A key, a blank and its code in each line, as OpenP5 writes them."""
    lines = [(number, line.split(maxsplit=1)) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    texts = CodeTexts(path, lambda row: f"line {lines[row][0]}")

    keys, codes = [], []
    for row, (_, parts) in enumerate(lines):
        if len(parts) < 2:
            texts.fail(row, f"{parts[0][:SHOWN]!r} has no code behind its key")
        keys.append(parts[0])
        codes.append(texts.tokens(parts[1], row))
    return CodeFile(path, keys, codes, texts.place, texts.notes())
