"""Codes without meaning: item numbers written as digits, in random order or in order of first appearance.

Every other indexer has to beat them. Knows nothing of co-occurrence, titles or models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

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
BASES: Mapping[str, Any] = {"base": [8, 16, 32, 64, 128, 256]}  # what `genrec tune` tries


@dataclass(frozen=True)
class DigitsConfig:
    """Options of codes made of digits."""

    base: TwoOrMore = BASE  # different digits; fewer make longer codes
    token_scope: TokenScope = "level"  # which equal digits are one token: of one level, anywhere, or below one path


class RandomIndexer(Indexer):
    """Random numbers written as digits, for items and users: codes without any meaning."""

    Config = DigitsConfig
    search_space: ClassVar[Mapping[str, Any]] = BASES

    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """A random permutation of the items' numbers, and one of the users', both from `ctx.seed`."""
        base, rng = self.config.base, ctx.rng
        items = _as_digits(rng.permutation(train.n_items), base)
        users = random_user_labels(train.n_users, rng, base)
        info = {"method": "random", "base": base, "user_codes": "random"}
        return Index.from_labels(items, users, scope=self.config.token_scope, info=info)


class SequentialIndexer(Indexer):
    """Consecutive numbers in order of first appearance in training, written as digits (Hua et al. 2023, arXiv 2305.06569).

    Items of the same users tend to get neighbouring numbers. Gives no user codes.
    """

    Config = DigitsConfig
    search_space: ClassVar[Mapping[str, Any]] = BASES

    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """Uses no randomness: every seed gives the same codes."""
        items = sequential_labels(train, self.config.base)
        info = {"method": "sequential", "base": self.config.base}
        return Index.from_labels(items, scope=self.config.token_scope, info=info)


def random_user_labels(n_users: int, rng: np.random.Generator, base: int = BASE) -> Int32:
    """Label rows `(n_users, digits)` of a random permutation.

    An index without user codes gets them from `index.with_users(labels, "random")`.
    """
    return _as_digits(rng.permutation(n_users), base)


def sequential_labels(train: TrainView, base: int = BASE) -> Int32:
    """Label rows `(n_items, digits)`: each item's position in order of first appearance."""
    return _as_digits(first_appearance(train), base)


def first_appearance(train: TrainView) -> Int64:
    """Each item's position `(n_items,)` in order of first appearance: user by user, oldest interaction first.

    Items without a training interaction come last, in number order.
    """
    present, first = np.unique(train.sequences.values, return_index=True)
    when = np.full(train.n_items, len(train.sequences.values), np.int64)
    when[present] = first
    position = np.empty(train.n_items, np.int64)
    position[np.argsort(when, kind="stable")] = np.arange(train.n_items)
    return position


def _as_digits(numbers: Int64, base: int) -> Int32:
    """Numbers `(n,)` from 0 to n - 1 as label rows `(n, digits)`."""
    return digits(numbers, base, digits_needed(len(numbers), base))
