"""Small stand-ins: a backbone whose logits are a fixed function of the prefix, and toy code tables."""

import hashlib

import numpy as np
import torch
from hypothesis import strategies as st

from genrec_bench.codes import CodeTable, Index
from genrec_bench.contracts import START, Backbone
from genrec_bench.types import Sources


class PrefixBackbone(Backbone):
    """Logits depend on the source's first token and the prefix decoded so far, through a hash; no weights."""

    def __init__(self, n_tokens, scale=3.0):
        super().__init__()
        self.n_tokens, self.scale = n_tokens, scale
        self.calls = []  # (users, width) of each call

    def logits(self, user, prefix):
        seed = int.from_bytes(hashlib.sha256(repr((user, tuple(prefix))).encode()).digest()[:4], "big")
        return np.random.default_rng(seed).normal(size=self.n_tokens).astype(np.float32) * self.scale

    def start(self, batch: Sources):
        users = [int(batch.tokens[at]) for at in batch.offsets[:-1]]
        return users, None

    def advance(self, state, tokens, parents):
        users, prefixes = state
        self.calls.append(tuple(tokens.shape))
        if prefixes is None:
            assert (tokens == START).all()
            grown = [[()] for _ in users]
        else:
            grown = [
                [prefixes[u][int(parents[u, b])] + (int(tokens[u, b]),) for b in range(tokens.shape[1])]
                for u in range(len(users))
            ]
        out = [[self.logits(user, prefix) for prefix in row] for user, row in zip(users, grown, strict=True)]
        return torch.from_numpy(np.array(out, np.float32)), (users, grown)

    def template(self, task, index):
        raise NotImplementedError

    fit = save = load = parameters_count = template


def sources(users):
    """One source per user: its number as the only token."""
    n = len(users)
    tokens = np.asarray(users, np.int32)
    return Sources(tokens, np.zeros(n, np.int32), np.ones(n, np.int32), np.arange(n + 1, dtype=np.int64))


def index_of(codes, n_tokens=None):
    """An index with the given codes (lists of different lengths)."""
    width = max(map(len, codes))
    table = np.full((len(codes), width), -1, np.int32)
    for row, code in enumerate(codes):
        table[row, : len(code)] = code
    return Index(CodeTable(table), None, n_tokens or int(table.max()) + 1)


def log_probability(backbone, user, code):
    """The code's score by the plain rule: summed log-softmax, token by token."""
    total = 0.0
    for place, token in enumerate(code):
        logits = backbone.logits(user, code[:place]).astype(np.float64)
        total += logits[token] - np.log(np.exp(logits).sum())
    return total


@st.composite
def prefix_free(draw, most=5, width=3):
    """Codes over a small alphabet, none a prefix of another."""
    wanted = draw(st.lists(st.lists(st.integers(0, most - 1), min_size=1, max_size=width), min_size=1, max_size=12))
    kept: list[list[int]] = []
    for code in wanted:
        if not any(code[: len(other)] == other or other[: len(code)] == code for other in kept):
            kept.append(code)
    return kept
