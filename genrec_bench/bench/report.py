"""Results to Markdown: the goals beside what was measured, and a table per benchmark. Takes results, runs nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genrec_bench.bench.goals import GOALS, Goal
from genrec_bench.bench.results import Result, Row
from genrec_bench.errors import UsageError

BEGIN, END = "<!-- begin: genrec bench report -->", "<!-- end: genrec bench report -->"
UNMEASURED = "–"  # noqa: RUF001


def read_results(folder: Path) -> list[Result]:
    """All `*.json` of `genrec bench --json` in `folder`, by file name. UsageError for a file that is none, or no file."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(Result.from_dict(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path} is no result of `genrec bench --json`: {error}") from None
    if not found:
        raise UsageError(f"{folder} has no results: `genrec bench NAME --out {folder / 'NAME.json'}` writes one")
    return found


def put_into(document: str, text: str) -> str:
    """`document` with what stands between the two markers replaced by `text`. UsageError without markers."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"the document has no place for the report: it needs the lines {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{text.strip()}\n\n{END}{tail}"


def report(results: Sequence[Result]) -> str:
    """The goals' table, then every benchmark with its conditions."""
    rows = [row for result in results for row in result.rows]
    return "\n\n".join([goals_table(rows), *(section(result) for result in results)])


def goals_table(rows: Sequence[Row]) -> str:
    """Each goal, its bound, the worst and the best row measured for it, and whether all of them reach it."""
    lines = ["| # | goal | bound | measured | reached |", "| :-- | :-- | --: | --: | :-- |"]
    for goal in GOALS:
        told = sorted(row.value for row in rows if row.goal == goal.number)
        ends = list(dict.fromkeys(amount(value, goal.unit) for value in ([told[0], told[-1]] if told else [])))
        verdict = {None: UNMEASURED, True: "yes", False: "**no**"}[goal.reached(rows)]
        lines.append(f"| {goal.number} | {goal.says} | {bound(goal)} | {' to '.join(ends) or UNMEASURED} | {verdict} |")
    return "\n".join(lines)


def section(result: Result) -> str:
    """One benchmark: the command, the conditions, the rows."""
    keys = list(dict.fromkeys(key for row in result.rows for key in row.details))
    head = ["case", "against", "result", "range", *keys]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join([':--', ':--', *['--:'] * (len(head) - 2)])} |"]
    for row in result.rows:
        spread = UNMEASURED if row.low is None or row.high is None else f"{figure(row.low)} to {figure(row.high)}"
        details = [_cell(row.details.get(key)) for key in keys]
        cells = [row.case, row.against or UNMEASURED, amount(row.value, row.unit), spread, *details]
        escaped = " | ".join(cell.replace("|", r"\|") for cell in cells)
        lines.append(f"| {escaped} |")
    where = result.conditions.get("gpu") or result.conditions.get("instructions")
    title = f"### `genrec bench {result.benchmark} --grid {result.grid}`" + (f" on {where}" if where else "")
    return "\n\n".join([title, stated(result), "\n".join(lines)])


def stated(result: Result) -> str:
    """The conditions in one paragraph."""
    told = dict(result.conditions)
    packages = ", ".join(f"{name} {version}" for name, version in told.pop("packages", {}).items())
    device = told.pop("gpu", None) or told.pop("cpu", None)
    told.pop("cpu", None)
    rest = ", ".join(f"{key} {value}" for key, value in told.items() if value not in (None, ""))
    return f"{device}; {rest}; {packages}."


def bound(goal: Goal) -> str:
    """A goal's bound in words."""
    return f"{'≥' if goal.side == 'at least' else '≤'} {amount(goal.bound, goal.unit)}"


def amount(value: float, unit: str) -> str:
    """A value with its unit."""
    return f"{figure(value)}{'' if unit in ('x', '') else ' '}{unit}"


def figure(value: float) -> str:
    """Three significant digits, whole thousands in full."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cell(value: Any) -> str:
    if value is None:
        return UNMEASURED
    return figure(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
