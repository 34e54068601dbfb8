"""From what a decoder emitted to ranked lists: seen items are masked here, and what was dropped is counted.

Nothing is ever filled in: a list that lost items stays short (protocol P11). Knows no model and no code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genrec_bench.core.arrays import (
    PAD,
    Bool,
    Int32,
    Ragged,
)
from genrec_bench.core.rankings import NO_HYPOTHESIS, Generations, Ranking
from genrec_bench.protocol.constants import KS

CERTAIN = 1e-5  # how far the k-th score must exceed the bound: equal sums of log-probabilities may differ by rounding


def contained(items: Int32, rows: Ragged) -> Bool:
    """Whether `items[i, j]` occurs in row `i` of `rows`; never where it is padding (below 0). Shaped like `items`."""
    if len(rows) != len(items):
        raise ValueError(f"{len(items)} lists beside {len(rows)} rows of items")

    # One whole number per (row, item) pair, then a binary search among the pairs of `rows`.
    span = 1 + max(int(items.max(initial=0)), int(rows.values.max(initial=0)))
    keys = np.arange(len(items), dtype=np.int64)[:, None] * span + items
    known = np.sort(rows.rows * span + rows.values)  # nearly sorted already, as are the keys
    if not len(known):
        return np.zeros(items.shape, np.bool_)
    match: Bool = known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys
    return (items >= 0) & match


def repeated(items: Int32) -> Bool:
    """Whether `items[i, j]` occurs further left in row `i`; padding never counts. Shaped like `items`."""
    order = np.argsort(items, axis=1, kind="stable")
    ordered = np.take_along_axis(items, order, axis=1)
    again = np.zeros(items.shape, np.bool_)
    np.put_along_axis(again, order[:, 1:], (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0), axis=1)
    return again


def ranking_from(generations: Generations, *, depth: int, exclude: Ragged | None = None) -> Ranking:
    """The ranked lists of at most `depth` items that a decoder's hypotheses give.

    Drops hypotheses that are not items, repeats, and the items of `exclude` (one row per case: what policy `mask`
    hides). Sorts by score, equal scores by item number. Short lists stay short.
    """
    items, scores = generations.items, generations.scores
    keep = (items >= 0) & ~repeated(items)
    if exclude is not None:
        keep &= ~contained(items, exclude)

    order = np.lexsort((items, -scores, ~keep), axis=1)[:, :depth]
    kept = np.take_along_axis(keep, order, axis=1)
    return Ranking(
        items=np.where(kept, np.take_along_axis(items, order, axis=1), PAD).astype(np.int32),
        scores=np.where(kept, np.take_along_axis(scores, order, axis=1), -np.inf).astype(np.float32),
        depth=depth,
    )


def validity(generations: Generations, history: Ragged, ks: Sequence[int] = KS) -> dict[str, Any]:
    """What the raw hypotheses are worth, before anything is dropped; `history` lists each case's seen items.

    Counts every emitted hypothesis once: not an item of the catalogue, else a repeat within its list, else a seen
    item, else good. `hallucination_rate`, `duplicate_rate` and `seen_rate` are the first three as shares of `emitted`
    (None if nothing was emitted); `dropped` holds them as counts. `fill@k` is the share of positions 1 to k that good
    hypotheses fill. `certified@10` is the share of cases whose ten best good hypotheses are certain to be the ten best
    items: log-probabilities only fall, so nothing beats the tenth once it scores above the best discarded hypothesis. It is
    None where a `bound` is NaN.

    A code that several items share is one hypothesis: seen if its first item is (a list names unseen ones first), and good
    for every position that its unseen items fill.
    """
    items = generations.items
    further = (items >= 0) & (generations.tokens[..., 0] < 0)  # another item of the code to the left
    emitted = int(((items != NO_HYPOTHESIS) & ~further).sum())
    foreign = (items < 0) & (items != NO_HYPOTHESIS)
    again = repeated(items)
    seen = contained(items, history) & ~again
    good = (items >= 0) & ~again & ~seen

    dropped = {"non_items": int(foreign.sum()), "duplicates": int(again.sum()), "seen": int((seen & ~further).sum())}
    shares = {name: count / emitted if emitted else None for name, count in dropped.items()}
    unknown = bool(np.isnan(generations.bound).any())
    return {
        "hallucination_rate": shares["non_items"],
        "duplicate_rate": shares["duplicates"],
        "seen_rate": shares["seen"],
        "emitted": emitted,
        **_fill(good.sum(axis=1), ks),
        "certified@10": float(certified(generations, good, 10).mean()) if len(good) and not unknown else None,
        "dropped": dropped,
    }


def certified(generations: Generations, good: Bool, k: int) -> Bool:
    """For each case, `(n,)`: whether the k-th best good hypothesis scores above `bound`, or nothing was discarded.

    `good` is shaped like `generations.items`. A decoder sets `bound` to +inf where it can certify nothing.
    """
    scores = np.where(good, generations.scores, -np.inf)
    kth = -np.sort(-scores, axis=1)[:, k - 1] if scores.shape[1] >= k else np.full(len(scores), -np.inf)
    sure: Bool = (kth > generations.bound + CERTAIN) | np.isneginf(generations.bound)
    return sure


def validity_of_ranking(ranking: Ranking, history: Ragged, ks: Sequence[int] = KS) -> dict[str, Any]:
    """The same keys for a system that ranks items instead of generating codes.

    It can neither invent an item nor repeat one, so those two rates and their counts are None: they were not measured.
    """
    listed, seen = ranking.items >= 0, contained(ranking.items, history)
    emitted = int(listed.sum())
    return {
        "hallucination_rate": None,
        "duplicate_rate": None,
        "seen_rate": int(seen.sum()) / emitted if emitted else None,
        "emitted": emitted,
        **_fill((listed & ~seen).sum(axis=1), ks),
        "certified@10": None,
        "dropped": {"non_items": None, "duplicates": None, "seen": int(seen.sum())},
    }


def _fill(good: Any, ks: Sequence[int]) -> dict[str, float | None]:
    """`fill@k` from the number of good hypotheses per case, `(n,)`."""
    return {f"fill@{k}": int(np.minimum(good, k).sum()) / (k * len(good)) if len(good) else None for k in ks}
