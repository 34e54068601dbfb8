"""`genrec leaderboard`: records in, tables out; and published boards in a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genrec_bench.cli.options import FilePath
from genrec_bench.cli.terminal import echo
from genrec_bench.core.printable import one_line
from genrec_bench.protocol.constants import SELECTION

if TYPE_CHECKING:
    from genrec_bench.errors import RecordError
    from genrec_bench.leaderboard.claims import Claim

FORM = "How to print it."
POLICY = "Whether seen items are hidden from the lists (mask) or kept (keep)."


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
    genrec leaderboard effects RUNS...              # what each setting of a study carries
    genrec leaderboard add RUNS... --to FOLDER      # copy records into boards
    genrec leaderboard build FOLDER                 # write the boards' pages
    genrec leaderboard ties FOLDER                  # baselines under other orders of equal timestamps
    genrec leaderboard claims DOCUMENT...           # the test behind each comparative sentence

    Write ./build for a run folder that has the name of a command.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more would only spin while NumPy loads


@leaderboard.command(short_help="Print tables; the default command.")
@click.argument("runs", nargs=-1, required=True, type=FilePath(), metavar="RUNS...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "md", "latex", "csv", "json"]),
    default="table",
    show_default=True,
    help=FORM,
)
@click.option(
    "--policy",
    type=click.Choice(["mask", "keep"]),
    default="mask",
    show_default=True,
    help=POLICY,
)
def tables(runs: tuple[Path, ...], form: str, policy: str) -> None:
    """One table per data set, task and protocol, from run folders, folders of them, or the folder of a board.

    Records that cannot be read, or that no honest run can have written, are left out and named on stderr; exit code 1 if
    none is left.
    """
    from genrec_bench.cli.results import collected, print_tables

    print_tables(collected(runs), form, policy)


@leaderboard.command(short_help="Tell what each setting of a study carries.")
@click.argument("runs", nargs=-1, required=True, type=FilePath(), metavar="RUNS...")
@click.option("--metric", default="ndcg@10", show_default=True, help="hit@K or ndcg@K, for K of 5, 10 and 20.")
@click.option("--policy", type=click.Choice(["mask", "keep"]), default="mask", show_default=True, help=POLICY)
@click.option(
    "--format", "form", type=click.Choice(["table", "md", "json"]), default="table", show_default=True, help=FORM
)
def effects(runs: tuple[Path, ...], metric: str, policy: str, form: str) -> None:
    """How a metric changes with one setting while all others stay, from the runs of a grid.

    Two runs are compared if they have the same seed and differ in one component or one option. Intervals of 95 % come from a
    two-level bootstrap over seeds and users.

    \b
    genrec suite suites/what-carries-the-gain.toml --out runs-gain
    genrec leaderboard effects runs-gain
    """
    from genrec_bench.cli.results import collected
    from genrec_bench.cli.terminal import print_json, print_table, table
    from genrec_bench.errors import UsageError, did_you_mean
    from genrec_bench.leaderboard import effects as study
    from genrec_bench.leaderboard.columns import SCORES
    from genrec_bench.leaderboard.renderers import markdown

    if metric not in SCORES:
        raise UsageError(f"no metric {metric!r}.{did_you_mean(metric, SCORES)} Metrics: {', '.join(SCORES)}.")
    found = study.effects(collected(runs), metric, policy)
    rows = [study.cells(effect) for effect in found]

    if form == "json":
        print_json([vars(effect) for effect in found])
    elif form == "md":
        echo("\n".join(markdown.table(study.HEADER, rows, [True] * 3 + [False] * 4)))
        echo("".join(f"\n{note}.\n" for note in study.notes(found)))
    else:
        screen = table(*study.HEADER[:3], *(f">{name}" for name in study.HEADER[3:]))
        for row in rows:
            screen.add_row(*row)
        print_table(screen, f"{metric}, {policy}")
        for note in study.notes(found):
            echo(note)


@leaderboard.command(short_help="Test the comparative sentences of documents.")
@click.argument("documents", nargs=-1, required=True, type=FilePath(exists=True, dir_okay=False), metavar="DOCUMENT...")
@click.option("--boards", type=FilePath(), default="leaderboards", show_default=True, help="Folder of the boards.")
@click.option("--format", "form", type=click.Choice(["table", "md"]), default="table", show_default=True, help=FORM)
@click.pass_context
def claims(ctx: click.Context, documents: tuple[Path, ...], boards: Path, form: str) -> None:
    """List each sentence of Markdown DOCUMENTS that compares systems, with the scores and the p-value behind it.

    A sentence says what it claims in a comment: <!-- claim BOARD: A ahead of B -->, or `behind`, or `level with`. Exit code 1
    if a test does not support a claim, or a sentence has none. The p-values are corrected for all claims on a board.
    """
    from genrec_bench.cli.terminal import print_table, table
    from genrec_bench.leaderboard.claims import claims_of
    from genrec_bench.leaderboard.renderers.markdown import table as markdown_table

    found = claims_of(documents, boards)
    heads = ["document", "sentence", "claim", "ndcg@10", "p", "holds"]
    rows = [_claim_cells(claim) for claim in found]
    if form == "md":
        echo("\n".join(markdown_table(heads, rows, [True] * len(heads))))
    else:
        listing = table(*heads)
        for row in rows:
            listing.add_row(*row)
        print_table(listing)
    ctx.exit(1 if any(claim.why for claim in found) else 0)


def _claim_cells(claim: Claim) -> list[str]:
    scores = (
        next((f"{one:.4f}, {other:.4f}" for name, one, other in claim.comparison.scores if name == SELECTION), "")
        if claim.comparison
        else ""
    )
    p = "" if claim.comparison is None else "one seed" if claim.p is None else f"{claim.p:.2g}"
    return [claim.document, claim.sentence, claim.text, scores, p, claim.why or "yes"]


@leaderboard.command(short_help="Copy the records of runs into boards.")
@click.argument("runs", nargs=-1, type=FilePath(), metavar="RUNS...")
@click.option("--to", "root", required=True, type=FilePath(), metavar="FOLDER", help="Folder of the boards.")
@click.option("--again", is_flag=True, help="They are second runs of what is on the boards: is a row reproduced?")
@click.option("--verify/--no-verify", default=True, help="Score each run again from its stored lists first.")
@click.option(
    "--ledger",
    type=FilePath(),
    metavar="FILE",
    help="A ledger of `genrec tune`: each trial goes to the board that it belongs to.",
)
def add(runs: tuple[Path, ...], root: Path, again: bool, verify: bool, ledger: Path | None) -> None:
    """Copy the records of RUNS (run folders, or folders of them) to FOLDER/<protocol>/<task>/<dataset>/records.

    A run that failed, ran under another protocol, was edited (its digest does not match), or differs when scored again
    is named on stderr and not copied; exit code 1 if there is one. Needs the data set, unless --no-verify.
    `genrec leaderboard build FOLDER` comes next.
    """
    from genrec_bench.leaderboard import publish

    if not runs and ledger is None:
        raise click.UsageError("nothing to add: give RUNS, a --ledger, or both")

    def add_all(refuse: Callable[[RecordError], None]) -> list[Path]:
        files = publish.add(runs, root, refuse, check=verify, again=again)
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
    help="A Markdown file that shows tops of boards between <!-- board NAME ROWS --> and <!-- end of board -->, or their "
    "headlines between <!-- finding NAME --> and <!-- end of finding -->: renew them too.",
)
def build(root: Path, documents: tuple[Path, ...]) -> None:
    """Write README.md, table.csv and index.html of every board under FOLDER from the records beside them.

    FOLDER gets a README.md and an index.html over all its boards. The same records give the same bytes. A record that was
    edited (its digest does not match), or that no honest run can have written, is left out and named on stderr and on its
    board; exit code 1 if there is one.
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
