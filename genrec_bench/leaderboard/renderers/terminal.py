"""Tables of runs for a terminal of any width."""

from __future__ import annotations

import io
from collections.abc import Sequence

from genrec_bench.core.printable import printable, printable_cell
from genrec_bench.leaderboard import conditions
from genrec_bench.leaderboard.columns import NARROW, TABLE, Column, shown
from genrec_bench.leaderboard.rows import Board, Row

GAP = 2  # characters between two columns


def runs(board: Board, colour: bool, width: int | None) -> str:
    """A table and its conditions; columns that do not fit into `width` characters are left out and named."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    every = shown(TABLE, board.rows)
    columns = _fitting(every, board.rows, width)

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title=Text(printable_cell(board.title)),
        title_justify="left",
    )
    for column in columns:
        table.add_column(column.title, no_wrap=True, justify="left" if column.words else "right")
    for row in board.rows:
        table.add_row(*(Text(printable_cell(column.show(row))) for column in columns))

    out = io.StringIO()
    Console(file=out, force_terminal=colour, no_color=not colour, width=1000).print(table)
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")

    lines = [text, *map(printable, conditions.of_table(board))]
    if hidden := [column.title for column in every if column not in columns]:
        lines.append(f"No room for {', '.join(hidden)}: --format md shows all.")
    return "\n".join([*lines, ""])


def _fitting(columns: Sequence[Column], rows: Sequence[Row], width: int | None) -> list[Column]:
    """The columns that fit into `width` characters, in their order; the first two by priority always stay."""
    sizes = {column.key: GAP + max([len(column.title), *(len(column.show(row)) for row in rows)]) for column in columns}
    kept = [key for key in NARROW if key in sizes]
    while width is not None and len(kept) > 2 and sum(sizes[key] for key in kept) > width + GAP:
        kept.pop()
    return [column for column in columns if column.key in kept]
