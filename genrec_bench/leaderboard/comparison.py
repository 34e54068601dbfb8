"""Two systems beside each other: what is equal in their conditions, how far apart they are, and what a test says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.columns import COLUMNS, NOT_MEASURED, SCORES
from genrec_bench.leaderboard.facts import code_of, train_seconds
from genrec_bench.leaderboard.rows import Row, row_of
from genrec_bench.leaderboard.standings import recomputed, reproduces
from genrec_bench.protocol.constants import LEVEL, SELECTION
from genrec_bench.protocol.statistics import Difference, difference
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.spec import distinguishing_options

EQUAL = ("data", "split")  # fingerprints without which no difference means anything
CONDITION = ("seeds", "beams", "normalisation", "passes", "train_seconds", "patience", "parameters")


@dataclass(frozen=True)
class Comparison:
    """Two systems under one history policy. `difference` is first less second in ndcg@10; None where no test can tell.

    Of two sets of runs of one system, `again` says whether the second reproduces the first, and there is no `verdict`.
    """

    names: tuple[str, str]
    policy: str
    condition: tuple[tuple[str, str, str], ...]  # a fact, and what it is for each
    scores: tuple[tuple[str, float, float], ...]  # a metric, and both means over seeds
    difference: Difference | None
    verdict: str
    again: str

    @property
    def short(self) -> str:
        """The first's distance in ndcg@10 for a cell: `+12%`, `-34% (n.s.)` where it may be chance, `-34% (one seed)`."""
        ((_, one, other),) = [score for score in self.scores if score[0] == SELECTION]
        if not other:
            return NOT_MEASURED
        doubt = " (one seed)" if self.difference is None else " (n.s.)" if self.difference.p > LEVEL else ""
        return f"{one / other - 1:+.0%}{doubt}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        found = self.difference
        return {
            "systems": list(self.names),
            "policy": self.policy,
            "condition": {fact: [one, other] for fact, one, other in self.condition},
            "scores": {metric: [one, other] for metric, one, other in self.scores},
            "difference": found and {"ndcg@10": found.value, "interval": list(found.interval), "p": found.p},
            "verdict": self.verdict or None,
            "again": self.again or None,
        }


def compare(first: Sequence[RunRecord], second: Sequence[RunRecord], policy: str = "mask") -> Comparison:
    """Two systems, each with the runs of its seeds. RecordError if they ran on other data, another task or protocol."""
    _check_comparable(first[0], second[0])
    runs = [[recomputed(run) for run in side] for side in (first, second)]
    seconds = train_seconds([run for side in runs for run in side])
    options = distinguishing_options([side[0].spec for side in runs])
    rows = [row_of(side, policy, seconds, text) for side, text in zip(runs, options, strict=True)]

    ranks = [np.array([run.ranks[policy] for run in row.runs], np.int64) for row in rows]
    found = difference(ranks[0], ranks[1], seeded=(rows[0].seeded, rows[1].seeded))
    return Comparison(
        names=(rows[0].short_name, rows[1].short_name),
        policy=policy,
        condition=tuple(_condition(rows)),
        scores=tuple((metric, rows[0].metrics[metric] or 0.0, rows[1].metrics[metric] or 0.0) for metric in SCORES),
        difference=found,
        verdict=_verdict(rows, found) if rows[0].system_id != rows[1].system_id else "",
        again=_again(rows, policy),
    )


def _check_comparable(one: RunRecord, other: RunRecord) -> None:
    for key in ("dataset", "task", "protocol"):
        if one.spec.get(key) != other.spec.get(key):
            raise RecordError(
                f"{one.system} has {key} {one.spec.get(key)}, {other.system} has {other.spec.get(key)}: no difference between them "
                "means anything",
                path=None,
            )

    for key in EQUAL:
        if one.fingerprints.get(key) != other.fingerprints.get(key):
            raise RecordError(
                f"{one.system} and {other.system} ran on different data ({key}), of one name: run one of them again",
                path=None,
            )


def _condition(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    facts = [(COLUMNS[key].title, *(COLUMNS[key].show(row) for row in rows)) for key in CONDITION]
    facts += [("on", *(row.hardware or NOT_MEASURED for row in rows))]
    facts += [("code", *("; ".join(sorted({code_of(run)[:12] for run in row.runs})) for row in rows))]
    facts += [("options", *(row.options for row in rows))] if any(row.options for row in rows) else []
    return [(fact, one, other) for fact, one, other in facts if one or other]


def _verdict(rows: Sequence[Row], found: Difference | None) -> str:
    first, second = (row.short_name for row in rows)
    own, level = rows[0].score, rows[1].score
    if found is None:
        alone = next(row.short_name for row in rows if row.seeded and row.seeds < 2)
        apart = f" ({own / level - 1:+.0%} in {SELECTION})" if level else ""
        return f"No test can tell {first} from {second}{apart}: the seed moves {alone}, which has one seed."

    share = f"{found.value / level:+.0%} in {SELECTION}" if level else f"{found.value:+.4f} in {SELECTION}"
    low, high = found.interval
    facts = f"{share}; difference {found.value:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}, p = {found.p:.2g}"
    if found.p > LEVEL:
        return f"{first} cannot be told from {second} ({facts})."
    return f"{first} is {'ahead of' if found.value > 0 else 'behind'} {second} by more than chance ({facts})."


def _again(rows: Sequence[Row], policy: str) -> str:
    """What the runs of the second say of the first, if both are one system."""
    first, second = rows
    if first.system_id != second.system_id:
        return ""
    own = {(run.spec_id, run.environment.get("time")) for run in first.runs}
    later = [run for run in second.runs if (run.spec_id, run.environment.get("time")) not in own]
    if not later:
        return "Both are the same runs."
    if first.seeded and first.seeds < 2 and not all(reproduces(first, run, policy) for run in later):
        return "One seed does not tell how far apart two runs may be, so nobody can say whether this is a reproduction."

    outside = [str(run.spec["seed"]) for run in later if not reproduces(first, run, policy)]
    if outside:
        return f"Not reproduced: seed {', '.join(outside)} of the second lies outside what the seeds of the first let expect."
    return "Reproduced: every run of the second has the ranks of the first, or lies inside what its seeds let expect."
