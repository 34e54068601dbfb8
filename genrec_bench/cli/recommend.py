"""`genrec recommend`: the history of one user and what a finished run recommends to them. Reads stored lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from genrec_bench.cli.options import FilePath, json_option

if TYPE_CHECKING:
    from genrec_bench.core.events import Interactions
    from genrec_bench.core.sequences import Split

LAST = 10  # items of the history to show


@click.command()
@click.argument("run", type=FilePath(), metavar="RUN")
@click.option("--user", required=True, metavar="ID", help="The user's id in the data.")
@click.option("-k", "count", type=click.IntRange(min=1), default=10, show_default=True, help="How many items to show.")
@click.option(
    "--data-dir",
    type=FilePath(),
    metavar="DIR",
    help="Folder of data files; for a run on your own file, the folder to which its dataset.path is relative.",
)
@json_option("Print one JSON document.")
def recommend(run: Path, user: str, count: int, data_dir: Path | None, as_json: bool) -> None:
    """Show the latest items of a user, and what the finished run in folder RUN recommends, best first."""
    from genrec_bench.cli.terminal import print_json, print_table, table
    from genrec_bench.core.ids import normal_id
    from genrec_bench.errors import DataError, RecordError
    from genrec_bench.runs.folders import damaged_files
    from genrec_bench.runs.lists import LISTS_FILE, read_lists
    from genrec_bench.runs.record import RunRecord
    from genrec_bench.runs.spec import ResolvedSpec

    record = RunRecord.read(run)
    if record.status != "finished":
        raise RecordError(f"{run}: this run is {record.status} and has no lists; run it again", path=run)
    folder = run if run.is_dir() else run.parent
    lists = read_lists(folder / LISTS_FILE)["mask"]
    if damages := damaged_files(record, folder, only=LISTS_FILE):
        raise RecordError(f"{run}: {damages[0]} since the run stored it; `genrec verify` tells more", path=run)
    user = normal_id(user, lists.users)
    if user not in lists.users:
        raise RecordError(
            f"no user {user!r} among the {len(lists)} of this run; the first is {lists.users[0]!s}", path=run
        )

    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.runs.inputs import load_data

    spec = ResolvedSpec.from_dict(record.spec)
    data, split = load_data(spec, data_dir=data_dir, progress=RichProgress())
    if record.fingerprints.get("data") != data.fingerprint():
        raise DataError(
            f"{run}: the data set is not the one of this run (fingerprint {data.fingerprint()[:8]}, the run has "
            f"{str(record.fingerprints.get('data'))[:8]}): its histories do not belong to these lists. Run again, or give "
            "the folder with the run's file: --data-dir",
            path=run,
        )

    titles = titles_of(data)
    columns = ("item", "title") if titles else ("item",)
    past, total = history(data, split, user)
    listed = lists.of(user)[:count]
    if as_json:
        items = [{"item": item, "title": titles.get(item), "score": float(score)} for item, score in listed]
        last = [{"item": item, "title": titles.get(item)} for item in past]
        print_json({"user": user, "system": spec.system, "seen": total, "last": last, "recommended": items})
        return

    history_table = table(*columns)
    for item in past:
        history_table.add_row(item, *([titles[item]] if titles else []))
    print_table(history_table, title=f"user {user} has {total} items; the last {len(past)}, newest at the bottom:")

    recommended = table(">rank", *columns, ">score")
    for rank, (item, score) in enumerate(listed, 1):
        recommended.add_row(str(rank), item, *([titles.get(item, "")] if titles else []), f"{score:.3f}")
    short = f"; the run's list for this user ends after {len(listed)}" if len(listed) < count else ""
    print_table(recommended, title=f"\n{spec.system} recommends:", caption=f"seen items are left out{short}")


def titles_of(data: Interactions) -> dict[str, str]:
    """Title by external item id; empty where the data set has none."""
    if data.item_titles is None:
        return {}
    return dict(zip(data.item_ids.tolist(), data.item_titles.tolist(), strict=True))


def history(data: Interactions, split: Split, user: str) -> tuple[list[str], int]:
    """The last items (external ids) in a user's history before the test case, newest last, and the history's length.

    RecordError if the data does not have the user.
    """
    import numpy as np

    from genrec_bench.errors import RecordError

    numbers = np.flatnonzero(data.user_ids == user)
    if not len(numbers):
        raise RecordError(f"the data set has no user {user!r}", path=None)
    cases = split.test.take(np.flatnonzero(split.test.user == numbers[0]))
    items = split.queries(cases).history[len(cases) - 1]
    return [str(data.item_ids[item]) for item in items[-LAST:]], len(items)
