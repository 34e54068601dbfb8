"""The files of a published board: README.md and table.csv here, index.html in `page`. Computes nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence

from genrec_bench.leaderboard import tie_orders
from genrec_bench.leaderboard.page import page
from genrec_bench.leaderboard.standings import YARDSTICK, Standings
from genrec_bench.leaderboard.tables import NOT_MEASURED, literal
from genrec_bench.leaderboard.texts import (
    HEADER,
    LATER,
    TEXTS,
    TIES,
    cells,
    notes,
    title,
)


def readme(policies: Sequence[Standings]) -> str:
    """README.md: the table of the default policy, scores at other depths folded away below it, and its conditions."""
    made = policies[0]
    named = [name for name in HEADER[:2] if name != "options" or any(line.row.options for line in made.lines)]
    rows = [dict(zip(HEADER, texts, strict=True)) for texts in cells(made)]
    lines = [
        f"# {title(made.board)}",
        "",
        "`index.html` is the same board to sort, filter and look into; open it from disk.",
        "",
        *_markdown([*named, *(name for name in HEADER[2:] if name not in LATER)], rows),
        "",
        f"<details><summary>{', '.join(LATER)}</summary>",
        "",
        *_markdown([*named, *LATER], rows),
        "",
        "</details>",
        "",
    ]
    return "\n".join([*lines, *(f"- {note}" for note in notes(made)), *_tie_orders(made), ""])


def _markdown(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The lines of a table with these columns."""
    texts = [columns, [":--" if name in TEXTS else "--:" for name in columns]]
    texts += [[literal(row[name]) for name in columns] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in texts]


def _tie_orders(made: Standings) -> list[str]:
    """The floors under other tie orders, as a section of its own; nothing where nobody measured them."""
    if made.ties is None:
        return []
    head, *rows = tie_orders.table(made.ties, made.board)
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return [
        *("", f"## {TIES}", "", tie_orders.told(made.ties, made.board), ""),
        *("| " + " | ".join(line) + " |" for line in lines),
    ]


def table(policies: Sequence[Standings]) -> str:
    """table.csv: means, deviations and intervals to nine places, both history policies."""
    out = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for made in policies:
        board = made.board
        common = {"dataset": board.dataset, "task": board.task, "protocol": board.protocol, "policy": board.policy}
        for line in made.lines:
            values = {**common, **line.row.to_dict()}
            for key, (low, high) in line.intervals.items():
                values |= {f"{key}_low": low, f"{key}_high": high}
            values |= {"standing": line.standing, "tier": line.tier, f"vs_{YARDSTICK}": line.distance}
            values |= {f"vs_{YARDSTICK}_separable": line.separable}
            values |= {"issues": ";".join(made.issues[at - 1].id for at in line.issues)}
            if writer is None:
                writer = csv.DictWriter(out, list(values), lineterminator="\n")
                writer.writeheader()
            writer.writerow({key: round(each, 9) if isinstance(each, float) else each for key, each in values.items()})
        for name in made.missing if writer else ():
            writer.writerow({**common, "system": name})
    return out.getvalue()


def front_page(made: Sequence[tuple[str, Standings]]) -> str:
    """The list of boards, `folder` relative to it."""
    lines = [
        "# Leaderboards",
        "",
        "Built by `genrec leaderboard build leaderboards` from the records beside each board.",
        "",
    ]
    lines += ["| board | rows | seeds up to | not run yet |", "| :-- | --: | --: | :-- |"]
    for folder, one in made:
        most = max(line.row.seeds for line in one.lines)
        missing = ", ".join(one.missing) or NOT_MEASURED
        lines.append(f"| [{title(one.board)}]({folder}/README.md) | {len(one.lines)} | {most} | {missing} |")
    return "\n".join([*lines, ""])


FILES: dict[str, Callable[[Sequence[Standings]], str]] = {"README.md": readme, "table.csv": table, "index.html": page}
