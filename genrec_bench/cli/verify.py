"""`genrec verify`: checks whether a run's record follows from its stored lists and the data."""

from __future__ import annotations

from pathlib import Path

import click

from genrec_bench.cli.options import FilePath, json_option


@click.command()
@click.argument("run", type=FilePath(), metavar="RUN")
@click.option(
    "--data-dir",
    type=FilePath(),
    metavar="DIR",
    help="Folder of data files; for a run on your own file, the folder to which its dataset.path is relative.",
)
@json_option("Print JSON.")
@click.pass_context
def verify(ctx: click.Context, run: Path, data_dir: Path | None, as_json: bool) -> None:
    """Score the stored lists of the run folder RUN again, without torch, and compare the results with its record.

    Exit code 1 if anything differs.
    """
    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.cli.terminal import print_json, print_table, table
    from genrec_bench.runs.verify import verify as verify_run

    report = verify_run(run, data_dir=data_dir, progress=RichProgress())
    if as_json:
        print_json(report.to_dict())
    else:
        rows = table("comparison", "holds", "detail")
        for comparison in report.comparisons:
            rows.add_row(comparison.name, "yes" if comparison.ok else "NO", comparison.detail)
        print_table(rows, caption=f"{run}: {'verified' if report.ok else 'NOT verified'}")
    ctx.exit(0 if report.ok else 1)
