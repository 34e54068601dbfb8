"""Spectral clustering of one graph: leading eigenvectors of the normalised adjacency, then a pivoted QR.

The method is the same for every size; only the eigensolver differs. `large_graphs` splits graphs that are too large.
Knows nothing of users, items or codes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.linalg import ArpackError, eigsh

from genrec_bench.core.arrays import Int64
from genrec_bench.errors import UsageError

Solver = Literal["dense", "sparse"]
Method = Literal["auto", "dense", "sparse", "randomised", "metis"]  # the last two: for implicit graphs

DENSE_NODES = 1_500  # `auto` makes a dense matrix up to here (18 MB, half a second), never above
MAX_DENSE_NODES = 10_000  # `dense` refuses more (0.8 GB for the matrix, twice that again for the solver)
MAX_RESTARTS = 300  # of the sparse solver; a graph of 34,000 nodes needs about ten


def choose_solver(nodes: int, clusters: int, method: Method) -> Solver:
    """The eigensolver for a graph: by size under `auto`; dense for a graph too small for the sparse solver.

    UsageError if `method` is `dense` and the graph is too large for it.
    """
    if nodes < 3 * clusters:
        return "dense"
    if method != "dense":
        return "dense" if method == "auto" and nodes <= DENSE_NODES else "sparse"
    if nodes > MAX_DENSE_NODES:
        raise UsageError(
            f"method=dense makes a {nodes:,} x {nodes:,} matrix; it is limited to {MAX_DENSE_NODES:,} nodes. "
            "Use method=auto or sparse: the eigenvectors are the same.",
            nodes=nodes,
        )
    return "dense"


def spectral_clusters(graph: sparse.csr_array, clusters: int, solver: Solver, rng: np.random.Generator) -> Int64 | None:
    """Cluster numbers `(nodes,)`, from 0 in order of first appearance; None if the solver did not converge.

    `graph` is symmetric with more nodes than `clusters`, each with at least one edge. Normalised-Laplacian spectral
    clustering with `cluster_qr` labels, as scikit-learn's `SpectralClustering(assign_labels="cluster_qr")`. The labels
    depend on the eigenspace, not on its basis, so the signs of the eigenvectors and `rng` (the sparse solver's start)
    matter only where eigenvalues tie. Empty clusters are dropped, so there may be fewer.
    """
    scale = 1 / np.sqrt(np.asarray(graph.sum(axis=0)))

    if solver == "dense":
        matrix = graph.toarray() * scale * scale[:, None]
        _, vectors = linalg.eigh(matrix, driver="evd", overwrite_a=True)  # evr is faster but may fail where values tie
        vectors = vectors[:, -clusters:]
    else:
        matrix = (sparse.diags_array(scale) @ graph @ sparse.diags_array(scale)).tocsr()
        start = rng.standard_normal(len(scale))
        try:
            _, vectors = eigsh(matrix, k=clusters, which="LA", v0=start, maxiter=MAX_RESTARTS)
        except ArpackError:
            return None

    return in_order_of_appearance(cluster_qr(vectors * scale[:, None]))


def cluster_qr(vectors: NDArray[np.float64]) -> Int64:
    """Cluster numbers `(nodes,)` from an embedding `(nodes, clusters)` (Damle, Minden and Ying 2019).

    A pivoted QR picks one typical node per cluster, the closest rotation turns those onto the axes, and each node goes
    to its largest coordinate. Needs no random start, and gives the same labels for every rotation of the embedding.
    doi 10.1093/imaiai/iay008.
    """
    clusters = vectors.shape[1]
    _, pivots = linalg.qr(vectors.T, mode="r", pivoting=True)
    left, _, right = linalg.svd(vectors[pivots[:clusters]].T)
    labels: Int64 = np.abs(vectors @ (left @ right)).argmax(axis=1)
    return labels


def in_order_of_appearance(labels: Int64) -> Int64:
    """The same clusters, numbered from 0 in order of their first node."""
    _, first, which = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return order[which.reshape(-1)]
