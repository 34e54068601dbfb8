"""Baselines of a board under other orders of equal timestamps (protocol P2): measured once, kept in `tie-orders.json`.

Where timestamps tie, a hash with a seed decides which item is held out; on boards the seed is always 0. The other seeds
only show how far a number depends on that choice: they are computed in memory, leave no record and never become a row.
Reading the file needs no data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec_bench.core.files import write_json
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.errors import RecordError, UsageError
from genrec_bench.leaderboard.rows import Board
from genrec_bench.protocol.constants import (
    LIST_DEPTH,
    POLICIES,
    SELECTION,
    TIE_SEED,
)
from genrec_bench.runs.record import RunRecord

if TYPE_CHECKING:
    from genrec_bench.core.events import Interactions
    from genrec_bench.core.sequences import Split
    from genrec_bench.host.contracts import Baseline

FILE = "tie-orders.json"
MEASURED = ("popularity", "item-counts", "item-knn", "ease")  # quick baselines that draw nothing at random
SEEDS = (TIE_SEED, 1, 2, 3, 4)
AGAIN = "measure again with `genrec leaderboard ties`"


@dataclass(frozen=True)
class Scores:
    """One baseline's ndcg@10 per tie seed, by history policy."""

    system: str
    system_id: str
    by_policy: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class TieOrders:
    """What baselines score under several tie seeds, the board's own first.

    `moved` is the share of users whose test item is not the board's.
    """

    seeds: tuple[int, ...]
    moved: tuple[float, ...]
    baselines: tuple[Scores, ...]


def read(folder: Path, board: Board) -> TieOrders | None:
    """The tie orders beside a board's records; None if nobody measured them. RecordError if they are another board's."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        ties = _parsed(content)
        data, split = content["fingerprints"]["data"], content["splits"][0]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError):
        raise RecordError(f"{FILE} is not what `genrec leaderboard ties` writes: {AGAIN}", path=path) from None

    if (data, split, content.get("task")) != (board.fingerprints["data"], board.fingerprints["split"], board.task):
        raise RecordError(f"{FILE} is of other data, another split or another task than the board: {AGAIN}", path=path)
    _check_rows(ties, board, path)
    return ties


def _parsed(content: Mapping[str, Any]) -> TieOrders:
    """The file's content. Any of many errors if it is not what `measure` writes."""
    baselines = tuple(
        Scores(
            str(entry["system"]),
            str(entry["system_id"]),
            {policy: entry[SELECTION][policy] for policy in POLICIES},
        )
        for entry in content["baselines"]
    )
    ties = TieOrders(tuple(content["tie_seeds"]), tuple(content["moved"]), baselines)

    scores = [values for baseline in baselines for values in baseline.by_policy.values()]
    lengths = {len(values) for values in (ties.seeds, ties.moved, content["splits"], *scores)}
    assert baselines and ties.seeds[0] == TIE_SEED and lengths == {len(ties.seeds)}
    assert all(0 <= value <= 1 for values in (ties.moved, *scores) for value in values)
    return ties


def _check_rows(ties: TieOrders, board: Board, path: Path) -> None:
    """RecordError unless each baseline is a row of the board and scores the same there under the board's own seed."""
    rows = {row.system_id: row for row in board.rows}
    for baseline in ties.baselines:
        row = rows.get(baseline.system_id)
        if row is None:
            raise RecordError(
                f"{FILE} measures {baseline.system}, which has no such row on the board: {AGAIN}", path=path
            )

        on_board, measured = row.score, baseline.by_policy[board.policy][0]
        if not math.isclose(on_board, measured, abs_tol=1e-12):
            raise RecordError(
                f"{FILE} says {measured:.6f} for {baseline.system} under tie seed {TIE_SEED}, its row {on_board:.6f}: "
                f"{AGAIN}",
                path=path,
            )


def measure(
    records: Sequence[RunRecord], folder: Path, *, data_dir: Path | None = None, progress: Progress | None = None
) -> Path:
    """Rank the baselines among a board's `records` under five tie seeds and write `tie-orders.json` into `folder`.

    UsageError for data without ties, or a board without such a baseline; RecordError if a baseline does not reproduce
    its row under the board's own seed, or if the data is not the board's.
    """
    from genrec_bench.protocol.split import leave_one_out
    from genrec_bench.runs.inputs import load_data
    from genrec_bench.runs.spec import ResolvedSpec

    if not records[0].data.get("tie_users"):
        raise UsageError(f"{folder}: no two interactions of a user tie, so there is one order only: nothing to measure")
    baselines = {record.system_id: record for record in records if record.spec.get("baseline") in MEASURED}
    if not baselines:
        raise UsageError(f"{folder}: it has no row of {', '.join(MEASURED)}: run and add one first")

    first = next(iter(baselines.values()))
    data, split = load_data(ResolvedSpec.from_dict(first.spec), data_dir=data_dir, progress=progress)
    fingerprints = {"data": data.fingerprint(), "split": split.fingerprint}
    if any(first.fingerprints.get(key) != value for key, value in fingerprints.items()):
        raise RecordError(f"{folder}: the data here is not what its records were made from", path=folder)

    splits = {seed: leave_one_out(data, seed) for seed in SEEDS}
    with (progress or Quiet()).phase("tie orders", len(SEEDS) * len(baselines), "baselines") as tick:
        measured = [_measured(record, data, splits, tick) for record in baselines.values()]

    content = {
        "task": first.spec["task"],
        "protocol": first.spec["protocol"],
        "fingerprints": fingerprints,
        "tie_seeds": list(SEEDS),
        "splits": [splits[seed].fingerprint for seed in SEEDS],
        "moved": [float((splits[seed].test.target != split.test.target).mean()) for seed in SEEDS],
        "baselines": sorted(measured, key=lambda entry: (MEASURED.index(entry["system"]), entry["system_id"])),
    }
    write_json(folder / FILE, content)
    return folder / FILE


def _measured(
    record: RunRecord, data: Interactions, splits: Mapping[int, Split], tick: Callable[[int, str], None]
) -> dict[str, Any]:
    """One baseline under every tie seed, as the file holds it."""
    from genrec_bench.host.config import make_config
    from genrec_bench.host.contracts import BaselineContext
    from genrec_bench.protocol.scores import score
    from genrec_bench.protocol.split import train_view
    from genrec_bench.runs.spec import ResolvedSpec

    spec = ResolvedSpec.from_dict(record.spec)
    cls, context = _classes()[str(spec.baseline)], BaselineContext(seed=spec.seed, task=spec.task)
    scores: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    for seed, split in splits.items():
        baseline = cls(make_config(cls.Config, spec.options["baseline"], "baseline"))
        baseline.fit(train_view(data, split, baseline.needs), context)
        queries = split.queries(split.test)

        for policy in POLICIES:
            exclude = queries.history if policy == "mask" else None
            metrics, ranks = score(baseline.rank(queries, k=LIST_DEPTH, exclude=exclude), split.test.target)
            if seed == TIE_SEED and ranks.tolist() != list(record.ranks[policy]):
                raise RecordError(
                    f"{record.system} does not reproduce its row on the board (policy {policy}): run it again and replace "
                    "its record first",
                    path=None,
                )
            scores[policy].append(metrics[SELECTION])
        tick(1, record.system)
    return {"system": record.system, "system_id": record.system_id, SELECTION: scores}


def _classes() -> dict[str, type[Baseline]]:
    """The protocol's own baselines by name, whatever other packages call theirs."""
    from genrec_bench.baselines.ease import EASE
    from genrec_bench.baselines.item_counts import ItemCounts
    from genrec_bench.baselines.item_knn import ItemKNN
    from genrec_bench.baselines.popularity import Popularity

    return dict(zip(MEASURED, (Popularity, ItemCounts, ItemKNN, EASE), strict=True))


def table(ties: TieOrders, board: Board) -> list[list[str]]:
    """The scores as rows of texts, the heading first; baselines are named as the board's rows."""
    names = {row.system_id: row.full_name for row in board.rows}
    own, *others = [f"tie seed {seed}" for seed in ties.seeds]
    rows = [["baseline", f"{own}, this board", *others, "range"]]
    for baseline in ties.baselines:
        scores = baseline.by_policy[board.policy]
        texts = [f"{score:.4f}" for score in scores]
        rows.append([names[baseline.system_id], *texts, f"{min(scores):.4f} to {max(scores):.4f}"])
    return rows


def explanation(ties: TieOrders, board: Board) -> str:
    """What the table shows, in words."""
    share = board.data["tie_users"] / board.data["users"]
    low, high = min(ties.moved[1:]), max(ties.moved[1:])
    return (
        f"{share:.0%} of the users have tied timestamps where the split cuts their history. A hash with a seed decides which "
        f"of the tied interactions is held out; on this board the seed is always {TIE_SEED}. The table gives {SELECTION} of "
        f"baselines under other seeds, which replace {low:.0%} to {high:.0%} of the test items; such splits never give rows. "
        "All rows of this board share one split, so tie orders do not explain a difference between two of them, but they show "
        "how far each number depends on the order."
    )
