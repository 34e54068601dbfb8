"""The floors of a board under other orders of equal timestamps (protocol P2): measured once, kept as `yardstick.json`.

Where timestamps tie, a hash with a seed decides which event is held out; on boards the seed is always 0. What other seeds
give is a yardstick, never a row: it is computed here, in memory, and no record is written. Reading it needs no data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec_bench.core.files import write_json
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.errors import RecordError, UsageError
from genrec_bench.leaderboard.rows import Board
from genrec_bench.protocol.constants import POLICIES, SELECTION, TIE_SEED
from genrec_bench.runs.record import RunRecord

FILE = "yardstick.json"
FLOORS = ("popularity", "item-counts", "item-knn", "ease")  # quick, and they draw nothing at random
SEEDS = (TIE_SEED, 1, 2, 3, 4)
AGAIN = "measure again with `genrec leaderboard ties`"


@dataclass(frozen=True)
class Floor:
    """One floor's ndcg@10 per tie seed, by history policy."""

    system: str
    system_id: str
    scores: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class TieOrders:
    """What the floors give under several tie seeds, the boards' own first; `moved` is the share of users whose test item
    is another one than on the board."""

    seeds: tuple[int, ...]
    moved: tuple[float, ...]
    floors: tuple[Floor, ...]


def read(folder: Path, board: Board) -> TieOrders | None:
    """The yardstick beside a board's records; None if nobody measured it. RecordError if it is not this board's."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        floors = tuple(
            Floor(str(each["system"]), str(each["system_id"]), {policy: each[SELECTION][policy] for policy in POLICIES})
            for each in told["floors"]
        )
        made = TieOrders(tuple(told["tie_seeds"]), tuple(told["moved"]), floors)
        lists = [made.seeds, made.moved, told["splits"], *(scores for f in floors for scores in f.scores.values())]
        assert floors and made.seeds[0] == TIE_SEED and {len(each) for each in lists} == {len(made.seeds)}
        assert all(0 <= value <= 1 for each in (made.moved, *lists[3:]) for value in each)
        prints, split = told["fingerprints"]["data"], told["splits"][0]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError):
        raise RecordError(f"{FILE} is not what `genrec leaderboard ties` writes: {AGAIN}", path=path) from None
    if (prints, split, told.get("task")) != (board.fingerprints["data"], board.fingerprints["split"], board.task):
        raise RecordError(f"{FILE} is of other data, another split or another task than the board: {AGAIN}", path=path)
    _check_rows(made, board, path)
    return made


def _check_rows(made: TieOrders, board: Board, path: Path) -> None:
    """RecordError unless each floor is a row of the board and has its number there under the board's own seed."""
    rows = {row.system_id: row for row in board.rows}
    for floor in made.floors:
        row = rows.get(floor.system_id)
        if row is None:
            raise RecordError(f"{FILE} measures {floor.system}, which has no such row on the board: {AGAIN}", path=path)
        ours, theirs = row.metrics[SELECTION], floor.scores[board.policy][0]
        if not math.isclose(ours, theirs, abs_tol=1e-12):
            raise RecordError(
                f"{FILE} says {theirs:.6f} for {floor.system} under tie seed {TIE_SEED}, its row {ours:.6f}: {AGAIN}",
                path=path,
            )


def measure(
    records: Sequence[RunRecord], folder: Path, *, data_dir: Path | None = None, progress: Progress | None = None
) -> Path:
    """Rank the floors among a board's `records` under five tie seeds and write `yardstick.json` into `folder`.

    UsageError for data without ties, or a board without a floor; RecordError if a floor's row does not come out again
    under the board's own seed, or if the data is not the board's.
    """
    from genrec_bench.protocol.split import leave_one_out
    from genrec_bench.runs.inputs import load_data
    from genrec_bench.runs.spec import ResolvedSpec

    floors = {record.system_id: record for record in records if record.spec.get("baseline") in FLOORS}
    if not records[0].data.get("tie_users"):
        raise UsageError(
            f"{folder}: no two events of a user tie there, so there is one order only and nothing to measure"
        )
    if not floors:
        raise UsageError(f"{folder}: none of its rows is a floor ({', '.join(FLOORS)}): run and add one first")
    first = next(iter(floors.values()))
    data, split = load_data(ResolvedSpec.from_dict(first.spec), data_dir=data_dir, progress=progress)
    found = {"data": data.fingerprint(), "split": split.fingerprint}
    if any(first.fingerprints.get(key) != value for key, value in found.items()):
        raise RecordError(f"{folder}: the data here is not what its records were made from", path=folder)
    splits = {seed: leave_one_out(data, seed) for seed in SEEDS}
    with (progress or Quiet()).phase("tie orders", len(SEEDS) * len(floors), "floors") as tick:
        measured = [_floor(record, data, splits, tick) for record in floors.values()]
    told = {
        "task": first.spec["task"],
        "protocol": first.spec["protocol"],
        "fingerprints": found,
        "tie_seeds": list(SEEDS),
        "splits": [splits[seed].fingerprint for seed in SEEDS],
        "moved": [float((splits[seed].test.target != split.test.target).mean()) for seed in SEEDS],
        "floors": sorted(measured, key=lambda each: (FLOORS.index(each["system"]), each["system_id"])),
    }
    write_json(folder / FILE, told)
    return folder / FILE


def _floor(record: RunRecord, data: Any, splits: Mapping[int, Any], tick: Any) -> dict[str, Any]:
    """One floor under every tie seed, as the file holds it."""
    from genrec_bench.baselines.ease import EASE
    from genrec_bench.baselines.item_counts import ItemCounts
    from genrec_bench.baselines.item_knn import ItemKNN
    from genrec_bench.baselines.popularity import Popularity
    from genrec_bench.host.config import make_config
    from genrec_bench.host.contracts import Baseline, BaselineContext
    from genrec_bench.protocol.constants import LIST_DEPTH
    from genrec_bench.protocol.scores import score
    from genrec_bench.protocol.split import train_view
    from genrec_bench.runs.spec import ResolvedSpec

    spec = ResolvedSpec.from_dict(record.spec)
    classes: dict[str, type[Baseline]] = {
        "popularity": Popularity,
        "item-counts": ItemCounts,
        "item-knn": ItemKNN,
        "ease": EASE,
    }
    cls, options = classes[str(spec.baseline)], spec.options["baseline"]
    scores: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    for seed, split in splits.items():
        floor, queries = cls(make_config(cls.Config, options, "baseline")), split.queries(split.test)
        floor.fit(train_view(data, split, floor.needs), BaselineContext(seed=spec.seed, task=spec.task))  # type: ignore[arg-type]
        for policy in POLICIES:
            ranking = floor.rank(queries, k=LIST_DEPTH, exclude=queries.history if policy == "mask" else None)
            metrics, ranks = score(ranking, split.test.target)
            if seed == TIE_SEED and ranks.tolist() != list(record.ranks[policy]):
                raise RecordError(
                    f"{record.system} does not come out as its row on the board says (policy {policy}): run it again and "
                    "replace its record first",
                    path=None,
                )
            scores[policy].append(metrics[SELECTION])
        tick(1, record.system)
    return {"system": record.system, "system_id": record.system_id, SELECTION: scores}


def table(made: TieOrders, board: Board) -> list[list[str]]:
    """The yardstick as rows of texts, the heading first; floors are named as the board's rows."""
    names = {row.system_id: f"{row.system} {row.options}".strip() for row in board.rows}
    heads = [f"tie seed {seed}" for seed in made.seeds]
    rows = [["floor", f"{heads[0]}, this board", *heads[1:], "range"]]
    for floor in made.floors:
        scores = floor.scores[board.policy]
        rows.append(
            [names[floor.system_id], *(f"{score:.4f}" for score in scores), f"{min(scores):.4f} to {max(scores):.4f}"]
        )
    return rows


def told(made: TieOrders, board: Board) -> str:
    """What the table is, in words."""
    share = board.data["tie_users"] / board.data["users"]
    low, high = min(made.moved[1:]), max(made.moved[1:])
    return (
        f"{share:.0%} of the users are cut on a tie of timestamps, and a hash with a seed decides which of the tied events is "
        f"held out: {TIE_SEED} on this board, always. {SELECTION} of the floors under other seeds, which replace "
        f"{low:.0%} to {high:.0%} of the test items; such splits have no rows. Rows here share one split, so a difference "
        "between two of them is not of this kind; how far each number depends on the order of ties is."
    )
