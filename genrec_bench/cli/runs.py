"""`genrec runs`: the runs in a folder, finished or not, a line each."""

from __future__ import annotations

from pathlib import Path

import click

from genrec_bench.cli.options import FilePath, json_option

SCORE = "ndcg@10"


@click.command()
@click.argument("out", type=FilePath(), default="runs", metavar="[DIR]")
@click.option("--dataset", metavar="NAME", help="Runs on this data set.")
@click.option("--task", metavar="TASK", help="Runs of this task.")
@click.option("--system", metavar="TEXT", help="Runs whose system holds this text.")
@click.option("--status", type=click.Choice(["finished", "failed", "running"]), help="Runs of this status.")
@json_option("Print JSON.")
def runs(
    out: Path, dataset: str | None, task: str | None, system: str | None, status: str | None, as_json: bool
) -> None:
    """List the runs in DIR, the latest last. Other commands take the first letters of an id.

    \b
    genrec runs --dataset ml-100k --status failed
    """
    from genrec_bench.cli.results import collected
    from genrec_bench.cli.terminal import print_json, print_table, table
    from genrec_bench.cli.terminal import show as shown

    records = [
        record
        for record in collected([out])
        if dataset in (None, record.spec["dataset"])
        and task in (None, record.spec["task"])
        and (system or "") in record.system
        and status in (None, record.status)
    ]
    records.sort(key=lambda record: str(record.environment.get("time")))
    lines = [
        {
            "id": record.spec_id,
            "status": record.status,
            "dataset": record.spec["dataset"],
            "task": record.spec["task"],
            "system": record.system,
            "seed": record.spec["seed"],
            SCORE: record.metrics.get("mask", {}).get(SCORE),
            "time": record.environment.get("time"),
            "reason": record.reason,
        }
        for record in records
    ]
    if as_json:
        print_json(lines)
        return

    listed = table("id", "status", "data", "task", "system", ">seed", f">{SCORE}", "time")
    for line in lines:
        score = shown(line[SCORE], ".4f")
        cells = [str(line[key]) for key in ("id", "status", "dataset", "task", "system", "seed")]
        listed.add_row(*cells, score, str(line["time"])[:16])
    print_table(listed, caption=f"{len(lines)} runs in {out}")
