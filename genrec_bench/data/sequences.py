"""Sequence files: one user a line, `user item item ...`, oldest first, separated by blanks (S3-Rec, P5).

Knows this one format. The order of the file is the order of events; there are no times.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from genrec_bench.core.events import Interactions
from genrec_bench.data.files import check_file, check_text, fail
from genrec_bench.data.tables import LONGEST


def read_sequences(path: Path) -> Interactions:
    """The events of a sequence file, users and items numbered in order of appearance; blank lines are passed over.

    DataError, with the line, for a user without items, a user that stands twice, or a file that is no UTF-8 text.
    """
    check_text(check_file(path))
    rows = [line.split() for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    lines = [number for number, row in enumerate(rows, 1) if row]
    rows = [row for row in rows if row]
    if not rows:
        fail(path, "holds blank lines only")
    for line, row in zip(lines, rows, strict=True):
        if len(row) == 1:
            fail(path, f"user {_name(row[0])} has no items; was the file cut short?{_table(rows[0])}", line)
        if max(map(len, row)) > LONGEST:
            fail(path, f"an id is longer than {LONGEST} bytes; is the file garbled?", line)
    first: dict[bytes, int] = {}
    for line, row in zip(lines, rows, strict=True):
        if first.setdefault(row[0], line) != line:
            fail(
                path,
                f"user {_name(row[0])} stands twice (first on line {first[row[0]]}); join the two lines{_table(rows[0])}",
                line,
            )
    items = pa.array([item for row in rows for item in row[1:]], pa.large_binary()).dictionary_encode()
    return Interactions(
        user=np.repeat(np.arange(len(rows), dtype=np.int32), [len(row) - 1 for row in rows]),
        item=items.indices.to_numpy().astype(np.int32),
        time=None,
        user_ids=np.array([row[0].decode() for row in rows], np.str_),
        item_ids=np.array([item.decode() for item in items.dictionary.to_pylist()], np.str_),
    )


def _table(first: list[bytes]) -> str:
    """What to try where the first line looks like the header of a table."""
    if len(first) == 1 and b"," in first[0]:
        return " Or is it a table? Then set dataset.format=csv"
    return ". Or is it a table? Then set dataset.format=tsv" if b"user_id" in first[0] else ""


def _name(raw: bytes) -> str:
    return repr(raw.decode())
