"""From ranks to hit, ndcg and mrr, for every system alike; and the ceiling that masking sets (`ceiling`).

Knows ranks only, never who produced them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from genrec_bench.core.arrays import Int32
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries
from genrec_bench.errors import InvalidRanking
from genrec_bench.protocol.constants import KS
from genrec_bench.protocol.ranks import target_ranks
from genrec_bench.protocol.validity import contained


def from_ranks(ranks: Int32 | Sequence[int], ks: Sequence[int] = KS) -> dict[str, float]:
    """`hit@k`, `ndcg@k`, `mrr@k` for each of `ks`: means over all cases, from ranks `(n,)` (1-based, 0 = absent).

    With one target per case, hit@k equals recall@k, and ndcg@k is `1 / log2(rank + 1)` for a rank within k. Cases are
    counted per rank and summed exactly, so no order and no platform moves a number. InvalidRanking without cases.

    >>> from_ranks([1, 3, 0, 0], ks=[5])
    {'hit@5': 0.5, 'ndcg@5': 0.375, 'mrr@5': 0.3333333333333333}
    """
    ranks = np.asarray(ranks, np.int64)
    if not len(ranks):
        raise InvalidRanking("no cases: there is nothing to score")

    metrics: dict[str, float] = {}
    for k in ks:
        within = ranks[(ranks > 0) & (ranks <= k)]
        cases_at = np.bincount(within, minlength=k + 1)[1:].tolist()  # cases at rank 1, 2, ..., k
        metrics[f"hit@{k}"] = sum(cases_at) / len(ranks)
        metrics[f"ndcg@{k}"] = math.fsum(n / math.log2(rank + 1) for rank, n in enumerate(cases_at, 1)) / len(ranks)
        metrics[f"mrr@{k}"] = math.fsum(n / rank for rank, n in enumerate(cases_at, 1)) / len(ranks)
    return metrics


def score(ranking: Ranking, targets: Int32, ks: Sequence[int] = KS) -> tuple[dict[str, Any], Int32]:
    """Metrics and ranks of one list per case; `targets` `(n,)`.

    Besides the keys of `from_ranks`, `tie_gap` is what ties are worth: optimistic minus pessimistic ndcg@10.
    """
    ranks = target_ranks(ranking, targets)
    optimistic = from_ranks(target_ranks(ranking, targets, "optimistic"), [10])
    gap = optimistic["ndcg@10"] - from_ranks(ranks, [10])["ndcg@10"]
    return {**from_ranks(ranks, ks), "tie_gap": gap}, ranks


def ceiling(queries: Queries, targets: Int32) -> float:
    """The best hit rate under policy `mask`: the share of `targets` `(n,)` that the user has not seen before."""
    return 1.0 - float(contained(targets[:, None], queries.history).mean())
