"""`genrec bench`: how fast the toolkit is, measured here and now. The work is `genrec_bench.bench`'s."""

from __future__ import annotations

from pathlib import Path

import click

NAMES = ("decode", "train", "index", "trie", "score", "startup")


@click.command()
@click.argument("name", type=click.Choice([*NAMES, "report"]), metavar="|".join([*NAMES, "report"]))
@click.option("--grid", type=click.Choice(["small", "full"]), default="small", show_default=True, help="How much.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Also write the JSON there."
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=None,
    metavar="DIR",
    help="report: the folder of JSON files that make the document.",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=None,
    metavar="DOCUMENT",
    help="report: the document to renew; without it the report is printed.",
)
def bench(name: str, grid: str, as_json: bool, out: Path | None, results: Path | None, into: Path | None) -> None:
    """Measure one part of the toolkit; both sides of a comparison must give equal results before a time is printed.

    \b
    genrec bench decode --grid small
    genrec bench report --results benchmarks/results --into docs/performance.md
    """
    import json

    from genrec_bench.bench import load
    from genrec_bench.bench.report import put_into, read_results, report, section
    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.errors import UsageError

    if name == "report":
        if results is None:
            raise UsageError("report needs --results DIR, the folder of JSON files of `genrec bench --out`")
        text = report(read_results(results))
        if into is None:
            print(text)
        else:
            into.write_text(put_into(into.read_text(encoding="utf-8"), text), encoding="utf-8")
        return
    found = load(name).run("full" if grid == "full" else "small", RichProgress())
    text = json.dumps(found.to_dict(), indent=1, ensure_ascii=False)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
    print(text if as_json else section(found))
