"""`genrec suite`: runs the specs of a file, each in a process of its own, and prints tables of the finished runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genrec_bench.cli.options import FilePath, json_option, run_options

if TYPE_CHECKING:
    from genrec_bench.runs.suite import SuiteOutcome


@click.command()
@click.argument("file", type=FilePath(), metavar="FILE.toml")
@run_options
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs side by side.")
@click.option("--dry-run", is_flag=True, help="List the runs and stop.")
@json_option("Print the outcome of every run as JSON, and nothing else.")
def suite(
    file: Path,
    out: Path,
    data_dir: Path | None,
    device: str,
    isolate: bool,
    jobs: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run everything that FILE.toml asks for. Skips finished runs; failures are reported, and the suite continues.

    A name that is not installed, or an option that does not exist, stops the suite before its first run. Each run has a process of its own. Runs side by side share the processor's threads evenly. Ctrl-C stops all of them.

    \b
    [all]                       # shared by all runs
    profile = "tiny"
    set."backbone.epochs" = 1
    [grid]                      # every combination
    indexer = ["random", "sci"]
    backbone = ["lightlm"]
    decoder = ["trie", "filter"]
    task = ["direct", "sequential"]
    set."backbone.layers" = [2, 4]
    [[runs]]                    # single runs
    baseline = "popularity"
    """
    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.cli.results import print_tables
    from genrec_bench.cli.terminal import echo, print_json
    from genrec_bench.core.printable import one_line
    from genrec_bench.runs.spec import distinguishing_options
    from genrec_bench.runs.suite import read_suite, run_suite

    runs = read_suite(file)
    options = iter(distinguishing_options([run.resolved.to_dict() for run in runs if run.resolved]))
    texts = [next(options) if run.resolved else "" for run in runs]
    names = [f"{run.name}{text and f' ({text})'}" for run, text in zip(runs, texts, strict=True)]
    ids = [run.resolved.spec_id if run.resolved else None for run in runs]
    if dry_run:
        if as_json:
            print_json([{"name": name, "spec_id": spec_id} for name, spec_id in zip(names, ids, strict=True)])
            return
        for spec_id, name in zip(ids, names, strict=True):
            echo(f"{spec_id or 'broken':16}  {name}")
        return

    outcomes: list[SuiteOutcome] = []
    where: dict[str, Any] = {"out": out, "device": device, "data_dir": data_dir, "isolate": isolate}
    try:
        with closing(run_suite(runs, jobs=jobs, **where, progress=RichProgress())) as results:
            for outcome in results:
                outcomes.append(outcome)
                name = names[outcome.number - 1]
                echo(one_line(f"{outcome.number}/{len(runs)} {name}: {ending(outcome)}"), err=True)
    finally:  # after Ctrl-C too
        outcomes.sort(key=lambda outcome: outcome.number)
        if as_json:
            print_json([described(outcome, names, ids) for outcome in outcomes])
        else:
            done = [outcome.record for outcome in outcomes if outcome.record]
            print_tables(done)

    if failed := sum(outcome.record is None for outcome in outcomes):
        echo(f"{failed} of {len(runs)} runs failed; the same command tries them again", err=True)
        sys.exit(1)


def ending(outcome: SuiteOutcome) -> str:
    """How a run ended, in a few words."""
    if outcome.record is None:
        return outcome.error
    return f"finished ({outcome.seconds:.0f} s)" if outcome.ran else "already finished, not run again"


def described(outcome: SuiteOutcome, names: Sequence[str], ids: Sequence[str | None]) -> dict[str, Any]:
    """An outcome as plain data. `error` is null for a finished run."""
    return {
        "number": outcome.number,
        "name": names[outcome.number - 1],
        "spec_id": ids[outcome.number - 1],
        "error": None if outcome.record else outcome.error,
        "ran": outcome.ran,
        "seconds": round(outcome.seconds, 3),
        "metrics": dict(outcome.record.metrics) if outcome.record else None,
    }
