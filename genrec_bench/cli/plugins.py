"""`genrec plugins`: every component that is installed, without importing one."""

from __future__ import annotations

import click

from genrec_bench.registry import KINDS


@click.command(short_help="List every installed component.")
@click.option("--kind", type=click.Choice(KINDS), help="Only these.")
@click.option("--check", "checked", is_flag=True, help="Load each in a process of its own and report what fails.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def plugins(kind: str | None, checked: bool, as_json: bool) -> None:
    """List data sets, indexers, backbones, decoders and baselines: who supplies each, and whether it is sound."""
    from genrec_bench import registry
    from genrec_bench.cli.terminal import print_json, print_table, table

    rows = []
    for info in registry.list_components(kind):
        row = info.to_dict()
        if checked and not row["status"].startswith("broken"):
            verdict = registry.check(info)
            row["status"] = row["status"] if verdict == "ok" else verdict
        rows.append(row)
    if as_json:
        print_json(rows)
        return
    columns = ("kind", "name", "distribution", "version", "description", "status")
    made = table(*columns)
    for row in rows:
        made.add_row(*(row[column] for column in columns))
    print_table(made)
