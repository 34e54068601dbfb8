"""The top of a published board inside another document, between two markers, renewed with the board; and inside a
sentence the difference that its rows have to have to be told from chance (protocol P19).

    <!-- board loo-full-1/direct/ml-100k 10 -->
    <!-- end of board -->
    about <!-- difference loo-full-1/direct/ml-100k -->±36 %<!-- end of difference --> of the ndcg@10 of item-counts

Takes finished boards; knows no records.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from genrec_bench.errors import UsageError
from genrec_bench.leaderboard.standings import YARDSTICK, Line, Standings
from genrec_bench.leaderboard.tables import NOT_MEASURED, literal
from genrec_bench.leaderboard.texts import (
    HEADER,
    TEXTS,
    cells,
    dagger,
    short_name,
)

PLACE = re.compile(r"(<!-- board (\S+) (\d+) -->\n).*?(<!-- end of board -->)", re.DOTALL)
DIFFERENCE = re.compile(r"(<!-- difference (\S+) -->).*?(<!-- end of difference -->)", re.DOTALL)
COLUMNS = ("system", "ndcg@10", "hit@10", f"vs {YARDSTICK}", "seeds", "halluc.", "fill@10", "users/s", "params")
ALWAYS = ("popularity", YARDSTICK, "sasrec")  # shown wherever they stand, like the best generator


def renew(document: str, boards: Mapping[str, Standings]) -> str:
    """`document` with every excerpt that it marks written anew. UsageError for a board that is not there."""

    def board(name: str) -> Standings:
        if name not in boards:
            raise UsageError(f"the document shows the board {name}, which is not there: {', '.join(sorted(boards))}")
        return boards[name]

    def top(found: re.Match[str]) -> str:
        return f"{found[1]}\n{excerpt(board(found[2]), int(found[3]))}\n\n{found[4]}"

    def difference(found: re.Match[str]) -> str:
        told = board(found[2]).detectable
        return f"{found[1]}{NOT_MEASURED if told is None else f'±{told:.0%}'.replace('%', ' %')}{found[3]}"

    return DIFFERENCE.sub(difference, PLACE.sub(top, document))


def excerpt(made: Standings, rows: int) -> str:
    """The first `rows` rows, and below them the best generator and the rows of `ALWAYS`, as Markdown, with their known issues."""
    texts = cells(made)
    best = next((at for at, line in enumerate(made.lines) if is_generator(line)), None)
    shown = [at for at, line in enumerate(made.lines) if at < rows or at == best or line.row.system in ALWAYS]

    def name(texts: Sequence[str]) -> str:
        return short_name(texts[HEADER.index("system")], texts[HEADER.index("options")])

    columns = [HEADER.index(column) for column in COLUMNS]
    lines = [["", *COLUMNS], ["--:", *(":--" if name in TEXTS else "--:" for name in COLUMNS)]]
    lines += [[f"{at + 1}", literal(name(texts[at])), *(texts[at][column] for column in columns[1:])] for at in shown]
    marks = sorted({number for at in shown for number in made.lines[at].issues})
    noted = [f"\n{dagger(number)} {made.issues[number - 1].what}." for number in marks]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), *noted])


def is_generator(line: Line) -> bool:
    """Whether a row writes codes: it has an indexer."""
    return bool(line.runs[0].spec.get("indexer"))
