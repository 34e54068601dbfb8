"""What no honest run can report (protocol P22): refuses numbers that contradict each other. Knows no tables."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from genrec_bench.protocol.constants import KS
from genrec_bench.protocol.scores import from_ranks

EPS = 1e-9  # room for rounding in somebody else's arithmetic


def contradictions(
    metrics: Mapping[str, Any], ranks: Sequence[int] | None, cases: int | None, ceiling: float | None = None
) -> list[str]:
    """One sentence per contradiction among the `metrics` of one policy; an empty list is what an honest run gives.

    `ranks` are the ranks that the metrics claim to come from (None: not known), `cases` how many there must be, and
    `ceiling` the hit rate that cannot be passed.
    """
    keys = [f"{name}@{k}" for k in KS for name in ("hit", "ndcg", "mrr")]
    missing = [key for key in keys if not isinstance(metrics.get(key), float | int)]
    if missing:
        return [f"no {', '.join(missing)}"]
    found = []
    for k in KS:
        hit, ndcg, mrr = (metrics[f"{name}@{k}"] for name in ("hit", "ndcg", "mrr"))
        if not 0 <= hit <= 1:
            found.append(f"hit@{k} {hit:.4f} is no share")
        if ndcg > hit + EPS:
            found.append(f"ndcg@{k} {ndcg:.4f} is above hit@{k} {hit:.4f}")
        if mrr > ndcg + EPS:
            found.append(f"mrr@{k} {mrr:.4f} is above ndcg@{k} {ndcg:.4f}")
        if ceiling is not None and hit > ceiling + EPS:
            found.append(f"hit@{k} {hit:.4f} is above the reachable ceiling {ceiling:.4f}")
    for low, high in itertools.pairwise(KS):
        for name in ("hit", "ndcg", "mrr"):
            a, b = metrics[f"{name}@{low}"], metrics[f"{name}@{high}"]
            if a > b + EPS:
                found.append(f"{name}@{low} {a:.4f} is above {name}@{high} {b:.4f}")
    if ranks is not None:
        found += _against_ranks(metrics, ranks, cases)
    return found


def _against_ranks(metrics: Mapping[str, Any], ranks: Sequence[int], cases: int | None) -> list[str]:
    if not ranks or (cases is not None and len(ranks) != cases):
        return [f"{len(ranks)} ranks for {cases} test cases"]
    if min(ranks) < 0:
        return [f"a rank of {min(ranks)}: ranks count from 1, 0 is absent"]
    told = from_ranks(ranks)
    return [
        f"{key} {metrics[key]:.8g} is not the {value:.8g} that its ranks give"
        for key, value in told.items()
        if abs(metrics[key] - value) > EPS
    ]
