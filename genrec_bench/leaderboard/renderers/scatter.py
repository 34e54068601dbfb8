"""Accuracy against throughput as inline SVG: one shape per hardware class, because speeds compare inside one only.

This module computes where everything lies; `templates/scatter.svg` draws it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genrec_bench.leaderboard.renderers import markup
from genrec_bench.leaderboard.rows import REFERENCE, Row
from genrec_bench.leaderboard.standings import Standings
from genrec_bench.protocol.constants import SELECTION

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 390, 60, 45, 28, 150
LETTER = 6.5  # about as wide as a letter of 12 px
LINE = 12  # the height of a label
FEW = 20  # with more rows, only some are labelled
STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # between the ticks of the upward axis
SHAPES: dict[str, tuple[tuple[float, float], ...]] = {  # corners around the centre; one per hardware class
    "circle": (),
    "square": ((-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)),
    "triangle": ((0, -6), (6, 5), (-6, 5)),
    "diamond": ((0, -7), (6, 0), (0, 7), (-6, 0)),
    "triangle pointing down": ((0, 6), (6, -5), (-6, -5)),
    "triangle pointing right": ((6, 0), (-5, 6), (-5, -6)),
    "triangle pointing left": ((-6, 0), (5, 6), (5, -6)),
    "hourglass": ((-6, -6), (6, -6), (-6, 6), (6, 6)),
}


@dataclass(frozen=True)
class Axes:
    """The ranges of both axes, and where their values lie."""

    slowest: int  # powers of ten
    fastest: int
    ceiling: float
    step: float

    @classmethod
    def around(cls, rows: Sequence[Row]) -> Axes:
        """Axes that hold all rows."""
        speeds = [_log_speed(row) for row in rows]
        slowest = math.floor(min(speeds))
        fastest = max(math.ceil(max(speeds)), slowest + 1)

        best = max(row.score for row in rows)
        step = next((step for step in STEPS if best / step <= 7), STEPS[-1])
        return cls(slowest, fastest, step * math.ceil(best / step + 1e-9), step)

    def x(self, log_speed: float) -> float:
        """Where a speed lies, from the left."""
        return LEFT + (log_speed - self.slowest) / (self.fastest - self.slowest) * (WIDTH - LEFT - RIGHT)

    def y(self, score: float) -> float:
        """Where a score lies, from the top."""
        return HEIGHT - BOTTOM - score / self.ceiling * (HEIGHT - BOTTOM - TOP)

    @property
    def speeds(self) -> list[dict[str, str]]:
        """The ticks along the bottom."""
        powers = range(self.slowest, self.fastest + 1)
        return [{"at": f"{self.x(power):.1f}", "text": f"{10**power:,}"} for power in powers]

    @property
    def scores(self) -> list[dict[str, str]]:
        """The ticks up the left side."""
        values = [tick * self.step for tick in range(round(self.ceiling / self.step) + 1)]
        return [
            {"at": f"{self.y(value):.1f}", "text_at": f"{self.y(value) + 4:.1f}", "text": f"{value:.3g}"}
            for value in values
        ]


def scatter(board: Standings) -> str:
    """An SVG element, or an empty text where fewer than two rows were timed."""
    rows = _timed(board)
    if len(rows) < 2:
        return ""

    axes = Axes.around(rows)
    return markup.render(
        "scatter.svg",
        label=f"{SELECTION} against users per second of {len(rows)} rows",
        metric=SELECTION,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
        speeds=axes.speeds,
        scores=axes.scores,
        points=_points(rows, axes),
    )


def legend(board: Standings) -> list[str]:
    """Which shape is which hardware, in words; and which rows have labels."""
    rows = _timed(board)
    texts = [f"{_shape(number)}: {hardware}" for number, hardware in enumerate(_classes(rows))]
    if len(rows) > FEW:
        texts.append(
            f"labelled: {REFERENCE}, and rows that no other on the same hardware beats in both; point at a mark to see its name"
        )
    return texts


def _timed(board: Standings) -> list[Row]:
    return [row for row in board.rows if row.users_per_second and row.hardware]


def _log_speed(row: Row) -> float:
    return math.log10(row.users_per_second or 1)


def _classes(rows: Sequence[Row]) -> list[str]:
    """The hardware classes of the plotted rows, in order of appearance."""
    return list(dict.fromkeys(row.hardware or "" for row in rows))


def _shape(number: int) -> str:
    """The shape of a hardware class, by its number from 0; those beyond the last shape share it."""
    return list(SHAPES)[min(number, len(SHAPES) - 1)]


def _points(rows: Sequence[Row], axes: Axes) -> list[dict[str, object]]:
    """The mark of each row, and the labels of some."""
    classes = _classes(rows)
    labelled = _labelled(rows)
    taken: list[tuple[float, float, float]] = []

    points: list[dict[str, object]] = []
    for row in rows:
        x, y = axes.x(_log_speed(row)), axes.y(row.score)
        corners = SHAPES[_shape(classes.index(row.hardware or ""))]
        speed = f"{row.users_per_second:,.0f} users/s"
        points.append(
            {
                "system_id": row.system_id,
                "text": f"{row.short_name}: {row.score:.4f}, {speed}, {row.hardware}",
                "x": f"{x:.1f}",
                "y": f"{y:.1f}",
                "path": _path(corners, x, y) if corners else None,
                "label": _label(row.short_name, x, y, taken) if row in labelled else None,
            }
        )
    return points


def _path(corners: Sequence[tuple[float, float]], x: float, y: float) -> str:
    """A closed outline around a centre."""
    return f"M{' L'.join(f'{x + dx:.1f} {y + dy:.1f}' for dx, dy in corners)} Z"


def _labelled(rows: Sequence[Row]) -> list[Row]:
    """The rows to label: all of a few; of many, those that no other on their hardware beats in both directions, and the
    reference baseline."""
    if len(rows) <= FEW:
        return list(rows)
    fastest: dict[str | None, float] = {}
    front = []
    for row in sorted(rows, key=lambda row: (-row.score, -(row.users_per_second or 0))):
        speed = row.users_per_second or 0.0
        if speed > fastest.get(row.hardware, 0.0):
            fastest[row.hardware] = speed
            front.append(row)
    return [*front, *(row for row in rows if row.system == REFERENCE and row not in front)]


def _label(text: str, x: float, y: float, taken: list[tuple[float, float, float]]) -> dict[str, str]:
    """A label beside the mark at `x`, `y`: to its right, or to its left where a long name would leave the plot."""
    width = len(text) * LETTER
    if x + 8 + width <= WIDTH:
        anchor, at, left = "start", x + 8, x + 8
    else:
        anchor, at, left = "end", x - 8, x - 8 - width
    height = _free_height(left, y, width, taken)
    return {"text": text, "anchor": anchor, "x": f"{at:.1f}", "y": f"{height:.1f}"}


def _free_height(left: float, y: float, width: float, taken: list[tuple[float, float, float]]) -> float:
    """A height near `y`, above the axis, where a label of that width covers no earlier one; notes it in `taken`."""
    right = left + width

    def is_free(height: float) -> bool:
        inside = TOP <= height < HEIGHT - BOTTOM
        return inside and not any(
            left < other_right and other_left < right and abs(height - other) < LINE
            for other_left, other_right, other in taken
        )

    beside = min(y + 4, HEIGHT - BOTTOM - 3)
    candidates = (height for step in range(0, HEIGHT, LINE) for height in (beside + step, beside - step))
    height = next(filter(is_free, candidates), beside)
    taken.append((left, right, height))
    return height
