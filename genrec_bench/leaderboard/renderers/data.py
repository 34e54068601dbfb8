"""Rows for machines: CSV and JSON of runs, and table.csv of a published board."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from genrec_bench.core.printable import printable_cell
from genrec_bench.leaderboard.columns import BOARD_DATA, DATA, data_of
from genrec_bench.leaderboard.rows import Board

if TYPE_CHECKING:
    from genrec_bench.leaderboard.standings import Standings

FORMULA = ("=", "+", "-", "@", "\t", "\r")
COMMON = ("dataset", "task", "protocol", "policy")  # what all rows of a board share


def runs_json(boards: Sequence[Board], notes: Sequence[str]) -> str:
    """All tables of some runs, and notes on what they do not show."""
    tables = [{**vars(board), "rows": [data_of(row) for row in board.rows]} for board in boards]
    return json.dumps({"tables": tables, "notes": notes}, indent=1) + "\n"


def runs_csv(boards: Sequence[Board]) -> str:
    """The rows of all tables of some runs; empty without any."""
    rows = [_common(board) | data_of(row) for board in boards for row in board.rows]
    return _csv((*COMMON, *DATA), rows) if rows else ""


def board_csv(policies: Sequence[Standings]) -> str:
    """table.csv: means, deviations and intervals to nine places, under both history policies."""
    rows: list[dict[str, Any]] = []
    for board in policies:
        common = _common(board.board)
        for row in board.rows:
            values = data_of(row, BOARD_DATA)
            rows.append(common | {key: _rounded(value) for key, value in values.items()})
        rows += [{**common, "system": system} for system in board.missing]
    return _csv((*COMMON, *BOARD_DATA), rows)


def _common(board: Board) -> dict[str, Any]:
    return {key: getattr(board, key) for key in COMMON}


def _rounded(value: Any) -> Any:
    return round(value, 9) if isinstance(value, float) else value


def _csv(keys: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV with a heading; None and what a row lacks are empty cells, and no text is a spreadsheet's formula."""
    out = io.StringIO()
    writer = csv.DictWriter(out, keys, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return out.getvalue()


def _cell(value: Any) -> Any:
    """A text that a spreadsheet shows and does not compute: an apostrophe comes before what begins like a formula.

    No text opens a tag, where somebody pastes the table into a page.
    """
    if not isinstance(value, str):
        return value
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", printable_cell(value))
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
