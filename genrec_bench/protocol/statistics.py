"""Intervals, tests and detectable differences, from ranks. Knows no records and no tables.

Draws have fixed seeds, and sums run over whole numbers or in a fixed order, so a board built twice, on any machine, has
the same bytes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from genrec_bench.protocol.constants import KS

Ranks = npt.NDArray[np.int64]  # (seeds, users), from 1; 0 = absent
Ints = npt.NDArray[np.int64]
TOP = max(KS)
DRAWS = 1_000  # of the bootstrap
DRAWS_AT_ONCE = 100  # held in memory
FLIPS = 10_000  # of the randomization test
FLIPS_AT_ONCE = 400  # a multiple of eight, so that each batch begins at a whole byte
LEVEL = 0.05
SEED = 0
POWER = 1.959964 + 0.841621  # two-sided 5 %, power 80 %, in standard errors
UNIT = 1_000_000  # a gain of 1 in whole numbers


def intervals(systems: Sequence[Ranks]) -> list[dict[str, tuple[float, float]]]:
    """Per system the 95 % interval of `hit@k` and `ndcg@k` by a two-level bootstrap (protocol P17).

    Each draw resamples the seeds, then the users, who are the same for every seed. With one seed the interval covers
    the spread over users only. Systems of equal shape share their draws, which do not depend on the other systems.
    """
    counts = [np.zeros((DRAWS, TOP + 1), np.int64) for _ in systems]  # drawn cases per draw and rank, up to TOP
    for shape in sorted({ranks.shape for ranks in systems}):
        group = [
            (_cases_by_rank(ranks), drawn) for ranks, drawn in zip(systems, counts, strict=True) if ranks.shape == shape
        ]
        _count_draws(group, *shape)
    return [_spread(drawn, ranks.size) for drawn, ranks in zip(counts, systems, strict=True)]


def _count_draws(group: Sequence[tuple[list[tuple[Ints, Ints, Ints]], Ints]], n_seeds: int, n_users: int) -> None:
    """Fill in how often each rank is drawn, for systems of one shape: their `_cases_by_rank`, and the counts to fill."""
    rng = np.random.default_rng(SEED)
    for start in range(0, DRAWS, DRAWS_AT_ONCE):
        batch = slice(start, min(start + DRAWS_AT_ONCE, DRAWS))
        seeds, users = _draw(rng, n_seeds, n_users, batch.stop - batch.start)
        for by_seed, drawn in group:
            for seed, (cases, starts, ranks) in enumerate(by_seed):
                if len(ranks):
                    drawn[batch, ranks] += (np.add.reduceat(users[cases], starts) * seeds[:, seed]).T


def _cases_by_rank(ranks: Ranks) -> list[tuple[Ints, Ints, Ints]]:
    """Per seed: the cases with a rank up to TOP, ordered by rank; where each rank begins; which ranks occur."""
    by_seed = []
    for row in ranks:
        cases = np.flatnonzero((row > 0) & (row <= TOP))
        cases = cases[np.argsort(row[cases], kind="stable")]
        occurring, starts = np.unique(row[cases], return_index=True)
        by_seed.append((cases, starts, occurring))
    return by_seed


def _draw(
    rng: np.random.Generator, seeds: int, users: int, draws: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """How often each seed and each user is in each of `draws` draws: `(draws, seeds)`, `(users, draws)`."""
    of_seeds = np.zeros((draws, seeds), np.int64)
    of_users = np.zeros((draws, users), np.int32)
    for draw in range(draws):
        of_seeds[draw] = np.bincount((rng.random(seeds) * seeds).astype(np.int64), minlength=seeds)
        of_users[draw] = np.bincount((rng.random(users) * users).astype(np.int64), minlength=users)
    return of_seeds, np.ascontiguousarray(of_users.T)


def _spread(counts: Ints, cases: int) -> dict[str, tuple[float, float]]:
    """The intervals that drawn counts per rank give, `(draws, TOP + 1)`."""
    cut = int(DRAWS * LEVEL / 2)  # draws beyond each end
    spread = {}
    for name in ("hit", "ndcg"):
        for k in KS:
            total = np.zeros(DRAWS)
            for rank in range(1, k + 1):
                total += counts[:, rank] * (1.0 if name == "hit" else 1 / math.log2(rank + 1))
            means = np.sort(total / cases)
            spread[f"{name}@{k}"] = (float(means[cut]), float(means[-1 - cut]))
    return spread


def interval_of_differences(differences: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of the mean of `differences` (seeds, users), drawn as `intervals` draws."""
    n_seeds, n_users = differences.shape
    rng, means = np.random.default_rng(SEED), []
    for start in range(0, DRAWS, DRAWS_AT_ONCE):
        seeds, users = _draw(rng, n_seeds, n_users, min(DRAWS_AT_ONCE, DRAWS - start))
        means.append(((differences @ users).T * seeds).sum(axis=1) / (n_seeds * n_users))

    ordered, cut = np.sort(np.concatenate(means)), int(DRAWS * LEVEL / 2)
    return float(ordered[cut]), float(ordered[-1 - cut])


def gains(ranks: Ranks) -> Ints:
    """What each user's list contributes to ndcg@10, summed over seeds, in millionths: `(users,)`."""
    by_rank = [round(UNIT / math.log2(rank + 1)) if 0 < rank <= 10 else 0 for rank in range(TOP + 1)]
    total: Ints = np.array(by_rank, np.int64)[np.where(ranks <= TOP, ranks, 0)].sum(axis=0)
    return total


def differences(a: Ranks, b: Ranks) -> Ints:
    """Per user, the difference of two systems' mean gains times a common factor: whole numbers, exact."""
    return gains(a) * len(b) - gains(b) * len(a)


def p_value(a: Ranks, b: Ranks) -> float:
    """The p-value of the paired randomization test over users on ndcg@10, which flips signs of the differences."""
    per_user = differences(a, b)
    nonzero = per_user[per_user != 0]
    if not len(nonzero):
        return 1.0

    total = nonzero.sum()  # of whole numbers, so exact
    extreme = 0
    for start in range(0, FLIPS, FLIPS_AT_ONCE):
        flipped = total - 2 * _flipped_sums(nonzero, start)
        extreme += int((np.abs(flipped) >= abs(total)).sum())
    return (1 + extreme) / (1 + FLIPS)


def _flipped_sums(differences: Ints, start: int) -> Ints:
    """The sum of the differences that each flip from number `start` on reverses, `(FLIPS_AT_ONCE,)`.

    Eight differences at a time: a table holds the sums of their 256 subsets, and a byte of random bits picks one.
    """
    n = len(differences)
    packed = _sign_bits(n)[start * n // 8 : (start + FLIPS_AT_ONCE) * n // 8]
    bits = np.unpackbits(packed).reshape(FLIPS_AT_ONCE, n)
    subsets = np.packbits(bits, axis=1)  # (FLIPS_AT_ONCE, eights)

    eights = np.pad(differences, (0, -n % 8)).reshape(-1, 8)
    members = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)  # (256, 8)
    tables = eights @ members.T.astype(np.int64)  # (eights, 256)

    positions = subsets + 256 * np.arange(len(eights))
    sums: Ints = tables.ravel()[positions].sum(axis=1)
    return sums


def _sign_bits(n: int) -> npt.NDArray[np.uint8]:
    """Random signs of `n` differences, a bit each, packed: all tests read one stream of draws from its start."""
    return _stream(max(1024, 1 << (n - 1).bit_length()))


@functools.cache  # one per power of two: together at most twice the largest
def _stream(n: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(SEED)
    batches = range(FLIPS // FLIPS_AT_ONCE)
    return np.concatenate([np.packbits(rng.random(FLIPS_AT_ONCE * n) < 0.5) for _ in batches])


def holm(values: Sequence[float]) -> list[float]:
    """Holm's adjustment of p-values for multiple comparisons.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(values)
    least = 0.0
    for smaller, position in enumerate(sorted(range(len(values)), key=lambda position: values[position])):
        least = max(least, min(1.0, values[position] * (len(values) - smaller)))
        adjusted[position] = least
    return adjusted


def detectable(reference: Ranks, others: Sequence[Ranks]) -> float | None:
    """The smallest difference in ndcg@10 that a paired comparison on these users detects with a power of 80 %.

    A share of the reference's ndcg@10, and the median over the `others` (protocol P19). None without others, or if the
    reference scores zero.
    """
    level = int(gains(reference).sum())
    if not others or not level:
        return None
    shares = []
    for other in others:
        per_user = differences(reference, other) / len(other)
        error = float(per_user.std(ddof=1)) * math.sqrt(len(per_user))
        shares.append(POWER * error / level)
    return sorted(shares)[len(shares) // 2]
