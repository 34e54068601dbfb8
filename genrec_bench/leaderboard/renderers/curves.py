"""Validation by pass over the data as inline SVG: one line for each seed of a row, its best validation marked.

This module computes where everything lies; `templates/curves.svg` draws it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from genrec_bench.leaderboard.curves import curve, passes_per_epoch, validated
from genrec_bench.leaderboard.renderers import markup
from genrec_bench.leaderboard.rows import Row
from genrec_bench.protocol.constants import SELECTION
from genrec_bench.runs.record import RunRecord

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 240, 56, 16, 28, 40
TICKS = 6  # at most about so many along an axis
DASHES = ("", "7 3", "2 3", "9 3 2 3")  # one for each seed; those beyond the last share it
WORDS = ("solid", "dashed", "dotted", "dash and dot")


def curves(row: Row) -> str:
    """An SVG element, or an empty text where no run of the row was validated twice."""
    runs = _drawn(row)
    if not runs:
        return ""
    lines = {run.spec_id: _line(run) for run in runs}
    every = [point for line in lines.values() for point in line]
    across, up = ticks(max(x for x, _ in every)), ticks(max(max(y for _, y in every), 1e-4))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + x / across[-1] * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / up[-1] * (HEIGHT - BOTTOM - TOP),
        )

    return markup.render(
        "curves.svg",
        label=f"{SELECTION} on validation by {_unit(runs)}, {len(runs)} seed{'s' if len(runs) > 1 else ''}",
        metric=f"{SELECTION} on validation",
        unit=_unit(runs),
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
        across=[{"at": f"{place(x, 0)[0]:.1f}", "text": f"{x:.4g}"} for x in across],
        up=[{"at": f"{place(0, y)[1]:.1f}", "text_at": f"{place(0, y)[1] + 4:.1f}", "text": f"{y:.3g}"} for y in up],
        seeds=[
            _seed(run, [place(*point) for point in lines[run.spec_id]], DASHES[_dash(at)])
            for at, run in enumerate(runs)
        ],
    )


def legend(row: Row) -> str:
    """Which line is which seed, where there are several, and what a dot is."""
    lines = [f"seed {run.spec.get('seed', 0)} {WORDS[_dash(at)]}" for at, run in enumerate(_drawn(row))]
    seeds = f"Lines: {', '.join(lines)}. " if len(lines) > 1 else ""
    return f"{seeds}A dot is the best validation, whose weights were kept."


def _drawn(row: Row) -> list[RunRecord]:
    return [run for run in row.runs if len(validated(curve(run))) > 1]


def _dash(at: int) -> int:
    return min(at, len(DASHES) - 1)


def _unit(runs: Sequence[RunRecord]) -> str:
    """`pass` if every record tells what share of the data an epoch was, else `epoch`."""
    return "epoch" if any(passes_per_epoch(run) is None for run in runs) else "pass"


def _line(run: RunRecord) -> list[tuple[float, float]]:
    """Passes (epochs, if nobody knows) and score of each validation."""
    each = passes_per_epoch(run) or 1.0
    return [(epoch * each, score) for epoch, score in validated(curve(run))]


def _seed(run: RunRecord, places: Sequence[tuple[float, float]], dash: str) -> dict[str, Any]:
    """A line with the mark of its best validation."""
    points = validated(curve(run))
    best = max(range(len(points)), key=lambda at: points[at][1])
    epoch, score = points[best]
    x, y = places[best]
    return {
        "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in places),
        "dash": dash,
        "x": f"{x:.1f}",
        "y": f"{y:.1f}",
        "text": f"seed {run.spec.get('seed', 0)}: best {score:.4f} after epoch {epoch} of {run.training.get('epochs')}",
    }


def ticks(most: float) -> list[float]:
    """Round numbers from 0 to `most` or just above, evenly spaced."""
    power = 10.0 ** math.floor(math.log10(most / TICKS))
    step = next(times * power for times in (1, 2, 5, 10) if most / (times * power) <= TICKS)
    return [round(step * number, 9) for number in range(math.ceil(most / step - 1e-9) + 1)]
