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

    sentences = impossible(metrics)
    for k in KS:
        if ceiling is not None and metrics[f"hit@{k}"] > ceiling + EPS:
            sentences.append(f"hit@{k} {metrics[f'hit@{k}']:.4f} is above the reachable ceiling {ceiling:.4f}")
    if ranks is not None:
        sentences += _against_ranks(metrics, ranks, cases)
    return sentences


def impossible(metrics: Mapping[str, Any]) -> list[str]:
    """One sentence per contradiction among those metrics that are there, whatever the data."""
    sentences = [
        f"hit@{k} {metrics[f'hit@{k}']:.4f} is not a share"
        for k in KS
        if f"hit@{k}" in metrics and not 0 <= metrics[f"hit@{k}"] <= 1
    ]

    # What is found early counts less than what is found at all, and a longer list can only gain.
    never_above = [(f"{less}@{k}", f"{more}@{k}") for k in KS for less, more in (("ndcg", "hit"), ("mrr", "ndcg"))]
    never_above += [
        (f"{name}@{low}", f"{name}@{high}") for low, high in itertools.pairwise(KS) for name in ("hit", "ndcg", "mrr")
    ]
    for less, more in never_above:
        if less in metrics and more in metrics and metrics[less] > metrics[more] + EPS:
            sentences.append(f"{less} {metrics[less]:.4f} is above {more} {metrics[more]:.4f}")
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
