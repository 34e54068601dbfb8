"""A backbone whose logits are a fixed function of source and prefix, and toy catalogues."""

import numpy as np
import torch

from genrec_bench.api import START, Backbone, CodeTable, Index, Ragged, Sources, TrainView

TOKENS = 6
CODES = [[0, 3], [0, 4, 1], [0, 4, 2], [1], [2, 0, 0], [2, 0, 5], [2, 3], [5, 5, 5]]
GRID = [[a, b] for a in range(TOKENS) for b in range(TOKENS)]  # 36 items


class FixedLogits(Backbone):
    """Logits drawn once per (source's first token, prefix); all sources alike where `personal` is False."""

    def __init__(self, scale=2.0, personal=True):
        super().__init__()
        self.scale, self.personal = scale, personal

    def logits_after(self, user, prefix):
        seed = [user if self.personal else 0, *(token + 1 for token in prefix)]
        return np.random.default_rng(seed).normal(size=TOKENS).astype(np.float32) * self.scale

    def start(self, batch: Sources):
        return [int(batch.tokens[at]) for at in batch.offsets[:-1]], None

    def advance(self, state, tokens, parents):
        users, before = state
        if before is None:
            assert (tokens == START).all()
            prefixes = [[()] for _ in users]
        else:
            steps = [list(zip(*pair, strict=True)) for pair in zip(parents.tolist(), tokens.tolist(), strict=True)]
            prefixes = [[before[u][parent] + (token,) for parent, token in row] for u, row in enumerate(steps)]
        known = {}
        for user, row in zip(users, prefixes, strict=True):
            for prefix in row:
                key = (user if self.personal else 0, prefix)
                if key not in known:
                    known[key] = self.logits_after(user, prefix)
        out = [
            [known[user if self.personal else 0, prefix] for prefix in row]
            for user, row in zip(users, prefixes, strict=True)
        ]
        return torch.from_numpy(np.array(out)), (users, prefixes)

    def template(self, task, index):
        raise NotImplementedError

    fit = save = load = parameters_count = template


def sources(users):
    """One source per user: its number as the only token."""
    n = len(users)
    return Sources(
        np.asarray(users, np.int32), np.zeros(n, np.int32), np.ones(n, np.int32), np.arange(n + 1, dtype=np.int64)
    )


def index_of(codes):
    table = np.full((len(codes), max(map(len, codes))), -1, np.int32)
    for row, code in enumerate(codes):
        table[row, : len(code)] = code
    return Index(CodeTable(table), None, TOKENS)


def bought(counts):
    """A training part in which item `i` was bought `counts[i]` times."""
    return TrainView(Ragged.of([np.repeat(np.arange(len(counts)), counts)]), len(counts))


def listed(row):
    """The items of one row of `Generations.items`, without empty places."""
    return [int(item) for item in row if item != -2]


def certified(generations, k):
    """Whether each list's first `k` places score above everything that the search discarded."""
    return generations.scores[:, k - 1] > generations.bound + 1e-5
