"""Residual K-means: at each level, the nearest of K centroids to what the levels before it left over.

Knows vectors, not where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from genrec_bench.api import Float32, IndexerContext, Int64, TwoOrMore
from genrec_semantic.coding import Quantised, SemanticIndexer
from genrec_semantic.kmeans import kmeans, load_faiss
from genrec_semantic.options import ContentConfig


@dataclass(frozen=True)
class ResidualKmeansConfig(ContentConfig):
    """Options of residual K-means."""

    levels: PositiveInt = 3  # codes of an item, before the suffix
    codebook_size: TwoOrMore = 256  # centroids of each level
    iterations: PositiveInt = 50  # of Lloyd's algorithm, per level


class ResidualKmeans(SemanticIndexer):
    """Semantic IDs by residual K-means over item content (OneRec's tokenizer, arXiv 2506.13695, on TIGER's scheme).

    Items with similar content share a prefix. TIGER (arXiv 2305.05065) gets such codes from an RQ-VAE and adds the same
    suffix. Departures: vectors come from content alone, or from co-occurrence alone, never from a model of both; clusters
    are not balanced; equal vectors are clustered once, weighted by their number.
    """

    Config = ResidualKmeansConfig
    search_space: Mapping[str, Any] = {"levels": [2, 3, 4], "codebook_size": (16, 512, "log")}
    method = "rq-kmeans"
    seed_moves = "the starts of K-means"

    def quantise(self, vectors: Float32, weights: Int64, ctx: IndexerContext) -> Quantised:
        """See `SemanticIndexer.quantise`."""
        config: ResidualKmeansConfig = self.config
        version = load_faiss().__version__
        seeds = ctx.rng.integers(2**31 - 1, size=config.levels).tolist()

        residuals, labels = vectors, []
        with ctx.progress.phase("residual k-means", config.levels, "levels") as tick:
            for seed in seeds:
                centroids, nearest = kmeans(residuals, weights, config.codebook_size, config.iterations, seed)
                residuals = residuals - centroids[nearest]
                labels.append(nearest)
                tick()

        facts = {"codebook_size": config.codebook_size, "iterations": config.iterations, "faiss": version}
        rows = np.stack(labels, axis=1).astype(np.int32)
        return Quantised(rows, config.codebook_size, vectors - residuals, facts)
