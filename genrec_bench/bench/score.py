"""Scoring: ranks, metrics and validity of ranked lists by arrays, against a plain loop over users, and equal to ranx.

The lists are random and have no ties, so that every tool means the same; ties are the protocol's own and have tests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from genrec_bench.bench.results import (
    Grid,
    Result,
    Row,
    conditions,
)
from genrec_bench.bench.timing import interleaved
from genrec_bench.core.arrays import Int32, Ragged
from genrec_bench.core.progress import Progress
from genrec_bench.core.rankings import NOT_AN_ITEM, Generations, Ranking
from genrec_bench.errors import GenrecError, NeedsMissing
from genrec_bench.protocol.constants import KS
from genrec_bench.protocol.ranks import target_ranks
from genrec_bench.protocol.scores import from_ranks
from genrec_bench.protocol.validity import ranking_from, validity

PLACES, ITEMS, HISTORY = 50, 10_000, 10  # of a list, of the catalogue, of each user
USERS: dict[Grid, tuple[int, ...]] = {"small": (20_000,), "full": (20_000, 200_000)}
NO_ITEMS = 0.02  # share of hypotheses that are no item
NEAR = 1e-9  # how far metrics of two tools may lie apart: sums in another order
ROUNDS = 7
RANX = {"hit": "hit_rate", "ndcg": "ndcg", "mrr": "mrr"}


def run(grid: Grid, progress: Progress, rounds: int = ROUNDS) -> Result:
    """Metrics and validity against loops, and metrics against ranx. NeedsMissing without ranx."""
    ranx = import_ranx()
    rows = []
    with progress.phase("score", 4 * len(USERS[grid]), "cases") as tick, threadpool_limits(1):
        for users in USERS[grid]:
            emitted, history, targets = example(users)
            lists = ranking_from(emitted, depth=PLACES)
            for row in (
                against_loop(lists, targets, rounds),
                against_places(lists, targets, rounds),
                validity_against_loop(emitted, history, rounds),
                against_ranx(ranx, lists, targets, rounds),
            ):
                rows.append(row)
                tick(1, row.case)
    return Result("score", grid, tuple(rows), conditions(places=PLACES, items=ITEMS, ranx=version("ranx")))


def import_ranx() -> Any:
    """The ranx module. NeedsMissing says what to install."""
    try:
        import ranx
    except ImportError as error:
        raise NeedsMissing(
            f"scores are compared with ranx, which cannot be imported ({error}): pip install 'genrec-bench[bench]'",
            needs="ranx",
        ) from None
    return ranx


def example(users: int, seed: int = 0) -> tuple[Generations, Ragged, Int32]:
    """What a decoder might emit for `users`, their histories, and a target each; a third of the lists hold theirs."""
    rng = np.random.default_rng(seed)
    stride = ITEMS // PLACES  # one item from every stride: different ones without looking
    items = np.argsort(rng.random((users, PLACES)), axis=1) * stride + rng.integers(stride, size=(users, 1))
    scores = -np.cumsum(0.01 + rng.random((users, PLACES)), axis=1)
    rows = np.arange(users)
    targets = np.where(rng.random(users) < 1 / 3, items[rows, rng.integers(PLACES, size=users)], ITEMS)
    items[(rng.random(items.shape) < NO_ITEMS) & (items != targets[:, None])] = NOT_AN_ITEM
    history = Ragged(
        rng.integers(ITEMS, size=users * HISTORY).astype(np.int32), np.arange(users + 1, dtype=np.int64) * HISTORY
    )
    tokens = np.zeros((users, PLACES, 1), np.int32)
    bound = np.full(users, -np.inf, np.float32)
    return (
        Generations(tokens, scores.astype(np.float32), items.astype(np.int32), bound),
        history,
        targets.astype(np.int32),
    )


def against_loop(lists: Ranking, targets: Int32, rounds: int = ROUNDS) -> Row:
    """From ranked lists to hit, ndcg and mrr: our ranks by counting, against finding each target in its list."""
    items, scores, wanted = lists.items.tolist(), lists.scores.tolist(), targets.tolist()  # what a loop would be given
    sides = {
        "loop": lambda: metrics_by_loop(items, scores, wanted),
        "ours": lambda: from_ranks(target_ranks(lists, targets)),
    }
    return _row("ranks and metrics", "Python loop", sides, len(lists), rounds, goal="9")


def against_places(lists: Ranking, targets: Int32, rounds: int = ROUNDS) -> Row:
    """The same against the loop that P5's and OpenP5's evaluation runs: sort, mark every place, add up every place."""
    items, scores, wanted = lists.items.tolist(), lists.scores.tolist(), targets.tolist()
    sides = {
        "loop": lambda: metrics_by_places(items, scores, wanted),
        "ours": lambda: from_ranks(target_ranks(lists, targets)),
    }
    return _row("ranks and metrics", "Python loop over places, as OpenP5's", sides, len(lists), rounds, goal="9")


def metrics_by_places(items: list[list[int]], scores: list[list[float]], targets: list[int]) -> dict[str, float]:
    """hit, ndcg and mrr from relevance lists, one entry per place; knows no ties."""
    relevance = []
    for listed, told, target in zip(items, scores, targets, strict=True):
        ordered = sorted(zip(listed, told, strict=True), key=lambda pair: pair[1], reverse=True)
        relevance.append([1 if item == target else 0 for item, _ in ordered])
    found = {}
    for k in KS:
        hit = ndcg = mrr = 0.0
        for row in relevance:
            cut = row[:k]
            hit += 1 if sum(cut) > 0 else 0
            ndcg += sum(mark / math.log2(place + 2) for place, mark in enumerate(cut))
            mrr += sum(mark / (place + 1) for place, mark in enumerate(cut))
        found |= {f"hit@{k}": hit / len(targets), f"ndcg@{k}": ndcg / len(targets), f"mrr@{k}": mrr / len(targets)}
    return found


def metrics_by_loop(items: list[list[int]], scores: list[list[float]], targets: list[int]) -> dict[str, float]:
    """The same metrics under the same tie rule, user by user and place by place; lists filled to their depth are cut."""
    gained = dict.fromkeys((f"{name}@{k}" for k in KS for name in ("hit", "ndcg", "mrr")), 0.0)
    for listed, told, target in zip(items, scores, targets, strict=True):
        if target not in listed:
            continue
        mine = told[listed.index(target)]
        rank = sum(1 for item, score in zip(listed, told, strict=True) if item >= 0 and score >= mine)
        if listed[-1] >= 0 and told[-1] == mine and told.count(mine) > 1:
            continue
        for k in KS:
            if rank <= k:
                gained[f"hit@{k}"] += 1
                gained[f"ndcg@{k}"] += 1 / math.log2(rank + 1)
                gained[f"mrr@{k}"] += 1 / rank
    return {name: value / len(targets) for name, value in gained.items()}


def validity_against_loop(emitted: Generations, history: Ragged, rounds: int = ROUNDS) -> Row:
    """Hallucinations, repeats, items a user has and filled places, of every hypothesis."""
    items, had = emitted.items.tolist(), [row.tolist() for row in history]

    def ours() -> dict[str, float]:
        told = validity(emitted, history)
        return {name: told[name] for name in told if name.endswith("_rate") or name.startswith("fill")}

    sides = {
        "loop": lambda: validity_by_loop(items, had),
        "ours": ours,
    }
    return _row("validity", "Python loop", sides, len(emitted), rounds)


def validity_by_loop(items: list[list[int]], had: list[list[int]]) -> dict[str, float]:
    """The same shares, hypothesis by hypothesis."""
    none = again = seen = 0
    filled = dict.fromkeys(KS, 0)
    for listed, own in zip(items, had, strict=True):
        known, met, good = set(own), set(), 0
        for item in listed:
            if item < 0:
                none += 1
            elif item in met:
                again += 1
            elif item in known:
                seen += 1
            else:
                good += 1
            met.add(item)
        for k in KS:
            filled[k] += min(good, k)
    emitted = sum(map(len, items))
    rates = {"hallucination_rate": none, "duplicate_rate": again, "seen_rate": seen}
    shares = {name: count / emitted for name, count in rates.items()}
    return shares | {f"fill@{k}": count / (k * len(items)) for k, count in filled.items()}


def against_ranx(ranx: Any, lists: Ranking, targets: Int32, rounds: int = ROUNDS) -> Row:
    """The same metrics by ranx's compiled code; reading the lists into its own form is not timed."""
    users = [str(user) for user in range(len(lists))]
    listed = [
        {str(item): float(score) for item, score in zip(items, scores, strict=True) if item >= 0}
        for items, scores in zip(lists.items.tolist(), lists.scores.tolist(), strict=True)
    ]
    truth = ranx.Qrels(dict(zip(users, ({str(target): 1} for target in targets.tolist()), strict=True)))
    theirs = ranx.Run(dict(zip(users, listed, strict=True)))
    names = {f"{theirs_}@{k}": f"{ours}@{k}" for ours, theirs_ in RANX.items() for k in KS}

    def by_ranx() -> dict[str, float]:
        found = ranx.evaluate(truth, theirs, list(names))
        return {ours: float(found[name]) for name, ours in names.items()}

    sides = {"ranx": by_ranx, "ours": lambda: from_ranks(target_ranks(lists, targets))}
    return _row("ranks and metrics", "ranx", sides, len(lists), rounds, clock=time.perf_counter)  # its own threads


def _row(
    case: str,
    against: str,
    sides: dict[str, Callable[[], dict[str, float]]],
    users: int,
    rounds: int,
    goal: str | None = None,
    clock: Callable[[], float] = time.process_time,
) -> Row:
    """Both sides in turn, on one thread, by the CPU time they take. GenrecError where they differ by more than `NEAR`."""
    other, ours = (side() for side in sides.values())
    if set(other) != set(ours):
        raise GenrecError(f"{against} and we tell different numbers of {case}: {sorted(set(other) ^ set(ours))}")
    gap = max(abs(other[name] - ours[name]) for name in ours)
    if not gap <= NEAR:
        raise GenrecError(f"{against} and we differ by {gap:.2g} in {case}: no time is worth printing")
    times = interleaved(sides, rounds=rounds, warmups=1, clock=clock)
    slow, fast = sides
    value, low, high = times.ratio(slow, fast)
    details = {
        "ours s": times.median(fast),
        "other s": times.median(slow),
        "clock": "CPU" if clock is time.process_time else "wall",
        "rounds": rounds,
        "largest difference": gap,
    }
    return Row(f"{case} of {users:,} users x {PLACES}", against, value, "x", low, high, goal, details)
