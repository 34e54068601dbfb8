"""Contradictions that no honest run can report (protocol P22). Knows metrics and ranks, no records."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from genrec_bench.protocol.constants import KS
from genrec_bench.protocol.scores import from_ranks

EPS = 1e-9  # tolerates rounding in other people's arithmetic


def contradictions(
    metrics: Mapping[str, Any], ranks: Sequence[int] | None, cases: int | None, ceiling: float | None = None
) -> list[str]:
    """One sentence per contradiction among the `metrics` of one policy; empty for an honest run.

    `ranks` are the ranks that the metrics claim to come from (None: unknown), `cases` is how many there must be, and
    `ceiling` the highest hit rate that is possible.
    """
    keys = [f"{name}@{k}" for k in KS for name in ("hit", "ndcg", "mrr")]
    missing = [key for key in keys if not isinstance(metrics.get(key), float | int)]
    if missing:
        return [f"no {', '.join(missing)}"]

    sentences = []
    for k in KS:
        hit, ndcg, mrr = (metrics[f"{name}@{k}"] for name in ("hit", "ndcg", "mrr"))
        if not 0 <= hit <= 1:
            sentences.append(f"hit@{k} {hit:.4f} is not a share")
        if ndcg > hit + EPS:
            sentences.append(f"ndcg@{k} {ndcg:.4f} is above hit@{k} {hit:.4f}")
        if mrr > ndcg + EPS:
            sentences.append(f"mrr@{k} {mrr:.4f} is above ndcg@{k} {ndcg:.4f}")
        if ceiling is not None and hit > ceiling + EPS:
            sentences.append(f"hit@{k} {hit:.4f} is above the reachable ceiling {ceiling:.4f}")

    # A longer list can only gain.
    for low, high in itertools.pairwise(KS):
        for name in ("hit", "ndcg", "mrr"):
            shorter, longer = metrics[f"{name}@{low}"], metrics[f"{name}@{high}"]
            if shorter > longer + EPS:
                sentences.append(f"{name}@{low} {shorter:.4f} is above {name}@{high} {longer:.4f}")

    if ranks is not None:
        sentences += _against_ranks(metrics, ranks, cases)
    return sentences


def _against_ranks(metrics: Mapping[str, Any], ranks: Sequence[int], cases: int | None) -> list[str]:
    """Where the metrics are not what their ranks give."""
    if not ranks or (cases is not None and len(ranks) != cases):
        return [f"{len(ranks)} ranks for {cases} test cases"]
    if min(ranks) < 0:
        return [f"a rank of {min(ranks)}: ranks count from 1, 0 is absent"]
    return [
        f"{key} {metrics[key]:.8g} is not the {value:.8g} that its ranks give"
        for key, value in from_ranks(ranks).items()
        if abs(metrics[key] - value) > EPS
    ]
