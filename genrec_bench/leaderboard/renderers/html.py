"""index.html of a published board, and the front page over all boards: files that open from disk and request nothing.

A board's page holds, per history policy, a headline, a chart of the best rows and a table; and a section per row. The
content security policy forbids every request; style and script are inside the file. The markup is in `templates/`; this
module only prepares what it shows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from genrec_bench.leaderboard import conditions, reported, tie_orders
from genrec_bench.leaderboard.columns import (
    COLUMNS,
    NOT_MEASURED,
    PAGE,
    dagger,
    seconds,
)
from genrec_bench.leaderboard.curves import pace, passes
from genrec_bench.leaderboard.facts import code_of, command, ending
from genrec_bench.leaderboard.headline import headline, verdict
from genrec_bench.leaderboard.renderers import curves, markup
from genrec_bench.leaderboard.renderers.chart import chart
from genrec_bench.leaderboard.rows import KINDS, RANKED_SEEDS, Row
from genrec_bench.leaderboard.standings import Standings
from genrec_bench.protocol.constants import SELECTION
from genrec_bench.runs.record import RunRecord

SEEN_ITEMS = {"mask": "hidden from the lists", "keep": "kept in the lists"}
ALWAYS = ("rank", "system", SELECTION)  # columns of the table at any width
MEDIUM = ("vs_floor", "vs_baseline")  # where there is some room
WIDE = ("hit@10", "vs_generator", "seeds", "users_per_second", "parameters")  # on a wide screen; the rest if asked for
Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # headings, rows of cells


def page(policies: Sequence[Standings]) -> str:
    """The whole page of a board. The first policy is shown, the others can be chosen."""
    first = policies[0]

    return markup.render(
        "board.html",
        title=first.board.name,
        fingerprints=first.board.fingerprints,
        style=markup.static("board.css"),
        script=markup.static("board.js"),
        seen_items=SEEN_ITEMS,
        metric=SELECTION,
        kinds=KINDS,
        filters=_filters([row for board in policies for row in board.rows]),
        sections=[_section(board) for board in policies],
        papers=_papers(first),
        rows=[_details(row, policies) for row in first.rows],
    )


def front_page(boards: Mapping[str, Standings]) -> str:
    """The page over all boards; `boards` by folder."""
    return markup.render(
        "front.html",
        title="Leaderboards",
        style=markup.static("board.css"),
        boards=[_at_a_glance(folder, board) for folder, board in boards.items()],
    )


def _at_a_glance(folder: str, board: Standings) -> dict[str, Any]:
    """A board on the front page: its headline, its size, and the best row of each kind."""
    rows = {row.system_id: row for row in board.rows}
    best = [rows[row.system_id] for row in board.comparators.values()]

    return {
        "link": f"{quote(folder)}/index.html",
        "name": board.board.name,
        "headline": headline(board),
        "rows": len(rows),
        "seeds": max(row.seeds for row in board.rows),
        "missing": board.missing,
        "best": [
            {
                "kind": row.kind,
                "system": row.system,
                "options": row.short_options,
                "score": f"{row.score:.4f}",
                "distance": f"{COLUMNS['vs_floor'].show(row)} vs floor" if "floor" in row.against else "",
            }
            for row in best
        ],
    }


def _filters(rows: Sequence[Row]) -> dict[str, list[str]]:
    """What rows can be chosen by, with the values that occur."""
    kinds = {row.kind for row in rows}
    values = {"kind": [kind for kind in KINDS if kind in kinds]}
    for part in ("indexer", "backbone"):
        values[part] = sorted({_part(row, part) for row in rows} - {""})
    return {name: found for name, found in values.items() if len(found) > 1}


def _part(row: Row, part: str) -> str:
    return str(row.runs[0].spec.get(part) or "")


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
    """One policy: its headline, its chart, its table and its conditions."""
    ties = standings.ties
    lines = _lines(standings.rows)

    return {
        "board": standings.board,
        "headline": headline(standings),
        "baselines": verdict(standings, "baseline") if "generator" in standings.comparators else "",
        "chart": chart(standings),
        "columns": [COLUMNS[key] for key in PAGE],
        "widths": {key: _width(key) for key in PAGE},
        "marks": _marks(standings),
        "lines": lines,
        "missing": standings.missing,
        "issues": _footnotes(standings, lines),
        "conditions": [*conditions.of_rows(standings), *standings.remarks],
        "ties_title": conditions.TIES,
        "ties": tie_orders.explanation(ties, standings.board) if ties else "",
        "ties_table": _split(tie_orders.table(ties, standings.board)) if ties else None,
    }


def _lines(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each model, best first: a line of the table with other decoders of the model folded below it."""
    models: dict[str, list[Row]] = {}
    for row in rows:
        models.setdefault(row.model, []).append(row)
    return list(models.values())


def _width(key: str) -> str:
    """The class of a column, which says on how wide a screen it is shown."""
    return "" if key in ALWAYS else "medium" if key in MEDIUM else "wide" if key in WIDE else "rest"


def _marks(standings: Standings) -> str:
    """What the marks in the table mean."""
    marks = [
        ("1=", "cannot be told from the first", any(row.standing == "tied" for row in standings.rows)),
        ("*", f"fewer than {RANKED_SEEDS} seeds, not ranked", any(row.rank is None for row in standings.rows)),
        ("~", "may be chance", any(row.against for row in standings.rows)),
        ("±", "standard deviation over seeds", any(row.sd[SELECTION] is not None for row in standings.rows)),
        ("†", "known issue, below", bool(standings.issues)),
    ]
    return f"Marks: {'; '.join(f'{mark} {meaning}' for mark, meaning, occurs in marks if occurs)}."


def _footnotes(standings: Standings, lines: Sequence[Sequence[Row]]) -> list[dict[str, Any]]:
    """The known issues of a board, each with the first line of the table that has it."""
    first = {number: line[0] for line in reversed(lines) for row in line for number in row.issues}
    count = Counter(number for row in standings.rows for number in row.issues)

    return [
        {
            "number": number,
            "mark": dagger(number),
            "text": conditions.of_issue(issue),
            "first": first[number].system_id,
            "count": count[number],
        }
        for number, issue in enumerate(standings.issues, 1)
    ]


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
