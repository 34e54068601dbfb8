"""`genrec leaderboard`: records in, tables out."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click


@click.command(short_help="Tables from run records.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUNS...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "md", "csv", "json"]),
    default="table",
    show_default=True,
    help="How to write it.",
)
@click.option(
    "--policy",
    type=click.Choice(["mask", "keep"]),
    default="mask",
    show_default=True,
    help="Whether what a user already has is masked from the lists.",
)
def leaderboard(runs: tuple[Path, ...], form: str, policy: str) -> None:
    """One table per data set, task and protocol, from run folders (or folders of run folders).

    A record that cannot be read, or that no honest run can have written, is named on stderr and left out; exit code 1 if
    none is left.
    """
    from genrec_bench.errors import RecordError
    from genrec_bench.leaderboard.tables import collect, render

    refused: list[RecordError] = []
    records = collect(list(runs), refused.append)
    for error in refused if records else refused[:-1]:
        click.echo(f"not shown: {error}", err=True)
    if refused and not records:
        raise refused[-1]
    screen = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if screen else None
    click.echo(render(records, form, policy, colour=screen, width=width), nl=False)
