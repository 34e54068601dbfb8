"""Markdown: tables of runs, README.md of a published board, the list of boards, and tops of boards in documents."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from genrec_bench.core.printable import printable, printable_cell
from genrec_bench.errors import UsageError
from genrec_bench.leaderboard import conditions, reported, tie_orders
from genrec_bench.leaderboard.columns import (
    BOARD,
    COLUMNS,
    EXCERPT,
    FOLDED,
    NOT_MEASURED,
    TABLE,
    Column,
    dagger,
    shown,
)
from genrec_bench.leaderboard.headline import headline
from genrec_bench.leaderboard.rows import REFERENCE, Board, Row

if TYPE_CHECKING:
    from genrec_bench.leaderboard.standings import Standings

EXCERPT_PLACE = re.compile(r"(<!-- board (\S+) (\d+) -->\n).*?(<!-- end of board -->)", re.DOTALL)
FINDING_PLACE = re.compile(r"(<!-- finding (\S+) -->).*?(<!-- end of finding -->)", re.DOTALL)
DIFFERENCE_PLACE = re.compile(r"(<!-- difference (\S+) -->).*?(<!-- end of difference -->)", re.DOTALL)
LINE_ENDS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
WIDTH = 130  # of the lines of a headline in a document
IN_EXCERPTS = ("popularity", REFERENCE, "sasrec")  # shown at any rank, like the best generator


def table(heads: Sequence[str], cells: Sequence[Sequence[str]], left: Sequence[bool]) -> list[str]:
    """The lines of a table; `left` says which columns are set to the left."""
    rule = [":--" if to_left else "--:" for to_left in left]
    escaped = [[_literal(cell) for cell in row] for row in cells]
    return [f"| {' | '.join(row)} |" for row in (heads, rule, *escaped)]


class Markup(str):
    """Markdown of our own, which is not escaped."""


def _literal(text: str) -> str:
    """A cell that Markdown shows as it is: a name from elsewhere can end no cell."""
    return text if isinstance(text, Markup) else _without_links(printable_cell(text)).replace("|", "\\|")


def _without_markup(text: str) -> str:
    """A line of text that opens no tag, link or image and begins no other line.

    Uses character references, because a backslash before them does not undo them.
    """
    line = printable(LINE_ENDS.sub(" ", text))
    line = re.sub(r"&(?=#?\w+;)", "&amp;", line)
    return re.sub(r"\](?=[(\[:])", "&#93;", re.sub(r"<(?=[A-Za-z/!?])", "&lt;", line))


def _without_links(text: str) -> str:
    """The same without bare addresses, which GitHub makes links of. What people wrote on a board may have them."""
    line = re.sub(r"\b(https?|ftp)://", r"\1:&#47;&#47;", _without_markup(text), flags=re.IGNORECASE)
    line = re.sub(r"\bwww\.", "www&#46;", line, flags=re.IGNORECASE)
    return re.sub(r"(?<=[\w.+-])@(?=[\w-]+\.\w)", "&#64;", line)


def _rows(columns: Sequence[Column], rows: Sequence[Row], missing: Sequence[str] = ()) -> list[str]:
    """The lines of a table of rows, those of `missing` systems at its end."""
    cells = [[column.show(row) for column in columns] for row in rows]
    cells += [[column.show_missing(system) for column in columns] for system in missing]
    return table([column.title for column in columns], cells, [column.words for column in columns])


def runs(board: Board) -> str:
    """A table of runs and its conditions."""
    lines = [f"### {_without_links(board.title)}", "", *_rows(shown(TABLE, board.rows), board.rows), ""]
    return "\n".join([*lines, *(f"- {_without_links(sentence)}" for sentence in conditions.of_table(board)), ""])


def readme(policies: Sequence[Standings]) -> str:
    """README.md of a board: the table of the default policy, scores at other depths folded away below it, and its
    conditions."""
    board = policies[0]
    columns = shown(BOARD, board.rows)
    names = [column for column in columns if column.key in ("system", "options")]
    first = [column for column in columns if column.key not in FOLDED]
    folded = [*names, *(COLUMNS[key] for key in FOLDED)]

    lines = [
        f"# {_without_links(board.board.title)}",
        "",
        "`index.html` shows the same board, to sort, filter and inspect; open it from disk.",
        "",
        *_rows(first, board.rows, board.missing),
        "",
        f"<details><summary>{', '.join(FOLDED)}</summary>",
        "",
        *_rows(folded, board.rows, board.missing),
        "",
        "</details>",
        "",
        *(f"- {_without_links(sentence)}" for sentence in conditions.of_rows(board)),
        *(f"- {_without_markup(sentence)}" for sentence in conditions.of_people(board)),
    ]

    if board.ties:
        heads, *scores = tie_orders.table(board.ties, board.board)
        left = [at == 0 for at in range(len(heads))]
        text = tie_orders.explanation(board.ties, board.board)
        lines += ["", f"## {conditions.TIES}", "", text, "", *table(heads, scores, left)]

    if board.reported:
        cells = [reported.cells(row) for row in board.reported]
        for row, line in zip(board.reported, cells, strict=True):
            link = quote(row.link, safe=":/?=&#")
            line[reported.HEADS.index("source")] = Markup(f"[{_literal(row.source)}]({link})")
        left = [head not in reported.METRICS for head in reported.HEADS]
        lines += ["", f"## {reported.TITLE}", "", reported.EXPLANATION, "", *table(reported.HEADS, cells, left)]

    return "\n".join([*lines, ""])


def front_page(boards: Mapping[str, Standings]) -> str:
    """The list of boards; `boards` by folder."""
    cells = []
    for folder, board in boards.items():
        title = _without_links(board.board.title).replace("|", "\\|")
        link = Markup(f"[{title}]({quote(folder)}/README.md)")
        seeds = max(row.seeds for row in board.rows)
        missing = ", ".join(board.missing) or NOT_MEASURED
        cells.append([link, str(len(board.rows)), str(seeds), missing])

    heads = ["board", "rows", "most seeds", "not run yet"]
    lines = [
        "# Leaderboards",
        "",
        "Built by `genrec leaderboard build leaderboards` from the records beside each board.",
        "",
        *table(heads, cells, [True, False, False, True]),
    ]
    return "\n".join([*lines, ""])


def renew(document: str, boards: Mapping[str, Standings]) -> str:
    """A document with every excerpt of a board that it marks written anew, every headline, and every difference that it quotes.

        <!-- board loo-full-1/direct/ml-100k 10 -->
        <!-- end of board -->
        Movies: <!-- finding loo-full-1/direct/ml-100k --><!-- end of finding -->
        about <!-- difference loo-full-1/direct/ml-100k -->±36 to 51 %<!-- end of difference --> of the ndcg@10

    The difference is the one from the best floor that rows need to be told from chance, at Holm's last and first step
    (protocol P19). UsageError for an unknown board.
    """

    def board(name: str) -> Standings:
        if name not in boards:
            raise UsageError(f"the document shows the board {name}, but there are only {', '.join(sorted(boards))}")
        return boards[name]

    def top(match: re.Match[str]) -> str:
        start, name, rows, end = match.groups()
        return f"{start}\n{excerpt(board(name), int(rows))}\n\n{end}"

    def finding(match: re.Match[str]) -> str:
        start, name, end = match.groups()
        return f"{start}{textwrap.fill(headline(board(name)), WIDTH, break_on_hyphens=False)}{end}"

    def difference(match: re.Match[str]) -> str:
        start, name, end = match.groups()
        steps = board(name).detectable.get("floor")
        return f"{start}{_percents(*steps) if steps else NOT_MEASURED}{end}"

    return DIFFERENCE_PLACE.sub(difference, FINDING_PLACE.sub(finding, EXCERPT_PLACE.sub(top, document)))


def excerpt(board: Standings, rows: int) -> str:
    """The first `rows` rows, the best generator and those of `IN_EXCERPTS`, with their ranks and known issues."""
    best = next((row for row in board.rows if is_generator(row)), None)
    ranked = [
        (rank, row)
        for rank, row in enumerate(board.rows, 1)
        if rank <= rows or row is best or row.system in IN_EXCERPTS
    ]
    columns = [COLUMNS[key] for key in EXCERPT]
    cells = [[str(rank), *(column.show(row) for column in columns)] for rank, row in ranked]
    heads = ["", *(column.title for column in columns)]
    lines = table(heads, cells, [False, *(column.words for column in columns)])

    issues = {number: issue for _, row in ranked for number, issue in row.issues.items()}
    notes = [f"\n{dagger(number)} {_without_markup(issues[number].what)}." for number in sorted(issues)]
    return "\n".join([*lines, *notes])


def _percents(first: float, last: float) -> str:
    return f"±{100 * last:.0f} to {100 * first:.0f} %"


def is_generator(row: Row) -> bool:
    """Whether a row writes codes: it has an indexer."""
    return bool(row.runs[0].spec.get("indexer"))
