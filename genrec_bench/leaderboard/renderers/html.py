"""index.html of a published board: one file that opens from disk and requests nothing.

It holds a table per history policy, the scatter plot, and a section per row. Its content security policy forbids every
request; style and script are inside the file. The markup is in `templates/`; this module only prepares what it shows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from genrec_bench.leaderboard import conditions, reported, tie_orders
from genrec_bench.leaderboard.columns import (
    BOARD,
    NOT_MEASURED,
    dagger,
    seconds,
    shown,
)
from genrec_bench.leaderboard.curves import pace, passes
from genrec_bench.leaderboard.facts import code_of, command, ending
from genrec_bench.leaderboard.renderers import curves, markup
from genrec_bench.leaderboard.renderers.scatter import legend, scatter
from genrec_bench.leaderboard.rows import Row
from genrec_bench.leaderboard.standings import Standings
from genrec_bench.protocol.constants import SELECTION
from genrec_bench.runs.record import RunRecord

SEEN_ITEMS = {"mask": "hidden from the lists", "keep": "kept in the lists"}
Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # headings, rows of cells


def page(policies: Sequence[Standings]) -> str:
    """The whole page. The first policy is shown, the others can be chosen."""
    first = policies[0]
    return markup.render(
        "board.html",
        board=first.board,
        style=markup.static("board.css"),
        script=markup.static("board.js"),
        seen_items=SEEN_ITEMS,
        sections=[_section(board) for board in policies],
        papers=_papers(first),
        rows=[_details(row, policies) for row in first.rows],
    )


def _papers(standings: Standings) -> dict[str, Any] | None:
    """The rows of papers, which stand once on a page: nobody knows their history policy."""
    if not standings.reported:
        return None
    return {
        "title": reported.TITLE,
        "explanation": reported.EXPLANATION,
        "heads": reported.HEADS,
        "metrics": reported.METRICS,
        "rows": [(row, reported.cells(row)) for row in standings.reported],
    }


def _section(standings: Standings) -> dict[str, Any]:
    """One policy: its table, its scatter plot and its conditions."""
    ties = standings.ties
    return {
        "board": standings.board,
        "missing": standings.missing,
        "columns": shown(BOARD, standings.rows),
        "plot": scatter(standings),
        "legend": "; ".join(legend(standings)),
        "conditions": conditions.of_board(standings),
        "ties_title": conditions.TIES,
        "ties": tie_orders.explanation(ties, standings.board) if ties else "",
        "ties_table": _split(tie_orders.table(ties, standings.board)) if ties else None,
    }


def _split(lines: Sequence[Sequence[str]]) -> Table:
    heads, *rows = lines
    return heads, rows


def _details(row: Row, policies: Sequence[Standings]) -> dict[str, Any]:
    """What is known of one row: issues, command, seeds, validation by pass, intervals, spec, components, environment."""
    first = row.runs[0]

    return {
        "row": row,
        "hardware": row.hardware or NOT_MEASURED,
        "warnings": list(dict.fromkeys(warning for run in row.runs for warning in run.warnings)),
        "issues": [_issue(row, number) for number in row.issues],
        "command": command(first),
        "seeds": _seeds(row, [board.board.policy for board in policies]),
        "curves": curves.curves(row),
        "legend": curves.legend(row),
        "intervals": _intervals(row, policies),
        "plain": {
            "Spec of the first seed": _plain(first.spec),
            "Components": _plain(first.components),
            "Environment": _plain(first.environment),
        },
    }


def _issue(row: Row, number: int) -> dict[str, str]:
    """A known issue of a row, and which of its seeds have it."""
    issue = row.issues[number]
    affected = ", ".join(str(run.spec.get("seed", 0)) for run in row.runs if issue.affects(run))
    return {"name": f"{dagger(number)} {issue.id}", "text": f"{issue.what} ({issue.link}). Seeds: {affected}."}


def _seeds(row: Row, policies: Sequence[str]) -> Table:
    """A line per run of a row."""
    heads = ["seed", "run", *(f"{SELECTION} {policy}" for policy in policies), "best epoch", "training ended by"]
    heads += ["passes", "targets/s", "passes/h", "train s", "users/s", "on", "code"]
    return heads, [_seed(run, took, policies) for run, took in zip(row.runs, row.run_seconds, strict=True)]


def _seed(run: RunRecord, took: float | None, policies: Sequence[str]) -> list[str]:
    training, speed = run.training, pace(run)

    return [
        str(run.spec.get("seed", 0)),
        run.spec_id,
        *(_number(run.metrics.get(policy, {}).get(SELECTION), "{:.4f}") for policy in policies),
        f"{_number(training.get('best_epoch'))} of {_number(training.get('epochs'))}",
        ending(run) or NOT_MEASURED,
        _number(passes(run), "{:.3g}"),
        _number(speed.targets_per_second, "{:,.0f}"),
        _number(speed.passes_per_hour, "{:,.3g}"),
        seconds(took),
        _number(run.throughput.get("users_per_second"), "{:,.0f}"),
        str(run.environment.get("time") or NOT_MEASURED)[:10],
        code_of(run),
    ]


def _intervals(row: Row, policies: Sequence[Standings]) -> Table:
    """The 95 % intervals of a row's system under each policy."""
    lines = [
        [board.board.policy, metric, f"{same.metrics[metric]:.4f}", f"{low:.4f}", f"{high:.4f}"]
        for board in policies
        for same in board.rows
        if same.system_id == row.system_id
        for metric, (low, high) in same.intervals.items()
    ]
    return ["policy", "metric", "mean", "from", "to"], lines


def _number(value: Any, form: str = "{}") -> str:
    return NOT_MEASURED if value is None else form.format(value)


def _plain(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False)
