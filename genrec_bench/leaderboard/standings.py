"""A published board: the rows of one data set and task with intervals, tests and what has not been run yet.

Every metric is computed anew from the ranks in the records. Knows nothing of files or of how boards look.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from genrec_bench.errors import RecordError
from genrec_bench.host import registry
from genrec_bench.host.config import config_dict
from genrec_bench.leaderboard.issues import Issue, affecting
from genrec_bench.leaderboard.records import check_possible
from genrec_bench.leaderboard.rows import (
    RANKED_SEEDS,
    Board,
    Row,
    boards,
)
from genrec_bench.leaderboard.tie_orders import TieOrders
from genrec_bench.leaderboard.training import train_seconds
from genrec_bench.protocol.constants import SELECTION
from genrec_bench.protocol.scores import from_ranks
from genrec_bench.protocol.statistics import (
    LEVEL,
    Ranks,
    detectable,
    holm,
    intervals,
    p_value,
)
from genrec_bench.runs.record import RESCORED, RunRecord

YARDSTICK = "item-counts"
FLOORS = ("popularity", YARDSTICK, "id-canary")
MANDATORY = {  # rows every board must have (protocol P14)
    "direct": (*FLOORS, "bpr", "lightgcn", "simplex"),
    "sequential": (*FLOORS, "sasrec", "sasrec-bpr", "gru4rec", "bert4rec"),
}


@dataclass(frozen=True)
class Line:
    """One row with what a published board adds to it."""

    row: Row
    runs: tuple[RunRecord, ...]  # by seed
    tier: str
    standing: str  # best | tied | ranked | unranked
    intervals: Mapping[str, tuple[float, float]]
    distance: float | None  # ndcg@10 against item-counts, relative
    seconds: tuple[float | None, ...]  # of each run's training
    separable: bool | None  # whether that difference is more than chance; None where there is nothing to compare
    issues: tuple[int, ...] = ()  # which of the board's known issues some run of it has, from 1


@dataclass(frozen=True)
class Standings:
    """One board under one history policy."""

    board: Board
    lines: tuple[Line, ...]
    missing: tuple[str, ...]  # mandatory systems without a run here
    detectable: float | None  # smallest relative difference that can be told from chance
    remarks: tuple[str, ...] = ()  # what people noted of the whole board, a sentence each
    issues: tuple[Issue, ...] = ()  # known ones that affect some row
    tuning: tuple[str, ...] = ()  # what was spent on tuning, a sentence each
    ties: TieOrders | None = None  # the floors under other orders of equal timestamps


def standings(records: Sequence[RunRecord], policy: str) -> Standings:
    """The board of `records`, which are finished, of one data set, task and protocol, and hold their ranks.

    RecordError for an impossible row, or for runs on different data or with different options of the data set.
    """
    made = boards([recomputed(record) for record in records], policy)
    if len(made) > 1:
        raise RecordError(
            f"one board cannot hold {' and '.join(board.dataset for board in made)}: its runs need the same options of "
            "the data set; remove the records of one of them",
            path=None,
        )
    (board,) = made
    runs = {
        row.system_id: sorted(
            (record for record in records if record.system_id == row.system_id),
            key=lambda record: (int(record.spec.get("seed", 0)), record.spec_id),
        )
        for row in board.rows
    }
    ranks = {key: np.array([run.ranks[policy] for run in mine], np.int64) for key, mine in runs.items()}
    yardstick = _yardstick(board.rows, runs)
    apart = _separable(yardstick, board.rows, ranks) if yardstick else {}
    standing, seconds = _standing(board.rows, ranks), train_seconds(records)
    found = dict(zip(ranks, intervals(list(ranks.values())), strict=True))
    lines = []
    for row in board.rows:
        level = yardstick.metrics[SELECTION] if yardstick else 0.0
        distance = row.metrics[SELECTION] / level - 1 if level and row is not yardstick else None
        mine = tuple(runs[row.system_id])
        told = standing[row.system_id]
        took = tuple(seconds[run.spec_id] for run in mine)
        lines.append(
            Line(row, mine, tier_of(mine), told, found[row.system_id], distance, took, apart.get(row.system_id))
        )
    others = [ranks[row.system_id] for row in board.rows if row is not yardstick]
    names = {line.row.system for line in lines if line.tier != RESCORED}
    missing = tuple(name for name in MANDATORY.get(board.task, FLOORS) if name not in names)
    smallest = detectable(ranks[yardstick.system_id], others) if yardstick else None
    return Standings(board, tuple(lines), missing, smallest)


def marked(made: Standings, known: Sequence[Issue]) -> Standings:
    """The same board with the known issues that affect it; a row has one as soon as one of its runs does."""
    issues = affecting(known, [run for line in made.lines for run in line.runs])
    lines = [
        replace(line, issues=tuple(at for at, issue in enumerate(issues, 1) if affecting([issue], line.runs)))
        for line in made.lines
    ]
    return replace(made, lines=tuple(lines), issues=issues)


def recomputed(record: RunRecord) -> RunRecord:
    """The record with every metric computed anew from its ranks. RecordError if those that it states are others."""
    check_possible(record)
    metrics = {policy: {**record.metrics[policy], **from_ranks(record.ranks[policy])} for policy in record.policies}
    return replace(record, metrics=metrics)


def tier_of(runs: Sequence[RunRecord]) -> str:
    """The row's tier: the lowest that its records state. A record that states none was made by `genrec run`, from a
    resolved spec that anybody can run again: *reproduced*."""
    told = {str(getattr(run, "tier", None) or "reproduced") for run in runs}
    return next((tier for tier in ("reported", "re-scored") if tier in told), "reproduced")


def _yardstick(rows: Sequence[Row], runs: Mapping[str, Sequence[RunRecord]]) -> Row | None:
    """The row that distances are measured from: item-counts with the protocol's own weights, which are its defaults; a
    tuned one is a row like any other."""
    mine = [row for row in rows if row.system == YARDSTICK]
    own = json.loads(json.dumps(config_dict(registry.load("baseline", YARDSTICK).Config())))
    return next(
        (row for row in mine if runs[row.system_id][0].spec.get("options", {}).get("baseline") == own), (*mine, None)[0]
    )


def _separable(yardstick: Row, rows: Sequence[Row], ranks: Mapping[str, Ranks]) -> dict[str, bool]:
    """Which rows differ from the yardstick by more than chance, Holm-corrected over all rows."""
    others = [row.system_id for row in rows if row is not yardstick]
    values = holm([p_value(ranks[yardstick.system_id], ranks[other]) for other in others])
    return {other: value <= LEVEL for other, value in zip(others, values, strict=True)}


def _standing(rows: Sequence[Row], ranks: Mapping[str, Ranks]) -> dict[str, str]:
    """`best` for a ranked row that is separable from every other, `tied` for those that are not separable from the
    first, `ranked` for the rest; `unranked` with too few seeds (protocol P17, P18)."""
    told = {row.system_id: "unranked" for row in rows}
    ranked = [row.system_id for row in rows if row.seeds >= RANKED_SEEDS]
    if not ranked:
        return told
    first, *others = ranked
    values = holm([p_value(ranks[first], ranks[other]) for other in others])
    near = {other for other, value in zip(others, values, strict=True) if value > LEVEL}
    told |= {other: "tied" if other in near else "ranked" for other in others}
    return {**told, first: "tied" if near else "best"}
