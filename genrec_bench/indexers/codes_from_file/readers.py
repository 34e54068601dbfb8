"""Readers of code files that other tools wrote: JSON, CSV, NumPy and torch.

Know formats, not items: what a key means is the caller's business. Every error is one line that names the file and the
place in it.
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
    """`keys[i]` has the code `codes[i]`, its tokens spelled as in the file; `place(i)` says where, for errors."""

    path: Path
    keys: list[str]
    codes: list[Code]
    place: Callable[[int], str]

    def fail(self, why: str, row: int | None = None) -> NoReturn:
        """DataError that names the file, and the place of `row` if one is given."""
        fail(self.path, why, "" if row is None else self.place(row))


def fail(path: Path, why: str, place: str = "") -> NoReturn:
    """DataError in one line: `PATH, PLACE: why`."""
    line = int(place.split()[1]) if place.startswith("line ") else None
    raise DataError(f"{path}{', ' if place else ''}{place}: {' '.join(why.split())}", path=path, line=line)


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes. DataError if it cannot be read."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def read_bytes(path: Path) -> bytes:
    """The content of a file. DataError if it cannot be read or is empty."""
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

    `json`: an object from key to code. A code is a list of tokens (LETTER), or a text of tokens separated by blanks or
    written `<a_1><b_2>` (LightLM, P5). If the file holds a list, its first element is that object.
    `csv`: a header, then rows of a key and its tokens, in one column each or in one column, separated by blanks.
    `npy`, `npz`, `pt`: a matrix of whole numbers with one row per key, padded with -1 on the right; keys are row
    numbers from 0. A matrix with more columns than rows has one column per key (GRID).
    """
    content = read_bytes(path)  # before the suffix: a missing file is reported as missing
    if format == "auto":
        if path.suffix.lower() not in SUFFIXES:
            fail(path, f"has no suffix that names its format ({', '.join(SUFFIXES)}): --set indexer.format=json, say")
        format = SUFFIXES[path.suffix.lower()]

    file = _read_matrix(path, format) if format in ("npy", "npz", "pt") else _read_text(path, content, format)
    if not file.keys:
        fail(path, "holds no codes")
    first: dict[str, int] = {}
    for row, (key, code) in enumerate(zip(file.keys, file.codes, strict=True)):
        if first.setdefault(key, row) != row:
            file.fail(f"{key!r} has a code already ({file.place(first[key])}); keep one", row)
        if not code:
            file.fail(f"{key!r} has an empty code; give it at least one token", row)
    return file


def _read_text(path: Path, content: bytes, format: Format) -> CodeFile:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fail(path, "is not UTF-8 text; give its format (indexer.format) or convert it", f"line {line}")
    return _read_json(path, text) if format == "json" else _read_csv(path, text)


def _read_json(path: Path, text: str) -> CodeFile:
    try:
        pairs: Any = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        fail(path, f"is not JSON: {error.msg}; was it cut short?", f"line {error.lineno}")
    if isinstance(pairs, list) and not isinstance(pairs, _Pairs) and pairs:
        pairs = pairs[0]  # LightLM and P5 put a vocabulary after the codes
    if not isinstance(pairs, _Pairs):
        fail(path, "holds no object; it must map each item to its code")

    keys = [key for key, _ in pairs]
    codes = [_code(path, key, value) for key, value in pairs]
    return CodeFile(path, keys, codes, lambda row: f"key {keys[row]!r}")


class _Pairs(list[tuple[str, Any]]):
    """The pairs of a JSON object in order, so that repeated keys are noticed."""


def _code(path: Path, key: str, value: Any) -> Code:
    """The tokens of one JSON value."""
    if isinstance(value, str):
        return tuple(re.findall(r"<[^<>]+>", value)) if IN_BRACKETS.fullmatch(value) else tuple(value.split())
    if not isinstance(value, list) or isinstance(value, _Pairs):
        fail(path, f"the code is {json.dumps(value)[:60]}, not a list of tokens or a text", f"key {key!r}")
    for token in value:
        if isinstance(token, bool) or not isinstance(token, int | str) or token == "":
            fail(path, f"the token {json.dumps(token)[:60]} is not a whole number or a text", f"key {key!r}")
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
            codes.append(_tokens(path, row[1:], reader.line_num))
            lines.append(reader.line_num)
    except csv.Error as error:
        fail(path, f"is not CSV: {error}", f"line {reader.line_num}")

    return CodeFile(path, keys, codes, lambda row: f"line {lines[row]}")


def _tokens(path: Path, cells: list[str], line: int) -> Code:
    """The tokens of one CSV line; only its last columns may be empty."""
    if len(cells) == 1:
        return tuple(cells[0].split())
    tokens = [cell.strip() for cell in cells]
    while tokens and not tokens[-1]:
        tokens.pop()
    if "" in tokens:
        fail(path, "a column is empty before the end of the code", f"line {line}")
    return tuple(tokens)


def _read_matrix(path: Path, format: Format) -> CodeFile:
    array = _torch_tensor(path) if format == "pt" else _numpy_array(path)
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        fail(path, f"holds {array.dtype} of shape {array.shape}, not a matrix of whole numbers (keys x levels)")
    matrix = array.T if array.shape[1] > array.shape[0] else array

    garbled = (matrix != np.floor(matrix)) | (matrix < -1) | ~np.isfinite(matrix)
    garbled[:, 1:] |= (matrix[:, :-1] == -1) & (matrix[:, 1:] != -1)  # -1 only at the end
    if garbled.any():
        row, column = (int(axis[0]) for axis in np.nonzero(garbled))
        value = matrix[row, column]
        fail(path, f"{value} at level {column} is not a token (whole numbers, -1 at the end)", f"row {row}")

    codes = [tuple(str(token) for token in row if token >= 0) for row in matrix.astype(np.int64).tolist()]
    return CodeFile(path, [str(row) for row in range(len(codes))], codes, lambda row: f"row {row}")


def _torch_tensor(path: Path) -> Any:
    """The tensor in a torch file, as an array. DataError for anything but a tensor."""
    import torch

    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's parsers raise many kinds of errors
        fail(path, f"is not a torch file of plain data: {str(error)[:120]}; was it cut short?")
    if not isinstance(tensor, torch.Tensor):
        fail(path, f"holds a {type(tensor).__name__}, not a tensor of codes")
    return tensor.numpy()


def _numpy_array(path: Path) -> Any:
    """The one array in a NumPy file. DataError for anything else."""
    try:
        content = np.load(path, allow_pickle=False)
        if not isinstance(content, np.lib.npyio.NpzFile):
            return content
        with content:
            if len(content.files) != 1:
                fail(path, f"holds {len(content.files)} arrays ({', '.join(content.files)[:60]}); keep the codes only")
            return content[content.files[0]]
    except (ValueError, OSError, EOFError) as error:
        fail(path, f"is not a NumPy file: {error}; was it cut short?")
