"""K-means by faiss, started by k-means++: weighted, seeded, on one thread, so that codes do not depend on the cores.

Knows rows and clusters only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.cluster import kmeans_plusplus
from threadpoolctl import threadpool_limits

from genrec_bench.core.arrays import Float32, Int64
from genrec_bench.errors import NeedsMissing

POINTS = 2_000  # distinct rows per cluster: K-means learns from a sample of so many, and assigns all


def load_faiss() -> Any:
    """The faiss module, whichever distribution brought it. NeedsMissing says what to install."""
    try:
        import faiss
    except ImportError as error:
        raise NeedsMissing(
            f"K-means codes need faiss, which cannot be imported ({error}): pip install 'genrec-semantic[cpu]', or "
            "'genrec-semantic[gpu]'; rq-vae does without",
            needs="faiss",
        ) from error
    return faiss


def kmeans(rows: Float32, weights: Int64, clusters: int, iterations: int, seed: int) -> tuple[Float32, Int64]:
    """Centroids `(k, d)` and the cluster of each row, `(n,)`; `k` is `clusters`, or the distinct rows if they are fewer.

    A row counts `weights` times. Equal rows get equal clusters. A cluster may come out empty. Of more than `POINTS`
    distinct rows per cluster, a sample drawn evenly is learnt from.
    """
    distinct, which = np.unique(rows, axis=0, return_inverse=True)
    which = which.reshape(-1)
    if len(distinct) <= clusters:
        return distinct, which
    faiss = load_faiss()
    weight = np.bincount(which, weights=weights).astype(np.float32)
    learnt = slice(None)
    if len(distinct) > POINTS * clusters:
        learnt = np.sort(np.random.default_rng(seed).choice(len(distinct), POINTS * clusters, replace=False))
    points, weight = np.ascontiguousarray(distinct[learnt]), weight[learnt]
    with threadpool_limits(1):  # covers faiss's own OpenMP and BLAS: it is loaded by now
        start, _ = kmeans_plusplus(points, clusters, sample_weight=weight, random_state=seed)
        found = faiss.Kmeans(
            rows.shape[1],
            clusters,
            niter=iterations,
            seed=seed,  # of how faiss fills empty clusters
            min_points_per_centroid=1,  # no warning on stderr
            max_points_per_centroid=POINTS,  # no subsampling of faiss's own
        )
        found.train(points, weights=weight, init_centroids=start)
        _, nearest = found.index.search(np.ascontiguousarray(distinct), 1)
    return np.asarray(found.centroids, np.float32), nearest[:, 0].astype(np.int64)[which]
