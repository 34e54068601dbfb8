"""Systems beside each other: a table, a plot, and what a test says of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec_bench.core.files import expand_home
from genrec_bench.core.frames import data_frame, needs
from genrec_bench.errors import RecordError, UsageError
from genrec_bench.leaderboard.columns import COLUMNS, NOT_MEASURED
from genrec_bench.leaderboard.comparison import Comparison
from genrec_bench.leaderboard.comparison import compare as compare_two
from genrec_bench.leaderboard.facts import train_seconds
from genrec_bench.leaderboard.rows import METRICS, Row, row_of
from genrec_bench.leaderboard.selection import find
from genrec_bench.leaderboard.standings import recomputed
from genrec_bench.library.shown import html_table
from genrec_bench.protocol.constants import SELECTION
from genrec_bench.protocol.statistics import holm, intervals
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.spec import distinguishing_options

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

System = (
    RunRecord | str | Path
)  # a run; or what `genrec compare` takes: a path, BOARD:SYSTEM, the first letters of an id
COLOURS = {"floor": "tab:gray", "baseline": "tab:blue", "generator": "tab:orange", None: "tab:purple"}
SHOWN = ("hit@5", "ndcg@5", "hit@10", "ndcg@10", "hit@20", "ndcg@20")


@dataclass(frozen=True, repr=False)
class ComparedSystems:
    """Systems on the same data, task and protocol; all others are compared with the first.

    `rows` have the mean over seeds of every metric and, for hit and ndcg, its 95 % interval (protocol P17). `pairs` are the
    other systems against the first, in order, each by a test of its own; `p` are its p-values after Holm's correction for
    all of them, None where a seeded system has one seed, so that no test can tell (protocol P18).
    """

    policy: str
    rows: tuple[Row, ...]
    pairs: tuple[Comparison, ...]
    p: tuple[float | None, ...]

    @property
    def verdicts(self) -> list[str]:
        """A sentence on each of the other systems. Its p-value is that of the pair, before the correction in `p`."""
        return [pair.verdict for pair in self.pairs]

    def to_pandas(self) -> pd.DataFrame:
        """One row per system: seeds, metrics, intervals of hit@10 and ndcg@10, and its ndcg@10 less the first's.

        NeedsMissing without pandas.
        """
        columns: dict[str, list[Any]] = {
            "system": [row.short_name for row in self.rows],
            "kind": [row.kind for row in self.rows],
            "seeds": [row.seeds for row in self.rows],
        }
        columns |= {metric: [row.metrics[metric] for row in self.rows] for metric in METRICS}
        for metric in ("hit@10", "ndcg@10"):
            for end, name in enumerate(("low", "high")):
                columns[f"{metric}_{name}"] = [row.intervals[metric][end] for row in self.rows]

        found = [None, *(pair.difference for pair in self.pairs)]
        columns["difference"] = [one.value if one else nan for one in found]
        columns["difference_low"] = [one.interval[0] if one else nan for one in found]
        columns["difference_high"] = [one.interval[1] if one else nan for one in found]
        columns["p"] = [nan if p is None else p for p in (None, *self.p)]
        return data_frame(columns)

    def plot(self, metric: str = SELECTION, ax: Axes | None = None) -> Axes:
        """Draw `metric` (hit or ndcg at 5, 10 or 20) of every system with its 95 % interval, the first system on top.

        UsageError for another metric, NeedsMissing without Matplotlib.
        """
        if metric not in self.rows[0].intervals:
            raise UsageError(f"no interval of {metric!r}: draw one of {', '.join(self.rows[0].intervals)}")
        try:
            import matplotlib.pyplot as plt
        except ImportError:
            raise needs("a plot", "matplotlib") from None

        if ax is None:
            _, ax = plt.subplots(figsize=(7, 1 + 0.4 * len(self.rows)), layout="constrained")
        places = range(len(self.rows), 0, -1)
        for place, row in zip(places, self.rows, strict=True):
            low, high = row.intervals[metric]
            ax.hlines(place, low, high, color=COLOURS[row.kind])
            ax.plot(row.metrics[metric] or 0.0, place, "o", color=COLOURS[row.kind])
        ax.set_ylim(0.4, len(self.rows) + 0.6)
        ax.set_yticks(list(places), [row.short_name for row in self.rows])
        ax.set_xlabel(f"{metric}, 95 % interval")
        return ax

    def __repr__(self) -> str:
        scores = ", ".join(f"{row.short_name} {row.metrics[SELECTION]:.4f}" for row in self.rows)
        return f"<{len(self.rows)} systems, {SELECTION}, policy {self.policy}: {scores}>"

    def _repr_html_(self) -> str:
        heads = ["system", "seeds", *SHOWN, f"{SELECTION} less the first's", "p (Holm)"]
        told = [("", "")]
        for pair, p in zip(self.pairs, self.p, strict=True):
            told.append((f"{pair.difference.value:+.4f}" if pair.difference else NOT_MEASURED, _p(p)))
        rows = [
            [row.short_name, str(row.seeds), *(COLUMNS[metric].show(row) for metric in SHOWN), *cells]
            for row, cells in zip(self.rows, told, strict=True)
        ]
        return html_table(heads, rows, self.verdicts)


def compare(
    systems: Iterable[System | Sequence[RunRecord]], *, policy: str = "mask", out: Path | str = "runs"
) -> ComparedSystems:
    """Compare systems with the first of them, on the ranks of every test case.

    A system is a record, several of them (its seeds), or a text that `genrec compare` understands; ids are looked for in
    `out`. Records of one system count as its seeds, wherever they stand. RecordError if the systems ran on other data, another
    task or protocol, or if a text names nothing; UsageError for fewer than two systems or an unknown policy.

    >>> found = compare([run(RunSpec(baseline="popularity")), run(RunSpec(baseline="ease"))])  # doctest: +SKIP
    >>> found.to_pandas()  # doctest: +SKIP
    """
    if policy not in ("mask", "keep"):
        raise UsageError(f"policy {policy!r}: mask (seen items hidden) or keep")

    by_system: dict[str, dict[str, RunRecord]] = {}
    for system in systems:
        for record in _records(system, Path(expand_home(out))):
            by_system.setdefault(record.system_id, {})[record.spec_id] = record
    if len(by_system) < 2:
        raise UsageError(f"a comparison needs two systems, and these are {len(by_system)}")

    runs = [[recomputed(run) for run in by_run.values()] for by_run in by_system.values()]
    pairs = tuple(compare_two(others, runs[0], policy) for others in runs[1:])
    tested = holm([pair.difference.p for pair in pairs if pair.difference])
    corrected = iter(tested)

    seconds = train_seconds([run for group in runs for run in group])
    options = distinguishing_options([group[0].spec for group in runs])
    rows = [row_of(group, policy, seconds, text) for group, text in zip(runs, options, strict=True)]
    ranks = [np.array([run.ranks[policy] for run in row.runs], np.int64) for row in rows]
    return ComparedSystems(
        policy=policy,
        rows=tuple(replace(row, intervals=spread) for row, spread in zip(rows, intervals(ranks), strict=True)),
        pairs=pairs,
        p=tuple(next(corrected) if pair.difference else None for pair in pairs),
    )


def _records(system: System | Sequence[RunRecord], out: Path) -> list[RunRecord]:
    """The finished runs that a person means by a system."""
    if isinstance(system, str | Path):
        return find(str(system), out)
    records = [system] if isinstance(system, RunRecord) else list(system)
    for record in records:
        if record.status != "finished":
            raise RecordError(f"{record.system}: the run {record.status}: {record.reason}", path=None)
        if any(isinstance(ranks, str) for ranks in record.ranks.values()):
            raise RecordError(
                f"{record.system} has its ranks in files beside its record: give the path of its run", path=None
            )
    return records


def _p(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2g}"
