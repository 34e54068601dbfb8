"""Tables of runs as text, in any format. Published boards are `markdown`, `data` and `html`; see `publish`."""

from __future__ import annotations

from collections.abc import Iterable

from genrec_bench.errors import UsageError, did_you_mean
from genrec_bench.leaderboard.records import unfinished
from genrec_bench.leaderboard.renderers import data, latex, markdown, terminal
from genrec_bench.leaderboard.rows import boards
from genrec_bench.protocol.constants import POLICIES
from genrec_bench.runs.record import RunRecord

TEXTS = {"md": markdown.runs, "latex": latex.runs}
FORMATS = ("table", "md", "latex", "csv", "json")


def render(
    records: Iterable[RunRecord],
    format: str = "table",
    policy: str = "mask",
    colour: bool = False,
    width: int | None = None,
) -> str:
    """The leaderboard of `records` as text, one table per data set, task and protocol, best ndcg@10 first.

    `table`, `md` and `latex` round and add the conditions below; `csv` and `json` carry unrounded means over seeds, mrr too. A
    `table` that would be wider than `width` characters leaves out columns, and says which. Unfinished runs are counted
    below (`json`: under `notes`; `csv` has no room, ask `unfinished`). RecordError names an impossible row, or two runs
    on different data in one table.
    """
    for what, value, known in (("format", format, FORMATS), ("history policy", policy, POLICIES)):
        if value not in known:
            raise UsageError(f"no {what} {value!r}.{did_you_mean(value, known)} Choose from {', '.join(known)}.")

    records = list(records)
    tables = boards(records, policy)
    not_shown = unfinished(records)
    if format == "json":
        return data.runs_json(tables, [not_shown] if not_shown else [])
    if format == "csv":
        return data.runs_csv(tables)

    if format in TEXTS:
        texts = [TEXTS[format](board) for board in tables]
    else:
        texts = [terminal.runs(board, colour, width) for board in tables]
    if not_shown:
        texts.append(f"{'% ' if format == 'latex' else ''}{not_shown}\n")
    return "\n".join(texts or ["no runs\n"])
