"""Codes in text files: JSON in its usual shapes, and OpenP5's lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from genrec_bench.core.ids import EXACT
from genrec_bench.core.tables.json_file import decode
from genrec_bench.indexers.codes_from_file.code_file import CODES, KEYS, Code, CodeFile, fail, one_of

MARKS = "-,|;:/_."  # that may join tokens
IN_BRACKETS = re.compile(
    rf"\s*<[^<>\s]+>(?:\s*[{re.escape(MARKS)}]?\s*<[^<>\s]+>)*\s*"
)  # "<a_12><b_3>", "<a_12>|<b_3>"
BRACKETED = re.compile(r"<[^<>\s]+>")
JOINED = re.compile(rf"\d+([{re.escape(MARKS)}])\d+(?:\1\d+)*")  # "0-0-1"
LIST = re.compile(r"\s*(?:\[(.*?),?\s*\]|\((.*?),?\s*\))\s*", re.DOTALL)  # "[0, 0, 1]", "(0, 0, 1)", "[0 0 1]"
PARTED = re.compile(r"(?<=\s)[;|]|[;|](?=\s)|,")  # a mark that parts texts: any comma, others beside a blank
PLAIN = re.compile(r"""[^\s,\[\](){}'"]+""")  # a token of a list
SHOWN = 60  # characters of a value in a message


class CodeTexts:
    """The tokens of a file's code texts; `place(row)` says where one stands. They are joined by one mark, or by none."""

    def __init__(self, path: Path, place: Callable[[int], str]) -> None:
        self.path, self.place, self.example = path, place, ""
        self.mark: str | None = None
        self.read: Code = ()  # the tokens of the example

    def tokens(self, text: str, row: int) -> Code:
        """The tokens of one text. DataError if it is not whole, or if another joins its tokens by another mark."""
        if IN_BRACKETS.fullmatch(text):
            return tuple(re.findall(r"<[^<>]+>", text))

        listed = LIST.fullmatch(text)
        inner = (listed[1] or listed[2] or "").strip() if listed else text.strip()
        if not listed and (BRACKETED.search(text) or inner.startswith(("<", "[", "(")) or inner.endswith(("]", ")"))):
            self.fail(row, f"{inner[:SHOWN]!r} is not whole: all tokens stand in brackets, or none")

        joined = JOINED.fullmatch(inner) or PARTED.search(inner)
        mark = None if joined is None else joined[joined.lastindex or 0]
        tokens = tuple(inner.split() if mark is None else (part.strip() for part in inner.split(mark)))
        if listed:
            tokens = tuple(re.sub(r"""^(['"])(.*)\1$""", r"\2", token) for token in tokens)
        form = BRACKETED if "<" in inner else PLAIN
        if (listed or mark) and not all(form.fullmatch(token) for token in tokens):
            self.fail(
                row, f"{text.strip()[:SHOWN]!r} is no list of tokens: one mark parts them, and none holds a blank"
            )
        self._learn(text.strip(), mark or ("," if listed else None), tokens, row)
        return tokens

    def _learn(self, text: str, mark: str | None, tokens: Code, row: int) -> None:
        """Keeps the first text that a mark joins, for the note. DataError if this one has another mark."""
        if mark is None or not tokens:
            return
        if self.mark is None:
            self.mark, self.example, self.read = mark, text, tokens
        if mark != self.mark:
            self.fail(row, f"{text!r} is joined by {mark!r}, and {self.example!r} by {self.mark!r}")

    def fail(self, row: int, why: str) -> NoReturn:
        """DataError that names the place of `row`."""
        fail(self.path, why, self.place(row))

    def notes(self) -> list[str]:
        """What was split, if anything was."""
        return [] if self.mark is None else [f"{self.example!r} is read as the tokens {' '.join(self.read)}"]


def spelled(value: Any, power: int = EXACT[64]) -> str:
    """A key or a token as a text: whole floats, exact up to 2**power, are whole numbers. ValueError for anything else."""
    if isinstance(value, float) and value.is_integer():
        if abs(value) >= 2**power:
            raise ValueError(f"{value:.0f} is a float of 2**{power} or more, so its last digits may be lost")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError(f"{str(value)[:SHOWN]!r} is not a whole number or a text")
    return str(value)


# JSON -----------------------------------------------------------------------------------------------------------------


def read_json(path: Path, text: str) -> CodeFile:
    """An object from key to code or from code to key, or a list of objects with a field for each."""
    value = decode(path, text.encode(), None)
    if isinstance(value, list) and value:
        if all(isinstance(entry, dict) for entry in value) and _field(path, value[0], KEYS):
            return _of_objects(path, value, lambda row: f"entry {row + 1}")
        value = value[0]  # LightLM and P5 put a vocabulary after the codes

    if not isinstance(value, dict):
        fail(path, "holds no object; it must map each item to its code")
    return of_pairs(path, list(value.items()))


def read_json_lines(path: Path, text: str) -> CodeFile:
    """One object a line, with a field for the key and one for the code."""
    filled = [(number, line) for number, line in enumerate(text.encode().splitlines(), start=1) if line.strip()]
    objects = [decode(path, line, number) for number, line in filled]
    for (number, _), value in zip(filled, objects, strict=True):
        if not isinstance(value, dict):
            fail(path, "is no object with the fields item_id and codes", f"line {number}")
    return _of_objects(path, objects, lambda row: f"line {filled[row][0]}")


def _field(path: Path, entry: Mapping[str, Any], role: frozenset[str]) -> str | None:
    return one_of(path, list(entry), role, "the item" if role is KEYS else "its code")


def of_pairs(path: Path, entries: list[tuple[str, Any]]) -> CodeFile:
    """Codes from the pairs of `{key: code}`; `{code: key}` is turned round."""
    notes = []
    if entries and all(_is_code(key) and _is_key(value) for key, value in entries):
        entries = [(spelled(key), code) for code, key in entries]
        notes.append("its keys are codes and its values items: read from code to item")

    keys = [key for key, _ in entries]
    texts = CodeTexts(path, lambda row: f"key {keys[row]!r}")
    codes = [_code(texts, value, row) for row, (_, value) in enumerate(entries)]
    return CodeFile(path, keys, codes, texts.place, [*notes, *texts.notes()])


def _is_code(key: str) -> bool:
    """Whether a text can only be a code: it has several tokens."""
    joined = JOINED.fullmatch(key.strip()) or LIST.fullmatch(key)
    return bool(joined) or len(BRACKETED.findall(key)) > 1 or len(key.split()) > 1


def _is_key(value: Any) -> bool:
    try:
        key = spelled(value)
    except ValueError:
        return False
    return bool(key.strip()) and not _is_code(key)


def _of_objects(path: Path, objects: Sequence[Mapping[str, Any]], place: Callable[[int], str]) -> CodeFile:
    texts = CodeTexts(path, place)
    keys, codes = [], []
    for row, entry in enumerate(objects):
        key, code = _field(path, entry, KEYS), _field(path, entry, CODES)
        if key is None or code is None:
            what = "the item (item_id)" if key is None else "its code (codes)"
            fail(path, f"has no field for {what}: {', '.join(entry)}", place(row))

        try:
            keys.append(spelled(entry[key]))
        except ValueError as error:
            fail(path, f"the item {error}", place(row))
        codes.append(_code(texts, entry[code], row))
    return CodeFile(path, keys, codes, place, texts.notes())


def _code(texts: CodeTexts, value: Any, row: int) -> Code:
    """The tokens of one JSON value."""
    if isinstance(value, str):
        return texts.tokens(value, row)
    if not isinstance(value, list):
        texts.fail(row, f"the code is {str(value)[:SHOWN]!r}, not a list of tokens or a text")
    return token_list(texts, value, row)


def token_list(texts: CodeTexts, values: Sequence[Any], row: int, power: int = EXACT[64]) -> Code:
    """The tokens of one list, whose floats are exact up to 2**power. DataError for anything that is no token."""
    try:
        return tuple([spelled(value, power) for value in values])
    except ValueError as error:
        texts.fail(row, f"the token {error}")


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
