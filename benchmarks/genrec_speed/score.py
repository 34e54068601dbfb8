"""Scoring: ranks, metrics and validity by arrays, against a plain loop over users, and checked against ranx.

The lists are random and have no ties, so that every tool computes the same. The protocol's rule for ties has tests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from genrec_bench.api import (
    NOT_AN_ITEM,
    Generations,
    GenrecError,
    Int32,
    NeedsMissing,
    Progress,
    Ragged,
    Ranking,
)
from genrec_bench.protocol.constants import KS
from genrec_bench.protocol.ranks import target_ranks
from genrec_bench.protocol.scores import from_ranks
from genrec_bench.protocol.validity import ranking_from, validity
from genrec_speed.results import Grid, Result, Row, conditions
from genrec_speed.timing import ROUNDS, interleaved

DEPTH, ITEMS, HISTORY = 50, 10_000, 10  # of a list, of the catalogue, of each user
USERS: dict[Grid, tuple[int, ...]] = {"small": (20_000,), "full": (20_000, 200_000)}
HALLUCINATED = 0.02  # share of hypotheses that are not an item
NEAR = 1e-9  # the most that metrics of two tools may differ by: sums in another order
RANX = {"hit": "hit_rate", "ndcg": "ndcg", "mrr": "mrr"}


def run(grid: Grid, progress: Progress, rounds: int = ROUNDS) -> Result:
    """Metrics and validity against loops, and metrics against ranx. NeedsMissing without ranx."""
    ranx = import_ranx()
    rows = []
    with progress.phase("score", 4 * len(USERS[grid]), "cases") as tick, threadpool_limits(1):
        for users in USERS[grid]:
            emitted, history, targets = example(users)
            lists = ranking_from(emitted, depth=DEPTH)
            for row in (
                against_loop(lists, targets, rounds),
                against_relevance(lists, targets, rounds),
                validity_against_loop(emitted, history, rounds),
                against_ranx(ranx, lists, targets, rounds),
            ):
                rows.append(row)
                tick(1, row.case)

    return Result("score", grid, tuple(rows), conditions(places=DEPTH, items=ITEMS, ranx=version("ranx")))


def import_ranx() -> Any:
    """The ranx module. NeedsMissing says what to install."""
    try:
        import ranx
    except ImportError as error:
        raise NeedsMissing(
            f"scores are compared with ranx, which cannot be imported ({error}): "
            "in a clone of genrec_bench, pip install './benchmarks[peers]'",
            needs="ranx",
        ) from None
    return ranx


def example(users: int, seed: int = 0) -> tuple[Generations, Ragged, Int32]:
    """Lists as a decoder might emit them, the users' histories, and a target each, which a third of the lists hold."""
    rng = np.random.default_rng(seed)

    # One item from every stride: different items without a check.
    stride = ITEMS // DEPTH
    items = np.argsort(rng.random((users, DEPTH)), axis=1) * stride + rng.integers(stride, size=(users, 1))
    scores = -np.cumsum(0.01 + rng.random((users, DEPTH)), axis=1)

    rows = np.arange(users)
    targets = np.where(rng.random(users) < 1 / 3, items[rows, rng.integers(DEPTH, size=users)], ITEMS)
    items[(rng.random(items.shape) < HALLUCINATED) & (items != targets[:, None])] = NOT_AN_ITEM
    history = Ragged(
        rng.integers(ITEMS, size=users * HISTORY).astype(np.int32), np.arange(users + 1, dtype=np.int64) * HISTORY
    )

    tokens = np.zeros((users, DEPTH, 1), np.int32)
    bound = np.full(users, -np.inf, np.float32)
    emitted = Generations(tokens, scores.astype(np.float32), items.astype(np.int32), bound)
    return emitted, history, targets.astype(np.int32)


def against_loop(lists: Ranking, targets: Int32, rounds: int = ROUNDS) -> Row:
    """From ranked lists to hit, ndcg and mrr: our ranks by counting, against finding each target in its list."""
    return _metrics_row("Python loop", metrics_by_loop, lists, targets, rounds)


def against_relevance(lists: Ranking, targets: Int32, rounds: int = ROUNDS) -> Row:
    """The same against the loop of P5's and OpenP5's evaluation: sort, mark every position, add up every position."""
    return _metrics_row("Python loop over places, as OpenP5's", metrics_by_relevance, lists, targets, rounds)


def _metrics_row(
    against: str, loop: Callable[..., dict[str, float]], lists: Ranking, targets: Int32, rounds: int
) -> Row:
    items, scores, wanted = lists.items.tolist(), lists.scores.tolist(), targets.tolist()  # what a loop works on
    sides = {
        "loop": lambda: loop(items, scores, wanted),
        "ours": lambda: from_ranks(target_ranks(lists, targets)),
    }
    return _row("ranks and metrics", against, sides, len(lists), rounds, goal="9")


def metrics_by_relevance(items: list[list[int]], scores: list[list[float]], targets: list[int]) -> dict[str, float]:
    """hit, ndcg and mrr from relevance lists with an entry per position; knows no ties."""
    relevance = []
    for user_items, user_scores, target in zip(items, scores, targets, strict=True):
        ordered = sorted(zip(user_items, user_scores, strict=True), key=lambda pair: pair[1], reverse=True)
        relevance.append([1 if item == target else 0 for item, _ in ordered])

    metrics = {}
    for k in KS:
        hit = ndcg = mrr = 0.0
        for row in relevance:
            cut = row[:k]
            hit += 1 if sum(cut) > 0 else 0
            ndcg += sum(mark / math.log2(position + 2) for position, mark in enumerate(cut))
            mrr += sum(mark / (position + 1) for position, mark in enumerate(cut))
        metrics |= {f"hit@{k}": hit / len(targets), f"ndcg@{k}": ndcg / len(targets), f"mrr@{k}": mrr / len(targets)}
    return metrics


def metrics_by_loop(items: list[list[int]], scores: list[list[float]], targets: list[int]) -> dict[str, float]:
    """The same metrics under our rule for ties, user by user.

    A target that ties with the last item of a full list is a miss: the list may have been cut among equal scores.
    """
    gained = dict.fromkeys((f"{name}@{k}" for k in KS for name in ("hit", "ndcg", "mrr")), 0.0)
    for user_items, user_scores, target in zip(items, scores, targets, strict=True):
        if target not in user_items:
            continue
        score = user_scores[user_items.index(target)]
        if user_items[-1] >= 0 and user_scores[-1] == score and user_scores.count(score) > 1:
            continue

        rank = sum(1 for item, other in zip(user_items, user_scores, strict=True) if item >= 0 and other >= score)
        for k in KS:
            if rank <= k:
                gained[f"hit@{k}"] += 1
                gained[f"ndcg@{k}"] += 1 / math.log2(rank + 1)
                gained[f"mrr@{k}"] += 1 / rank
    return {name: value / len(targets) for name, value in gained.items()}


def validity_against_loop(emitted: Generations, history: Ragged, rounds: int = ROUNDS) -> Row:
    """Hallucinations, repeats, seen items and filled positions, over every hypothesis."""
    items, seen = emitted.items.tolist(), [row.tolist() for row in history]

    def ours() -> dict[str, float]:
        shares = validity(emitted, history)
        return {name: shares[name] for name in shares if name.endswith("_rate") or name.startswith("fill")}

    sides = {"loop": lambda: validity_by_loop(items, seen), "ours": ours}
    return _row("validity", "Python loop", sides, len(emitted), rounds)


def validity_by_loop(items: list[list[int]], seen: list[list[int]]) -> dict[str, float]:
    """The same shares, hypothesis by hypothesis."""
    hallucinations = repeats = seen_items = 0
    filled = dict.fromkeys(KS, 0)
    for user_items, user_seen in zip(items, seen, strict=True):
        history, listed, valid = set(user_seen), set(), 0
        for item in user_items:
            if item < 0:
                hallucinations += 1
            elif item in listed:
                repeats += 1
            elif item in history:
                seen_items += 1
            else:
                valid += 1
            listed.add(item)
        for k in KS:
            filled[k] += min(valid, k)

    emitted = sum(map(len, items))
    rates = {"hallucination_rate": hallucinations, "duplicate_rate": repeats, "seen_rate": seen_items}
    shares = {name: count / emitted for name, count in rates.items()}
    return shares | {f"fill@{k}": count / (k * len(items)) for k, count in filled.items()}


def against_ranx(ranx: Any, lists: Ranking, targets: Int32, rounds: int = ROUNDS) -> Row:
    """The same metrics by ranx's compiled code; converting the lists for it is not timed."""
    users = [str(user) for user in range(len(lists))]
    listed = [
        {str(item): float(score) for item, score in zip(items, scores, strict=True) if item >= 0}
        for items, scores in zip(lists.items.tolist(), lists.scores.tolist(), strict=True)
    ]
    qrels = ranx.Qrels(dict(zip(users, ({str(target): 1} for target in targets.tolist()), strict=True)))
    ranked = ranx.Run(dict(zip(users, listed, strict=True)))
    names = {f"{ranx_name}@{k}": f"{name}@{k}" for name, ranx_name in RANX.items() for k in KS}

    def by_ranx() -> dict[str, float]:
        metrics = ranx.evaluate(qrels, ranked, list(names))
        return {name: float(metrics[ranx_name]) for ranx_name, name in names.items()}

    sides = {"ranx": by_ranx, "ours": lambda: from_ranks(target_ranks(lists, targets))}
    wall = time.perf_counter  # ranx uses threads of its own
    return _row("ranks and metrics", "ranx", sides, len(lists), rounds, clock=wall)


def _row(
    case: str,
    against: str,
    sides: dict[str, Callable[[], dict[str, float]]],
    users: int,
    rounds: int,
    goal: str | None = None,
    clock: Callable[[], float] = time.process_time,
) -> Row:
    """Both sides in turn, on one thread, by CPU time. GenrecError if they differ by more than `NEAR`."""
    other, ours = (side() for side in sides.values())
    if set(other) != set(ours):
        raise GenrecError(f"{against} and we compute different numbers of {case}: {sorted(set(other) ^ set(ours))}")
    gap = max(abs(other[name] - ours[name]) for name in ours)
    if not gap <= NEAR:
        raise GenrecError(f"{against} and we differ by {gap:.2g} in {case}: no time is printed")

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
    return Row(f"{case} of {users:,} users x {DEPTH}", against, value, "x", low, high, goal, details)
