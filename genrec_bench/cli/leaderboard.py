"""`genrec leaderboard`: records in, tables out; and the boards that are kept in a folder."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from genrec_bench.errors import RecordError


class TablesOrBoards(click.Group):
    """A group whose first word need not be a command: then it is a run, and tables are printed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "-h", "--help"):
            args = ["tables", *args]
        return super().parse_args(ctx, args)


@click.group(cls=TablesOrBoards)
def leaderboard() -> None:
    """Tables from run records, and the boards that are kept in a folder.

    \b
    genrec leaderboard RUNS...                      # tables, on the screen
    genrec leaderboard add RUNS... --to FOLDER      # keep their records
    genrec leaderboard build FOLDER                 # write the kept boards
    genrec leaderboard ties FOLDER                  # their floors under other orders of equal timestamps

    A run folder that is called like a command is given as ./build.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # others would spin while NumPy is loaded, for nothing


@leaderboard.command(short_help="Print tables; this is what happens without a command.")
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
def tables(runs: tuple[Path, ...], form: str, policy: str) -> None:
    """One table per data set, task and protocol, from run folders (or folders of run folders).

    A record that cannot be read, or that no honest run can have written, is named on stderr and left out; exit code 1 if
    none is left.
    """
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


@leaderboard.command(short_help="Copy the records of runs into kept boards.")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="RUNS...")
@click.option(
    "--to", "root", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="Where boards lie."
)
@click.option("--verify/--no-verify", default=True, help="Score each run again from its stored lists first.")
@click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What `genrec tune` wrote: its trials go to the boards that they belong to.",
)
def add(runs: tuple[Path, ...], root: Path, verify: bool, ledger: Path | None) -> None:
    """Copy the records of RUNS (run folders, or folders of them) to FOLDER/<protocol>/<task>/<dataset>/records.

    A run that failed, ran under another protocol, was edited (its digest does not hold), or does not hold when scored
    again is named on stderr and not copied; exit code 1 if there is one. Needs the data set, unless --no-verify.
    `genrec leaderboard build FOLDER` comes next.
    """
    from genrec_bench.leaderboard.publish import add as copy
    from genrec_bench.leaderboard.publish import add_ledger

    if not runs and ledger is None:
        raise click.UsageError("nothing to add: give RUNS, a --ledger, or both")

    def both(refuse: Callable[[RecordError], None]) -> list[Path]:
        return copy(runs, root, refuse, check=verify) + ([] if ledger is None else add_ledger(ledger, root))

    _report("not added", both)


@leaderboard.command(short_help="Write kept boards from their records.")
@click.argument("root", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option(
    "--into",
    "documents",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="DOCUMENT",
    help="Also renew the tops of boards that this Markdown file shows between <!-- board NAME ROWS --> and "
    "<!-- end of board -->.",
)
def build(root: Path, documents: tuple[Path, ...]) -> None:
    """Write README.md, table.csv and index.html of every board under FOLDER from the records beside them.

    The same records give the same bytes. A record that was edited (its digest does not hold), or that no honest run can
    have written, is named on stderr and on its board, and left out; exit code 1 if there is one.
    """
    from genrec_bench.leaderboard.publish import build as write

    _report("not shown", lambda refuse: write(root, refuse, documents))


@leaderboard.command(short_help="Measure the floors of kept boards under other tie orders.")
@click.argument("root", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where data files lie.")
def ties(root: Path, data_dir: Path | None) -> None:
    """Rank the floors of every board under FOLDER again under five orders of equal timestamps, and write yardstick.json.

    Which of several events at one time is held out is a matter of a hash's seed, 0 on boards. The other orders are no
    rows: they show how far a number depends on that choice. Boards whose events do not tie are passed over. Needs the
    data set; `genrec leaderboard build FOLDER` comes next.
    """
    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.leaderboard.publish import measure_ties

    _report("not measured", lambda refuse: measure_ties(root, refuse, data_dir, RichProgress()))


def _report(what: str, make: Callable[[Callable[[RecordError], None]], list[Path]]) -> None:
    """Print the paths that `make` gives, and what it refuses to stderr; then the exit code is 1."""
    refused: list[RecordError] = []
    for path in make(refused.append):
        click.echo(path)
    for error in refused:
        click.echo(f"{what}: {error}", err=True)
    if refused:
        sys.exit(1)
