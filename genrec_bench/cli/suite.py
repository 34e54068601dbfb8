"""`genrec suite`: runs the specs of a file one after another, and prints tables of the finished runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from genrec_bench.cli.options import run_options


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.toml")
@run_options
@click.option("--dry-run", is_flag=True, help="List the runs and stop.")
def suite(file: Path, out: Path, data_dir: Path | None, device: str, dry_run: bool) -> None:
    """Run everything that FILE.toml asks for. Skips finished runs; failures are reported, and the suite continues.

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
    from genrec_bench.host.sealing import watch
    from genrec_bench.leaderboard.renderers import render
    from genrec_bench.runs.spec import distinguishing_options
    from genrec_bench.runs.suite import read_suite, run_suite

    watch()
    runs = read_suite(file)
    options = distinguishing_options([run.describe() for run in runs])
    names = [f"{run.name}{text and f' ({text})'}" for run, text in zip(runs, options, strict=True)]
    if dry_run:
        for run, name in zip(runs, names, strict=True):
            click.echo(f"{run.resolved.spec_id if run.resolved else 'broken':16}  {name}")
        return

    done, failed = [], 0
    outcomes = run_suite(runs, out=out, device=device, data_dir=data_dir, progress=RichProgress())
    for number, outcome in enumerate(outcomes, 1):
        what = f"{number}/{len(runs)} {names[number - 1]}"
        if outcome.record is None:
            failed += 1
            click.echo(f"{what}: {outcome.error}", err=True)
        else:
            done.append(outcome.record)
            ending = f"finished ({outcome.seconds:.0f} s)" if outcome.ran else "already finished, not run again"
            click.echo(f"{what}: {ending}", err=True)

    click.echo(render(done, "table", colour=sys.stdout.isatty()), nl=False)
    if failed:
        click.echo(f"{failed} of {len(runs)} runs failed; the same command tries them again", err=True)
        sys.exit(1)
