"""Files of codes that other tools wrote: which key has which code tokens, and where in the file that stands.

Knows formats, not items: what a key means is the caller's. Every fault is one line that names the file and the place.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from genrec_bench.errors import DataError

Format = Literal["auto", "json", "csv", "npy", "npz", "pt"]
SUFFIXES: dict[str, Format] = {".json": "json", ".csv": "csv", ".npy": "npy", ".npz": "npz", ".pt": "pt", ".pth": "pt"}
IN_BRACKETS = re.compile(r"(?:\s*<[^<>\s]+>)+\s*")  # "<a_12><b_3>"
Code = tuple[str, ...]


@dataclass(frozen=True)
class CodeFile:
    """`keys[i]` has the code `codes[i]` (its tokens as they are spelled), and stands at `place(i)` of the file."""

    path: Path
    keys: list[str]
    codes: list[Code]
    place: Callable[[int], str]

    def fail(self, row: int, why: str) -> NoReturn:
        """DataError that names the file and where `row` stands."""
        fail(self.path, why, self.place(row))

    def fail_whole(self, why: str) -> NoReturn:
        """DataError that names the file."""
        fail(self.path, why)


def fail(path: Path, why: str, place: str = "") -> NoReturn:
    """DataError in one line: `PATH, PLACE: why`."""
    line = int(place.split()[1]) if place.startswith("line ") else None
    raise DataError(f"{path}{', ' if place else ''}{place}: {' '.join(why.split())}", path=path, line=line)


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes. DataError if it cannot be read."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def read_bytes(path: Path) -> bytes:
    """The content of a file. DataError if there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        place = "" if path.is_absolute() else f" (a relative path counts from {Path.cwd()})"
        fail(path, f"there is no such file{place}; check the path")
    except OSError as error:
        fail(path, f"cannot be read: {error.strerror}")
    if not content:
        fail(path, "is empty; was the download or the copy cut short?")
    return content


def read_codes(path: Path, format: Format = "auto") -> CodeFile:
    """The codes in a file; `auto` goes by its suffix. DataError for anything missing, repeated or garbled.

    `json`: an object from key to code, a code being a list of tokens (LETTER) or a text of tokens separated by blanks
    or written `<a_1><b_2>` (LightLM, P5); where the file is a list, its first element is that object. `csv`: a header,
    then the key and its tokens, in columns of their own or in one, separated by blanks. `npy`, `npz`: a matrix of whole
    numbers with one row per key (keys are row numbers from 0), padded with -1 on the right; a matrix with more columns
    than rows has one column per key (GRID).
    """
    content = read_bytes(path)  # first: a path that does not exist is that, whatever its suffix
    if format == "auto":
        if path.suffix.lower() not in SUFFIXES:
            fail(path, f"has no suffix that names its format ({', '.join(SUFFIXES)}): --set indexer.format=json, say")
        format = SUFFIXES[path.suffix.lower()]
    found = _read_matrix(path, format) if format in ("npy", "npz", "pt") else _read_text(path, content, format)
    if not found.keys:
        fail(path, "holds no codes")
    first: dict[str, int] = {}
    for row, (key, code) in enumerate(zip(found.keys, found.codes, strict=True)):
        if first.setdefault(key, row) != row:
            found.fail(row, f"{key!r} has a code already ({found.place(first[key])}); keep one")
        if not code:
            found.fail(row, f"{key!r} has an empty code; give it at least one token")
    return found


def _read_text(path: Path, content: bytes, format: Format) -> CodeFile:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fail(path, "is no UTF-8 text; give its format (indexer.format) or convert it", f"line {line}")
    return _read_json(path, text) if format == "json" else _read_csv(path, text)


def _read_json(path: Path, text: str) -> CodeFile:
    try:
        pairs: Any = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        fail(path, f"is no JSON: {error.msg}; was it cut short?", f"line {error.lineno}")
    if isinstance(pairs, list) and not isinstance(pairs, _Pairs) and pairs:
        pairs = pairs[0]  # LightLM and P5 keep a vocabulary behind the codes
    if not isinstance(pairs, _Pairs):
        fail(path, "holds no object; it must map each item to its code")
    keys = [key for key, _ in pairs]
    codes = [_code(path, key, value) for key, value in pairs]
    return CodeFile(path, keys, codes, lambda row: f"key {keys[row]!r}")


class _Pairs(list[tuple[str, Any]]):
    """The pairs of a JSON object in their order, so that a repeated key is seen."""


def _code(path: Path, key: str, value: Any) -> Code:
    if isinstance(value, str):
        return tuple(re.findall(r"<[^<>]+>", value)) if IN_BRACKETS.fullmatch(value) else tuple(value.split())
    if not isinstance(value, list) or isinstance(value, _Pairs):
        fail(path, f"the code is {json.dumps(value)[:60]}, no list of tokens and no text", f"key {key!r}")
    for token in value:
        if isinstance(token, bool) or not isinstance(token, int | str) or token == "":
            fail(path, f"the token {json.dumps(token)[:60]} is no whole number and no text", f"key {key!r}")
    return tuple(str(token) for token in value)


def _read_csv(path: Path, text: str) -> CodeFile:
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    keys: list[str] = []
    codes: list[Code] = []
    lines: list[int] = []
    try:
        header = next(reader, [])
        if len(header) < 2:
            fail(path, "the header needs two columns or more: the item, then its code", "line 1")
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                fail(path, f"{len(row)} columns where the header has {len(header)}", f"line {reader.line_num}")
            keys.append(row[0].strip())
            codes.append(_cells(path, row[1:], reader.line_num))
            lines.append(reader.line_num)
    except csv.Error as error:
        fail(path, f"is no CSV: {error}", f"line {reader.line_num}")
    return CodeFile(path, keys, codes, lambda row: f"line {lines[row]}")


def _cells(path: Path, cells: list[str], line: int) -> Code:
    """The tokens of one line; columns may be empty at its end only."""
    if len(cells) == 1:
        return tuple(cells[0].split())
    tokens = [cell.strip() for cell in cells]
    while tokens and not tokens[-1]:
        tokens.pop()
    if "" in tokens:
        fail(path, "a column is empty before the end of the code", f"line {line}")
    return tuple(tokens)


def _array(path: Path, format: Format) -> Any:
    """The one array of a NumPy or torch file. DataError if it is none."""
    if format == "pt":
        import torch

        try:
            tensor = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch's reader raises what its parsers happen to raise
            fail(path, f"is no torch file of plain data: {str(error)[:120]}; was it cut short?")
        if not isinstance(tensor, torch.Tensor):
            fail(path, f"holds a {type(tensor).__name__}, no tensor of codes")
        return tensor.numpy()
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            with found:
                if len(found.files) != 1:
                    fail(path, f"holds {len(found.files)} arrays ({', '.join(found.files)[:60]}); keep the codes only")
                found = found[found.files[0]]
    except (ValueError, OSError, EOFError) as error:
        fail(path, f"is no NumPy file: {error}; was it cut short?")
    return found


def _read_matrix(path: Path, format: Format) -> CodeFile:
    found = _array(path, format)
    if found.ndim != 2 or found.dtype.kind not in "iuf":
        fail(path, f"holds {found.dtype} of shape {found.shape}, no matrix of whole numbers (keys x levels)")
    matrix = found.T if found.shape[1] > found.shape[0] else found
    garbled = (matrix != np.floor(matrix)) | (matrix < -1) | ~np.isfinite(matrix)
    garbled[:, 1:] |= (matrix[:, :-1] == -1) & (matrix[:, 1:] != -1)
    if garbled.any():
        row, column = (int(at[0]) for at in np.nonzero(garbled))
        fail(path, f"{matrix[row, column]} at level {column} is no token (whole numbers, -1 at the end)", f"row {row}")
    codes = [tuple(str(token) for token in row if token >= 0) for row in matrix.astype(np.int64).tolist()]
    return CodeFile(path, [str(row) for row in range(len(codes))], codes, lambda row: f"row {row}")
