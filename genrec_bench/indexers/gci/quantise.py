"""From vectors to labels by K-Means: one codebook per slice, one per residual, or a tree of clusters.

K-Means is faiss's, with a seed; the core does not install faiss, so `hierarchical` takes any other. Knows nothing of
users, items or codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from genrec_bench.core.arrays import Float32, Int32, Int64
from genrec_bench.core.progress import Tick
from genrec_bench.errors import NeedsMissing
from genrec_bench.indexers.sci.spectral import in_order_of_appearance
from genrec_bench.indexers.sci.tree import STALLED, descend, evenly

ITERATIONS = 25  # of one K-Means; assignments hardly change after that
Means = Callable[[Float32, int], tuple[Int64, Float32]]  # see KMeans.__call__
POINTS = 2_000  # per cluster: K-Means learns from a sample of this size and assigns all points


def import_faiss(who: str) -> Any:
    """The faiss module, from faiss-cpu or faiss-gpu. NeedsMissing says what to install."""
    try:
        import faiss
    except ImportError as error:
        raise NeedsMissing(
            f"{who} clusters with faiss, which cannot be imported ({error}): pip install 'genrec-bench[cpu]', or "
            "'genrec-bench[gpu]' on a machine with an NVIDIA GPU; never both, they overwrite each other",
            needs="faiss",
        ) from None
    return faiss


class KMeans:
    """K-Means with a seed, on the GPU if `device` is one and the installed faiss can use it."""

    def __init__(self, faiss: Any, seed: int, device: str = "cpu") -> None:
        self.faiss, self.seed = faiss, seed
        count = getattr(faiss, "get_num_gpus", int)  # faiss-cpu has no such function
        self.on_gpu = device.startswith("cuda") and count() > 0

    def __call__(self, points: Float32, clusters: int) -> tuple[Int64, Float32]:
        """Cluster numbers `(n,)` and centres `(clusters, size)` of `points` `(n, size)`.

        Makes at most as many clusters as there are points. Some may be empty.
        """
        points = np.ascontiguousarray(points)
        clusters = min(clusters, len(points))

        means = self.faiss.Kmeans(
            points.shape[1],
            clusters,
            niter=ITERATIONS,
            seed=self.seed,
            gpu=1 if self.on_gpu else False,
            min_points_per_centroid=1,  # else faiss warns on stderr
            max_points_per_centroid=POINTS,  # faiss's default is 256
        )

        means.train(points)
        return means.assign(points)[1].astype(np.int64), means.centroids


def product(points: Float32, levels: int, clusters: int, means: KMeans, tick: Tick) -> Int32:
    """Label rows `(n, levels)`: `points` cut into `levels` equal slices, one codebook each."""
    labels = []
    for slice_points in np.split(points, levels, axis=1):
        labels.append(means(slice_points, clusters)[0])
        tick()
    return np.stack(labels, axis=1).astype(np.int32)


def residual(points: Float32, levels: int, clusters: int, means: KMeans, tick: Tick) -> Int32:
    """Label rows `(n, levels)`: each level's codebook describes what the levels before it left unexplained."""
    labels, residuals = [], points
    for _ in range(levels):
        chosen, centres = means(residuals, clusters)
        labels.append(chosen)
        residuals = residuals - centres[chosen]
        tick()
    return np.stack(labels, axis=1).astype(np.int32)


def hierarchical(points: Float32, clusters: int, leaf_size: int, max_levels: int, means: Means, tick: Tick) -> Int32:
    """Label rows `(n, levels)`, padded with -1: clusters of more than `leaf_size` points are split again."""

    def split(inside: Float32) -> Int64:
        if len(inside) <= clusters:
            return np.arange(len(inside))
        parts = in_order_of_appearance(means(inside, clusters)[0])
        stalled = np.bincount(parts).max() > STALLED * len(inside)  # as with equal points
        return evenly(len(inside), clusters, leaf_size) if stalled else parts

    return descend(
        points,
        len(points),
        split,
        lambda inside, rows: inside[rows],
        leaf_size=leaf_size,
        max_levels=max_levels,
        tick=tick,
    )
