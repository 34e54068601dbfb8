"""Weighted K-means by faiss, started by k-means++, with a seed and on one thread: no number of cores moves a code."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.cluster import kmeans_plusplus
from threadpoolctl import threadpool_limits

from genrec_bench.api import Float32, Int64, NeedsMissing

POINTS = 2_000  # distinct rows per cluster: K-means learns from a sample of this size and assigns all rows


def load_faiss() -> Any:
    """The faiss module, from faiss-cpu or faiss-gpu. NeedsMissing says what to install."""
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
    """Centroids `(k, d)` and the cluster of each row, `(n,)`; `k` is `clusters`, or fewer if there are fewer distinct rows.

    A row counts `weights` times. Equal rows get equal clusters. A cluster may be empty. With more than `POINTS` distinct
    rows per cluster, it learns from a random sample.
    """
    distinct, which = np.unique(rows, axis=0, return_inverse=True)
    which = which.reshape(-1)
    if len(distinct) <= clusters:
        return distinct, which

    faiss = load_faiss()
    weight = np.bincount(which, weights=weights).astype(np.float32)
    sample = slice(None)
    if len(distinct) > POINTS * clusters:
        sample = np.sort(np.random.default_rng(seed).choice(len(distinct), POINTS * clusters, replace=False))
    points, weight = np.ascontiguousarray(distinct[sample]), weight[sample]

    with threadpool_limits(1):  # after faiss is loaded, to cover its own OpenMP and BLAS
        start, _ = kmeans_plusplus(points, clusters, sample_weight=weight, random_state=seed)
        means = faiss.Kmeans(
            rows.shape[1],
            clusters,
            niter=iterations,
            seed=seed,  # decides how faiss fills empty clusters
            min_points_per_centroid=1,  # no warning on stderr
            max_points_per_centroid=POINTS,  # faiss does not sample again
        )
        means.train(points, weights=weight, init_centroids=start)
        _, nearest = means.index.search(np.ascontiguousarray(distinct), 1)
    return np.asarray(means.centroids, np.float32), nearest[:, 0].astype(np.int64)[which]
