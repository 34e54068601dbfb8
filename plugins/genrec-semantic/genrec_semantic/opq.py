"""Product quantisation: a vector is cut into pieces, and each piece has the nearest of K centroids of its own.

The digits of such a code are unordered: none refines another, and each says something of the item. Before the cut the
vectors are turned so that the pieces say as much as they can (optimised product quantisation). Knows vectors, not where
they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from threadpoolctl import threadpool_limits

from genrec_bench.api import Bool, Float32, IndexerContext, Int32, Int64, TwoOrMore
from genrec_semantic.coding import Quantised, SemanticIndexer
from genrec_semantic.kmeans import kmeans, load_faiss
from genrec_semantic.options import ContentConfig

MOST_BITS = 8  # of a codebook while the rotation is learned


@dataclass(frozen=True)
class ProductConfig(ContentConfig):
    """Options of product quantisation; the sizes are RPG's for Beauty."""

    digits: PositiveInt = 32  # pieces of a vector, and tokens of a code before the suffix
    codebook_size: TwoOrMore = 256  # centroids of each digit
    iterations: PositiveInt = 25  # of Lloyd's algorithm, per digit
    rotate: bool = True  # turn the vectors first, so that the pieces lose less (OPQ)


class ProductQuantiser(SemanticIndexer):
    """Semantic IDs by optimised product quantisation (OPQ, Ge et al. 2013), as in RPG (Hou et al. 2025, arXiv 2506.05781).

    Long codes of unordered digits, for the backbone `rpg`. Departures from RPG: vectors are not whitened, and all items are
    quantised, those without a training interaction too. Items without content have a token of their own in the last digit.
    """

    Config = ProductConfig
    search_space: Mapping[str, Any] = {"digits": [4, 8, 16, 32, 64], "dimensions": [64, 128, 256]}
    method = "opq"
    seed_moves = "the starts of K-means"

    def quantise(self, vectors: Float32, weights: Int64, ctx: IndexerContext) -> Quantised:
        """See `SemanticIndexer.quantise`. Vectors are padded with zeros to whole pieces."""
        config: ProductConfig = self.config
        version = load_faiss().__version__
        seeds = ctx.rng.integers(2**31 - 1, size=config.digits).tolist()
        width = -(-vectors.shape[1] // config.digits)
        padded = np.pad(vectors, ((0, 0), (0, width * config.digits - vectors.shape[1])))

        labels, restored = [], np.empty_like(padded)
        with ctx.progress.phase("product quantisation", config.digits, "digits") as tick:
            turn = rotation(padded, config.digits, config.codebook_size) if config.rotate else np.eye(padded.shape[1])
            turned = np.ascontiguousarray(padded @ turn.T, np.float32)
            for digit, seed in enumerate(seeds):
                piece = slice(digit * width, (digit + 1) * width)
                centroids, nearest = kmeans(turned[:, piece], weights, config.codebook_size, config.iterations, seed)
                restored[:, piece] = centroids[nearest]
                labels.append(nearest)
                tick()

        facts = {
            "digits": config.digits,
            "codebook_size": config.codebook_size,
            "rotated": config.rotate,
            "faiss": version,
        }
        back = (restored @ turn)[:, : vectors.shape[1]].astype(np.float32)
        return Quantised(np.stack(labels, axis=1).astype(np.int32), config.codebook_size, back, facts)

    def with_unknown(self, labels: Int32, size: int, known: Bool) -> Int32:
        """Items without content: the label `size` in all digits, and in the last a label of their own from `size` up.

        A running number written in the digits would give them tokens that mean something.
        """
        rows = np.full((len(known), labels.shape[1]), size, np.int32)
        rows[known] = labels
        rows[~known, -1] += np.arange(int((~known).sum()), dtype=np.int32)
        return rows


def rotation(vectors: Float32, digits: int, codebook_size: int) -> Float32:
    """The orthogonal matrix `(d, d)` by which `vectors @ matrix.T` are best cut into `digits` pieces.

    Learned with codebooks of at most 256 centroids, and no more than there are vectors. Independent of the seed. With
    fewer vectors than dimensions, which faiss writes beyond its memory for, vectors stay as they are.
    """
    faiss, width = load_faiss(), vectors.shape[1]
    bits = min(codebook_size.bit_length() - 1, len(vectors).bit_length() - 1, MOST_BITS)
    if bits < 1 or len(vectors) < width:
        return np.eye(width, dtype=np.float32)

    with threadpool_limits(1):
        learned = faiss.OPQMatrix(width, digits)
        codebook = faiss.ProductQuantizer(width, digits, bits)
        codebook.cp.min_points_per_centroid = 1  # no warning on stderr
        learned.pq = codebook
        learned.train(np.ascontiguousarray(vectors))
    return faiss.vector_to_array(learned.A).reshape(width, width).astype(np.float32)
