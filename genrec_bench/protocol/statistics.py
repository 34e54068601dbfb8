"""Intervals, tests and detectable differences, from ranks. Knows no records and no tables.

Draws have fixed seeds, and tests are closed forms without any, so a board built twice has the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from genrec_bench.protocol.constants import KS, LEVEL

Ranks = npt.NDArray[np.int64]  # (seeds, users), from 1; 0 = absent
Ints = npt.NDArray[np.int64]
TOP = max(KS)
DRAWS = 1_000  # of the bootstrap
DRAWS_AT_ONCE = 100  # held in memory
SEED = 0
POWER = 0.8


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


@dataclass(frozen=True)
class Difference:
    """How far two systems are apart in ndcg@10 on one set of users: `value`, its standard error and degrees of freedom."""

    value: float
    error: float
    freedom: float

    @property
    def p(self) -> float:
        """The two-sided p-value of no difference."""
        if self.error == 0:
            return float(self.value == 0)
        return float(2 * stdtr(self.freedom, -abs(self.value) / self.error))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `value`."""
        width = float(stdtrit(self.freedom, 1 - LEVEL / 2)) * self.error if self.error else 0.0
        return self.value - width, self.value + width


def difference(a: Ranks, b: Ranks, *, seeded: tuple[bool, bool]) -> Difference | None:
    """The difference of two systems, users paired, with what users and what training seeds contribute to its error (P18).

    `seeded` says of each system whether the seed moves it; one that it does not has the error of users alone. None if a
    seeded system has one seed: nobody can tell what its seed contributes. The degrees of freedom are those of Welch and
    Satterthwaite for the sum of the variances.
    """
    if any(random and len(ranks) < 2 for ranks, random in zip((a, b), seeded, strict=True)):
        return None

    first, second = gains(a), gains(b)
    per_user = first.mean(axis=0) - second.mean(axis=0)
    parts = [(per_user.var(ddof=1) / len(per_user), len(per_user) - 1)]
    for gain, random in zip((first, second), seeded, strict=True):
        if random:
            parts.append((gain.mean(axis=1).var(ddof=1) / len(gain), len(gain) - 1))

    variance = sum(part for part, _ in parts)
    spread = sum(part**2 / freedom for part, freedom in parts)
    return Difference(float(per_user.mean()), math.sqrt(variance), variance**2 / spread if spread else math.inf)


def gains(ranks: Ranks) -> npt.NDArray[np.float64]:
    """What each user's list contributes to ndcg@10, `(seeds, users)`."""
    by_rank = np.array([1 / math.log2(rank + 1) if 0 < rank <= 10 else 0.0 for rank in range(TOP + 1)])
    return by_rank[np.where(ranks <= TOP, ranks, 0)]


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


def detectable(level: float, differences: Sequence[Difference]) -> tuple[float, float] | None:
    """The smallest differences in ndcg@10 that are detected with a power of 80 %, for the first and the last Holm step.

    Shares of the `level` of the comparator, and the median over the `differences` from it (protocol P19). None without any,
    or if the comparator scores zero.
    """
    if not differences or not level:
        return None

    def smallest(tests: int) -> float:
        shares = [
            (stdtrit(one.freedom, 1 - LEVEL / tests / 2) + stdtrit(one.freedom, POWER)) * one.error / level
            for one in differences
        ]
        return float(sorted(shares)[len(shares) // 2])

    return smallest(len(differences)), smallest(1)
