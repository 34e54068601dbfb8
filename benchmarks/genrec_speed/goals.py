"""The goals of the toolkit's speed: a sentence and a bound each, checked against the rows that carry their number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from genrec_speed.results import Row


@dataclass(frozen=True)
class Goal:
    """What is measured, and the bound that every row measured for it must keep, in the rows' unit."""

    number: str
    says: str
    side: Literal["at least", "at most"]
    bound: float
    unit: str
    benchmark: str  # the NAME of the `genrec bench NAME` that measures it

    def reached(self, rows: Iterable[Row]) -> bool | None:
        """Whether all rows of this goal keep its bound; None if it has no row."""
        values = [row.value for row in rows if row.goal == self.number]
        if not values:
            return None
        return all(value >= self.bound if self.side == "at least" else value <= self.bound for value in values)


GOALS = (
    Goal(
        "1a",
        "decode 16+ users, 20 beams, 80 source tokens, fp32, against HF + prefix function",
        "at least",
        6,
        "x",
        "decode",
    ),
    Goal("1b", "the same for one user", "at least", 2.5, "x", "decode"),
    Goal(
        "2", "decode with 50 beams and 200+ source tokens, against HF + prefix function", "at least", 10, "x", "decode"
    ),
    Goal(
        "3a", "constraint step against HF's processor, mean of the steps after the first", "at least", 50, "x", "trie"
    ),
    Goal("3b", "constraint step's share of decode time", "at most", 2, "%", "trie"),
    Goal("3c", "constraint step at 10M items against 10k items", "at most", 1.2, "x", "trie"),
    Goal("4a", "trie of 1M items: time to build, against nested dicts with end token", "at least", 10, "x", "trie"),
    Goal("4b", "trie of 1M items: size, against nested dicts with end token", "at least", 40, "x", "trie"),
    Goal("4c", "trie of 10M items: time to build", "at most", 5, "CPU s", "trie"),
    Goal("5", "`exact` on a clustering index of 12k items, against HF with 50 beams", "at least", 1.3, "x", "decode"),
    Goal("6", "lists identical to HF's in fp32", "at least", 100, "%", "decode"),
    Goal("7a", "training fp32, against eager attention with randomly batched padding", "at least", 2, "x", "train"),
    Goal("7b", "training bf16, against the same", "at least", 3, "x", "train"),
    Goal("8a", "indexing 10k items, against the dense spectral method", "at least", 50, "x", "index"),
    Goal("8b", "agreement (NMI) of those clusters with the dense spectral method's", "at least", 0.95, "", "index"),
    Goal("8c", "indexing 1M items (`sci`, `variant=items`): time", "at most", 120, "s", "index"),
    Goal("8d", "indexing 1M items (`sci`, `variant=items`): peak memory", "at most", 6, "GB", "index"),
    Goal(
        "8e",
        "reading and splitting 20M interactions of a Parquet file: peak memory beyond the process's own",
        "at most",
        100,
        "B/interaction",
        "index",
    ),
    Goal("8f", "the same of a CSV file", "at most", 150, "B/interaction", "index"),
    Goal("9", "scoring, against a Python loop; equal to ranx", "at least", 15, "x", "score"),
    Goal("10a", "on a GPU: decode 32 users, 20 beams, against HF + prefix function", "at least", 50, "x", "decode"),
    Goal("10b", "on a GPU: one captured batch", "at most", 2, "ms", "decode"),
    Goal("10c", "on a GPU: training with compile, against without", "at least", 2, "x", "train"),
    Goal("11", "`genrec --help`, `plugins`, `leaderboard`: each", "at most", 0.3, "CPU s", "startup"),
    Goal("12a", "training on sequences, against the same network row by row", "at least", 8, "x", "train"),
    Goal("12b", "the same, against LightLM's form of the paper row by row", "at least", 8, "x", "train"),
    Goal("12c", "training `depth`, against HF's T5 as re-runs of TIGER train it", "at least", 40, "x", "train"),
    Goal("13a", "decoding 12k items: time with path tokens, of that with level tokens", "at most", 1, "x", "decode"),
    Goal("13b", "the same with 1M items", "at most", 1.3, "x", "decode"),
)
