"""Boards as text: a terminal table, Markdown, CSV or JSON. Reads records only; computes nothing but what is printed."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from genrec_bench.errors import UsageError, did_you_mean
from genrec_bench.leaderboard.records import collect, unfinished
from genrec_bench.leaderboard.rows import (
    METRICS,
    RANKED_SEEDS,
    Board,
    Row,
    boards,
)
from genrec_bench.leaderboard.training import NO, NOT_CONVERGED
from genrec_bench.protocol.constants import POLICIES
from genrec_bench.runs.record import RunRecord

__all__ = ["FORMATS", "collect", "render", "unfinished"]

FORMATS = ("table", "md", "csv", "json")
NOT_MEASURED = "\N{EN DASH}"
SHOWN = tuple(key for key in METRICS if not key.startswith("mrr"))
TEXTS = ("system", "options", "size")  # set to the left
HEADER = ("system", "options", "size", "seeds", *SHOWN, "halluc.", "fill@10", "users/s", "params", "train s", "on")
# on a narrow terminal, columns go from the end of this list
PRIORITY = ("system", "ndcg@10", "options", "hit@10", "seeds", "halluc.", "fill@10", "users/s", "size", "params", "on")
PRIORITY += tuple(name for name in HEADER if name not in PRIORITY)


def render(
    records: Iterable[RunRecord],
    format: str = "table",
    policy: str = "mask",
    colour: bool = False,
    width: int | None = None,
) -> str:
    """The leaderboard of `records` as text, one table per data set, task and protocol, best ndcg@10 first.

    `table` and `md` round and add the conditions below; `csv` and `json` carry unrounded means over seeds, mrr too. A
    `table` leaves out columns, and says which, where it would be wider than `width` characters. Unfinished
    runs are counted below (`json`: under `notes`; `csv` has no room, ask `unfinished`). RecordError names an impossible
    row, or two runs on different data in one table.
    """
    for what, value, known in (("format", format, FORMATS), ("history policy", policy, POLICIES)):
        if value not in known:
            raise UsageError(f"no {what} {value!r}.{did_you_mean(value, known)} Choose from {', '.join(known)}.")
    records = list(records)
    made = boards(records, policy)
    notes = [note for note in (unfinished(records),) if note]
    if format == "json":
        return json.dumps({"tables": [board.to_dict() for board in made], "notes": notes}, indent=1) + "\n"
    if format == "csv":
        return _csv(made)
    draw: Callable[[Board], str] = _markdown if format == "md" else lambda board: _table(board, colour, width)
    return "\n".join(
        [draw(board) for board in made] + [f"{note}\n" for note in notes or (() if made else ("no runs",))]
    )


def _csv(made: Sequence[Board]) -> str:
    rows = [
        {"dataset": board.dataset, "task": board.task, "protocol": board.protocol, "policy": board.policy}
        | row.to_dict()
        for board in made
        for row in board.rows
    ]
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)  # None is written as an empty cell
    return out.getvalue()


def _markdown(board: Board) -> str:
    lines = [f"### {_title(board)}", ""]
    cells = [[literal(cell) for cell in row] for row in _cells(board)]
    header = _header(board)
    rule = [":--" if name in TEXTS else "--:" for name in header]
    lines += [f"| {' | '.join(row)} |" for row in (header, rule, *cells)]
    return "\n".join([*lines, "", *(f"- {note}" for note in board_notes(board)), ""])


def literal(text: str) -> str:
    """A cell that Markdown shows as it is: a name from elsewhere can end no cell and open no tag."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text.replace("|", "\\|"))


def _table(board: Board, colour: bool, width: int | None) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells, header = _cells(board), _header(board)
    columns = _fitting([header, *cells], width)
    look: dict[str, Any] = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    table = Table(**look, title=Text(_title(board)), title_justify="left")
    for at in columns:
        table.add_column(header[at], no_wrap=True, justify="left" if header[at] in TEXTS else "right")
    for row in cells:
        table.add_row(*(Text(row[at]) for at in columns))
    out = io.StringIO()
    console = Console(file=out, force_terminal=colour, no_color=not colour, width=1000)
    console.print(table)
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines())
    hidden = [name for at, name in enumerate(header) if at not in columns]
    notes = [*board_notes(board), *([f"No room for {', '.join(hidden)}: --format md shows all."] if hidden else [])]
    return "\n".join([text.strip("\n"), *notes, ""])


def _fitting(lines: Sequence[Sequence[str]], width: int | None) -> list[int]:
    """The numbers of the columns of `lines` (the header first) that fit into `width` characters; the first two by
    priority are always shown."""
    header = lines[0]
    sizes = [max(len(line[at]) for line in lines) + 2 for at in range(len(header))]
    shown = [header.index(name) for name in PRIORITY if name in header]
    while width is not None and len(shown) > 2 and sum(sizes[at] for at in shown) > width + 2:
        shown.pop()
    return sorted(shown)


def _header(board: Board) -> tuple[str, ...]:
    """The columns of a board: `options` only where some row needs them to be told apart."""
    return HEADER if any(row.options for row in board.rows) else tuple(name for name in HEADER if name != "options")


def _title(board: Board) -> str:
    return f"{board.dataset}, {board.task}, {board.protocol}, policy {board.policy}"


def _cells(board: Board) -> list[list[str]]:
    """The rounded texts of all rows, as `_header` names them."""
    places, telling = hardware_classes(board), "options" in _header(board)
    return [
        [
            row.system,
            *([row.options] if telling else []),
            row.size or NOT_MEASURED,
            str(row.seeds) + ("" if row.seeds >= RANKED_SEEDS else "*"),
            *(_score(row, key) for key in SHOWN),
            number(row.hallucination_rate, "{:.2%}"),
            number(row.fill, "{:.1%}"),
            number(row.users_per_second, "{:,.0f}"),
            number(row.parameters, "{:,.0f}"),
            number(row.train_seconds, "{:,.1f}"),
            f"[{places.index(row.hardware) + 1}]" if row.hardware else NOT_MEASURED,
        ]
        for row in board.rows
    ]


def _score(row: Row, key: str) -> str:
    sd = row.sd[key]
    return f"{row.metrics[key]:.4f}" + ("" if sd is None else f" ±{sd:.4f}")


def number(value: Any, form: str) -> str:
    return NOT_MEASURED if value is None else form.format(value)


def hardware_classes(board: Board) -> list[str]:
    """The hardware classes of a board, in the order they appear."""
    return list(dict.fromkeys(row.hardware for row in board.rows if row.hardware))


def board_notes(board: Board) -> list[str]:
    """The conditions under which the numbers hold."""
    data = board.data
    counts = [f"{data[key]:,} {key}" for key in ("users", "items", "interactions") if data.get(key) is not None]
    if board.policy == "mask" and data.get("mask_ceiling") is not None:
        counts.append(f"no list can hit more than {data['mask_ceiling']:.4f}")
    if data.get("tie_users") is not None and data.get("users"):
        counts.append(f"{data['tie_users'] / data['users']:.0%} of users are cut on a tie of timestamps")
    notes = [f"Data: {', '.join(counts)}."] if counts else []
    beams = sorted({row.beams for row in board.rows if row.beams})
    if beams:
        notes.append(f"Beams: {', '.join(map(str, beams))}.")
    notes += [f"[{at}] {place}" for at, place in enumerate(hardware_classes(board), 1)]
    if any(row.seeds < RANKED_SEEDS for row in board.rows):
        notes.append(f"A row with a * has fewer than {RANKED_SEEDS} seeds: it is shown, not ranked.")
    if early := [f"{row.system} {row.options}".strip() for row in board.rows if row.converged == NO]:
        notes.append(
            f"{NOT_CONVERGED.capitalize()}: a training of the row was ended by its time limit or its last epoch, not by early "
            f"stopping, so a longer one may change its numbers: {', '.join(early)}."
        )
    notes += [f"Warning: {sentence}." for sentence in board.warnings]
    return notes + [f"Not shown: {sentence}." for sentence in board.refused]
