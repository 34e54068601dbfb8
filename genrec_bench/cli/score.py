"""`genrec score`: turns ranked lists made elsewhere into a record. `rescore` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from genrec_bench.cli.options import FilePath, json_option


@click.command()
@click.argument("lists", type=FilePath(), metavar="LISTS")
@click.option("--dataset", required=True, metavar="NAME|FILE", help="The data set with the test users.")
@click.option("--task", required=True, metavar="TASK", help="The task that the lists answer: direct or sequential.")
@click.option("--name", required=True, metavar="NAME", help="What made the lists, for tables: 'SASRec (RecTools)'.")
@click.option(
    "--policy",
    type=click.Choice(["mask", "keep"]),
    default="mask",
    show_default=True,
    help="mask: the lists leave out seen items. keep: they may hold them, and are scored both ways.",
)
@click.option("--columns", metavar="A,B,...", help="Names of the columns, in order, of a text without a header.")
@click.option("--codes", type=FilePath(), metavar="FILE", help="The code of every item; LISTS then holds codes.")
@click.option("--allow-missing", is_flag=True, help="Give users without a list an empty one.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="The seed the lists were made with.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PART.KEY=VALUE",
    help="An option of the data set (dataset), or of the items' codes: codes.format, columns, keys, unknown.",
)
@click.option("--out", type=FilePath(), default="runs", show_default=True, help="Folder of run folders.")
@click.option("--data-dir", type=FilePath(), metavar="DIR", help="Folder of data files.")
@click.option("--force", is_flag=True, help="Replace lists of this name that were scored before.")
@json_option("Print the record as JSON, and nothing else.")
def score(
    lists: Path,
    columns: str | None,
    codes: Path | None,
    out: Path,
    data_dir: Path | None,
    force: bool,
    as_json: bool,
    settings: tuple[str, ...],
    **about: Any,
) -> None:
    """Score the ranked lists in LISTS (text, Parquet, JSON or a TREC run) into a record of the tier re-scored.

    One row per listed item, in the data's own ids: the columns user, item, and rank (1 is best) or score (larger is
    better); or a row per user with a list of items, best first; or JSON, {user: [item, ...]}. At least 20 items per user;
    more with --policy keep, because mask is then scored without seen items.

    With --codes, LISTS holds what a generator wrote: the columns user and codes (a list, best first), or user, code, and rank
    or score; or JSON, {user: [code, ...]}. Codes of no item are counted, and items that share a code tie.

    \b
    genrec score lists.csv --dataset ml-100k --task sequential --name "SASRec (RecTools)"
    genrec score beams.jsonl --codes codes.json --dataset beauty --task sequential --name "TIGER (theirs)"
    """
    from genrec_bench.cli import results, terminal
    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.cli.run import parse_settings
    from genrec_bench.runs.external import plan_of, rescore
    from genrec_bench.runs.external_codes import item_codes_of
    from genrec_bench.runs.folders import run_folder

    options = parse_settings(settings, "dataset.path=my.csv")
    item_codes, of_data = item_codes_of(codes, options)
    plan = plan_of(settings=of_data, **about)
    how: dict[str, Any] = {"columns": columns.split(",") if columns else None, "item_codes": item_codes}
    record = rescore(lists, plan, **how, out=out, data_dir=data_dir, force=force, progress=RichProgress())
    if as_json:
        terminal.print_json(record.to_dict())
    else:
        results.print_run(record, run_folder(out, plan.spec))
