"""`genrec show`: one run in full: its command, scores, curve, phases and files."""

from __future__ import annotations

from pathlib import Path

import click

from genrec_bench.cli.options import FilePath, json_option


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--out", type=FilePath(), default="runs", show_default=True, help="Folder of the runs that an id names.")
@json_option("Print the record as JSON.")
def show(run: str, out: Path, as_json: bool) -> None:
    """Show one run: a folder, a record file, BOARD:SYSTEM, or the first letters of its id in --out.

    Of several seeds the first is shown.
    """
    from genrec_bench.cli.results import print_run
    from genrec_bench.cli.terminal import UNMEASURED, print_json, print_table, say, table
    from genrec_bench.leaderboard.facts import command
    from genrec_bench.leaderboard.selection import find

    found = find(run, out)
    record = min(found, key=lambda one: int(one.spec["seed"]))
    if as_json:
        print_json(record.to_dict())
        return

    say(command(record), style="bold")
    phases = table("phase", ">seconds")
    for name, seconds in record.phases.items():
        phases.add_row(name, f"{seconds:,.1f}")
    print_table(phases)

    parts = table("part", "component", "distribution", "version", "code")
    for name, facts in record.components.items():
        told = [str(facts.get(key) or UNMEASURED) for key in ("name", "distribution", "version", "code")]
        parts.add_row(name, *told[:3], told[3][:12])
    print_table(parts)
    print_run(record, Path(run) if Path(run).is_dir() else out / record.spec_id)
