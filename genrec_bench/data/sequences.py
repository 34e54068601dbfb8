"""Sequence files: one user a line, `user item item ...`, oldest item first, separated by blanks (S3-Rec, P5).

The order in the file is the order of interactions; there are no times.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from genrec_bench.core.events import Interactions
from genrec_bench.data.raw_files import check_file, check_text, fail
from genrec_bench.data.tables import LONGEST


def read_sequences(path: Path) -> Interactions:
    """The interactions in a sequence file, users and items numbered in order of appearance. Skips blank lines.

    DataError, with the line, for a user without items, a user with two lines, or a file that is not UTF-8 text.
    """
    check_text(check_file(path))
    all_rows = [line.split() for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    lines = [number for number, row in enumerate(all_rows, 1) if row]
    rows = [row for row in all_rows if row]
    if not rows:
        fail(path, "holds blank lines only")
    _check_rows(path, lines, rows)

    items = pa.array([item for row in rows for item in row[1:]], pa.large_binary()).dictionary_encode()
    return Interactions(
        user=np.repeat(np.arange(len(rows), dtype=np.int32), [len(row) - 1 for row in rows]),
        item=items.indices.to_numpy().astype(np.int32),
        time=None,
        user_ids=np.array([row[0].decode() for row in rows], np.str_),
        item_ids=np.array([item.decode() for item in items.dictionary.to_pylist()], np.str_),
    )


def _check_rows(path: Path, lines: list[int], rows: list[list[bytes]]) -> None:
    """DataError for a row that is not one user's only sequence; `lines` are the rows' line numbers."""
    for line, row in zip(lines, rows, strict=True):
        if len(row) == 1:
            fail(path, f"user {row[0].decode()!r} has no items; was the file cut short?{_advice(rows[0])}", line)
        if max(map(len, row)) > LONGEST:
            fail(path, f"an id is longer than {LONGEST} bytes; is the file garbled?", line)

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
