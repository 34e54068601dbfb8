"""Accuracy against throughput as inline SVG: one shape per hardware class, as speeds compare inside one only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from genrec_bench.leaderboard.standings import YARDSTICK, Line, Standings
from genrec_bench.leaderboard.texts import short_name
from genrec_bench.protocol.constants import SELECTION

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 390, 60, 45, 28, 150
LETTER = 6.5  # about as wide as one of 12 px
FEW = 20  # with more rows, not every one is labelled
SHAPES = {  # corners around the place; a hardware class each
    "circle": (),
    "square": ((-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)),
    "triangle": ((0, -6), (6, 5), (-6, 5)),
    "diamond": ((0, -7), (6, 0), (0, 7), (-6, 0)),
    "triangle pointing down": ((0, 6), (6, -5), (-6, -5)),
    "triangle pointing right": ((6, 0), (-5, 6), (-5, -6)),
    "triangle pointing left": ((-6, 0), (5, 6), (5, -6)),
    "hourglass": ((-6, -6), (6, -6), (-6, 6), (6, 6)),
}


def scatter(made: Standings) -> str:
    """An SVG element, or an empty text where fewer than two rows were timed."""
    lines = _timed(made)
    if len(lines) < 2:
        return ""
    places = _places(lines)
    speeds = [math.log10(line.row.users_per_second or 1) for line in lines]
    low, high = math.floor(min(speeds)), max(math.ceil(max(speeds)), math.floor(min(speeds)) + 1)
    most = max(line.row.metrics[SELECTION] for line in lines)
    step = next(step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if most / step <= 7 or step == 0.5)
    ceiling = step * math.ceil(most / step + 1e-9)

    def across(speed: float) -> float:
        return LEFT + (speed - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def up(score: float) -> float:
        return HEIGHT - BOTTOM - score / ceiling * (HEIGHT - BOTTOM - TOP)

    what = f"{SELECTION} against users per second of {len(lines)} rows"
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(what)}">']
    for power in range(low, high + 1):
        at = across(power)
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{10**power:,}</text>')
    for tick in range(round(ceiling / step) + 1):
        at = up(tick * step)
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{tick * step:.3g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="soft" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">users per second</text>')
    parts.append(f'<text class="soft" x="4" y="{TOP - 14}">{SELECTION}</text>')
    taken: list[tuple[float, float, float]] = []
    labelled = _labelled(lines)
    for line, speed in zip(lines, speeds, strict=True):
        x, y = across(speed), up(line.row.metrics[SELECTION])
        name = short_name(line.row.system, line.row.options)
        told = (
            f"{name}: {line.row.metrics[SELECTION]:.4f}, {line.row.users_per_second:,.0f} users/s, {line.row.hardware}"
        )
        shape = _shape(_mark(places.index(line.row.hardware or "")), x, y)
        parts.append(
            f'<a href="#system-{line.row.system_id}" aria-label="{escape(told)}"><title>{escape(told)}</title>{shape}'
        )
        if line in labelled:
            width, anchor, at = len(name) * LETTER, "start", x + 8
            if at + width > WIDTH:  # a long name at the right edge stands on the left of its mark
                anchor, at = "end", x - 8
            label = _free(at - (width if anchor == "end" else 0), y, width, taken)
            parts.append(f'<text x="{at:.1f}" y="{label:.1f}" text-anchor="{anchor}">{escape(name)}</text>')
        parts.append("</a>")
    return "\n".join([*parts, "</svg>"])


def _timed(made: Standings) -> list[Line]:
    return [line for line in made.lines if line.row.users_per_second and line.row.hardware]


def _places(lines: Sequence[Line]) -> list[str]:
    """The hardware classes of the plotted rows, in the order they appear."""
    return list(dict.fromkeys(line.row.hardware or "" for line in lines))


def _mark(at: int) -> str:
    """The shape of hardware class `at`; those beyond the last shape share it."""
    return list(SHAPES)[min(at, len(SHAPES) - 1)]


def _labelled(lines: Sequence[Line]) -> list[Line]:
    """The rows to label: all of a few; of many, those that no other on their hardware beats in both directions, and the
    yardstick."""
    if len(lines) <= FEW:
        return list(lines)
    fastest: dict[str | None, float] = {}
    front = []
    for line in sorted(lines, key=lambda each: (-each.row.metrics[SELECTION], -(each.row.users_per_second or 0))):
        speed = line.row.users_per_second or 0.0
        if speed > fastest.get(line.row.hardware, 0.0):
            fastest[line.row.hardware] = speed
            front.append(line)
    return [*front, *(line for line in lines if line.row.system == YARDSTICK and line not in front)]


def legend(made: Standings) -> list[str]:
    """Which shape is which hardware, in words; and which rows have labels."""
    lines = _timed(made)
    places = _places(lines)
    told = [f"{_mark(at)}: {place}" for at, place in enumerate(places)]
    if len(lines) > FEW:
        told.append(
            f"labelled: rows that no other on their hardware beats in both, and {YARDSTICK}; the others tell their name when pointed at"
        )
    return told


def _free(x: float, y: float, width: float, taken: list[tuple[float, float, float]]) -> float:
    """A height near `y`, above the axis, for a label of that width from `x` on that no earlier label covers; notes it in
    `taken`."""

    def covered(at: float) -> bool:
        return any(x < right and left < x + width and abs(at - height) < 12 for left, right, height in taken)

    beside = min(y + 4, HEIGHT - BOTTOM - 3)
    tried = (at for step in range(0, HEIGHT, 12) for at in (beside + step, beside - step))
    found = next((at for at in tried if TOP <= at < HEIGHT - BOTTOM and not covered(at)), beside)
    taken.append((x, x + width, found))
    return found


def _shape(name: str, x: float, y: float) -> str:
    if not (corners := SHAPES[name]):
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    return f'<path class="dot" d="M{" L".join(f"{x + dx:.1f} {y + dy:.1f}" for dx, dy in corners)} Z"/>'
