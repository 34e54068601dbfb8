"""A published board: its rows with intervals, tests, known issues, and what nobody has run yet.

Every metric is computed anew from the ranks in the records. Knows nothing of files or of how boards look.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from genrec_bench.baselines.item_counts import ItemCounts
from genrec_bench.errors import RecordError
from genrec_bench.host.config import config_dict
from genrec_bench.leaderboard.known_issues import Issue, affecting
from genrec_bench.leaderboard.records import check_possible
from genrec_bench.leaderboard.rows import (
    RANKED_SEEDS,
    REFERENCE,
    Board,
    Row,
    boards,
)
from genrec_bench.leaderboard.tie_orders import TieOrders
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

UNTRAINED = ("popularity", REFERENCE, "id-canary")
MANDATORY = {  # rows that every board must have (protocol P14)
    "direct": (*UNTRAINED, "bpr", "lightgcn", "simplex"),
    "sequential": (*UNTRAINED, "sasrec", "sasrec-bpr", "gru4rec", "bert4rec"),
}


@dataclass(frozen=True)
class Standings:
    """One board under one history policy, with what its pages say of the whole board."""

    board: Board
    missing: tuple[str, ...]  # mandatory systems without a run here
    detectable: float | None  # the smallest relative difference that can be told from chance
    remarks: tuple[str, ...] = ()  # what people noted of the whole board, a sentence each
    issues: tuple[Issue, ...] = ()  # known ones that affect some row
    tuning: tuple[str, ...] = ()  # how much tuning went into the rows, a sentence each
    ties: TieOrders | None = None  # baselines under other orders of equal timestamps

    @property
    def rows(self) -> tuple[Row, ...]:
        """The board's rows, best first."""
        return self.board.rows


def standings(records: Sequence[RunRecord], policy: str) -> Standings:
    """The board of `records`: finished runs on one data set, task and protocol, with their ranks inside.

    RecordError for an impossible row, or for runs on different data or with different options of the data set.
    """
    board = _one_board(records, policy)
    rows = board.rows
    ranks = {row.system_id: np.array([run.ranks[policy] for run in row.runs], np.int64) for row in rows}

    # against the reference baseline
    reference = _reference(rows)
    separable = _separable(reference, rows, ranks) if reference else {}
    level = (reference.metrics[SELECTION] if reference else None) or 0.0
    others = [ranks[row.system_id] for row in rows if row is not reference]
    smallest = detectable(ranks[reference.system_id], others) if reference else None

    # against chance, and against the first row
    spread = dict(zip(ranks, intervals(list(ranks.values())), strict=True))
    standing = _standing(rows, ranks)

    compared = tuple(
        replace(
            row,
            standing=standing[row.system_id],
            intervals=spread[row.system_id],
            distance=row.metrics[SELECTION] / level - 1 if level and row is not reference else None,
            separable=separable.get(row.system_id),
        )
        for row in rows
    )
    run_here = {row.system for row in rows if row.tier != RESCORED}
    missing = tuple(system for system in MANDATORY.get(board.task, UNTRAINED) if system not in run_here)
    return Standings(replace(board, rows=compared), missing, smallest)


def _one_board(records: Sequence[RunRecord], policy: str) -> Board:
    several = boards([recomputed(record) for record in records], policy)
    if len(several) > 1:
        raise RecordError(
            f"one board cannot hold {' and '.join(board.dataset for board in several)}: its runs need the same options of "
            "the data set; remove the records of one of them",
            path=None,
        )
    return several[0]


def recomputed(record: RunRecord) -> RunRecord:
    """The record with every metric computed anew from its ranks. RecordError if they differ from those it states."""
    check_possible(record)
    metrics = {policy: {**record.metrics[policy], **from_ranks(record.ranks[policy])} for policy in record.policies}
    return replace(record, metrics=metrics)


def marked(board: Standings, known: Sequence[Issue]) -> Standings:
    """The same board with the known issues that affect it; a row has one as soon as one of its runs does."""
    issues = affecting(known, [run for row in board.rows for run in row.runs])
    rows = tuple(
        replace(row, issues={number: issue for number, issue in enumerate(issues, 1) if affecting([issue], row.runs)})
        for row in board.rows
    )
    return replace(board, board=replace(board.board, rows=rows), issues=issues)


def _reference(rows: Sequence[Row]) -> Row | None:
    """The row that others are compared with: item-counts with its default options, which the protocol fixes; else the
    first row of item-counts, if there is one. A tuned item-counts is a row like any other."""
    candidates = [row for row in rows if row.system == REFERENCE]
    defaults = json.loads(json.dumps(config_dict(ItemCounts.Config())))
    for row in candidates:
        if row.runs[0].spec.get("options", {}).get("baseline") == defaults:
            return row
    return candidates[0] if candidates else None


def _separable(reference: Row, rows: Sequence[Row], ranks: Mapping[str, Ranks]) -> dict[str, bool]:
    """Which rows differ from the reference by more than chance, Holm-corrected over all rows."""
    others = [row.system_id for row in rows if row is not reference]
    p_values = holm([p_value(ranks[reference.system_id], ranks[other]) for other in others])
    return {other: p <= LEVEL for other, p in zip(others, p_values, strict=True)}


def _standing(rows: Sequence[Row], ranks: Mapping[str, Ranks]) -> dict[str, str]:
    """`best` for a ranked row that is separable from every other, `tied` for those that are not separable from the
    first, `ranked` for the rest; `unranked` with too few seeds (protocol P17, P18)."""
    standing = {row.system_id: "unranked" for row in rows}
    ranked = [row.system_id for row in rows if row.seeds >= RANKED_SEEDS]
    if not ranked:
        return standing

    first, *others = ranked
    p_values = holm([p_value(ranks[first], ranks[other]) for other in others])
    close = {other for other, p in zip(others, p_values, strict=True) if p > LEVEL}

    standing |= {other: "tied" if other in close else "ranked" for other in others}
    standing[first] = "tied" if close else "best"
    return standing
