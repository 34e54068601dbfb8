"""LightGCN: embeddings of users and items from the training graph (He et al. 2020, arXiv 2002.02126).

A node's embedding is the mean over what reaches it from 0, 1, ... `layers` steps away. The starting embeddings are
learned by BPR: an item that the user interacted with should score above a random one. Propagation is linear and
symmetric, so its gradient is the same propagation. NumPy and sparse products suffice, and every device gives the same
numbers. Knows nothing of codes or clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import expit

from genrec_bench.core.arrays import (
    Bool,
    Float32,
    Int32,
    Int64,
    Ragged,
    spread,
)
from genrec_bench.core.sequences import TrainView
from genrec_bench.host.contracts import IndexerContext

HELD_OUT_USERS = 2_000  # at most: enough to choose an epoch by, few enough to lose little training data
CUTOFF = 10  # the held-out score is ndcg@10
INIT = 0.1  # standard deviation of the starting embeddings
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's
BLOCK = 500  # users scored at once


@dataclass(frozen=True)
class Embeddings:
    """`users` `(users, size)` and `items` `(items, size)`, float32, and how they were trained.

    `score` is the best held-out ndcg@10; None if no user has enough interactions to hold one out: then all `epochs`
    were run.
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
    """Train on the training part, except for the last interaction of some users, which chooses the best epoch.

    Stops once the held-out score has not improved for `patience` epochs, and propagates the best epoch's embeddings
    over the whole training graph. Validation and test are not in `train`, so they choose nothing here.
    """
    rng = np.random.default_rng([ctx.seed, 0])
    kept, users, targets = hold_out(train, rng)
    graph = Graph(kept, train.n_items, layers)
    start = (rng.standard_normal((train.n_users + train.n_items, size)) * INIT).astype(np.float32)
    learner = _Learner(graph, start, learning_rate, weight_decay)

    best, best_epoch, best_score, epoch = start.copy(), 0, None, 0
    with ctx.progress.phase("embedding", total=epochs, unit="epochs") as tick:
        for epoch in range(1, epochs + 1):
            for edges in np.split(rng.permutation(graph.edges), range(batch_size, graph.edges, batch_size)):
                learner.step(edges, rng)

            score = ndcg(graph, learner.values, users, targets) if len(users) else None
            tick(note="" if score is None else f"ndcg@{CUTOFF} {score:.4f}")
            if score is None or best_score is None or score > best_score:
                best[:], best_epoch, best_score = learner.values, epoch, score
            elif epoch - best_epoch >= patience:
                break

    whole = Graph(train.sequences, train.n_items, layers).propagate(best)
    return Embeddings(whole[: train.n_users], whole[train.n_users :], epoch, best_epoch, best_score, len(users))


def hold_out(train: TrainView, rng: np.random.Generator) -> tuple[Ragged, Int64, Int32]:
    """The training part without the last interaction of some users; those users, and the items held out.

    Draws up to `HELD_OUT_USERS` users among those with at least three training interactions.
    """
    candidates = np.flatnonzero(train.sequences.lengths >= 3)
    users = np.sort(rng.choice(candidates, min(len(candidates), HELD_OUT_USERS), replace=False))
    starts, ends = train.sequences.offsets[:-1], train.sequences.offsets[1:].copy()
    targets = train.sequences.values[ends[users] - 1]
    ends[users] -= 1
    return train.sequences.slice(starts, ends), users, targets


class Graph:
    """The bipartite graph of users and items, users first; repeated interactions are one edge."""

    def __init__(self, sequences: Ragged, n_items: int, layers: int) -> None:
        self.n_users, self.n_items, self.layers = len(sequences), n_items, layers
        self.keys = np.unique(sequences.rows * n_items + sequences.values)  # one number per edge, ascending
        self.user, self.item = np.divmod(self.keys, n_items)

        user_degrees = np.maximum(np.bincount(self.user, minlength=self.n_users), 1)
        item_degrees = np.maximum(np.bincount(self.item, minlength=self.n_items), 1)
        weights = 1 / np.sqrt(user_degrees[self.user] * item_degrees[self.item])
        entries = (weights.astype(np.float32), (self.user, self.item))
        self.to_users = sparse.csr_array(entries, shape=(self.n_users, n_items))
        self.to_items = self.to_users.T.tocsr()

    @property
    def edges(self) -> int:
        return len(self.keys)

    def propagate(self, values: Float32) -> Float32:
        """The mean of `values` `(users + items, size)` and of what they become after 1 to `layers` steps.

        Also turns a gradient with respect to the result into the gradient with respect to `values`.
        """
        users, items = values[: self.n_users], values[self.n_users :]
        total = values.copy()
        for _ in range(self.layers):
            users, items = self.to_users @ items, self.to_items @ users
            total[: self.n_users] += users
            total[self.n_users :] += items
        total /= self.layers + 1
        return total

    def negatives(self, users: Int64, rng: np.random.Generator) -> Int64:
        """One random item per user. Items that the user has seen are drawn once more, and then stay."""
        items = rng.integers(self.n_items, size=len(users))
        seen = np.flatnonzero(self._seen(users, items))
        items[seen] = rng.integers(self.n_items, size=len(seen))
        return items

    def _seen(self, users: Int64, items: Int64) -> Bool:
        """Whether each (user, item) pair is an edge."""
        keys = users * self.n_items + items
        nearest = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        seen: Bool = self.keys[nearest] == keys
        return seen


class _Learner:
    """BPR by Adam on the starting embeddings `values` `(users + items, size)`, changed in place."""

    def __init__(self, graph: Graph, values: Float32, learning_rate: float, weight_decay: float) -> None:
        self.graph, self.values = graph, values
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.mean, self.square, self.steps = np.zeros_like(values), np.zeros_like(values), 0

    def step(self, edges: Int64, rng: np.random.Generator) -> None:
        """One step on these edges, each against one negative."""
        if not len(edges):
            return
        user, positive = self.graph.user[edges], self.graph.item[edges]
        self._adam(self.gradient(user, positive, self.graph.negatives(user, rng)))

    def gradient(self, user: Int64, positive: Int64, negative: Int64) -> Float32:
        """Of the mean of `-log sigmoid(score(positive) - score(negative))`, plus weight decay of the batch's nodes."""
        n_users, n_items = self.graph.n_users, self.graph.n_items
        propagated = self.graph.propagate(self.values)
        users, items = propagated[:n_users], propagated[n_users:]

        # With respect to every score that the loss uses, as a sparse users x items matrix.
        margin = np.einsum("ed,ed->e", users[user], items[positive] - items[negative])
        by_score = (-expit(-margin) / len(user)).astype(np.float32)
        entries = (np.concatenate([by_score, -by_score]), (np.tile(user, 2), np.concatenate([positive, negative])))
        scores = sparse.csr_array(entries, shape=(n_users, n_items))

        # Then with respect to the starting embeddings.
        gradient = self.graph.propagate(np.concatenate([scores @ items, scores.T @ users]))
        nodes = np.concatenate([user, positive + n_users, negative + n_users])
        uses = np.bincount(nodes, minlength=n_users + n_items)
        gradient += (self.weight_decay / len(user) * uses).astype(np.float32)[:, None] * self.values
        return gradient

    def _adam(self, gradient: Float32) -> None:
        self.steps += 1
        self.mean += (1 - BETAS[0]) * (gradient - self.mean)
        self.square += (1 - BETAS[1]) * (gradient * gradient - self.square)
        rate = self.learning_rate * np.sqrt(1 - BETAS[1] ** self.steps) / (1 - BETAS[0] ** self.steps)
        self.values -= np.float32(rate) * self.mean / (np.sqrt(self.square) + np.float32(EPSILON))


def ndcg(graph: Graph, values: Float32, users: Int64, targets: Int32) -> float:
    """ndcg@10 of one target per user, ranked among all items that the user has not seen in `graph`."""
    propagated = graph.propagate(values)
    items, offsets = propagated[graph.n_users :], graph.to_users.indptr.astype(np.int64)

    total = 0.0
    for first in range(0, len(users), BLOCK):
        block, block_targets = users[first : first + BLOCK], targets[first : first + BLOCK]
        scores = propagated[block] @ items.T
        threshold = scores[np.arange(len(block)), block_targets]

        # Seen items score below everything.
        counts = np.diff(offsets)[block]
        flat = spread(offsets[block], np.concatenate([[0], np.cumsum(counts)]))
        scores[np.repeat(np.arange(len(block)), counts), graph.to_users.indices[flat]] = -np.inf

        above = (scores > threshold[:, None]).sum(axis=1)
        total += float((1 / np.log2(above[above < CUTOFF] + 2)).sum())
    return total / len(users)
