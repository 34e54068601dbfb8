"""The commands that this distribution adds to `genrec`: `genrec bench` and `genrec data synth`.

Imports nothing heavy: each command imports what it needs when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genrec_bench.cli.options import FilePath

if TYPE_CHECKING:
    from genrec_speed.results import Grid, Result

NAMES = ("decode", "train", "index", "trie", "score", "startup")


@click.command()
@click.argument("name", type=click.Choice([*NAMES, "report"]), metavar="|".join([*NAMES, "report"]))
@click.option(
    "--grid", type=click.Choice(["small", "full"]), default="small", show_default=True, help="How many cases to run."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else.")
@click.option("--out", type=FilePath(dir_okay=False), metavar="FILE", help="Also write the JSON to a file.")
@click.option(
    "--data-dir",
    type=FilePath(file_okay=False, exists=True),
    metavar="DIR",
    help="train: the folder with Amazon Beauty, whose histories are then used; without it they are planted.",
)
@click.option(
    "--results",
    type=FilePath(file_okay=False, exists=True),
    metavar="DIR",
    help="report: the folder with the JSON files to report.",
)
@click.option(
    "--into",
    type=FilePath(dir_okay=False, exists=True),
    metavar="DOCUMENT",
    help="report: the document to update; without it the report is printed.",
)
def bench(
    name: str,
    grid: Grid,
    as_json: bool,
    out: Path | None,
    data_dir: Path | None,
    results: Path | None,
    into: Path | None,
) -> None:
    """Measure the toolkit's speed against the usual ways.

    Both sides of a comparison must give equal results before a time is printed. Clusterings need not agree in full:
    how far they agree is printed beside their times.

    \b
    genrec bench decode --grid small
    genrec bench report --results benchmarks/results --into docs/performance.md
    """
    from genrec_bench.api import UsageError

    if data_dir and name != "train":
        raise UsageError("--data-dir is an option of `genrec bench train`")
    if name == "report":
        if as_json or out or grid != "small":
            raise UsageError("report measures nothing: it takes --results and --into only")
        if results is None:
            raise UsageError("report needs --results DIR, the folder with the JSON files of `genrec bench --out`")
        write_report(results, into)
        return

    if results or into:
        raise UsageError("--results and --into are options of `genrec bench report`")
    measure(name, grid, as_json, out, {"data_dir": data_dir} if data_dir else {})


def write_report(results: Path, into: Path | None) -> None:
    """Print the report of a folder of results, or put it between the markers of a document."""
    from genrec_bench.api import UsageError
    from genrec_bench.core.files import check_file_writable
    from genrec_speed.report import put_into, read_results, report

    text = report(read_results(results))
    if into is None:
        print(text)
        return

    try:
        document = into.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{into} is not UTF-8 text") from None
    updated = put_into(document, text)
    check_file_writable(into, "choose another --into")
    into.write_text(updated, encoding="utf-8")


def measure(name: str, grid: Grid, as_json: bool, out: Path | None, options: Mapping[str, Any]) -> None:
    """Run a benchmark with its `options`, print its result, and write it to `out` if that is given."""
    import json
    import sys
    import time
    from dataclasses import replace

    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.core.files import check_file_writable, check_writable
    from genrec_bench.errors import OutputError
    from genrec_speed import load
    from genrec_speed.report import section

    if out is not None:
        check_writable(out.parent, "choose another --out")
        check_file_writable(out, "choose another --out")

    began = time.perf_counter()
    result = load(name).run(grid, RichProgress(), **options)
    seconds = round(time.perf_counter() - began)
    result = replace(result, conditions={**result.conditions, "seconds": seconds})

    text = json.dumps(result.to_dict(), indent=1, ensure_ascii=False)
    if as_json:
        print(text)
    elif sys.stdout.isatty():
        show(result)
    else:
        print(section(result))

    if out is not None:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {out}: {error.strerror}; the result is printed above", path=out) from None


def show(result: Result) -> None:
    """Print a result for a screen: the cases, how they compare, and whether their goals are reached."""
    from genrec_bench.cli.terminal import UNMEASURED, print_table, table
    from genrec_speed.goals import GOALS
    from genrec_speed.report import amount, bound, conditions_line, spread

    goals = {goal.number: goal for goal in GOALS}
    screen = table("case", "against", ">result", ">range", "goal")
    for row in result.rows:
        goal = goals.get(row.goal or "")
        verdict = f"{goal.number}: {bound(goal)} {'yes' if goal.reached([row]) else 'no'}" if goal else UNMEASURED
        screen.add_row(row.case, row.against or UNMEASURED, amount(row.value, row.unit), spread(row), verdict)

    title = f"genrec bench {result.benchmark} --grid {result.grid}"
    print_table(screen, title, f"{conditions_line(result)}\n--json has the rest.")


@click.command()
@click.option("--users", type=int, required=True, metavar="N", help="Users.")
@click.option("--items", type=int, required=True, metavar="M", help="Items.")
@click.option("--clusters", type=int, required=True, metavar="C", help="Planted clusters of users and items.")
@click.option(
    "--mean-length", type=float, default=10, show_default=True, metavar="L", help="Interactions per user, 3 or more."
)
@click.option(
    "--loyalty",
    type=float,
    default=0.8,
    show_default=True,
    metavar="S",
    help="Share of a user's interactions with items of the user's own cluster.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Equal seeds give equal data.")
@click.option("--out", type=FilePath(), required=True, metavar="FILE", help="The Parquet file to write.")
@click.option("--truth", type=FilePath(), metavar="FILE", help="Also write each item's cluster to a Parquet file.")
def synth(out: Path, truth: Path | None, **sizes: Any) -> None:
    """Write synthetic interactions with planted clusters.

    They are for tests of scale, in the format that `--dataset file` reads.

    \b
    genrec data synth --users 100000 --items 20000 --clusters 50 --out synth.parquet
    genrec data info synth.parquet
    """
    from genrec_bench.cli.progress import RichProgress
    from genrec_speed.synth import Plan, write_synthetic

    plan = Plan(**sizes)
    with RichProgress().phase("writing", plan.users, "users") as tick:
        counts = write_synthetic(plan, out, truth, tick)
    print(f"{out}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
