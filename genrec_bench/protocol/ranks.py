"""The rank of each case's target in its ranked list. Ties and the ends of lists are decided here and nowhere else.

Reads every list alike, whoever made it: a generator, a baseline or somebody else's model (protocol P8, P10).
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
    """The rank of `targets[i]` in list `i`: int32 `(n,)`, counted from 1; 0 if it is not in the list.

    Pessimistic (what every metric uses): the target ranks behind everything with its score. Where a list is filled to
    its depth and ends in two or more equal scores, more items of that score may follow beyond the end; a target among
    them counts as absent.
    Optimistic: the target ranks before everything with its score. Only listed items are known, so a target that was
    cut off is absent here too.

    InvalidRanking unless there is one list per target.
    """
    if len(ranking) != len(targets):
        raise InvalidRanking(f"{len(ranking)} ranked lists for {len(targets)} cases: every case needs exactly one list")
    ranks = np.zeros(len(targets), np.int32)
    if not ranking.items.shape[1]:
        return ranks

    # Scores never rise along a list, so a target whose score is its own ranks at its position.
    lists, position = np.divmod(np.flatnonzero(ranking.items == targets[:, None]), ranking.items.shape[1])
    real = targets[lists] >= 0  # padding equals no target
    lists, position = lists[real], position[real]
    ranks[lists] = position + 1

    # The others tie with a neighbour: count the scores above, or not below, the target's.
    tied = _tied(ranking, lists, position)
    lists, position = lists[tied], position[tied]
    scores, listed = ranking.scores[lists], ranking.items[lists] >= 0
    target_score = scores[np.arange(len(lists)), position][:, None]
    if ties == "optimistic":
        ranks[lists] = (listed & (scores > target_score)).sum(axis=1) + 1
        return ranks
    last = (listed & (scores >= target_score)).sum(axis=1)
    if scores.shape[1] == ranking.depth:
        last[listed[:, -1] & (scores[:, -1] == target_score[:, 0])] = 0  # the tie may go on beyond the list
    ranks[lists] = last
    return ranks


def _tied(ranking: Ranking, lists: Int64, position: Int64) -> Bool:
    """Whether an item next to `position[i]` of list `lists[i]` has the same score."""
    tied = np.zeros(len(lists), bool)
    for neighbour in (position - 1, position + 1):
        inside = np.flatnonzero((neighbour >= 0) & (neighbour < ranking.items.shape[1]))
        row, column = lists[inside], neighbour[inside]
        equal = ranking.scores[row, column] == ranking.scores[row, position[inside]]
        tied[inside] |= equal & (ranking.items[row, column] >= 0)
    return tied


def ranks_digest(ranks: Mapping[str, Sequence[int] | Int32]) -> str:
    """SHA-256 (hex) of the ranks under each policy: how a record names ranks kept in files beside it."""
    return digest(*(part for policy in sorted(ranks) for part in (policy, np.asarray(ranks[policy], np.int32))))


def read_ranks(ranks: Sequence[int] | str | None, folder: Path) -> list[int]:
    """The ranks of a record: as they are written in it, or from the `.npy` file of that name beside it.

    RecordError if there are none, or if the file is missing, elsewhere or not an array of whole numbers.
    """
    if not isinstance(ranks, str):
        if ranks is None or not set(map(type, ranks)) <= {int}:
            raise RecordError(
                f"{folder}: the record lacks the ranks of a policy, or they are not whole numbers", path=folder
            )
        return list(ranks)

    path = folder / ranks
    try:
        if Path(ranks).name != ranks:
            raise ValueError("the file must lie beside its record")
        array = np.load(path, allow_pickle=False)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(f"{array.dtype} of shape {array.shape}, not one whole number per case")
        return [int(rank) for rank in array]
    except (OSError, ValueError, EOFError) as error:
        raise RecordError(f"{path} holds no readable ranks: {error}", path=path) from None
