"""Intervals, tests and detectable differences, from ranks. Knows no records and no tables.

Draws have fixed seeds, and sums are over whole numbers or in a fixed order, so that a board built twice, on any machine,
has the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from genrec_bench.protocol import KS

Ranks = npt.NDArray[np.int64]  # (seeds, users), from 1; 0 = absent
TOP = max(KS)
DRAWS = 1_000  # of the bootstrap
FLIPS = 10_000  # of the randomization test
CHUNK = 500  # flips at once
LEVEL = 0.05
SEED = 0
POWER = 1.959964 + 0.841621  # two-sided 5 %, power 80 %, in standard errors
UNIT = 1_000_000  # a gain of 1 in whole numbers


def intervals(ranks: Ranks) -> dict[str, tuple[float, float]]:
    """The 95 % interval of `hit@k` and `ndcg@k` by a two-level bootstrap: seeds drawn again, then users, the same users
    for every seed (protocol P17). With one seed it tells the spread over users only."""
    seeds, users = ranks.shape
    near = np.where(ranks <= TOP, ranks, 0)
    rng = np.random.default_rng(SEED)
    counts = np.zeros((DRAWS, TOP + 1), np.int64)  # drawn cases per rank
    for draw in range(DRAWS):
        rows = (rng.random(seeds) * seeds).astype(np.int64)
        columns = (rng.random(users) * users).astype(np.int64)
        counts[draw] = np.bincount(near[rows][:, columns].ravel(), minlength=TOP + 1)
    out = int(DRAWS * LEVEL / 2)  # draws beyond each end
    found = {}
    for name in ("hit", "ndcg"):
        for k in KS:
            total = np.zeros(DRAWS)
            for rank in range(1, k + 1):
                total += counts[:, rank] * (1.0 if name == "hit" else 1 / math.log2(rank + 1))
            drawn = np.sort(total / (seeds * users))
            found[f"{name}@{k}"] = (float(drawn[out]), float(drawn[-1 - out]))
    return found


def gains(ranks: Ranks) -> npt.NDArray[np.int64]:
    """What each user's list is worth in ndcg@10, summed over seeds, in millionths: `(users,)`."""
    table = [round(UNIT / math.log2(rank + 1)) if 0 < rank <= 10 else 0 for rank in range(TOP + 1)]
    worth: npt.NDArray[np.int64] = np.array(table, np.int64)[np.where(ranks <= TOP, ranks, 0)].sum(axis=0)
    return worth


def differences(a: Ranks, b: Ranks) -> npt.NDArray[np.int64]:
    """Per user, the difference of two systems' mean gains times a common factor: whole numbers, exact."""
    return gains(a) * len(b) - gains(b) * len(a)


def p_value(a: Ranks, b: Ranks) -> float:
    """The p-value of the paired randomization test per user on ndcg@10: signs of the differences are drawn anew."""
    told = differences(a, b)
    odd = told[told != 0].astype(np.float64)  # whole numbers below 2**53: sums are exact in any order
    if not len(odd):
        return 1.0
    rng = np.random.default_rng(SEED)
    observed, extreme = abs(odd.sum()), 0
    for _ in range(FLIPS // CHUNK):
        flipped = (rng.random((CHUNK, len(odd))) < 0.5).astype(np.float64)
        extreme += int((np.abs(odd.sum() - 2 * (flipped @ odd)) >= observed).sum())
    return (1 + extreme) / (1 + FLIPS)


def holm(values: Sequence[float]) -> list[float]:
    """Holm's adjustment of p-values for having looked at all of them.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(values)
    least = 0.0
    for place, at in enumerate(sorted(range(len(values)), key=lambda at: values[at])):
        least = max(least, min(1.0, values[at] * (len(values) - place)))
        adjusted[at] = least
    return adjusted


def detectable(reference: Ranks, others: Sequence[Ranks]) -> float | None:
    """The smallest difference in ndcg@10, as a share of the reference's, that a paired comparison on these users finds
    with a power of 80 % (protocol P19): the median over the `others`. None without others or a reference of zero."""
    level = int(gains(reference).sum())
    if not others or not level:
        return None
    found = []
    for other in others:
        apart = differences(reference, other) / len(other)
        error = float(apart.std(ddof=1)) * math.sqrt(len(apart))
        found.append(POWER * error / level)
    return sorted(found)[len(found) // 2]
