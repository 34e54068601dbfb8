"""index.html of a published board: one file that opens from disk and asks nobody for anything.

A table per history policy, the scatter, and a section per row. The content security policy in its head forbids every
request; style and script are in the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from genrec_bench.leaderboard import tie_orders
from genrec_bench.leaderboard.records import code_of
from genrec_bench.leaderboard.rows import Board
from genrec_bench.leaderboard.scatter import legend, scatter
from genrec_bench.leaderboard.standings import YARDSTICK, Line, Standings
from genrec_bench.leaderboard.tables import NOT_MEASURED, SHOWN, number
from genrec_bench.leaderboard.texts import (
    HEADER,
    TEXTS,
    TIES,
    cells,
    command,
    dagger,
    notes,
    seconds,
    standing,
    title,
)
from genrec_bench.leaderboard.training import ending

SAFE = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
POLICIES = {"mask": "what a user already has is masked from the lists", "keep": "it stays in"}


def page(policies: Sequence[Standings]) -> str:
    """The whole page; the first policy is shown, the others can be chosen."""
    board = policies[0].board
    name = escape(title(board).rpartition(", policy")[0])
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{SAFE}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{name}</title>\n<style>\n{_static('board.css')}</style>\n</head>\n<body>\n<main>",
        f"<h1>{name}</h1>\n<p>{escape(_about(board))}</p>",
        '<div class="tools">\n<label>Filter <input type="search" id="filter" placeholder="words in a row"></label>',
        "<fieldset><legend>History</legend>",
        *(_choice(made.board.policy, made is policies[0]) for made in policies),
        '</fieldset>\n<output id="count" for="filter"></output>\n</div>',
        *(_board(made, hidden=made is not policies[0]) for made in policies),
        "<h2>Rows</h2>",
        *(_details(line, policies) for line in policies[0].lines),
        f"</main>\n<script>\n{_static('board.js')}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _static(name: str) -> str:
    return resources.files("genrec_bench.leaderboard").joinpath("static", name).read_text(encoding="utf-8")


def _about(board: Board) -> str:
    prints = ", ".join(f"{key} {value[:16]}" for key, value in board.fingerprints.items())
    return f"Full ranking over the whole catalogue, leave-one-out by user. Fingerprints: {prints}."


def _choice(policy: str, checked: bool) -> str:
    mark = " checked" if checked else ""
    told = escape(f"{policy}: {POLICIES.get(policy, policy)}")
    return f'<label><input type="radio" name="policy" value="{policy}"{mark}> {told}</label>'


def _board(made: Standings, hidden: bool) -> str:
    """One policy: its table, its scatter and its conditions."""
    columns = [
        at for at, name in enumerate(HEADER) if name != "options" or any(line.row.options for line in made.lines)
    ]
    heads = [
        f'<th scope="col" data-name="{escape(HEADER[at])}"{_class(HEADER[at])}><button type="button">'
        f"{escape(HEADER[at])}</button></th>"
        for at in columns
    ]
    told = cells(made)
    rows = [
        _row(line.tier, [(HEADER[at], texts[at], _value(line, HEADER[at])) for at in columns], line.row.system_id)
        for line, texts in zip(made.lines, told, strict=False)
    ]
    rows += [
        _row("missing", [(HEADER[at], texts[at], texts[at] if HEADER[at] == "system" else "") for at in columns])
        for texts in told[len(made.lines) :]
    ]
    plot = scatter(made)
    shapes = "; ".join(legend(made))
    figure = (
        f"<h2>Accuracy and throughput</h2>\n<figure>\n<div class='plot'>\n{plot}\n</div>\n<figcaption><small>Compare speeds inside one hardware class "
        f"only. {escape(shapes)}</small></figcaption>\n</figure>"
    )
    parts = [
        f'<section data-policy="{made.board.policy}"{" hidden" if hidden else ""}>',
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table, policy {made.board.policy}">',
        f'<table class="board">\n<caption>{escape(title(made.board))}. A heading sorts.</caption>',
        f"<thead>\n<tr>{''.join(heads)}</tr>\n</thead>\n<tbody>",
        *rows,
        "</tbody>\n</table>\n</div>",
        figure if plot else "",
        "<h2>Conditions</h2>\n<ul>",
        *(f"<li>{_marked(note)}</li>" for note in notes(made)),
        "</ul>",
        *_tie_orders(made),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _tie_orders(made: Standings) -> list[str]:
    """The floors under other tie orders; nothing where nobody measured them."""
    if made.ties is None:
        return []
    heads, *rows = tie_orders.table(made.ties, made.board)
    return [f"<h2>{TIES}</h2>\n<p>{escape(tie_orders.told(made.ties, made.board))}</p>", _small_table(heads, rows)]


def _marked(note: str) -> str:
    """A note with its Markdown for emphasis and code as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", re.sub(r"\*([\w-]+)\*", r"<em>\1</em>", escape(note)))


def _class(name: str, text: str = "") -> str:
    """Text stands left, and is told in full when pointed at, as a cell may cut it."""
    if name not in TEXTS:
        return ""
    return ' class="text"' + (f' title="{escape(text)}"' if text else "")


def _row(kind: str, columns: Sequence[tuple[str, str, str]], system_id: str | None = None) -> str:
    """A table row from (heading, text, value to sort by)."""
    (_, first, value), *others = columns
    link = f'<a href="#system-{system_id}">{escape(first)}</a>' if system_id else escape(first)
    texts = [f'<th scope="row" title="{escape(first)}" data-value="{escape(value)}">{link}</th>']
    texts += [f'<td{_class(name, text)} data-value="{escape(each)}">{escape(text)}</td>' for name, text, each in others]
    return f'<tr class="{kind}">{"".join(texts)}</tr>'


def _value(line: Line, name: str) -> str:
    """What a cell is sorted by: a plain number or text, nothing where nobody measured."""
    row = line.row
    values: dict[str, Any] = {
        **{key: row.metrics[key] for key in SHOWN},
        f"vs {YARDSTICK}": line.distance,
        "halluc.": row.hallucination_rate,
        "fill@10": row.fill,
        "users/s": row.users_per_second,
        "params": row.parameters,
        "train s": row.train_seconds,
        "on": row.hardware,
        "tier": line.tier,
        "standing": standing(line),
    }
    value = values[name] if name in values else getattr(row, name)
    return "" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value)


def _details(line: Line, policies: Sequence[Standings]) -> str:
    """What is known of one row: commands, seeds, intervals, spec, environment."""
    row, first = line.row, line.runs[0]
    name = escape(f"{row.system} {row.options}".strip())
    seeds = [
        [
            str(run.spec.get("seed", 0)),
            run.spec_id,
            *(number(run.metrics.get(made.board.policy, {}).get("ndcg@10"), "{:.4f}") for made in policies),
            number(run.training.get("best_epoch"), "{}") + " of " + number(run.training.get("epochs"), "{}"),
            ending(run) or NOT_MEASURED,
            seconds(took),
            number(run.throughput.get("users_per_second"), "{:,.0f}"),
            str(run.environment.get("time") or NOT_MEASURED)[:10],
            code_of(run),
        ]
        for run, took in zip(line.runs, line.seconds, strict=True)
    ]
    heads = [
        "seed",
        "run",
        *(f"ndcg@10 {made.board.policy}" for made in policies),
        "best epoch",
        "training ended by",
        "train s",
        "users/s",
        "on",
        "code",
    ]
    spread = []
    for made in policies:
        spread += [
            [made.board.policy, key, f"{mine.row.metrics[key]:.4f}", f"{low:.4f}", f"{high:.4f}"]
            for mine in made.lines
            if mine.row.system_id == row.system_id
            for key, (low, high) in mine.intervals.items()
        ]
    warnings = list(dict.fromkeys(warning for run in line.runs for warning in run.warnings))
    parts = [
        f'<details id="system-{row.system_id}">\n<summary>{name}</summary>',
        *(f"<p><strong>Warning:</strong> {escape(warning)}.</p>" for warning in warnings),
        *_issues(line, policies[0]),
        f"<p>Tier: {line.tier}. Hardware: {escape(row.hardware or NOT_MEASURED)}. System {row.system_id}.</p>",
        f"<h3>Command</h3>\n<pre>{escape(command(first.spec))}</pre>",
        "<h3>Seeds</h3>",
        _small_table(heads, seeds),
        "<h3>95 % intervals</h3>",
        _small_table(["policy", "metric", "mean", "from", "to"], spread),
        f"<h3>Spec of the first seed</h3>\n<pre>{escape(_plain(first.spec))}</pre>",
        f"<h3>Components</h3>\n<pre>{escape(_plain(first.components))}</pre>",
        f"<h3>Environment</h3>\n<pre>{escape(_plain(first.environment))}</pre>\n</details>",
    ]
    return "\n".join(parts)


def _issues(line: Line, made: Standings) -> list[str]:
    """The known issues of a row, and which of its seeds have them."""
    told = []
    for at in line.issues:
        issue = made.issues[at - 1]
        seeds = ", ".join(str(run.spec.get("seed", 0)) for run in line.runs if issue.affects(run))
        said = escape(f"{issue.what} ({issue.link}). Seeds: {seeds}.")
        told.append(f"<p><strong>Known issue {dagger(at)} {issue.id}:</strong> {said}</p>")
    return told


def _small_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll">\n<table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>'


def _plain(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False)
