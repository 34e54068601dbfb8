"""Tables of runs for papers: LaTeX with the package booktabs, and the conditions as comments."""

from __future__ import annotations

import re

from genrec_bench.core.printable import printable_cell
from genrec_bench.leaderboard import conditions
from genrec_bench.leaderboard.columns import SCORES, shown
from genrec_bench.leaderboard.rows import Board

COLUMNS = ("system", "options", "seeds", *SCORES)
ESCAPED = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
SPECIAL = re.compile(r"[\\~^±&%$#_{}]")


def runs(board: Board) -> str:
    """A table of runs; its conditions follow as comments."""
    columns = shown(COLUMNS, board.rows)
    lines = [
        rf"\begin{{tabular}}{{{''.join('l' if column.words else 'r' for column in columns)}}}",
        r"\toprule",
        _line([column.title for column in columns]),
        r"\midrule",
        *(_line([column.show(row) for column in columns]) for row in board.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    notes = [board.title, *conditions.of_table(board)]
    return "\n".join([*lines, *(f"% {printable_cell(note)}" for note in notes), ""])


def _line(cells: list[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"


def escaped(text: str) -> str:
    """A text that LaTeX prints as it is."""
    return SPECIAL.sub(lambda found: ESCAPED.get(found[0], f"\\{found[0]}"), printable_cell(text))
