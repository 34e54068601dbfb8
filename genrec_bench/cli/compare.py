"""`genrec compare`: two systems beside each other, and what a test says of their difference."""

from __future__ import annotations

from pathlib import Path

import click

from genrec_bench.cli.options import FilePath, json_option


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--out", type=FilePath(), default="runs", show_default=True, help="Folder of the runs that an id names.")
@click.option(
    "--policy",
    type=click.Choice(["mask", "keep"]),
    default="mask",
    show_default=True,
    help="Seen items hidden, or kept.",
)
@json_option("Print JSON.")
def compare(first: str, second: str, out: Path, policy: str, as_json: bool) -> None:
    """Compare A with B: what is equal in their conditions, their scores, and whether they differ by more than chance.

    A and B are run folders, record files, folders with the seeds of one system, rows of a board (BOARD:SYSTEM), or the first
    letters of an id in --out: of a run, or of a system with all its seeds. Of two runs of one system it says whether the second
    reproduces the first.

    \b
    genrec compare runs/4f0c runs/91be
    genrec compare leaderboards/loo-full-1/direct/ml-100k:ease "leaderboards/loo-full-1/direct/ml-100k:gci / lightlm / trie"
    """
    from genrec_bench.cli.terminal import print_json, print_table, say, table
    from genrec_bench.leaderboard.comparison import compare as compared
    from genrec_bench.leaderboard.selection import find

    found = compared(find(first, out), find(second, out), policy)
    if as_json:
        print_json(found.to_dict())
        return

    facts = table("condition", "A", "B", "")
    for fact, one, other in found.condition:
        facts.add_row(fact, one, other, "equal" if one == other else "differs")
    print_table(facts, title=f"A: {found.names[0]}\nB: {found.names[1]}")

    scores = table(f"{policy}", ">A", ">B", ">A less B")
    for metric, a, b in found.scores:
        scores.add_row(metric, f"{a:.4f}", f"{b:.4f}", f"{a - b:+.4f}")
    print_table(scores)
    say("\n".join(filter(None, ["", found.verdict, found.again])))
