"""Where each case's target stands in its ranked list. Ties and list ends are decided here and nowhere else.

Knows nothing of who made the list: generators, heuristics and other people's models are read alike (protocol P8, P10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from genrec_bench.core.arrays import Bool, Int32, Int64
from genrec_bench.core.hashing import digest
from genrec_bench.core.rankings import Ranking
from genrec_bench.errors import InvalidRanking, RecordError


def target_ranks(ranking: Ranking, targets: Int32, ties: Literal["pessimistic", "optimistic"] = "pessimistic") -> Int32:
    """The rank of `targets[i]`, `(n,)`, in list `i`: int32 `(n,)`, counted from 1; 0 = not in the list.

    Pessimistic (what every metric uses): the target stands behind everything that has its score. Two or more equal
    scores that reach the end of a list filled to its depth may go on beyond it, so a target among them counts as
    absent. Optimistic: the target stands before everything that has its score; only listed items are known, so a
    target that was cut off is absent here too. InvalidRanking if there is not one list per target.
    """
    if len(ranking) != len(targets):
        raise InvalidRanking(f"{len(ranking)} ranked lists for {len(targets)} cases: every case needs exactly one list")
    ranks = np.zeros(len(targets), np.int32)
    if not ranking.items.shape[1]:
        return ranks
    found, at = np.divmod(np.flatnonzero(ranking.items == targets[:, None]), ranking.items.shape[1])
    there = targets[found] >= 0
    found, at = found[there], at[there]
    ranks[found] = at + 1  # the place, if the score is the target's alone: scores do not rise along a list
    shared = _tied(ranking, found, at)
    found, at = found[shared], at[shared]
    scores, listed = ranking.scores[found], ranking.items[found] >= 0
    mine = scores[np.arange(len(found)), at][:, None]  # the target's score, (found, 1)
    if ties == "optimistic":
        ranks[found] = (listed & (scores > mine)).sum(axis=1) + 1
        return ranks
    places = (listed & (scores >= mine)).sum(axis=1)
    if scores.shape[1] == ranking.depth:
        places[listed[:, -1] & (scores[:, -1] == mine[:, 0])] = 0  # the list may go on with that score
    ranks[found] = places
    return ranks


def _tied(ranking: Ranking, found: Int64, at: Int64) -> Bool:
    """Whether list `found[i]` has a neighbour of place `at[i]` with its score."""
    tied = np.zeros(len(found), bool)
    for other in (at - 1, at + 1):
        inside = np.flatnonzero((other >= 0) & (other < ranking.items.shape[1]))
        row, place = found[inside], other[inside]
        equal = ranking.scores[row, place] == ranking.scores[row, at[inside]]
        tied[inside] |= equal & (ranking.items[row, place] >= 0)
    return tied


def ranks_digest(ranks: Mapping[str, Sequence[int] | Int32]) -> str:
    """SHA-256 (hex) of the ranks under each policy: what a record says of ranks that lie in files beside it."""
    return digest(*(part for policy in sorted(ranks) for part in (policy, np.asarray(ranks[policy], np.int32))))


def read_ranks(told: Sequence[int] | str | None, folder: Path) -> list[int]:
    """The ranks of a record: as they stand there, or from the sidecar `.npy` file of that name beside it.

    RecordError if there are none, or the sidecar is missing, elsewhere or no array of whole numbers.
    """
    if not isinstance(told, str):
        if told is None or not set(map(type, told)) <= {int}:
            raise RecordError(
                f"{folder}: the record lacks the ranks of a policy, or they are no whole numbers", path=folder
            )
        return list(told)
    try:
        if Path(told).name != told:
            raise ValueError("a sidecar lies beside its record")
        ranks = np.load(folder / told, allow_pickle=False)
        if ranks.ndim != 1 or ranks.dtype.kind not in "iu":
            raise ValueError(f"{ranks.dtype} of shape {ranks.shape}, not one whole number per case")
        return [int(rank) for rank in ranks]
    except (OSError, ValueError, EOFError) as error:
        raise RecordError(f"{folder / told} holds no readable ranks: {error}", path=folder / told) from None
