"""A published board: its rows with intervals, tests, known issues, and what nobody has run yet.

Every metric is computed anew from the ranks in the records. Knows nothing of files or of how boards look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.known_issues import Issue, affecting
from genrec_bench.leaderboard.records import check_possible
from genrec_bench.leaderboard.reported import Reported
from genrec_bench.leaderboard.rows import (
    CANARY,
    FLOORS,
    KINDS,
    RANKED_SEEDS,
    REPRODUCED,
    Against,
    Board,
    Row,
    boards,
)
from genrec_bench.leaderboard.tie_orders import TieOrders
from genrec_bench.protocol.constants import LEVEL, SELECTION
from genrec_bench.protocol.scores import from_ranks
from genrec_bench.protocol.statistics import (
    Difference,
    Ranks,
    detectable,
    difference,
    holm,
    intervals,
)
from genrec_bench.runs.record import RESCORED, RunRecord

UNTRAINED = (*FLOORS, CANARY)
MANDATORY = {  # rows that every board must have (protocol P14)
    "direct": (*UNTRAINED, "bpr", "lightgcn", "simplex"),
    "sequential": (*UNTRAINED, "sasrec", "sasrec-bpr", "gru4rec", "bert4rec"),
}


@dataclass(frozen=True)
class Standings:
    """One board under one history policy, with what its pages say of the whole board."""

    board: Board
    missing: tuple[str, ...]  # mandatory systems without a run here
    comparators: Mapping[str, Row]  # by kind: the best floor, baseline and generator
    detectable: Mapping[
        str, tuple[float, float]
    ]  # from each: the smallest relative difference, first and last Holm step
    remarks: tuple[str, ...] = ()  # what people noted of the whole board, a sentence each
    issues: tuple[Issue, ...] = ()  # known ones that affect some row
    tuning: tuple[str, ...] = ()  # how much tuning went into the rows, a sentence each
    reported: tuple[Reported, ...] = ()  # rows of papers, for context
    outside: tuple[str, ...] = ()  # second runs that the seeds of their row do not let expect
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
    spread = dict(zip(ranks, intervals(list(ranks.values())), strict=True))
    comparators = {kind: row for kind in KINDS if (row := next((row for row in rows if row.kind == kind), None))}
    against: dict[str, dict[str, Against]] = {row.system_id: {} for row in rows}
    smallest = {}
    for kind, comparator in comparators.items():
        level = comparator.score
        others = [row for row in rows if row.model != comparator.model and (kind != "generator" or row.kind == kind)]
        apart = {row.system_id: _difference(row, comparator, ranks) for row in others}
        p_values = _p_values(others, apart)
        for row in others if level else ():
            against[row.system_id][kind] = Against(row.score / level - 1, p_values[row.system_id])
        if steps := detectable(level, [found for found in apart.values() if found]):
            smallest[kind] = steps

    standing = _standing(rows, ranks, comparators, against)
    rank = _rank(rows, standing)
    compared = tuple(
        replace(
            row,
            standing=standing[row.system_id],
            rank=rank.get(row.system_id),
            intervals=spread[row.system_id],
            against=against[row.system_id],
        )
        for row in rows
    )
    run_here = {row.system for row in rows if row.tier != RESCORED}
    missing = tuple(system for system in MANDATORY.get(board.task, UNTRAINED) if system not in run_here)
    return Standings(replace(board, rows=compared), missing, comparators, smallest)


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


def with_reruns(board: Standings, again: Sequence[RunRecord]) -> Standings:
    """The board with second runs: a row whose second runs all gave what its seeds let expect is *reproduced*."""
    by_system: dict[str, list[RunRecord]] = {}
    for run in again:
        by_system.setdefault(run.system_id, []).append(recomputed(run))

    rows, outside = [], []
    for row in board.rows:
        runs = by_system.get(row.system_id, [])
        failed = [run for run in runs if not reproduces(row, run, board.board.policy)]
        outside += [f"{row.short_name}, seed {run.spec['seed']}" for run in failed]
        rows.append(replace(row, tier=REPRODUCED) if runs and not failed else row)
    return replace(board, board=replace(board.board, rows=tuple(rows)), outside=tuple(outside))


def reproduces(row: Row, again: RunRecord, policy: str) -> bool:
    """Whether a second run of a seed lies in the 95 % interval for one more run, by the spread of the row's seeds.

    The same ranks always agree; where no seed moves the row, or it has one seed, nothing else does.
    """
    first = next((run for run in row.runs if run.spec_id == again.spec_id), None)
    if first is not None and list(first.ranks[policy]) == list(again.ranks[policy]):
        return True
    scores = [run.metrics[policy][SELECTION] for run in row.runs]
    if not row.seeded or len(scores) < 2:
        return False

    width = stdtrit(len(scores) - 1, 1 - LEVEL / 2) * np.std(scores, ddof=1) * np.sqrt(1 + 1 / len(scores))
    return bool(abs(again.metrics[policy][SELECTION] - np.mean(scores)) <= width)


def _difference(row: Row, other: Row, ranks: Mapping[str, Ranks]) -> Difference | None:
    return difference(ranks[row.system_id], ranks[other.system_id], seeded=(row.seeded, other.seeded))


def _p_values(rows: Sequence[Row], apart: Mapping[str, Difference | None]) -> dict[str, float | None]:
    """Holm's p-value of each row, by its `system_id`. The decoders of one model are one hypothesis: their largest p counts."""
    by_model: dict[str, float] = {}
    for row in rows:
        if found := apart[row.system_id]:
            by_model[row.model] = max(found.p, by_model.get(row.model, 0.0))
    adjusted = dict(zip(by_model, holm(list(by_model.values())), strict=True))
    return {row.system_id: adjusted[row.model] if apart[row.system_id] else None for row in rows}


def _standing(
    rows: Sequence[Row],
    ranks: Mapping[str, Ranks],
    comparators: Mapping[str, Row],
    against: Mapping[str, Mapping[str, Against]],
) -> dict[str, str]:
    """`best` for a ranked row that is separable from every other, `tied` for those that are not separable from the
    first, `ranked` for the rest; `unranked` for a seeded row with too few seeds, and the probe for leaks (protocol P17, P18).

    A comparison that the board also makes with the best of a kind counts only if it is more than chance there too, so that no
    two statements of a board disagree.
    """
    standing = {row.system_id: "unranked" for row in rows}
    ranked = [row for row in rows if (row.seeds >= RANKED_SEEDS or not row.seeded) and row.system != CANARY]
    if not ranked:
        return standing

    first, *others = ranked
    p_values = _p_values(others, {row.system_id: _difference(row, first, ranks) for row in others})

    def elsewhere(row: Row) -> list[float]:
        pairs = [(row, kind) for kind, comparator in comparators.items() if comparator is first]
        pairs += [(first, kind) for kind, comparator in comparators.items() if comparator is row]
        found = [against[one.system_id].get(kind) for one, kind in pairs]
        return [one.p for one in found if one and one.p is not None]

    close = {row.system_id for row in others if max([p_values[row.system_id] or 0.0, *elsewhere(row)]) > LEVEL}

    standing |= {row.system_id: "tied" if row.system_id in close else "ranked" for row in others}
    standing[first.system_id] = "tied" if close else "best"
    return standing


def _rank(rows: Sequence[Row], standing: Mapping[str, str]) -> dict[str, int]:
    """The place of each ranked row among them; those that cannot be told from the first share its place."""
    ranked = [row.system_id for row in rows if standing[row.system_id] != "unranked"]
    return {row: 1 if standing[row] == "tied" else place for place, row in enumerate(ranked, 1)}
