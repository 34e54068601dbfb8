"""LightGCN: embeddings of users and items from the training graph (He et al. 2020, arXiv 2002.02126).

Every node's embedding is the mean over what it hears from 0, 1, ... `layers` steps away; the starting embeddings are
learnt by BPR, which wants an item the user met to score above one drawn at random. Propagation is linear and symmetric,
so its gradient is the same propagation: NumPy and sparse products are all it takes, and the same numbers come out on
every device. Knows nothing of codes or clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import expit

from genrec_bench.core.arrays import (
    Float32,
    Int32,
    Int64,
    Ragged,
    spread,
)
from genrec_bench.core.sequences import TrainView
from genrec_bench.host.contracts import IndexerContext

HELD_OUT_USERS = 2_000  # at most: enough to choose an epoch by, few enough to lose little training
PLACES = 10  # the held-out score is ndcg@10
INIT = 0.1  # standard deviation of the starting embeddings
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's
BLOCK = 500  # users scored at once


@dataclass(frozen=True)
class Embeddings:
    """`users` `(users, size)` and `items` `(items, size)`, float32, and how they came about.

    `score` is the best held-out ndcg@10, None where no user has the events to spare: then all `epochs` were run.
    """

    users: Float32
    items: Float32
    epochs: int
    best_epoch: int
    score: float | None
    held_out: int


def train_embeddings(
    train: TrainView,
    ctx: IndexerContext,
    *,
    size: int,
    layers: int,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    weight_decay: float,
    patience: int,
) -> Embeddings:
    """Learn on the training part but one late event of some users, until those are predicted no better for `patience`
    epochs; the best epoch's embeddings, propagated over the whole training graph.

    Validation and test are no part of `train`, so they choose nothing here.
    """
    rng = np.random.default_rng([ctx.seed, 0])
    kept, users, targets = hold_out(train, rng)
    graph = Graph(kept, train.n_items, layers)
    start = (rng.standard_normal((train.n_users + train.n_items, size)) * INIT).astype(np.float32)
    learner = _Learner(graph, start, learning_rate, weight_decay)
    best, best_epoch, score, epoch = start.copy(), 0, None, 0
    with ctx.progress.phase("embedding", total=epochs, unit="epochs") as tick:
        for epoch in range(1, epochs + 1):
            for rows in np.split(rng.permutation(graph.events), range(batch_size, graph.events, batch_size)):
                learner.step(rows, rng)
            found = ndcg(graph, learner.values, users, targets) if len(users) else None
            tick(note="" if found is None else f"ndcg@{PLACES} {found:.4f}")
            if found is None or score is None or found > score:
                best[:], best_epoch, score = learner.values, epoch, found
            elif epoch - best_epoch >= patience:
                break
    whole = Graph(train.sequences, train.n_items, layers).propagate(best)
    return Embeddings(whole[: train.n_users], whole[train.n_users :], epoch, best_epoch, score, len(users))


def hold_out(train: TrainView, rng: np.random.Generator) -> tuple[Ragged, Int64, Int32]:
    """The training part without the last event of some users; those users, and that event's item.

    Taken from users with three training events or more, up to `HELD_OUT_USERS` of them drawn at random.
    """
    rich = np.flatnonzero(train.sequences.lengths >= 3)
    users = np.sort(rng.choice(rich, min(len(rich), HELD_OUT_USERS), replace=False))
    starts, ends = train.sequences.offsets[:-1], train.sequences.offsets[1:].copy()
    targets = train.sequences.values[ends[users] - 1]
    ends[users] -= 1
    return train.sequences.slice(starts, ends), users, targets


class Graph:
    """The bipartite graph of users and items, users first; repeated events are one edge."""

    def __init__(self, sequences: Ragged, n_items: int, layers: int) -> None:
        self.n_users, self.n_items, self.layers = len(sequences), n_items, layers
        self.keys = np.unique(sequences.rows * n_items + sequences.values)  # one number per edge, ascending
        self.user, self.item = np.divmod(self.keys, n_items)
        degrees = [np.maximum(np.bincount(side, minlength=n), 1) for side, n in self._sides()]
        weights = 1 / np.sqrt(degrees[0][self.user] * degrees[1][self.item])
        entries = (weights.astype(np.float32), (self.user, self.item))
        self.to_users = sparse.csr_array(entries, shape=(self.n_users, n_items))
        self.to_items = self.to_users.T.tocsr()

    def _sides(self) -> tuple[tuple[Int64, int], tuple[Int64, int]]:
        return (self.user, self.n_users), (self.item, self.n_items)

    @property
    def events(self) -> int:
        return len(self.keys)

    def propagate(self, values: Float32) -> Float32:
        """The mean of `values` `(users + items, size)` and of what they become after 1 to `layers` steps.

        The gradient of a loss with respect to `values` is this, applied to the gradient with respect to the result.
        """
        users, items = values[: self.n_users], values[self.n_users :]
        total = values.copy()
        for _ in range(self.layers):
            users, items = self.to_users @ items, self.to_items @ users
            total[: self.n_users] += users
            total[self.n_users :] += items
        total /= self.layers + 1
        return total

    def strangers(self, users: Int64, rng: np.random.Generator) -> Int64:
        """One item per user, drawn evenly; those that the user met are drawn once more, and then stay."""
        items = rng.integers(self.n_items, size=len(users))
        met = np.flatnonzero(self._met(users, items))
        items[met] = rng.integers(self.n_items, size=len(met))
        return items

    def _met(self, users: Int64, items: Int64) -> np.ndarray:
        keys = users * self.n_items + items
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return self.keys[at] == keys


class _Learner:
    """BPR by Adam on the starting embeddings `values` `(users + items, size)`, changed in place."""

    def __init__(self, graph: Graph, values: Float32, learning_rate: float, weight_decay: float) -> None:
        self.graph, self.values = graph, values
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.mean, self.square, self.steps = np.zeros_like(values), np.zeros_like(values), 0

    def step(self, rows: Int64, rng: np.random.Generator) -> None:
        """One step on the events `rows`, each against an item drawn at random."""
        if not len(rows):
            return
        user, met = self.graph.user[rows], self.graph.item[rows]
        self._adam(self.gradient(user, met, self.graph.strangers(user, rng)))

    def gradient(self, user: Int64, met: Int64, other: Int64) -> Float32:
        """Of the mean of `-log sigmoid(score(met) - score(other))`, plus decay of the embeddings that were drawn."""
        n_users, n_items = self.graph.n_users, self.graph.n_items
        reached = self.graph.propagate(self.values)
        users, items = reached[:n_users], reached[n_users:]
        margin = np.einsum("ed,ed->e", users[user], items[met] - items[other])
        pull = (-expit(-margin) / len(user)).astype(np.float32)
        entries = (np.concatenate([pull, -pull]), (np.tile(user, 2), np.concatenate([met, other])))
        wanted = sparse.csr_array(entries, shape=(n_users, n_items))  # of every score: its gradient
        slope = self.graph.propagate(np.concatenate([wanted @ items, wanted.T @ users]))
        drawn = np.bincount(np.concatenate([user, met + n_users, other + n_users]), minlength=n_users + n_items)
        slope += (self.weight_decay / len(user) * drawn).astype(np.float32)[:, None] * self.values
        return slope

    def _adam(self, slope: Float32) -> None:
        self.steps += 1
        self.mean += (1 - BETAS[0]) * (slope - self.mean)
        self.square += (1 - BETAS[1]) * (slope * slope - self.square)
        rate = self.learning_rate * np.sqrt(1 - BETAS[1] ** self.steps) / (1 - BETAS[0] ** self.steps)
        self.values -= np.float32(rate) * self.mean / (np.sqrt(self.square) + np.float32(EPSILON))


def ndcg(graph: Graph, values: Float32, users: Int64, targets: Int32) -> float:
    """ndcg@10 of one target per user in the ranking of all items that the user has not met in `graph`."""
    reached = graph.propagate(values)
    items, offsets = reached[graph.n_users :], graph.to_users.indptr.astype(np.int64)
    gained = 0.0
    for at in range(0, len(users), BLOCK):
        some, wanted = users[at : at + BLOCK], targets[at : at + BLOCK]
        scores = reached[some] @ items.T
        threshold = scores[np.arange(len(some)), wanted]
        counts = np.diff(offsets)[some]
        flat = spread(offsets[some], np.concatenate([[0], np.cumsum(counts)]))
        scores[np.repeat(np.arange(len(some)), counts), graph.to_users.indices[flat]] = -np.inf
        above = (scores > threshold[:, None]).sum(axis=1)
        gained += float((1 / np.log2(above[above < PLACES] + 2)).sum())
    return gained / len(users)
