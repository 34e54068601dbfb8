"""Writes a data set for other tools: all interactions, or the protocol's parts, as Parquet or in RecBole's format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from genrec_bench.core.arrays import Int64, Text
from genrec_bench.core.events import Interactions
from genrec_bench.errors import DataError
from genrec_bench.protocol.split import order_events

Form = Literal["parquet", "recbole"]
PARTS = {"train": "train", "validation": "valid", "test": "test"}  # our names, and RecBole's
TYPES = {"user_id": "token", "item_id": "token", "title": "token_seq"}  # in RecBole's headers; the others are floats
EXACT = 2**53


def export(data: Interactions, name: str, folder: Path, form: Form, *, split: bool) -> list[Path]:
    """Write the interactions to `folder`, each user's in the protocol's order, and titles if there are any.

    With `split`, each part of leave-one-out has its own file. Without times, `position` counts a user's interactions from
    0. RecBole reads times as floats, so it gets them in the finest unit from seconds on that they need. DataError if an
    id cannot stand in RecBole's format.
    """
    if form == "recbole":
        _check_ids(data)
    folder.mkdir(parents=True, exist_ok=True)
    table, part = _table(data, form), parts_of(data)
    paths = []

    for ours, theirs in PARTS.items() if split else [("interactions", "")]:
        rows = table.filter(pa.array(part == ours)) if split else table
        path = folder / (f"{ours}.parquet" if form == "parquet" else ".".join(filter(None, (name, theirs, "inter"))))
        _write(rows, path, form)
        paths.append(path)

    if data.item_titles is not None:
        titles = pa.table({"item_id": data.item_ids.tolist(), "title": _on_one_line(data.item_titles)})
        paths.append(folder / ("items.parquet" if form == "parquet" else f"{name}.item"))
        _write(titles, paths[-1], form)
    return paths


def _table(data: Interactions, form: Form) -> pa.Table:
    """The interactions by user and time."""
    order = order_events(data)
    columns = {"user_id": data.user_ids[data.user[order]].tolist(), "item_id": data.item_ids[data.item[order]].tolist()}
    if data.rating is not None:
        columns["rating"] = data.rating[order]
    if data.time is None:
        columns["position"] = _positions(data)
    else:
        columns["timestamp"] = _as_float(data.time[order]) if form == "recbole" else np.asarray(data.time[order])
    return pa.table(columns)


def _positions(data: Interactions) -> Int64:
    """The position of each interaction in its user's history, in order of users."""
    counts = np.bincount(data.user, minlength=data.n_users)
    starts = np.cumsum(counts) - counts
    return np.arange(len(data)) - np.repeat(starts, counts)


def parts_of(data: Interactions) -> Text:
    """The part of each interaction in the protocol's order: the last is the test case, the one before it validation."""
    counts = np.bincount(data.user, minlength=data.n_users)
    from_end = np.repeat(counts, counts) - _positions(data)
    return np.select([from_end == 1, from_end == 2], ["test", "validation"], "train")


def _as_float(time: Int64) -> Int64:
    """Times in a unit in which a float holds them exactly. They are nanoseconds only if they are as large."""
    for unit in (10**9, 10**6, 10**3):
        if np.abs(time).max() > EXACT and (time % unit == 0).all():
            return time // unit
    return np.asarray(time)


def _check_ids(data: Interactions) -> None:
    for ids in (data.user_ids, data.item_ids):
        if wrong := next(_breaking(ids), None):
            raise DataError(
                f"the id {wrong!r} holds a tab or a line end, which RecBole cannot read: use parquet", path=None
            )


def _breaking(ids: Text) -> Iterator[str]:
    return (text for text in ids.tolist() if any(mark in text for mark in "\t\n\r"))


def _on_one_line(titles: Text) -> list[str]:
    return [" ".join(title.split()) for title in titles.tolist()]


def _write(rows: pa.Table, path: Path, form: Form) -> None:
    if form == "parquet":
        pyarrow.parquet.write_table(rows, path)
        return
    columns = [column.to_pylist() for column in rows.columns]
    lines = ["\t".join(f"{name}:{TYPES.get(name, 'float')}" for name in rows.column_names)]
    lines += ["\t".join(map(str, row)) for row in zip(*columns, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
