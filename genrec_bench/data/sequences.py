"""Sequence files: one user a line, `user item item ...`, oldest item first, separated by blanks (S3-Rec, P5).

The order in the file is the order of interactions; there are no times.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genrec_bench.core.arrays import Int32, Text
from genrec_bench.core.events import Interactions
from genrec_bench.core.raw_files import check_file, check_text, fail, open_binary
from genrec_bench.core.tables.table import LONGEST, Table


def read_sequences(path: Path) -> Interactions:
    """The interactions in a sequence file, users and items numbered in order of appearance. Skips blank lines.

    DataError, with the line, for a user without items, a user with two lines, an id that is none, or a file that is not
    UTF-8 text.
    """
    check_text(check_file(path))
    with open_binary(path) as file:
        content = file.read().removeprefix(b"\xef\xbb\xbf")
    if content.lstrip()[:1] in (b"{", b"["):
        fail(path, "is JSON, not a user and its items a line; leave --set dataset.format out, and it is recognised")

    if content.startswith(b"% "):
        fail(path, "the first line is a comment; remove the lines that begin with '%'", 1)

    all_rows = [line.split() for line in content.split(b"\n")]
    lines = [number for number, row in enumerate(all_rows, 1) if row]
    rows = [row for row in all_rows if row]
    if not rows:
        fail(path, "holds blank lines only")
    _check_rows(path, lines, rows)

    lengths = [len(row) - 1 for row in rows]
    user, user_ids = _ids(path, [row[0] for row in rows], lines)
    item, item_ids = _ids(path, [item for row in rows for item in row[1:]], np.repeat(lines, lengths))
    return Interactions(np.repeat(user, lengths), item, None, user_ids, item_ids)


def _ids(path: Path, words: list[bytes], lines: Any) -> tuple[Int32, Text]:
    """Words as numbers, and the ids in their normal form. `lines` says where each stands."""
    column = pa.array(words, pa.large_binary()).cast(pa.large_string())
    return Table(path, {"id": column}, lambda word: int(lines[word])).ids("id")


def _check_rows(path: Path, lines: list[int], rows: list[list[bytes]]) -> None:
    """DataError for a row that is not one user's only sequence; `lines` are the rows' line numbers."""
    for line, row in zip(lines, rows, strict=True):
        if len(row) == 1:
            fail(path, f"user {row[0].decode()!r} has no items; was the file cut short?{_advice(rows[0])}", line)
        if max(map(len, row)) > LONGEST:
            fail(path, f"an id is longer than {LONGEST} bytes; is the file garbled?", line)
        if row[1].startswith(b"[") or row[1].endswith(b","):
            fail(path, f"the item {row[1].decode()!r} is a part of a list; write the items with blanks only", line)

    first: dict[bytes, int] = {}
    for line, row in zip(lines, rows, strict=True):
        if first.setdefault(row[0], line) != line:
            again = f"user {row[0].decode()!r} has two lines (the first is line {first[row[0]]})"
            fail(path, f"{again}; join them{_advice(rows[0])}", line)


def _advice(first: list[bytes]) -> str:
    """What to try where the first line looks like the header of a table."""
    if len(first) == 1 and b"," in first[0]:
        return " Or is it a table? Then set dataset.format=csv"
    return ". Or is it a table? Then set dataset.format=tsv" if b"user_id" in first[0] else ""
