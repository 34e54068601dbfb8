"""`genrec bench`: how fast the toolkit is, measured here and now. The work is `genrec_bench.bench`'s."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from genrec_bench.bench.results import Result

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
    """Measure one part of the toolkit; both sides of a comparison must give equal results before a time is printed
    (clusterings: how far they agree is printed beside it).

    \b
    genrec bench decode --grid small
    genrec bench report --results benchmarks/results --into docs/performance.md
    """
    import json
    import sys
    import time
    from dataclasses import replace

    from genrec_bench.bench import load
    from genrec_bench.bench.report import (
        put_into,
        read_results,
        report,
        section,
    )
    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.core.files import check_file_writable, check_writable
    from genrec_bench.errors import OutputError, UsageError

    if name != "report" and (results or into):
        raise UsageError("--results and --into are options of `genrec bench report`")
    if name == "report":
        if as_json or out or grid != "small":
            raise UsageError("report measures nothing: it takes --results and --into only")
        if results is None:
            raise UsageError("report needs --results DIR, the folder of JSON files of `genrec bench --out`")
        text = report(read_results(results))
        if into is None:
            print(text)
        else:
            try:
                page = into.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                raise UsageError(f"{into} is no UTF-8 text") from None
            renewed = put_into(page, text)
            check_file_writable(into, "choose another --into")
            into.write_text(renewed, encoding="utf-8")
        return
    if out is not None:
        check_writable(out.parent, "choose another --out")
        check_file_writable(out, "choose another --out")
    began = time.perf_counter()
    found = load(name).run("full" if grid == "full" else "small", RichProgress())
    found = replace(found, conditions={**found.conditions, "seconds": round(time.perf_counter() - began)})
    text = json.dumps(found.to_dict(), indent=1, ensure_ascii=False)
    if as_json:
        print(text)
    elif sys.stdout.isatty():
        _show(found)
    else:
        print(section(found))
    if out is not None:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {out}: {error.strerror}; the result stands above", path=out) from None


def _show(found: Result) -> None:
    """A result on a screen: what ran, how it compares, and whether its goal is reached; the numbers behind it below."""
    from genrec_bench.bench.goals import GOALS
    from genrec_bench.bench.report import (
        amount,
        bound,
        figure,
        stated,
    )
    from genrec_bench.cli.terminal import UNMEASURED, print_table, table

    made = table("case", "against", ">result", ">range", "goal")
    for row in found.rows:
        goal = next((goal for goal in GOALS if goal.number == row.goal), None)
        told = f"{goal.number}: {bound(goal)} {'yes' if goal.reached([row]) else 'no'}" if goal else UNMEASURED
        spread = UNMEASURED if row.low is None or row.high is None else f"{figure(row.low)} to {figure(row.high)}"
        made.add_row(row.case, row.against or UNMEASURED, amount(row.value, row.unit), spread, told)
    print_table(made, f"genrec bench {found.benchmark} --grid {found.grid}", f"{stated(found)}\n--json has the rest.")
