"""One vector per item: of the catalogue, by TF-IDF or a sentence encoder; of a file; of the items' co-occurrence; or SASRec's.

Only the last two read interactions, those of the training part. `sentences` and `arrays` hold two of the encoders. Knows
nothing of codes.
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

from genrec_bench.api import (
    Bool,
    Float32,
    IndexerContext,
    NeedsMissing,
    TrainView,
    cooccurrence_vectors,
    sasrec_vectors,
)
from genrec_semantic.options import ContentConfig

NOTHING = 1e-6  # a vector shorter than this holds no content


@dataclass(frozen=True)
class Content:
    """`vectors` `(n_items, d)` float32, zero for items without content; `known` `(n_items,)`: which items have content."""

    vectors: Float32
    known: Bool
    facts: dict[str, Any] = field(default_factory=dict)


def encode(train: TrainView, config: ContentConfig, ctx: IndexerContext) -> Content:
    """One vector per item. NeedsMissing, in one line, where the data set lacks what the encoder reads."""
    encoder = config.chosen
    if encoder == "array":
        from genrec_semantic.arrays import array_vectors

        vectors, facts = array_vectors(train, config, ctx.progress.note)
    elif encoder == "sentence-transformers":
        from genrec_semantic.sentences import sentence_vectors

        vectors, facts = sentence_vectors(train, config, ctx)
    elif encoder == "cooccurrence":
        vectors = cooccurrence_vectors(train, config.dimensions)
        facts = {"fields": "interactions", "versions": versions("scipy")}
    elif encoder == "sasrec":
        vectors, facts = sasrec_vectors(train, config.dimensions, config.sasrec_epochs, ctx)
        facts = {"fields": "interactions", **facts}
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
    """`(n_items, dimensions)`: TF-IDF over words of titles, attributes, or both, then a truncated SVD.

    Titles and attributes have length 1 each before the SVD, so neither outweighs the other. Not random; independent of
    the number of threads.
    """
    present = {"titles": train.item_titles is not None, "features": train.item_features is not None}
    fields = {"auto": [name for name in present if present[name]], "both": list(present)}
    wanted = fields.get(config.fields, [config.fields])
    if missing := [name for name in wanted if not present[name]]:
        raise NeedsMissing(
            f"fields={config.fields} needs item {' and '.join(missing)}, which this data set does not have: "
            "use fields=auto, or another indexer",
            needs=frozenset(f"item_{name}" for name in missing),
        )
    if not wanted:
        raise NeedsMissing(
            "semantic codes need item titles or features, and this data set has neither: choose another indexer "
            "(sci, sequential), or give a file of item vectors: encoder=array",
            needs=frozenset({"item_titles", "item_features"}),
        )

    parts = [titles_tfidf(train) if name == "titles" else features_tfidf(train) for name in wanted]
    matrix = sparse.hstack(parts, format="csr")
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
    except ValueError:  # raised by scikit-learn if no title has a word
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
    """The rows in their leading singular directions, `(n, at most dimensions)`, and the share of squares kept.

    Exact up to convergence (ARPACK, or dense where there are few directions), with fixed signs.
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
