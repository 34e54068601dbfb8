"""From the catalogue to one vector per item. Reads titles, features or a file; never an interaction.

Knows encoders; nothing of codes. Sentence encoders and files have modules of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import svds
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer
from threadpoolctl import threadpool_limits

from genrec_bench.core.arrays import Bool, Float32
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import NeedsMissing
from genrec_bench.host.contracts import IndexerContext
from genrec_semantic.options import ContentConfig

NOTHING = 1e-6  # a vector shorter than this says nothing


@dataclass(frozen=True)
class Content:
    """`vectors`, `(n_items, d)` float32, zero where an item has no content; `known`, `(n_items,)`, says where it has."""

    vectors: Float32
    known: Bool
    facts: dict[str, Any] = field(default_factory=dict)


def encode(train: TrainView, config: ContentConfig, ctx: IndexerContext) -> Content:
    """One vector per item. NeedsMissing, in one line, where the data set lacks what the encoder reads."""
    encoder = config.chosen
    if encoder == "array":
        from genrec_semantic.arrays import array_vectors

        vectors, facts = array_vectors(train, config)
    elif encoder == "sentence-transformers":
        from genrec_semantic.sentences import sentence_vectors

        vectors, facts = sentence_vectors(train, config, ctx)
    else:
        vectors, facts = tfidf_vectors(train, config)
    length = np.linalg.norm(vectors.astype(np.float64), axis=1)
    known = length > NOTHING
    if not known.any():
        raise NeedsMissing(
            f"no item has any content for encoder={encoder}: choose another indexer or another encoder", needs="content"
        )
    if config.normalise:
        vectors = vectors / np.where(known, length, 1)[:, None]
    vectors = np.where(known[:, None], vectors, 0).astype(np.float32) + np.float32(0)  # no negative zeros
    if without := int((~known).sum()):
        ctx.progress.note(f"{without:,} of {train.n_items:,} items have no content: they get codes without meaning")
    facts = {
        "encoder": encoder,
        **facts,
        "dimensions": vectors.shape[1],
        "normalised": config.normalise,
        "without_content": without,
    }
    return Content(vectors, known, facts)


def tfidf_vectors(train: TrainView, config: ContentConfig) -> tuple[Float32, dict[str, Any]]:
    """`(n_items, dimensions)`: TF-IDF over the words of titles, the attributes, or both side by side, and an SVD.

    Each side has length 1 before the SVD, so neither outweighs the other. Draws nothing at random; the number of
    threads does not matter.
    """
    there = {"titles": train.item_titles is not None, "features": train.item_features is not None}
    wanted = {"auto": [side for side in there if there[side]], "both": list(there)}.get(config.fields, [config.fields])
    if missing := [side for side in wanted if not there[side]]:
        raise NeedsMissing(
            f"fields={config.fields} needs item {' and '.join(missing)}, which this data set does not have: "
            "use fields=auto, or another indexer",
            needs=frozenset(f"item_{side}" for side in missing),
        )
    if not wanted:
        raise NeedsMissing(
            "semantic codes need item titles or features, and this data set has neither: choose another indexer "
            "(sci, sequential), or give a file of item vectors: encoder=array",
            needs=frozenset({"item_titles", "item_features"}),
        )
    sides = [titles_tfidf(train) if side == "titles" else features_tfidf(train) for side in wanted]
    matrix = sparse.hstack(sides, format="csr")
    with threadpool_limits(1):
        vectors, kept = truncated(matrix, config.dimensions)
    facts = {
        "fields": "+".join(wanted),
        "terms": int(matrix.shape[1]),
        "explained": round(kept, 4),
        "versions": versions("scipy", "scikit-learn"),
    }
    return vectors, facts


def titles_tfidf(train: TrainView) -> sparse.csr_array:
    """`(n_items, words)`, rows of length 1; zero rows for titles without a word."""
    assert train.item_titles is not None
    try:
        return sparse.csr_array(TfidfVectorizer(token_pattern=r"(?u)\b\w+\b").fit_transform(train.item_titles.tolist()))
    except ValueError:  # scikit-learn's word for titles without a single word
        return sparse.csr_array((train.n_items, 1))


def features_tfidf(train: TrainView) -> sparse.csr_array:
    """`(n_items, attributes)`, rows of length 1; zero rows for items without attributes."""
    features = train.item_features
    assert features is not None
    width = int(features.values.max(initial=0)) + 1
    parts = np.ones(len(features.values)), features.values, features.offsets
    counts = sparse.csr_array(parts, (len(features), width), copy=True)  # the next line works in place
    counts.sum_duplicates()
    counts.data[:] = 1
    return sparse.csr_array(TfidfTransformer().fit_transform(counts))


def truncated(matrix: sparse.csr_array, dimensions: int) -> tuple[Float32, float]:
    """The rows in their leading singular directions, `(n, at most dimensions)`, and the share of squares they keep.

    Converged (ARPACK; dense where there are few directions), and each direction's sign is fixed.
    """
    total = float((matrix.data**2).sum())
    if not total:
        return np.zeros((matrix.shape[0], 1), np.float32), 0.0
    if dimensions < min(matrix.shape):
        start = np.random.default_rng(0).standard_normal(min(matrix.shape))
        _, _, right = svds(matrix, k=dimensions, v0=start)
        right = right[::-1]
    else:
        _, _, right = linalg.svd(matrix.toarray(), full_matrices=False)
    largest = np.abs(right).argmax(axis=1)
    right = right * np.sign(right[np.arange(len(right)), largest])[:, None]
    vectors = np.asarray(matrix @ right.T)
    return vectors.astype(np.float32), float((vectors**2).sum() / total)


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of `packages`, for the record."""
    return {name: metadata.version(name) for name in packages}
