"""Stand-ins for the other parts: a backbone whose logits are a fixed function of the prefix, and toy code tables."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from genrec_bench.core.arrays import Float32
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.sequences import Sources
from genrec_bench.host.contracts import START, Backbone


class PrefixBackbone(Backbone):
    """Logits depend on the source's first token and the prefix decoded so far, through a hash; no weights.

    Offers `genrec_bench.api.FixedShapes` too.
    """

    def __init__(self, n_tokens: int, scale: float = 3.0) -> None:
        super().__init__()
        self.n_tokens, self.scale = n_tokens, scale
        self.calls: list[tuple[int, ...]] = []  # (users, width) of each call
        self.network: Any = self

    def logits_after(self, user: int, prefix: Sequence[int]) -> Float32:
        """Logits `(n_tokens,)` behind a prefix."""
        seed = int.from_bytes(hashlib.sha256(repr((user, tuple(prefix))).encode()).digest()[:4], "big")
        return np.random.default_rng(seed).normal(size=self.n_tokens).astype(np.float32) * self.scale

    def start(self, batch: Sources) -> Any:
        users = [int(batch.tokens[at]) for at in batch.offsets[:-1]]
        return users, None

    def pad(self, batch: Sources, users: int, length: int) -> tuple[torch.Tensor, ...]:
        """Each source's first token (users,), whatever the length; padding is user 0."""
        numbers = np.zeros(users, np.int64)
        numbers[: len(batch)] = batch.tokens[batch.offsets[:-1]]
        return (torch.from_numpy(numbers),)

    def start_padded(self, *padded: torch.Tensor) -> Any:
        """The state of `pad`'s users."""
        (numbers,) = padded
        return self.start(sources(numbers.tolist()))

    def advance(self, state: Any, tokens: torch.Tensor, parents: torch.Tensor) -> tuple[torch.Tensor, Any]:
        users, prefixes = state
        self.calls.append(tuple(tokens.shape))
        if prefixes is None:
            assert (tokens == START).all()
            grown: list[list[tuple[int, ...]]] = [[()] for _ in users]
        else:
            grown = [
                [prefixes[u][int(parents[u, b])] + (int(tokens[u, b]),) for b in range(tokens.shape[1])]
                for u in range(len(users))
            ]
        out = [[self.logits_after(user, prefix) for prefix in row] for user, row in zip(users, grown, strict=True)]
        return torch.from_numpy(np.array(out, np.float32)), (users, grown)

    def template(self, *_: Any, **__: Any) -> Any:
        """This backbone decodes only."""
        raise NotImplementedError

    fit = save = load = parameters_count = template


def sources(users: Sequence[int]) -> Sources:
    """One source per user: its number as the only token."""
    n = len(users)
    tokens = np.asarray(users, np.int32)
    return Sources(tokens, np.zeros(n, np.int32), np.ones(n, np.int32), np.arange(n + 1, dtype=np.int64))


def code_table(codes: Sequence[Sequence[int]]) -> CodeTable:
    """A table of codes of different lengths."""
    width = max(map(len, codes))
    table = np.full((len(codes), width), -1, np.int32)
    for row, code in enumerate(codes):
        table[row, : len(code)] = code
    return CodeTable(table)


def index_of(codes: Sequence[Sequence[int]], n_tokens: int | None = None) -> Index:
    """An index with the given item codes (of different lengths) and no user codes."""
    table = code_table(codes)
    return Index(table, None, n_tokens or int(table.codes.max()) + 1)


def log_probability(backbone: PrefixBackbone, user: int, code: Sequence[int]) -> float:
    """The code's score by definition: the sum of its tokens' log-softmax."""
    total = 0.0
    for level, token in enumerate(code):
        logits = backbone.logits_after(user, code[:level]).astype(np.float64)
        total += float(logits[token] - np.log(np.exp(logits).sum()))
    return total
