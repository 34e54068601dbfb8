"""Codes that carry no meaning: item numbers written as digits, in random order or in order of first appearance.

The floor every other indexer has to beat. Knows nothing of co-occurrence, titles or models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from genrec_bench.core.arrays import Int32, Int64
from genrec_bench.core.codes import (
    Index,
    TokenScope,
    digits,
    digits_needed,
)
from genrec_bench.core.sequences import TrainView
from genrec_bench.host.contracts import Indexer, IndexerContext
from genrec_bench.host.ranges import TwoOrMore

BASE = 64  # two digits for up to 4,096 items or users, three for up to 262,144
BASES: Mapping[str, Any] = {"base": [8, 16, 32, 64, 128, 256]}  # what a search tries


@dataclass(frozen=True)
class DigitsConfig:
    """Options of codes made of digits."""

    base: TwoOrMore = BASE  # different digits; fewer make longer codes
    token_scope: TokenScope = "level"  # which equal digits are one token: of one level, anywhere, or below one path


class RandomIndexer(Indexer):
    """Random numbers written as digits, for items and users: codes without any meaning."""

    Config = DigitsConfig
    search_space: Mapping[str, Any] = BASES

    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """A random permutation of the items' numbers, and one of the users', both from `ctx.seed`."""
        base, rng = self.config.base, ctx.rng
        items = _written(rng.permutation(train.n_items), base)
        users = random_user_labels(train.n_users, rng, base)
        info = {"method": "random", "base": base, "user_codes": "random"}
        return Index.from_labels(items, users, scope=self.config.token_scope, info=info)


class SequentialIndexer(Indexer):
    """Consecutive numbers in order of first appearance in training, written as digits (Hua et al. 2023, arXiv 2305.06569).

    Items that meet the same users tend to get neighbouring numbers. Gives no user codes.
    """

    Config = DigitsConfig
    search_space: Mapping[str, Any] = BASES

    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """Uses no randomness: every seed gives the same codes."""
        items = sequential_labels(train, self.config.base)
        info = {"method": "sequential", "base": self.config.base}
        return Index.from_labels(items, scope=self.config.token_scope, info=info)


def random_user_labels(n_users: int, rng: np.random.Generator, base: int = BASE) -> Int32:
    """Label rows `(n_users, digits)` of a random permutation: `index.with_users(labels, "random")` for an index without
    user codes."""
    return _written(rng.permutation(n_users), base)


def sequential_labels(train: TrainView, base: int = BASE) -> Int32:
    """Label rows `(n_items, digits)`: the place of each item in order of first appearance."""
    return _written(first_appearance(train), base)


def first_appearance(train: TrainView) -> Int64:
    """The place `(n_items,)` at which each item first appears, users read in number order, each oldest event first.

    Items without a training event come last, in number order.
    """
    seen, first = np.unique(train.sequences.values, return_index=True)
    when = np.full(train.n_items, len(train.sequences.values), np.int64)
    when[seen] = first
    place = np.empty(train.n_items, np.int64)
    place[np.argsort(when, kind="stable")] = np.arange(train.n_items)
    return place


def _written(numbers: Int64, base: int) -> Int32:
    return digits(numbers, base, digits_needed(len(numbers), base))
