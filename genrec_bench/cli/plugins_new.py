"""`genrec plugins new`: writes an installable package with a small working component, as a start for yours."""

from __future__ import annotations

from pathlib import Path

import click

from genrec_bench.cli.options import FilePath
from genrec_bench.cli.terminal import echo
from genrec_bench.host.registry import KINDS


@click.command(short_help="Write an installable package for a new component.")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="The kind of component.")
@click.option("--out", type=FilePath(), metavar="DIR", help="Folder of the package.  [default: genrec-NAME]")
def new(name: str, kind: str, out: Path | None) -> None:
    """Write a package with a working component NAME, its entry point, tests and README.

    NAME is what users type: lower-case letters, digits and hyphens.
    """
    from genrec_bench.testing.scaffold import new_package, words

    folder, files = new_package(kind, name, out)
    for file in files:
        echo(folder / file)
    echo(f"next: pip install -e {folder} && genrec plugins check {name} --kind {kind}")
    echo(f"then: {words(kind, name)['run']}")
