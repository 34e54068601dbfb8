"""`genrec data`: lists the data sets, describes, adds, removes or exports one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from genrec_bench.cli.commands import Group
from genrec_bench.cli.options import ComponentName, FilePath, json_option
from genrec_bench.cli.terminal import echo


@click.group(cls=Group, invoke_without_command=True)
@json_option("Print a JSON list.")
@click.pass_context
def data(ctx: click.Context, as_json: bool) -> None:
    """List the data sets; `genrec data info NAME` describes one."""
    if ctx.invoked_subcommand is not None:
        return
    from genrec_bench.cli.terminal import print_json, print_table, table
    from genrec_bench.host.registry import list_components

    if as_json:
        print_json([dataset.to_dict() for dataset in list_components("dataset")])
        return

    listing = table("name", "distribution", "description", "status")
    for dataset in list_components("dataset"):
        listing.add_row(dataset.name, dataset.distribution, dataset.description, dataset.status)
    print_table(listing)


@data.command()
@click.argument("name", type=ComponentName("dataset"), metavar="NAME|FILE")
@click.option("--set", "settings", multiple=True, metavar="dataset.KEY=VALUE", help="An option of the data set.")
@click.option("--data-dir", type=FilePath(), metavar="DIR", help="Folder of data files.")
@json_option("Print JSON.")
def info(name: str, settings: tuple[str, ...], data_dir: Path | None, as_json: bool) -> None:
    """Describe a data set: counts, density, lengths, equal timestamps, repeats, cold items and fingerprints."""
    from genrec_bench.cli.run import parse_settings
    from genrec_bench.cli.terminal import print_json, print_table, table
    from genrec_bench.runs.spec import dataset_options

    options = dataset_options(parse_settings(settings, "dataset.min_interactions=5"))

    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.data.loading import load_dataset
    from genrec_bench.data.stats import describe
    from genrec_bench.protocol.split import split_data

    data = load_dataset(name, data_dir=data_dir, progress=RichProgress(), **options)
    facts = describe(*split_data(data))
    if as_json:
        print_json(facts)
        return

    rows = table("", ">")
    rows.show_header = False
    for key, value in flatten(facts):
        rows.add_row(key, value)
    print_table(rows, title=name)


@data.command()
@click.argument("name")
@click.argument("file", type=FilePath())
@click.option("--user", "user_column", metavar="COLUMN", help="Column of the user ids.")
@click.option("--item", "item_column", metavar="COLUMN", help="Column of the item ids.")
@click.option("--time", "time_column", metavar="COLUMN", help="Column of the times; none: rows are in order.")
@click.option("--rating", "rating_column", metavar="COLUMN", help="Column of the ratings; none: there are none.")
@click.option("--columns", metavar="A,B,...", help="Names of the columns, in order, of a text without a header.")
@click.option("--set", "settings", multiple=True, metavar="dataset.KEY=VALUE", help="Another option of `file`.")
@click.option("--force", is_flag=True, help="Replace a data set of this name.")
def add(name: str, file: Path, settings: tuple[str, ...], force: bool, **named: str | None) -> None:
    """Keep FILE as the data set NAME, with its own boards and tables. The file stays where it is.

    \b
    genrec data add shop clicks.csv.gz --user visitor
    genrec run --dataset shop --baseline popularity
    """
    from genrec_bench.cli.run import parse_settings
    from genrec_bench.runs.spec import dataset_options

    options = dataset_options(parse_settings(settings, "dataset.duplicates=drop"))
    options |= {key: value for key, value in named.items() if value is not None}

    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.core.files import naming_disks
    from genrec_bench.data.added import add as keep
    from genrec_bench.host.added import folder

    with naming_disks(folder()):
        entry = keep(name, file, options, replace=force, progress=RichProgress())
    echo(entry)


@data.command()
@click.argument("name")
def remove(name: str) -> None:
    """Forget the data set NAME that was added. Its file, and runs on it, stay."""
    from genrec_bench.core.files import naming_disks
    from genrec_bench.host import added

    with naming_disks(added.folder()):
        added.remove(name)


@data.command()
@click.argument("name", type=ComponentName("dataset"), metavar="NAME|FILE")
@click.option("--to", "folder", required=True, type=FilePath(), metavar="FOLDER", help="Where to write.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["parquet", "recbole"]),
    default="parquet",
    show_default=True,
    help="Parquet, or RecBole's atomic files.",
)
@click.option("--split", is_flag=True, help="Write training, validation and test, as the protocol splits them.")
@click.option("--set", "settings", multiple=True, metavar="dataset.KEY=VALUE", help="An option of the data set.")
@click.option("--data-dir", type=FilePath(), metavar="DIR", help="Folder of data files.")
def export(name: str, folder: Path, form: Any, split: bool, settings: tuple[str, ...], data_dir: Path | None) -> None:
    """Write a data set for other tools, in its own ids, and print the paths.

    \b
    genrec data export beauty --split --to beauty
    """
    from genrec_bench.cli.run import parse_settings
    from genrec_bench.runs.spec import dataset_options

    options = dataset_options(parse_settings(settings, "dataset.min_interactions=5"))

    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.core.files import naming_disks
    from genrec_bench.data.export import export as write
    from genrec_bench.data.loading import load_dataset

    data = load_dataset(name, data_dir=data_dir, progress=RichProgress(), **options)
    with naming_disks(folder):
        paths = write(data, Path(name).name.partition(".")[0], folder, form, split=split)
    for path in paths:
        echo(path)


def flatten(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as rows of (name, readable value)."""
    from genrec_bench.cli.terminal import show

    for key, value in facts.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}: ")
        elif isinstance(value, float):
            yield name, f"{value:,.0f}" if value.is_integer() else f"{value:,.2f}" if value >= 10 else f"{value:.4g}"
        else:
            yield name, show(value, ",d" if type(value) is int else str)
