"""Rows that papers report: context beside a board, never ranked. They are read from `reported.toml`, beside known issues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec_bench.errors import RecordError, did_you_mean
from genrec_bench.leaderboard.columns import NOT_MEASURED
from genrec_bench.leaderboard.records import read_entries
from genrec_bench.leaderboard.rows import Board
from genrec_bench.protocol.consistency import impossible
from genrec_bench.protocol.constants import KS

FILE = "reported.toml"
METRICS = tuple(f"{name}@{k}" for k in KS[:2] for name in ("hit", "ndcg"))
TEXTS = ("dataset", "task", "system", "source", "link", "differs")
HEADS = ("system", *METRICS, "source", "what differs")
TITLE = "Reported by papers"
EXPLANATION = (
    "Numbers that others printed for a data set of this name. Code, preparation and the treatment of seen items differ, so they "
    "are context and have no rank. Published lists mostly keep seen items."
)


@dataclass(frozen=True)
class Reported:
    """A row of a paper or a public log: its metrics by name, where they were read, and what differs from rows here."""

    dataset: str
    task: str
    system: str
    source: str
    link: str
    differs: str
    metrics: Mapping[str, float]


def read(root: Path) -> tuple[Reported, ...]:
    """The rows in `root/reported.toml`, in its order; none without the file. RecordError names a bad entry."""
    path = root / FILE
    return tuple(_row(entry, number, path) for number, entry in enumerate(read_entries(path, "row"), 1))


def _row(entry: Any, number: int, path: Path) -> Reported:
    name = entry.get("system", number) if isinstance(entry, Mapping) else number

    def refuse(reason: str) -> RecordError:
        return RecordError(f"{FILE}, row {name}: {reason}", path=path)

    if not isinstance(entry, Mapping):
        raise refuse("write it as [[row]]")
    for key in entry:
        if key not in (*TEXTS, *METRICS):
            raise refuse(f"no key {key!r}.{did_you_mean(key, (*TEXTS, *METRICS))}")
    for key in TEXTS:
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise refuse(f"{key} is missing, or not a text")
    if not entry["link"].strip().startswith("https://"):
        raise refuse("link is an address that begins with https://")

    metrics = {key: entry[key] for key in METRICS if key in entry}
    if not metrics or not all(type(value) is float for value in metrics.values()):
        raise refuse(f"give at least one of {', '.join(METRICS)}, as fractions")
    if why := impossible(metrics):
        raise refuse(f"nobody can have measured this: {'; '.join(why)}")
    return Reported(**{key: entry[key].strip() for key in TEXTS}, metrics=metrics)


def of_board(rows: tuple[Reported, ...], board: Board) -> tuple[Reported, ...]:
    """Those on the data set and task of a board."""
    return tuple(row for row in rows if (row.dataset, row.task) == (board.dataset, board.task))


def cells(row: Reported) -> list[str]:
    """A row as the cells of a table, below `HEADS`."""
    scores = [f"{row.metrics[key]:.4f}" if key in row.metrics else NOT_MEASURED for key in METRICS]
    return [row.system, *scores, row.source, row.differs]
