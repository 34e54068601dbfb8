"""Users who mostly keep to one cluster of items: a graph in which clusters can be found again."""

from dataclasses import dataclass

import numpy as np

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.sequences import TrainView

LOYALTY = 0.8  # share of a user's interactions with items of the user's cluster


@dataclass(frozen=True)
class Plan:
    """Sizes, with the mean number of interactions per user."""

    users: int
    items: int
    clusters: int
    mean_length: int = 10

    @property
    def item_clusters(self) -> np.ndarray:
        """The cluster of each item, (items,)."""
        return np.random.default_rng(0).permutation(self.items) * self.clusters // self.items


def clustered_train(plan: Plan) -> TrainView:
    """The interactions of a plan; equal plans give equal ones."""
    rng = np.random.default_rng(1)
    members = [np.flatnonzero(plan.item_clusters == cluster) for cluster in range(plan.clusters)]

    rows = []
    for length in 3 + rng.poisson(plan.mean_length - 3, plan.users):
        clusters = np.full(length, rng.integers(plan.clusters))
        strays = rng.random(length) >= LOYALTY
        clusters[strays] = rng.integers(plan.clusters, size=strays.sum())
        # Some items are popular.
        rows.append([int(own[int(len(own) * rng.random() ** 2)]) for own in (members[c] for c in clusters)])
    return TrainView(Ragged.of(rows), plan.items)
