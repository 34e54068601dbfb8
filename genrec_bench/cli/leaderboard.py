"""`genrec leaderboard`: records in, tables out; and published boards in a folder."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genrec_bench.cli.options import FilePath
from genrec_bench.cli.terminal import echo
from genrec_bench.core.printable import one_line

if TYPE_CHECKING:
    from genrec_bench.errors import RecordError


class TablesOrBoards(click.Group):
    """A group whose first word may be a run instead of a command: then it prints tables."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "-h", "--help"):
            args = ["tables", *args]
        return super().parse_args(ctx, args)


@click.group(cls=TablesOrBoards)
def leaderboard() -> None:
    """Tables from run records, and published boards in a folder.

    \b
    genrec leaderboard RUNS...                      # print tables
    genrec leaderboard add RUNS... --to FOLDER      # copy records into boards
    genrec leaderboard build FOLDER                 # write the boards' pages
    genrec leaderboard ties FOLDER                  # baselines under other orders of equal timestamps

    Write ./build for a run folder that has the name of a command.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more would only spin while NumPy loads


@leaderboard.command(short_help="Print tables; the default command.")
@click.argument("runs", nargs=-1, required=True, type=FilePath(), metavar="RUNS...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "md", "csv", "json"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
@click.option(
    "--policy",
    type=click.Choice(["mask", "keep"]),
    default="mask",
    show_default=True,
    help="Whether seen items are hidden from the lists (mask) or kept (keep).",
)
def tables(runs: tuple[Path, ...], form: str, policy: str) -> None:
    """One table per data set, task and protocol, from run folders (or folders of run folders).

    Records that cannot be read, or that no honest run can have written, are left out and named on stderr; exit code 1 if
    none is left.
    """
    from genrec_bench.leaderboard.records import collect
    from genrec_bench.leaderboard.renderers import render

    refused: list[RecordError] = []
    records = collect(list(runs), refused.append)
    for error in refused if records else refused[:-1]:
        echo(one_line(f"not shown: {error}"), err=True)
    if refused and not records:
        raise refused[-1]
    screen = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if screen else None
    click.echo(render(records, form, policy, colour=screen, width=width), nl=False)  # clean, and coloured on purpose


@leaderboard.command(short_help="Copy the records of runs into boards.")
@click.argument("runs", nargs=-1, type=FilePath(), metavar="RUNS...")
@click.option("--to", "root", required=True, type=FilePath(), metavar="FOLDER", help="Folder of the boards.")
@click.option("--verify/--no-verify", default=True, help="Score each run again from its stored lists first.")
@click.option(
    "--ledger",
    type=FilePath(),
    metavar="FILE",
    help="A ledger of `genrec tune`: each trial goes to the board that it belongs to.",
)
def add(runs: tuple[Path, ...], root: Path, verify: bool, ledger: Path | None) -> None:
    """Copy the records of RUNS (run folders, or folders of them) to FOLDER/<protocol>/<task>/<dataset>/records.

    A run that failed, ran under another protocol, was edited (its digest does not match), or differs when scored again
    is named on stderr and not copied; exit code 1 if there is one. Needs the data set, unless --no-verify.
    `genrec leaderboard build FOLDER` comes next.
    """
    from genrec_bench.leaderboard import publish

    if not runs and ledger is None:
        raise click.UsageError("nothing to add: give RUNS, a --ledger, or both")

    def add_all(refuse: Callable[[RecordError], None]) -> list[Path]:
        files = publish.add(runs, root, refuse, check=verify)
        if ledger is not None:
            files += publish.add_ledger(ledger, root)
        return files

    _report("not added", add_all)


@leaderboard.command(short_help="Write boards from their records.")
@click.argument("root", type=FilePath(), metavar="FOLDER")
@click.option(
    "--into",
    "documents",
    multiple=True,
    type=FilePath(exists=True, dir_okay=False),
    metavar="DOCUMENT",
    help="A Markdown file that shows tops of boards between <!-- board NAME ROWS --> and <!-- end of board -->: renew "
    "them too.",
)
def build(root: Path, documents: tuple[Path, ...]) -> None:
    """Write README.md, table.csv and index.html of every board under FOLDER from the records beside them.

    The same records give the same bytes. A record that was edited (its digest does not match), or that no honest run can
    have written, is left out and named on stderr and on its board; exit code 1 if there is one.
    """
    from genrec_bench.leaderboard import publish

    _report("not shown", lambda refuse: publish.build(root, refuse, documents))


@leaderboard.command(short_help="Measure baselines of boards under other tie orders.")
@click.argument("root", type=FilePath(), metavar="FOLDER")
@click.option("--data-dir", type=FilePath(), metavar="DIR", help="Folder of data files.")
def ties(root: Path, data_dir: Path | None) -> None:
    """Rank baselines of every board under FOLDER under five orders of equal timestamps, and write tie-orders.json.

    Of several interactions at one time, a hash with a seed chooses which is held out; on boards the seed is 0. The other
    orders never become rows: they show how far a number depends on that choice. Boards without ties are skipped. Needs
    the data set; `genrec leaderboard build FOLDER` comes next.
    """
    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.leaderboard import publish

    _report("not measured", lambda refuse: publish.measure_ties(root, refuse, data_dir, RichProgress()))


def _report(what: str, work: Callable[[Callable[[RecordError], None]], list[Path]]) -> None:
    """Print the paths that `work` gives, and on stderr what it refuses; then the exit code is 1."""
    refused: list[RecordError] = []
    for path in work(refused.append):
        echo(path)
    for error in refused:
        echo(one_line(f"{what}: {error}"), err=True)
    if refused:
        sys.exit(1)
