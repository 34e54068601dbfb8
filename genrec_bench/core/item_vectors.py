"""Item vectors without text: from the company that items keep in training, and from their attributes.

Co-occurrence becomes positive pointwise mutual information and then a truncated decomposition, the closed form of what
word2vec learns (Levy and Goldberg 2014). Nothing is random, and one thread computes, so no number of cores moves a
number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.linalg import eigsh, svds
from threadpoolctl import threadpool_limits

from genrec_bench.core.arrays import Bool, Float32, Int32, Int64, Ragged
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import GenrecError

MAX_ENTRIES = 300_000_000  # of the co-occurrence matrix, 3.6 GB
CHUNK = 10_000_000  # pairs added up at once
SMOOTHING = 0.75  # exponent of the context distribution, so that rare items do not have the largest information
NOTHING = 1e-6  # a row this short, or a direction this weak beside the strongest, is rounding


def cooccurrence_vectors(train: TrainView, dimensions: int = 64, window: int = 0) -> Float32:
    """`(n_items, at most dimensions)`, rows of length 1: items with the same neighbours in training point the same way.

    A pair of items counts 1 / distance for each time that one user has both, at most `window` steps apart (0: however
    far). An item that occurs with no other, or that the leading directions do not describe, has a zero row. GenrecError
    if the pairs might not fit into memory.
    """
    with threadpool_limits(1):
        information = positive_information(pair_weights(train.sequences, train.n_items, window))
        linked = np.flatnonzero(np.diff(information.indptr))
        vectors = np.zeros((train.n_items, max(1, min(dimensions, len(linked)))), np.float32)
        if len(linked):
            values, directions = _leading(information[linked][:, linked], dimensions)
            vectors[linked, : len(values)] = unit_rows(directions * np.sqrt(np.abs(values)))
    return vectors


def attribute_vectors(features: Ragged, dimensions: int = 64) -> Float32:
    """`(n_items, at most dimensions)`, rows of length 1, from the attributes `features` of each item.

    An attribute weighs the logarithm of its rarity, however often an item repeats it: one that all items have weighs
    nothing. An item without attributes that weigh anything has a zero row.
    """
    matrix = rarity_weights(features)
    with threadpool_limits(1):
        return unit_rows(matrix @ _right_directions(matrix, dimensions))


def leading_dimensions(vectors: Float32, most: int) -> Float32:
    """A copy of `vectors` `(n, d)`, turned into its `most` directions of largest spread where `d` is more."""
    if vectors.shape[1] <= most:
        return vectors.copy()
    exact = vectors.astype(np.float64)
    with threadpool_limits(1):
        _, directions = linalg.eigh(exact.T @ exact)
    return np.asarray(exact @ _with_signs(directions[:, ::-1][:, :most]), np.float32)


def token_vectors(codes: Int32, vectors: Float32, known: Float32) -> Float32:
    """`vectors` `(n, d)` of items or users shared out among the tokens of their `codes` `(n, width)`: `(n_tokens, d)`.

    `known` `(n_tokens, d)` holds the tokens that have a vector already, and NaN for the others. Of these, each gets the
    mean, over the rows with it, of what the tokens before it leave of their vectors; so the vectors of a code's tokens sum
    to its own, as far as the alphabet can say it. A token that no row has stays NaN.
    """
    settled: Bool = ~np.asarray(np.isnan(known).any(axis=1))
    out = np.where(settled[:, None], known, 0).astype(np.float64)
    left = vectors.astype(np.float64)

    for tokens in codes.T:
        rows = np.flatnonzero(tokens >= 0)
        new = rows[~settled[tokens[rows]]]
        counts = np.bincount(tokens[new], minlength=len(out))
        sums = sparse.coo_array((np.ones(len(new)), (tokens[new], new)), shape=(len(out), len(codes))).tocsr() @ left
        out += sums / np.maximum(counts, 1)[:, None]
        settled |= counts > 0
        left[rows] -= out[tokens[rows]]
    return np.where(settled[:, None], out, np.nan).astype(np.float32)


def pair_weights(sequences: Ragged, n_items: int, window: int = 0) -> sparse.csr_array:
    """`(n_items, n_items)`, symmetric: for each pair of different items of one row, 1 / distance; zero diagonal."""
    most = min(n_items**2, int((sequences.lengths**2).sum()))
    reach = window or int(sequences.lengths.max(initial=1)) - 1
    most = min(most, 2 * reach * len(sequences.values))
    if most > MAX_ENTRIES:
        raise GenrecError(
            f"the items' co-occurrence may hold {most:,} pairs, more than {MAX_ENTRIES:,}: set a window of fewer steps",
            entries=most,
        )

    total = sparse.csr_array((n_items, n_items))
    waiting: list[tuple[Any, Any, Any]] = []
    pairs = 0
    starts = np.arange(len(sequences.values))
    left = np.repeat(sequences.offsets[1:], sequences.lengths) - 1 - starts  # items after each position, in its row
    for distance in range(1, reach + 1):
        starts = starts[left[starts] >= distance]
        ends = starts + distance
        waiting.append((np.full(len(starts), 1 / distance), sequences.values[starts], sequences.values[ends]))
        pairs += len(starts)
        if pairs > CHUNK or distance == reach:
            weights, one, other = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
            total = total + sparse.coo_array((weights, (one, other)), shape=total.shape).tocsr()
            waiting, pairs = [], 0

    both = (total + total.T).tocsr()
    both.setdiag(0)  # an item beside itself says nothing of its neighbours
    both.eliminate_zeros()
    both.sort_indices()
    return both


def positive_information(weights: sparse.csr_array) -> sparse.csr_array:
    """Positive pointwise mutual information of a symmetric matrix of pairs, symmetric again.

    With `d` the row sums and `d'` their smoothed powers, an entry is `log(w_ij / d_i * sum(d') / d'_j)`: how much
    likelier `j` is beside `i` than anywhere. Negative entries go; the mean with the transpose makes up for smoothing one
    side only.
    """
    degrees = np.asarray(weights.sum(axis=1)).ravel()
    smoothed = degrees**SMOOTHING
    pairs = weights.tocoo()
    one, other = pairs.coords
    information = np.log(pairs.data / degrees[one] * smoothed.sum() / smoothed[other])

    kept = information > 0
    positive = sparse.coo_array((information[kept], (one[kept], other[kept])), shape=weights.shape).tocsr()
    return ((positive + positive.T) / 2).tocsr()


def rarity_weights(features: Ragged) -> sparse.csr_array:
    """`(n_items, attributes)`: `log(n_items / items with it)` for each attribute of an item, once."""
    width = int(features.values.max(initial=0)) + 1
    pairs = np.unique(features.rows * width + features.values)
    items, attributes = np.divmod(pairs, width)
    having = np.bincount(attributes, minlength=width)
    weights = np.log(len(features) / having[attributes])
    return sparse.coo_array((weights, (items, attributes)), shape=(len(features), width)).tocsr()


def unit_rows(rows: NDArray[Any]) -> Float32:
    """Every row divided by its length, float32; rows of next to no length become zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    some = lengths > NOTHING
    return np.where(some, rows / np.where(some, lengths, 1), 0).astype(np.float32)


def _leading(matrix: sparse.csr_array, dimensions: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The eigenvalues of largest magnitude, `(k,)`, and their directions, `(n, k)`, of a symmetric matrix.

    They are its singular values and vectors, but for signs, at half the work. The matrix has an entry.
    """
    nodes = matrix.shape[0]
    if nodes <= 3 * dimensions:
        values, directions = linalg.eigh(matrix.toarray(), driver="evd")
    else:
        values, directions = eigsh(matrix, k=dimensions, which="LM", v0=_start(nodes))

    order = np.argsort(-np.abs(values), kind="stable")[:dimensions]
    order = order[np.abs(values[order]) > NOTHING * np.abs(values).max()]
    return values[order], _with_signs(directions[:, order])


def _right_directions(matrix: sparse.csr_array, dimensions: int) -> NDArray[np.float64]:
    """The right singular vectors of the largest singular values, `(columns, at most dimensions)`; zero without entries."""
    if not matrix.count_nonzero():
        return np.zeros((matrix.shape[1], 1))
    if min(matrix.shape) <= 3 * dimensions:
        _, sizes, right = linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        _, sizes, right = svds(matrix, k=dimensions, v0=_start(min(matrix.shape)))

    order = np.argsort(-sizes, kind="stable")[:dimensions]
    return _with_signs(right[order].T)


def _start(size: int) -> NDArray[np.float64]:
    """The solvers' start: always the same, and hardly orthogonal to what they look for."""
    return np.random.default_rng(0).standard_normal(size)


def _with_signs(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The columns, each turned so that its largest entry is positive: solvers leave the sign to chance."""
    largest: Int64 = np.abs(columns).argmax(axis=0)
    return columns * np.sign(columns[largest, np.arange(columns.shape[1])])
