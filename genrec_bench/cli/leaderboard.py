"""`genrec leaderboard`: records in, tables out."""

from __future__ import annotations

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
def leaderboard(runs: tuple[Path, ...], form: str) -> None:
    """One table per data set, task and protocol, from run folders (or folders of run folders)."""
    from genrec_bench.leaderboard.tables import collect, render

    click.echo(render(collect(list(runs)), form, colour=sys.stdout.isatty()), nl=False)
