"""Readers of code files that other tools wrote: by suffix to the right reader, then what holds for every format.

Know formats, not items: what a key means is the caller's business. Every error is one line that names the file and the
place in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from genrec_bench.core.ids import NotAnId, normal_ids
from genrec_bench.core.raw_files import is_packed, open_binary, suffix_of
from genrec_bench.errors import DataError
from genrec_bench.indexers.codes_from_file.code_file import Code, CodeFile, Format, fail, without_padding
from genrec_bench.indexers.codes_from_file.matrices import read_matrix
from genrec_bench.indexers.codes_from_file.tables import read_table
from genrec_bench.indexers.codes_from_file.texts import read_json, read_json_lines, read_lines

SUFFIXES: dict[str, Format] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "txt",
    ".npy": "npy",
    ".npz": "npz",
    ".pt": "pt",
    ".pth": "pt",
}
TEXTS = {"json": read_json, "jsonl": read_json_lines, "txt": read_lines}


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


def read_codes(
    path: Path, format: Format = "auto", columns: Sequence[str] | None = None, part: str = "indexer"
) -> CodeFile:
    """The codes in a file; `auto` goes by its suffix, `columns` names those of a table without a header.

    `part` owns the options that the advice names.

    DataError for anything missing, repeated, garbled or not understood.

    `json`: an object from key to code, or from code to key; a list of objects with the fields `item_id` and `codes`; or a
    list whose first element is the object (LightLM, P5). `jsonl`: such objects, one a line. `csv`, `tsv`, `parquet`: a table
    whose header names the key (`item_id`) and the code, in one column (`code`) or one per level (`code_0`, `code_1`, ...).
    `txt`: a key, a blank and its code in each line (OpenP5), or under `auto` a table. Texts may be compressed.

    A code is a list of tokens (LETTER) or a text: tokens separated by blanks, written `<a_1><b_2>` (LightLM, P5), or numbers
    joined by one mark (`0-0-1`), or a list written out (`[0, 0, 1]`). -1 behind the end of a code is padding.

    `npy`, `npz`, `pt`: a matrix of whole numbers with one row per key, padded with -1 on the right, alone or beside a
    vector of keys (`item_ids`); without one, keys are row numbers from 0. A matrix with more columns than rows has one
    column per key (GRID).
    """
    content = read_bytes(path)  # before the suffix: a missing file is reported as missing
    told = format != "auto"
    if format == "auto":
        if suffix_of(path) not in SUFFIXES:
            fail(path, f"has no suffix that names its format ({', '.join(SUFFIXES)}): --set {part}.format=json, say")
        format = SUFFIXES[suffix_of(path)]
        if format == "txt" and (columns or _is_table(path, content, part)):
            format = "csv"

    if format in ("csv", "tsv", "parquet"):
        # The first line shows the separator, unless the format is given.
        file = read_table(path, format if told else "auto", columns, part)
    elif columns:
        fail(path, f"has no columns: leave {part}.columns out")
    elif format in TEXTS:
        file = TEXTS[format](path, _decoded(path, content, part))
    else:
        file = read_matrix(path, format)
    if not file.keys:
        fail(path, "holds no codes")
    file = replace(file, keys=_normal(file), codes=_whole(file))

    first: dict[str, int] = {}
    for row, (key, code) in enumerate(zip(file.keys, file.codes, strict=True)):
        if first.setdefault(key, row) != row:
            file.fail(f"{key!r} has a code already ({file.place(first[key])}); keep one", row)
        if not code:
            file.fail(f"{key!r} has an empty code; give it at least one token", row)

    if all(len(code) == 1 for code in file.codes):
        file.notes.append("every code is a single token, so no two items share one")
    return file


def _normal(file: CodeFile) -> list[str]:
    """The keys in the form that ids have everywhere."""
    try:
        return [str(key) for key in normal_ids(pa.array(file.keys, pa.large_string())).to_pylist()]
    except NotAnId as error:
        file.fail(f"the key {error}", error.row)


def _whole(file: CodeFile) -> list[Code]:
    """The codes without padding."""
    codes = []
    for row, code in enumerate(file.codes):
        try:
            codes.append(without_padding(code))
        except ValueError as error:
            file.fail(str(error), row)
    return codes


def _is_table(path: Path, content: bytes, part: str) -> bool:
    """Whether the first line of a text is no key with a code behind it: it has no blank, or `::` before it."""
    line = next((line for line in _decoded(path, content, part).splitlines() if line.strip()), "")
    return "::" in line.split(maxsplit=1)[0] or len(line.split()) < 2 if line else False


def _decoded(path: Path, content: bytes, part: str) -> str:
    if is_packed(path):
        with open_binary(path) as unpacked:
            content = unpacked.read()

    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(0)) + 1
        fail(path, "holds a NUL byte: binary or UTF-16, not UTF-8 text", f"line {line}")

    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: is not UTF-8 text; give its format ({part}.format) or convert it",
            path=path,
            line=line,
        ) from error
