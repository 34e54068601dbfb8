"""The sentences below a table: under which conditions its numbers hold, and how to read them.

A table of runs has those of `of_table`; a published board has all of `of_board`, in README.md and index.html alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genrec_bench.core.losses import loss
from genrec_bench.leaderboard.columns import dagger
from genrec_bench.leaderboard.curves import passes
from genrec_bench.leaderboard.facts import NO, NOT_CONVERGED, TIME_LIMIT, code_of
from genrec_bench.leaderboard.known_issues import Issue
from genrec_bench.leaderboard.rows import RANKED_SEEDS, Board, Row

if TYPE_CHECKING:
    from genrec_bench.leaderboard.standings import Standings  # it needs SciPy, which tables do without

TIES = "Baselines under other tie orders"
UNEVEN = 0.1  # how much more training one seed of a row may have than another without being named


def of_table(board: Board) -> list[str]:
    """Data, beams, hardware, seeds, convergence, warnings, and runs that are not shown."""
    sentences = []
    data = board.data

    facts = [f"{data[key]:,} {key}" for key in ("users", "items", "interactions") if data.get(key) is not None]
    if board.policy == "mask" and data.get("mask_ceiling") is not None:
        facts.append(f"no masked list can hit more than {data['mask_ceiling']:.4f}")
    if data.get("tie_users") is not None and data.get("users"):
        facts.append(
            f"{data['tie_users'] / data['users']:.0%} of users have tied timestamps where the split cuts their history"
        )
    if facts:
        sentences.append(f"Data: {', '.join(facts)}.")
    if (lost := loss(data)) and lost not in board.warnings:
        sentences.append(f"{lost}.")

    beams = sorted({row.beams for row in board.rows if row.beams})
    if beams:
        sentences.append(f"Beams: {', '.join(map(str, beams))}.")
    sentences += [f"[{number}] {hardware}" for number, hardware in enumerate(board.hardware_classes, 1)]

    if any(row.seeded and row.seeds < RANKED_SEEDS for row in board.rows):
        sentences.append(f"A * marks a row with fewer than {RANKED_SEEDS} seeds: it is shown, not ranked.")
    if unconverged := [row.full_name for row in board.rows if row.converged == NO]:
        sentences.append(
            f"{NOT_CONVERGED.capitalize()}: a training of these rows ended by a time limit, or with its last epoch, before early "
            "stopping would have (a generator's, if its last validation was the best), so longer training may change their "
            f"numbers: {', '.join(unconverged)}."
        )

    sentences += [f"Warning: {warning}." for warning in board.warnings]
    return sentences + [f"Not shown: {reason}." for reason in board.refused]


def of_board(board: Standings) -> list[str]:
    """All sentences below a board."""
    return [*of_rows(board), *of_people(board)]


def of_rows(board: Standings) -> list[str]:
    """The same as for a table; and intervals, tests, tiers, tie orders, missing rows and tuning."""
    sentences = [
        *of_table(board.board),
        "± is the standard deviation over seeds; table.csv and index.html give 95 % intervals from a bootstrap over seeds "
        "and users (over users alone where there is one seed).",
    ]
    if board.comparators:
        best = ", ".join(f"{row.short_name} (best {kind})" for kind, row in board.comparators.items())
        sentences.append(
            f"vs floor, baseline, generator: ndcg@10 relative to {best}; generators alone are compared with the best of them. A ~ "
            "marks a difference that may be chance: a test with the users and the training seeds in its error, 5 %, "
            "Holm-corrected over all models (decoders of one model count once). One seed of what a seed moves can show nothing."
        )

    users = len(board.rows[0].runs[0].ranks[board.board.policy])
    for kind, (first, last) in board.detectable.items():
        sentences.append(
            f"With {users:,} users and these seeds, a difference from the best {kind} is found reliably (power 80 %, median over "
            f"the rows) from ±{first:.0%} of its ndcg@10 at Holm's first step, ±{last:.0%} at the last."
        )

    sentences += _of_budgets(board)
    sentences += _of_trainings(board)
    if any(row.standing == "tied" for row in board.rows):
        sentences.append("*Tied* rows cannot be told from the first ranked row, so none of them is the best.")
    sentences.append(
        "Tiers: *run*: made by `genrec run`, once, from the spec in its record; *reproduced*: run a second time, in reruns/, inside "
        "the 95 % interval for one more run by the spread of its seeds; *re-scored*: lists made elsewhere and scored here."
    )
    if board.outside:
        sentences.append(f"Run a second time, outside that interval: {'; '.join(board.outside)}.")

    data = board.board.data
    if "tie_users" in data and not data["tie_users"]:
        sentences.append("No two interactions of a user tie, so the order is that of the data and no tie rule applies.")
    elif board.ties is None:
        sentences.append("Nobody has measured baselines under other tie orders yet (`genrec leaderboard ties`).")
    if board.missing:
        sentences.append(f"Mandatory rows without a run on this board: {', '.join(board.missing)}.")

    return [*sentences, *board.tuning]


def of_people(board: Standings) -> list[str]:
    """Known issues and remarks: what people wrote on this board, with links to their sources."""
    issues = [f"{dagger(number)} Known issue {of_issue(issue)}" for number, issue in enumerate(board.issues, 1)]
    return [*issues, *board.remarks]


def of_issue(issue: Issue) -> str:
    """A known issue: its id, what it is, and where it is told."""
    return f"{issue.id}: {issue.what} ({issue.link})."


def _of_budgets(board: Standings) -> list[str]:
    """Whether the rows that a seed moves had equal budgets, and how far these lie apart."""
    rows = [row for row in board.rows if row.seeded]
    facts: dict[str, list[float | int | None]] = {
        "passes": [row.passes for row in rows],
        "training seconds": [row.train_seconds for row in rows],
        "trials": [row.trials for row in rows],
        "patience": [row.patience for row in rows],
    }

    told = {name: sorted({value for value in values if value is not None}) for name, values in facts.items()}
    apart = [f"{name} {values[0]:,.4g} to {values[-1]:,.4g}" for name, values in told.items() if len(values) > 1]
    sentences = []
    if len(rows) > 1 and apart:
        sentences.append(
            f"Budgets of the trained rows are not equal ({', '.join(apart)}), so no comparison here is one of equal budgets."
        )

    if uneven := [f"{row.short_name} ({spread})" for row in rows if (spread := _uneven(row))]:
        sentences.append(
            f"A time limit gave the seeds of one row different budgets, and ± includes that: {', '.join(uneven)}."
        )
    if unknown := [row.short_name for row in rows if row.passes is None and row.train_seconds is None]:
        sentences.append(f"The records do not say how long these were trained: {', '.join(unknown)}.")
    if chosen := [row.short_name for row in board.rows if row.kind and row.options and row.trials == 0]:
        sentences.append(f"No ledger here says how the options of these rows were chosen: {', '.join(chosen)}.")
    return sentences


def _uneven(row: Row) -> str:
    """`1.8 to 3.1 passes`, if a time limit ended a training and a seed had a tenth more passes than another; else empty."""
    done = [count for run in row.runs if (count := passes(run))]
    limited = any(run.training.get("ended_by") == TIME_LIMIT for run in row.runs)
    if not limited or not done or max(done) <= (1 + UNEVEN) * min(done):
        return ""
    return f"{min(done):.3g} to {max(done):.3g} passes"


def _of_trainings(board: Standings) -> list[str]:
    """How trainings ended, whose seconds are shown, and whether all seeds of a row ran on the same code."""
    sentences = []

    if any(row.converged for row in board.rows):
        sentences.append(
            "Column converged of table.csv: *yes*: every training ended by early stopping or in a closed form, or a generator "
            "ran all its epochs and its last validation was not the best; *no*: one did not. A row's section of index.html says "
            "how each seed ended, and draws its validation by pass over the data."
        )

    if any(run.training.get("cached") for row in board.rows for run in row.runs):
        sentences.append(
            "train s: rows with the very same weights share one training and show its seconds, or those of the last one where "
            "several trainings gave these weights."
        )

    mixed = [row for row in board.rows if len({code_of(run) for run in row.runs}) > 1]
    if mixed:
        sentences.append(
            f"The seeds of {len(mixed)} rows ran on different versions of their components' code (column code of a row's seeds "
            "in index.html), so ± includes what that changed."
        )

    return sentences
