"""What the toolkit means to reach: one sentence and one bound per goal, checked against the rows that carry its number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from genrec_bench.bench.results import Row


@dataclass(frozen=True)
class Goal:
    """A goal: what is measured, and the bound that every row of it has to keep. Units are those of the rows."""

    number: str
    says: str
    bound: float
    side: Literal["at least", "at most"]
    unit: str
    benchmark: str  # which `genrec bench` measures it

    def reached(self, rows: Iterable[Row]) -> bool | None:
        """Whether all rows of this goal keep its bound; None if there is none."""
        told = [row.value for row in rows if row.goal == self.number]
        if not told:
            return None
        return all(value >= self.bound if self.side == "at least" else value <= self.bound for value in told)


def _goal(number: str, says: str, side: Literal["at least", "at most"], bound: float, unit: str, by: str) -> Goal:
    return Goal(number, says, bound, side, unit, by)


GOALS = (
    _goal(
        "1a",
        "decode 16+ users, 20 beams, 80 source tokens, fp32, against HF + prefix function",
        "at least",
        6,
        "x",
        "decode",
    ),
    _goal("1b", "the same for one user", "at least", 2.5, "x", "decode"),
    _goal(
        "2", "decode with 50 beams and 200+ source tokens, against HF + prefix function", "at least", 10, "x", "decode"
    ),
    _goal(
        "3a", "constraint step against HF's processor, mean of the steps after the first", "at least", 50, "x", "trie"
    ),
    _goal("3b", "constraint step's share of decode time", "at most", 2, "%", "trie"),
    _goal("3c", "constraint step at 10M items against 10k items", "at most", 1.2, "x", "trie"),
    _goal("4a", "trie of 1M items: time to build, against nested dicts with end token", "at least", 10, "x", "trie"),
    _goal("4b", "trie of 1M items: size, against nested dicts with end token", "at least", 40, "x", "trie"),
    _goal("4c", "trie of 10M items: time to build", "at most", 5, "CPU s", "trie"),
    _goal("5", "`exact` on a clustering index of 12k items, against HF with 50 beams", "at least", 1.3, "x", "decode"),
    _goal("6", "lists identical to HF's in fp32", "at least", 100, "%", "decode"),
    _goal("7a", "training fp32, against eager attention with randomly batched padding", "at least", 2, "x", "train"),
    _goal("7b", "training bf16, against the same", "at least", 3, "x", "train"),
    _goal("8a", "indexing 10k items, against the dense spectral method", "at least", 50, "x", "index"),
    _goal("8b", "agreement (NMI) of those clusters with the dense spectral method's", "at least", 0.95, "", "index"),
    _goal("8c", "indexing 1M items (`sci`, `variant=items`): time", "at most", 120, "s", "index"),
    _goal("8d", "indexing 1M items (`sci`, `variant=items`): peak memory", "at most", 6, "GB", "index"),
    _goal(
        "8e",
        "reading and splitting 20M interactions of a Parquet file: peak memory beyond the process's own",
        "at most",
        100,
        "B/interaction",
        "index",
    ),
    _goal("8f", "the same of a CSV file", "at most", 150, "B/interaction", "index"),
    _goal("9", "scoring, against a Python loop; equal to ranx", "at least", 15, "x", "score"),
    _goal("10a", "on a GPU: decode 32 users, 20 beams, against HF + prefix function", "at least", 50, "x", "decode"),
    _goal("10b", "on a GPU: one captured batch", "at most", 2, "ms", "decode"),
    _goal("10c", "on a GPU: training with compile, against without", "at least", 2, "x", "train"),
    _goal("11", "`genrec --help`, `plugins`, `leaderboard`: each", "at most", 0.3, "CPU s", "startup"),
)
