"""Results as Markdown: the goals beside the measurements, then a table per benchmark. Measures nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genrec_bench.api import UsageError
from genrec_speed.goals import GOALS, Goal
from genrec_speed.results import Result, Row

BEGIN, END = "<!-- begin: genrec bench report -->", "<!-- end: genrec bench report -->"
UNMEASURED = "–"  # noqa: RUF001


def read_results(folder: Path) -> list[Result]:
    """Every `*.json` of `genrec bench --out` in `folder`, by file name. UsageError for any other file, or for none."""
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            results.append(Result.from_dict(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path} is not a result of `genrec bench --out`: {error}") from None
    if not results:
        raise UsageError(f"{folder} has no results: `genrec bench NAME --out {folder / 'NAME.json'}` writes one")
    return results


def put_into(document: str, text: str) -> str:
    """`document` with `text` between the two markers. UsageError if it lacks them."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"the document has no place for the report: it needs the lines {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{text.strip()}\n\n{END}{tail}"


def report(results: Sequence[Result]) -> str:
    """The table of goals, then every benchmark with its conditions."""
    rows = [row for result in results for row in result.rows]
    return "\n\n".join([goals_table(rows), *(section(result) for result in results)])


def goals_table(rows: Sequence[Row]) -> str:
    """Each goal with its bound, the least and the most measured for it, and whether every row reaches it."""
    lines = ["| # | goal | bound | measured | reached |", "| :-- | :-- | --: | --: | :-- |"]
    for goal in GOALS:
        values = sorted(row.value for row in rows if row.goal == goal.number)
        ends = list(dict.fromkeys(amount(value, goal.unit) for value in (values[:1] + values[-1:])))
        measured = " to ".join(ends) or UNMEASURED
        verdict = {None: UNMEASURED, True: "yes", False: "**no**"}[goal.reached(rows)]
        lines.append(f"| {goal.number} | {goal.says} | {bound(goal)} | {measured} | {verdict} |")
    return "\n".join(lines)


def section(result: Result) -> str:
    """One benchmark: its command, its conditions and its rows."""
    keys = list(dict.fromkeys(key for row in result.rows for key in row.details))
    head = ["case", "against", "result", "range", *keys]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join([':--', ':--', *['--:'] * (len(head) - 2)])} |"]

    for row in result.rows:
        details = [_cell(row.details.get(key)) for key in keys]
        cells = [row.case, row.against or UNMEASURED, amount(row.value, row.unit), spread(row), *details]
        escaped = " | ".join(cell.replace("|", r"\|") for cell in cells)
        lines.append(f"| {escaped} |")

    machine = result.conditions.get("gpu") or result.conditions.get("instructions")
    title = f"### `genrec bench {result.benchmark} --grid {result.grid}`" + (f" on {machine}" if machine else "")
    return "\n\n".join([title, conditions_line(result), "\n".join(lines)])


def conditions_line(result: Result) -> str:
    """The conditions in one paragraph."""
    rest = dict(result.conditions)
    packages = ", ".join(f"{name} {version}" for name, version in rest.pop("packages", {}).items())
    gpu, cpu = rest.pop("gpu", None), rest.pop("cpu", None)
    stated = ", ".join(f"{key} {value}" for key, value in rest.items() if value not in (None, ""))
    return f"{gpu or cpu}; {stated}; {packages}."


def bound(goal: Goal) -> str:
    """A goal's bound in words."""
    return f"{'≥' if goal.side == 'at least' else '≤'} {amount(goal.bound, goal.unit)}"


def spread(row: Row) -> str:
    """A row's range over rounds, `–` if there is only one."""
    if row.low is None or row.high is None:
        return UNMEASURED
    return f"{figure(row.low)} to {figure(row.high)}"


def amount(value: float, unit: str) -> str:
    """A value with its unit."""
    return f"{figure(value)}{'' if unit in ('x', '') else ' '}{unit}"


def figure(value: float) -> str:
    """Three significant digits, or the whole number from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cell(value: Any) -> str:
    if value is None:
        return UNMEASURED
    return figure(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
