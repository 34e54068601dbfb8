"""Intervals, tests and detectable differences, from ranks. Knows no records and no tables.

Draws have fixed seeds, and sums are over whole numbers or in a fixed order, so that a board built twice, on any machine,
has the same bytes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from genrec_bench.protocol.constants import KS

Ranks = npt.NDArray[np.int64]  # (seeds, users), from 1; 0 = absent
TOP = max(KS)
DRAWS = 1_000  # of the bootstrap
AT_ONCE = 100  # draws held in memory
FLIPS = 10_000  # of the randomization test
CHUNK = 400  # flips at once: eight of them begin at a whole byte
LEVEL = 0.05
SEED = 0
POWER = 1.959964 + 0.841621  # two-sided 5 %, power 80 %, in standard errors
UNIT = 1_000_000  # a gain of 1 in whole numbers


def intervals(systems: Sequence[Ranks]) -> list[dict[str, tuple[float, float]]]:
    """Per system the 95 % interval of `hit@k` and `ndcg@k` by a two-level bootstrap: seeds drawn again, then users, the
    same users for every seed (protocol P17). With one seed it tells the spread over users only.

    Systems of equal shape share their draws, which are the same whatever stands beside them.
    """
    counts = [np.zeros((DRAWS, TOP + 1), np.int64) for _ in systems]  # drawn cases per rank, those in the first places
    for shape in sorted({ranks.shape for ranks in systems}):
        mine = [
            (_cases_by_rank(ranks), counted)
            for ranks, counted in zip(systems, counts, strict=True)
            if ranks.shape == shape
        ]
        rng, at = np.random.default_rng(SEED), 0
        while at < DRAWS:
            some = slice(at, min(at + AT_ONCE, DRAWS))
            n_seeds, n_users = shape
            seeds, users = _drawn(rng, n_seeds, n_users, some.stop - some.start)
            for by_seed, counted in mine:
                for seed, (cases, starts, there) in enumerate(by_seed):
                    if len(there):
                        counted[some, there] += (np.add.reduceat(users[cases], starts) * seeds[:, seed]).T
            at = some.stop
    return [_spread(counted, ranks.size) for counted, ranks in zip(counts, systems, strict=True)]


def _cases_by_rank(ranks: Ranks) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Per seed: the cases whose target is in the first places, by rank; where each rank begins; which ranks there are."""
    found = []
    for row in ranks:
        cases = np.flatnonzero((row > 0) & (row <= TOP))
        cases = cases[np.argsort(row[cases], kind="stable")]
        there, starts = np.unique(row[cases], return_index=True)
        found.append((cases, starts, there))
    return found


def _drawn(
    rng: np.random.Generator, seeds: int, users: int, draws: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """How often each seed and each user is in each of `draws` draws: `(draws, seeds)`, `(users, draws)`."""
    of_seeds, of_users = np.zeros((draws, seeds), np.int64), np.zeros((draws, users), np.int32)
    for draw in range(draws):
        of_seeds[draw] = np.bincount((rng.random(seeds) * seeds).astype(np.int64), minlength=seeds)
        of_users[draw] = np.bincount((rng.random(users) * users).astype(np.int64), minlength=users)
    return of_seeds, np.ascontiguousarray(of_users.T)


def _spread(counts: npt.NDArray[np.int64], cases: int) -> dict[str, tuple[float, float]]:
    """The intervals that drawn counts per rank give."""
    out = int(DRAWS * LEVEL / 2)  # draws beyond each end
    found = {}
    for name in ("hit", "ndcg"):
        for k in KS:
            total = np.zeros(DRAWS)
            for rank in range(1, k + 1):
                total += counts[:, rank] * (1.0 if name == "hit" else 1 / math.log2(rank + 1))
            drawn = np.sort(total / cases)
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
    odd = told[told != 0]  # whole numbers: sums are exact
    if not len(odd):
        return 1.0
    observed, extreme = abs(odd.sum()), 0
    for at in range(0, FLIPS, CHUNK):
        extreme += int((np.abs(odd.sum() - 2 * _sums(odd, at)) >= observed).sum())
    return (1 + extreme) / (1 + FLIPS)


def _sums(odd: npt.NDArray[np.int64], at: int) -> npt.NDArray[np.int64]:
    """The sum of what is flipped in each of the flips from number `at` on, `(CHUNK,)`: eight differences at a time, by a
    table of what their 256 subsets come to."""
    n = len(odd)
    bits = np.unpackbits(_signs(n)[at * n // 8 : (at + CHUNK) * n // 8]).reshape(CHUNK, n)
    subsets = np.packbits(bits, axis=1)  # (CHUNK, eights)
    eights = np.pad(odd, (0, -n % 8)).reshape(-1, 8)
    tables = eights @ np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).T.astype(np.int64)  # (eights, 256)
    places = subsets + 256 * np.arange(len(eights))
    sums: npt.NDArray[np.int64] = tables.ravel()[places].sum(axis=1)
    return sums


def _signs(n: int) -> npt.NDArray[np.uint8]:
    """The flips of `n` differences, a bit each, packed: all tests read the same stream of draws from its start."""
    return _stream(max(1024, 1 << (n - 1).bit_length()))


@functools.cache  # of each power of two: together at most twice the largest
def _stream(n: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(SEED)
    return np.concatenate([np.packbits(rng.random(CHUNK * n) < 0.5) for _ in range(FLIPS // CHUNK)])


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
