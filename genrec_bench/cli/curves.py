"""A training in a few lines of text: loss and validation by epoch, and the pace.

Knows a record's training, and nothing of other results.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from genrec_bench.leaderboard.curves import curve, pace, passes, validated
from genrec_bench.leaderboard.facts import ending
from genrec_bench.protocol.constants import SELECTION

if TYPE_CHECKING:
    from genrec_bench.runs.record import RunRecord

BARS = "▁▂▃▄▅▆▇█"
MOST = 50  # bars in a line


def training_lines(record: RunRecord) -> list[str]:
    """Validation and loss of each epoch as bars between the lowest and the highest, and how fast training was.

    Nothing of a system that has no second epoch.
    """
    points = curve(record)
    if len(points) < 2:
        return []

    rows = []
    if scores := validated(points):
        values = [score for _, score in scores]
        best, score = max(scores, key=lambda point: (point[1], -point[0]))
        words = f"best {score:.4f} after epoch {best} of {points[-1].epoch}"
        rows.append((f"validation {SELECTION}", bars(values), f"{values[0]:.4f} to {values[-1]:.4f}, {words}"))
    losses = [point.loss for point in points if point.loss is not None]
    if losses:
        rows.append(("loss", bars(losses), f"{losses[0]:.3f} to {losses[-1]:.3f}"))

    names, drawn = (max(len(row[column]) for row in rows) if rows else 0 for column in (0, 1))
    lines = [f"{name:<{names}}  {line:<{drawn}}  {words}" for name, line, words in rows]
    return [*lines, _pace(record)]


def bars(values: Sequence[float]) -> str:
    """A bar for each value, from the lowest to the highest; the mean of neighbours where there are more than `MOST`."""
    if len(values) > MOST:
        edges = [round(at * len(values) / MOST) for at in range(MOST + 1)]
        values = [math.fsum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    lowest, highest = min(values), max(values)
    span = highest - lowest or 1.0
    return "".join(BARS[round((value - lowest) / span * (len(BARS) - 1))] for value in values)


def _pace(record: RunRecord) -> str:
    """`1,234 targets/s, 12.3 passes/h, 1.03 passes; training ended by early stop: ...`."""
    speed, done = pace(record), passes(record)
    facts = [
        None if speed.targets_per_second is None else f"{speed.targets_per_second:,.0f} targets/s",
        None if speed.passes_per_hour is None else f"{speed.passes_per_hour:,.3g} passes/h",
        None if done is None else f"{done:.3g} pass{'' if done == 1 else 'es'} over the data",
        "weights from the cache" if record.training.get("cached") else None,
        (how := ending(record)) and f"ended by {how}",
    ]
    return f"{record.system}: {', '.join(fact for fact in facts if fact)}"
