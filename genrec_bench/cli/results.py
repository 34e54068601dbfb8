"""Records as tables for a terminal: accuracy under both history policies, then validity and speed, with conditions.

How each training went follows in a few lines (`cli/curves.py`).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genrec_bench.cli.curves import training_lines
from genrec_bench.cli.terminal import echo, fits, print_table, say, table
from genrec_bench.core.printable import one_line
from genrec_bench.leaderboard.columns import (
    ACCURACY,
    COLUMNS,
    VALIDITY_AND_SPEED,
)
from genrec_bench.leaderboard.comparison import compare
from genrec_bench.leaderboard.facts import (
    NO,
    NOT_CONVERGED,
    converged,
    ending,
    train_seconds,
)
from genrec_bench.leaderboard.records import collect
from genrec_bench.leaderboard.renderers import render
from genrec_bench.leaderboard.rows import REFERENCE, Row, row_of
from genrec_bench.protocol.constants import POLICIES

if TYPE_CHECKING:
    from rich.table import Table

    from genrec_bench.errors import RecordError
    from genrec_bench.runs.record import RunRecord


def print_run(record: RunRecord, folder: Path, floor: RunRecord | None = None) -> None:
    """Print the tables of a run and of untrained counting, how they compare, and the run's folder."""
    spec, records = record.spec, [record, *filter(None, [floor])]
    seconds = train_seconds(records)
    rows = [[row_of([one], policy, seconds) for policy in POLICIES] for one in records]
    versus = {policy: compare([record], [floor], policy) for policy in record.policies} if floor else {}

    print_table(
        accuracy(rows, [versus[policy].short if policy in versus else "" for policy in POLICIES] if floor else ()),
        title=f"{spec['dataset']}, {spec['task']} task, {spec['protocol']}, seed {spec.get('seed', 0)}",
        caption=f"seen: {COLUMNS['seen'].meaning}\n",
    )
    print_table(
        validity_and_speed([masked for masked, *_ in rows]),
        caption="\n".join(filter(None, map(conditions, records))),
    )
    if found := versus.get("mask"):
        say(f"\n{found.verdict}")
    if lines := [line for record in records for line in training_lines(record)]:
        say("\n".join(["", *lines]))
    for line in alarms(records):
        say(line, style="bold red")
    say(f"\nrun folder: {folder}")


def collected(paths: Sequence[Path]) -> list[RunRecord]:
    """The records under `paths`. Those that are left out are named on stderr; RecordError if none is left."""
    refused: list[RecordError] = []
    records = collect(paths, refused.append)
    for error in refused if records else refused[:-1]:
        echo(one_line(f"not shown: {error}"), err=True)
    if refused and not records:
        raise refused[-1]
    return records


def print_tables(records: Sequence[RunRecord], form: str = "table", policy: str = "mask") -> None:
    """Print a table per data set, task and protocol, as wide and as coloured as the screen allows."""
    screen = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if screen else None
    click.echo(render(records, form, policy, colour=screen, width=width), nl=False)  # clean, and coloured on purpose


def print_seeds(records: Sequence[RunRecord], floor: RunRecord | None, out: Path) -> None:
    """Print one row for all seeds of a system, with their spread, how it compares, and how each training ended."""
    print_tables([*records, *filter(None, [floor])])
    if floor:
        say(compare(records, [floor]).verdict)
    for record in records:
        if ended := ending(record):
            say(f"{record.system}, seed {record.spec['seed']}: training ended by {ended}")
    say(f"\nrun folders in {out}: {', '.join(record.spec_id for record in records)}")


def accuracy(rows: Sequence[Sequence[Row]], versus: Sequence[str] = ()) -> Table:
    """A line per run and history policy; `rows` holds those of one run together, `versus` the first run's distances.

    A narrow screen gets fewer metrics, so that nothing is folded.
    """
    every = [_accuracy(rows, versus, keys) for keys in ACCURACY]
    return next(filter(fits, every), every[-1])


def _accuracy(rows: Sequence[Sequence[Row]], versus: Sequence[str], keys: Sequence[str]) -> Table:
    columns = [COLUMNS[key] for key in keys]
    heads = [column.title if column.words else f">{column.title}" for column in columns]
    scores = table(*heads, *([f">vs {REFERENCE}"] if versus else []))

    for number, run in enumerate(rows):
        for at, row in enumerate(run):
            system, *cells = (column.show(row) for column in columns)
            last = [versus[at] if number == 0 else ""] if versus else []
            scores.add_row("" if at else system, *cells, *last)
    return scores


def validity_and_speed(rows: Sequence[Row]) -> Table:
    """A column per run, so that it fits a narrow screen."""
    name, *keys = VALIDITY_AND_SPEED
    rates = table("", *(f">{COLUMNS[name].show(row)}" for row in rows))
    for key in keys:
        rates.add_row(COLUMNS[key].title, *(COLUMNS[key].show(row) for row in rows))
    return rates


def alarms(records: Sequence[RunRecord]) -> list[str]:
    """What the records warn of, and which trainings did not converge."""
    warnings = dict.fromkeys(warning for record in records for warning in record.warnings)
    lines = [f"warning: {warning}" for warning in warnings]
    lines += [
        f"{record.system}: {NOT_CONVERGED}, training ended by {ending(record)}"
        for record in records
        if converged(record) == NO
    ]
    return lines


def conditions(record: RunRecord) -> str:
    """What the numbers of a row were measured under, as far as the record says; nothing for lists made elsewhere."""
    throughput = record.throughput
    threads = throughput.get("threads")
    facts = [
        throughput.get("device"),
        threads and f"{threads} thread{'s' if threads > 1 else ''}",
        throughput.get("batch_size") and f"batches of {throughput['batch_size']} users",
        throughput.get("beams") and f"{throughput['beams']} beams",
        throughput.get("precision"),
        _overlap(throughput),
    ]
    known = ", ".join(str(fact) for fact in facts if fact)
    return f"{record.system}: {known}" if known else ""


def _overlap(throughput: Mapping[str, Any]) -> str | None:
    """How a search in another precision than fp32 compares with one in fp32."""
    share = throughput.get("fp32_overlap@10")
    return None if share is None else f"{share:.1%} of the first ten in fp32 are found"
