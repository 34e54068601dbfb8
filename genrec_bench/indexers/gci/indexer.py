"""Graph collaborative indexing (GCI).

Embeds the training graph of users and items with a graph convolution network (`lightgcn`) and quantises the embeddings
with K-Means (`quantise`): nodes that the graph does not tell apart share tokens. Knows nothing of models: interactions
in, codes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from threadpoolctl import threadpool_limits

from genrec_bench.core.arrays import Float32, Int32
from genrec_bench.core.codes import Index, TokenScope, add_suffix
from genrec_bench.core.progress import Tick
from genrec_bench.core.sequences import TrainView
from genrec_bench.host.contracts import Indexer, IndexerContext
from genrec_bench.host.ranges import TwoOrMore
from genrec_bench.indexers.gci.lightgcn import Embeddings, train_embeddings
from genrec_bench.indexers.gci.quantise import (
    POINTS,
    KMeans,
    hierarchical,
    import_faiss,
    product,
    residual,
)

Variant = Literal["joint", "separate"]
Quantiser = Literal["product", "residual", "hierarchical"]


@dataclass(frozen=True)
class GraphConfig:
    """Options of GCI."""

    variant: Variant = "joint"  # codebooks of users and items: one for both | one each
    quantiser: Quantiser = "product"  # a codebook per slice of the embedding | per residual | recursive clusters
    levels: PositiveInt = 4  # product, residual: tokens before the suffix level; product: a divisor of embedding_size
    codebook_size: TwoOrMore = 32  # product, residual: codewords per level
    clusters: TwoOrMore = 20  # hierarchical: clusters per split
    leaf_size: PositiveInt = 100  # hierarchical: stop splitting at this many nodes
    max_levels: PositiveInt = 8  # hierarchical: levels of clusters at most, before the suffix level
    normalise: bool = True  # scale every embedding to length 1 first, so that popularity does not decide the cluster
    embedding_size: PositiveInt = 64  # numbers per user and item
    layers: NonNegativeInt = 3  # steps of propagation through the graph
    epochs: PositiveInt = 100  # maximum number of passes over the training interactions
    patience: PositiveInt = 10  # stop after this many epochs without a better held-out score
    learning_rate: PositiveFloat = 0.01  # Adam's
    batch_size: PositiveInt = 8192  # training interactions per step
    weight_decay: NonNegativeFloat = 1e-4  # L2 penalty on the embeddings of a batch
    token_scope: TokenScope = "level"  # which equal labels are one token: of one level, anywhere, or below one path

    @model_validator(mode="after")
    def _a_path_needs_a_tree(self) -> Self:
        if self.token_scope == "path" and self.quantiser != "hierarchical":
            raise ValueError(
                f"token_scope=path needs a tree, quantiser=hierarchical: {self.quantiser} codes have one codebook per "
                "level, whatever the labels before"
            )
        return self

    @model_validator(mode="after")
    def _slices_are_equal(self) -> Self:
        if self.quantiser == "product" and self.embedding_size % self.levels:
            raise ValueError(
                f"embedding_size {self.embedding_size} cannot be cut into {self.levels} equal slices (levels)"
            )
        return self


class GraphIndexer(Indexer):
    """Codes from K-Means over LightGCN embeddings: the GCI of LightLM's paper (Mei and Zhang 2023, arXiv 2310.17488).

    The paper says GCN and K-Means; the released files hold rounded matrix-factorisation embeddings of unknown training
    data. This follows the paper, on training interactions only. The network, the sizes and `normalise` are our choice.
    A suffix level numbers the items that share a code, and likewise the users.
    """

    Config = GraphConfig
    # Of the product and residual quantisers; each `levels` divides each size.
    search_space: ClassVar[Mapping[str, Any]] = {
        "levels": [2, 4, 8],
        "codebook_size": (8, 256, "log"),
        "embedding_size": [32, 64, 128],
    }

    def ready(self) -> None:
        import_faiss("gci")

    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """Codes of all items and users. Equal input and seed give equal codes, whatever the number of threads.

        NeedsMissing if faiss cannot be imported. K-Means runs on a CUDA device if faiss can use it; codes may then differ
        from the CPU's.
        """
        faiss = import_faiss("gci")
        config: GraphConfig = self.config
        with threadpool_limits(1):
            embeddings = train_embeddings(
                train,
                ctx,
                size=config.embedding_size,
                layers=config.layers,
                epochs=config.epochs,
                learning_rate=config.learning_rate,
                batch_size=config.batch_size,
                weight_decay=config.weight_decay,
                patience=config.patience,
            )
            means = KMeans(faiss, int(np.random.default_rng([ctx.seed, 1]).integers(2**31 - 1)), ctx.device)
            item_labels, user_labels = self._labels(embeddings, means, ctx)

        items, item_collisions = add_suffix(item_labels)
        users, user_collisions = add_suffix(user_labels)

        return Index.from_labels(
            items,
            users,
            scope=config.token_scope,
            shared_alphabet=config.variant == "joint",
            collision_rate=item_collisions,
            info={
                "method": "gci",
                "variant": config.variant,
                "quantiser": config.quantiser,
                "user_codes": "graph",
                "seed_moves": "start and negatives of the embedding, start of K-Means",
                "embedding": _embedding_facts(config, embeddings),
                "collision_rates": {"items": item_collisions, "users": user_collisions},
                "level_sizes": {"items": level_sizes(items), "users": level_sizes(users)},
                "points_per_cluster": POINTS,
                "faiss": faiss.__version__,
                "clustered_on": "gpu" if means.on_gpu else "cpu",
            },
        )

    def _labels(self, embeddings: Embeddings, means: KMeans, ctx: IndexerContext) -> tuple[Int32, Int32]:
        """Label rows of items and of users, not yet unique."""
        points = [embeddings.users, embeddings.items]
        if self.config.normalise:
            points = [unit_length(rows) for rows in points]
        if self.config.variant == "joint":
            points = [np.concatenate(points)]

        nodes = len(embeddings.users) + len(embeddings.items)
        tree = self.config.quantiser == "hierarchical"
        total, unit = (nodes, "nodes") if tree else (len(points) * self.config.levels, "codebooks")
        with ctx.progress.phase("clustering", total=total, unit=unit) as tick:
            labels = [self._quantise(rows, means, tick) for rows in points]

        if self.config.variant == "joint":
            labels = np.split(labels[0], [len(embeddings.users)])
        users, items = (_trimmed(rows) for rows in labels)
        return items, users

    def _quantise(self, points: Float32, means: KMeans, tick: Tick) -> Int32:
        config = self.config
        if config.quantiser == "hierarchical":
            return hierarchical(points, config.clusters, config.leaf_size, config.max_levels, means, tick)
        quantise = product if config.quantiser == "product" else residual
        return quantise(points, config.levels, config.codebook_size, means, tick)


def unit_length(rows: Float32) -> Float32:
    """Every row divided by its length; zero rows stay zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def level_sizes(labels: Int32) -> list[int]:
    """The number of different labels at each level, including the suffix level."""
    return [len(np.unique(column[column >= 0])) for column in labels.T]


def _trimmed(labels: Int32) -> Int32:
    """The labels without levels that no row reaches: in a joint tree, users may go deeper than items, or items than users."""
    return labels[:, : int((labels >= 0).any(axis=0).sum())]


def _embedding_facts(config: GraphConfig, embeddings: Embeddings) -> dict[str, Any]:
    return {
        "network": "LightGCN",
        "size": config.embedding_size,
        "layers": config.layers,
        "epochs": embeddings.epochs,
        "best_epoch": embeddings.best_epoch,
        "held_out_users": embeddings.held_out,
        "held_out_ndcg@10": embeddings.score,
    }
