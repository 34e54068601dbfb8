"""Hierarchical K-means: splits all items by content, then every cluster that is too large, and numbers the leaves.

The counterpart of `sci`: the same kind of tree, grown on what items are instead of who interacts with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from genrec_bench.api import PAD, Float32, IndexerContext, Int64, TokenScope, TwoOrMore
from genrec_semantic.coding import Quantised, SemanticIndexer
from genrec_semantic.kmeans import kmeans, load_faiss
from genrec_semantic.options import ContentConfig


@dataclass(frozen=True)
class SemanticTreeConfig(ContentConfig):
    """Options of the tree; the defaults are DSI's."""

    clusters: TwoOrMore = 10  # clusters per split
    leaf_size: PositiveInt = 100  # stop splitting at this many items
    max_levels: PositiveInt = 8  # levels of clusters at most, before the suffix level
    iterations: PositiveInt = 50  # of Lloyd's algorithm, per split
    token_scope: TokenScope = "level"  # which equal labels are one token: of one level, anywhere, or below one path


class SemanticTree(SemanticIndexer):
    """Semantic IDs by hierarchical K-means over item content, numbered leaves (DSI, Tay et al. 2022, arXiv 2202.06991).

    `collision_rate` is the share of items that need a number within their leaf: nearly all, by design.
    """

    Config = SemanticTreeConfig
    search_space: Mapping[str, Any] = {"clusters": (4, 64, "log"), "leaf_size": (10, 400, "log")}
    method = "semantic-tree"
    seed_moves = "the starts of K-means"

    def quantise(self, vectors: Float32, weights: Int64, ctx: IndexerContext) -> Quantised:
        """See `SemanticIndexer.quantise`. A cluster of equal vectors is a leaf whatever its size."""
        config: SemanticTreeConfig = self.config
        version, rng = load_faiss().__version__, ctx.rng

        labels = np.full((len(vectors), config.max_levels), PAD, np.int32)
        restored = np.empty_like(vectors)
        leaves = []
        pending = [(np.arange(len(vectors)), 0)]
        with ctx.progress.phase("hierarchical k-means", int(weights.sum()), "items") as tick:
            while pending:
                members, level = pending.pop()
                seed = int(rng.integers(2**31 - 1))
                _, parts = kmeans(vectors[members], weights[members], config.clusters, config.iterations, seed)
                labels[members, level] = parts

                for part in np.unique(parts).tolist():
                    rows = members[parts == part]
                    size = int(weights[rows].sum())
                    if size > config.leaf_size and len(rows) > 1 and level + 1 < config.max_levels:
                        pending.append((rows, level + 1))
                    else:
                        restored[rows] = np.average(vectors[rows], axis=0, weights=weights[rows])
                        leaves.append(size)
                        tick(size)

        depth = int((labels >= 0).any(axis=0).sum())
        facts = {
            "clusters": config.clusters,
            "leaf_size": config.leaf_size,
            "leaves": len(leaves),
            "largest_leaf": max(leaves),
            "faiss": version,
        }
        return Quantised(labels[:, :depth], config.clusters, restored, facts)
