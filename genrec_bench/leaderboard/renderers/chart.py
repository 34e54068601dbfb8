"""The best rows of a board with their 95 % intervals, as places on a line from 0.

This module computes where each lies, in percent; `templates/summary.html` lays them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genrec_bench.leaderboard.renderers.curves import ticks
from genrec_bench.leaderboard.rows import KINDS, Row
from genrec_bench.leaderboard.standings import Standings
from genrec_bench.protocol.constants import SELECTION

FEW = 4  # rows of each kind


@dataclass(frozen=True)
class Bar:
    """A row, the ends of its interval, and where its score and its interval lie, in percent from the left."""

    row: Row
    low: float
    high: float
    at: str
    left: str
    width: str


@dataclass(frozen=True)
class Chart:
    """The bars, best first; ticks as place and text; and where the score of the best floor lies, if there is one."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[str, str], ...]
    floor: str | None


def chart(board: Standings) -> Chart:
    """The best rows of each kind on one axis."""
    rows = chosen(board.rows)
    intervals = [row.intervals[SELECTION] for row in rows]
    marks = ticks(max([high for _, high in intervals], default=0.0) or 1.0)

    def place(value: float) -> str:
        return f"{100 * value / marks[-1]:.2f}"

    floor = board.comparators.get("floor")
    return Chart(
        bars=tuple(
            Bar(row, low, high, place(row.score), place(low), place(high - low))
            for row, (low, high) in zip(rows, intervals, strict=True)
        ),
        ticks=tuple((place(value), f"{value:.3g}") for value in marks),
        floor=place(floor.score) if floor else None,
    )


def chosen(rows: Sequence[Row]) -> list[Row]:
    """The best few rows of each kind, best first: floors, baselines of different names, generators of different models."""
    few: list[Row] = []
    for kind in KINDS:
        own = [row for row in rows if row.kind == kind]
        leaders: dict[str, Row] = {}
        for row in own:
            leaders.setdefault(_family(row), row)
        others = [row for row in own if row not in leaders.values()] if kind == "floor" else []
        few += [*leaders.values(), *others][:FEW]
    return [row for row in rows if row in few]


def _family(row: Row) -> str:
    """What a chart shows once."""
    return row.model if row.kind == "generator" else row.system
