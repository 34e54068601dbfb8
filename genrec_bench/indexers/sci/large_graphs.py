"""One split of an implicit graph: by a randomised eigensolver and K-Means, or by METIS.

Both take time in proportion to interactions or edges. Neither is the paper's method: they find the same clusters where
clusters are clear, and different ones elsewhere. Knows nothing of users, items or codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from genrec_bench.core.arrays import Float32, Int64
from genrec_bench.errors import NeedsMissing
from genrec_bench.indexers.sci.implicit_graph import ImplicitGraph
from genrec_bench.indexers.sci.spectral import Method, in_order_of_appearance, spectral_clusters

LargeMethod = Literal["randomised", "metis"]

SPARE = 10  # extra vectors in the subspace iteration
ROUNDS, DEGREE = 2, 4  # Chebyshev filters, and products with the graph in each
LONG = 1_000  # nodes above which a Gram matrix is faster than a QR
SAMPLE = 20_000  # nodes among which typical ones are looked for
POINTS, ITERATIONS = 256, 20  # of K-Means: nodes per cluster that it learns from
TOP = 24  # edges per node that METIS sees
HEAVIEST = 1_000  # the largest edge weight: METIS counts in 32-bit whole numbers


def large_clusters(
    graph: ImplicitGraph, clusters: int, method: LargeMethod, rng: np.random.Generator
) -> tuple[str, Int64]:
    """The method that was used, and cluster numbers `(nodes,)`, from 0 in order of first appearance.

    The graph has more nodes than `clusters`, each with at least one edge. Under `randomised`, a graph that is too small
    for it is split by the exact method (`dense`).
    """
    if method == "metis":
        return "metis", in_order_of_appearance(metis_clusters(graph, clusters, rng))
    if graph.shape[0] < 4 * (clusters + SPARE):
        exact = spectral_clusters(graph.materialise(), clusters, "dense", rng)
        assert exact is not None
        return "dense", exact
    roots: Float32 = np.sqrt(graph.degrees)
    embedding = leading_vectors(graph, clusters, rng) / roots[:, None]
    return "randomised", in_order_of_appearance(nearest_means(embedding, rng))


def leading_vectors(graph: ImplicitGraph, count: int, rng: np.random.Generator) -> Float32:
    """Approximately the leading `count` eigenvectors of the normalised adjacency, `(nodes, count)`.

    Subspace iteration from a random start (Halko, Martinsson and Tropp 2011), sped up by Chebyshev polynomials that
    damp every eigenvalue below the least one found so far (Zhou, Saad, Tiago and Chelikowsky 2006).
    """
    roots: Float32 = np.sqrt(graph.degrees)
    scale: Float32 = (np.float32(1) / roots)[:, None]

    def normalised(vectors: Float32) -> Float32:
        product = graph.dot(vectors * scale)
        product *= scale
        return product

    basis = _orthonormal(rng.standard_normal((graph.shape[0], count + SPARE), dtype=np.float32))
    damped = 0.0  # eigenvalues from -1 up to here
    rotation = np.zeros((0, 0))
    for _ in range(ROUNDS):
        basis = _orthonormal(_chebyshev(normalised, basis, damped))
        values, rotation = linalg.eigh((basis.T @ normalised(basis)).astype(np.float64))
        damped = max(damped, min(float(values[0]), 0.9))
    return basis @ rotation[:, -count:].astype(np.float32)


def _chebyshev(product: Callable[[Float32], Float32], vectors: Float32, damped: float) -> Float32:
    """`vectors` through the Chebyshev polynomial of degree `DEGREE` that is at most 1 on [-1, damped]."""
    centre, half = np.float32((damped - 1) / 2), np.float32((damped + 1) / 2)
    first: Float32 = product(vectors) - centre * vectors
    before, now = vectors, first / half
    for _ in range(DEGREE - 1):
        after = product(now)
        after -= centre * now
        after *= 2 / half
        after -= before
        before, now = now, after
    return now


def _orthonormal(vectors: Float32) -> Float32:
    """An orthonormal basis of the columns."""
    if len(vectors) <= LONG:
        return np.linalg.qr(vectors)[0]
    for _ in range(2):  # by the Gram matrix; the second pass removes the first one's error
        values, rotation = linalg.eigh((vectors.T @ vectors).astype(np.float64))
        vectors = vectors @ (rotation / np.sqrt(np.maximum(values, values[-1] * 1e-13))).astype(np.float32)
    return vectors


def nearest_means(embedding: Float32, rng: np.random.Generator) -> Int64:
    """Cluster numbers `(nodes,)` by K-Means over the directions of the rows; at most as many clusters as columns.

    Starts from the nodes that a pivoted QR of a sample finds typical (as `cluster_qr`), and learns from a sample.
    """
    clusters = embedding.shape[1]
    lengths = np.linalg.norm(embedding, axis=1)
    rows = embedding / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]

    centres = _typical(embedding, lengths, rng)
    points = rows[np.sort(rng.choice(len(rows), min(len(rows), POINTS * clusters), replace=False))]
    labels = np.abs(points @ centres.T).argmax(axis=1)
    for _ in range(ITERATIONS):
        centres = _means(points, labels, centres)
        reassigned = (points @ centres.T).argmax(axis=1)
        if (reassigned == labels).all():
            break
        labels = reassigned

    nearest: Int64 = (rows @ centres.T).argmax(axis=1)
    return nearest


def _typical(embedding: Float32, lengths: Float32, rng: np.random.Generator) -> Float32:
    """Axes `(clusters, columns)` of the rotation that turns one typical node per cluster onto the axes."""
    weights = lengths.astype(np.float64) ** 2
    sample = np.arange(len(embedding))
    if len(sample) > SAMPLE:
        size = min(SAMPLE, int((weights > 0).sum()))
        sample = rng.choice(len(sample), size, replace=False, p=weights / weights.sum())

    vectors = embedding[sample].astype(np.float64)
    _, pivots = linalg.qr(vectors.T, mode="r", pivoting=True)
    left, _, right = linalg.svd(vectors[pivots[: embedding.shape[1]]].T)
    return np.ascontiguousarray((left @ right).T.astype(np.float32))


def _means(points: Float32, labels: NDArray[Any], centres: Float32) -> Float32:
    """The mean direction of each cluster's points; an empty cluster keeps its centre."""
    marks = (np.ones(len(labels), np.float32), labels.astype(np.int32), np.arange(len(labels) + 1, dtype=np.int32))
    sums = sparse.csr_array(marks, shape=(len(labels), len(centres))).T @ points
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > 0, sums / np.maximum(lengths, np.finfo(np.float32).tiny), centres)


def metis_clusters(graph: ImplicitGraph, clusters: int, rng: np.random.Generator) -> Int64:
    """Balanced parts with few cut edges, `(nodes,)`, on each node's `TOP` strongest edges (METIS, Karypis, Kumar 1998).

    A part may be empty. The graph must have more nodes than `clusters`: else METIS prints to standard output, from C.
    """
    metis = import_metis()
    edges = graph.strongest(TOP)

    # Whole weights stay; others, as in balanced blocks, are scaled to whole numbers.
    whole = (edges.data == np.rint(edges.data)).all() and edges.data.max() <= HEAVIEST
    factor = 1 if whole else HEAVIEST / float(edges.data.max())
    weights = np.maximum(np.rint(edges.data * factor), 1).astype(np.int32)

    options = metis.Options(seed=int(rng.integers(2**31 - 1)))
    adjacency = metis.CSRAdjacency(edges.indptr, edges.indices)
    _, parts = metis.part_graph(clusters, adjacency, eweights=weights, options=options)
    return np.asarray(parts, np.int64)


def check_method(method: Method) -> None:
    """NeedsMissing if a method's library is not installed."""
    if method == "metis":
        import_metis()


def library_version(method: Method) -> str:
    """The library, with its version, that decides a method's clusters; empty if none but those that every run records."""
    return f"pymetis {import_metis().version}" if method == "metis" else ""


def import_metis() -> Any:
    """The pymetis module. NeedsMissing says what to install."""
    try:
        import pymetis
    except ImportError as error:
        raise NeedsMissing(
            f"indexer.method=metis needs pymetis, which cannot be imported ({error}): pip install 'genrec-bench[metis]', "
            "or use method=randomised, which needs nothing more",
            needs="pymetis",
        ) from None
    return pymetis
