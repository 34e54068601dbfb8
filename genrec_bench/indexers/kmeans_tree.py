"""Hierarchical K-means over item vectors without text: a tree whose leaves are small, with numbered members.

Splits the items by where their vectors point, then every cluster that is too large. `item_vectors` makes the vectors,
from training interactions and attributes. Knows nothing of users or models.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from genrec_bench.core.arrays import PAD, Bool, Float32, Int32, Int64
from genrec_bench.core.codes import Index, TokenScope, add_suffix, assign_tokens, digits, digits_needed, row_groups
from genrec_bench.core.item_vectors import attribute_vectors, cooccurrence_vectors
from genrec_bench.core.progress import Tick
from genrec_bench.core.sequences import TrainView
from genrec_bench.host.contracts import Indexer, IndexerContext
from genrec_bench.host.ranges import TwoOrMore
from genrec_bench.indexers.gci.quantise import POINTS, hierarchical
from genrec_bench.indexers.learned_vectors import SASREC_HEADS, check_sasrec, sasrec_fingerprint, sasrec_vectors

Vectors = Literal["auto", "cooccurrence", "attributes", "both", "sasrec"]

ITERATIONS = 30  # of one K-means; assignments hardly change after that


@dataclass(frozen=True)
class KmeansTreeConfig:
    """Options of the tree."""

    vectors: Vectors = "auto"  # what they are made of; auto: both where items have attributes, else cooccurrence
    sasrec_epochs: PositiveInt = 50  # sasrec: passes over the training part
    attribute_weight: PositiveFloat = (
        0.5  # both: the length of an item's attributes beside its co-occurrence of length 1
    )
    dimensions: PositiveInt = 64  # numbers per item, of co-occurrence, of attributes and of sasrec each
    window: NonNegativeInt = 0  # steps between two items of a history that still count as a pair; 0: any number
    clusters: TwoOrMore = 32  # clusters per split
    leaf_size: PositiveInt = 64  # stop splitting at this many items; a leaf's members are numbered
    max_levels: PositiveInt = 8  # levels of clusters at most, before the number in the leaf
    token_scope: TokenScope = "path"  # which equal labels are one token: those below one path, of one level, anywhere

    @model_validator(mode="after")
    def _attributes_have_no_window(self) -> Self:
        if self.vectors == "attributes" and self.window:
            raise ValueError(f"window = {self.window} is for co-occurrence, and vectors=attributes makes no use of it")
        return self

    @model_validator(mode="after")
    def _sasrec_has_its_options(self) -> Self:
        if self.vectors == "sasrec" and self.window:
            raise ValueError(f"window = {self.window} is for co-occurrence, and vectors=sasrec makes no use of it")
        if self.vectors == "sasrec" and self.dimensions % SASREC_HEADS:
            raise ValueError(f"dimensions = {self.dimensions}: sasrec has {SASREC_HEADS} heads, which must divide it")
        return self


class KmeansTree(Indexer):
    """Codes from hierarchical K-means over vectors of co-occurrence and attributes (DSI's tree, arXiv 2202.06991).

    DSI (Tay et al. 2022) splits by content; here items that the same users meet, and that have the same attributes,
    share a prefix. No user codes. Items without a vector (no pair in training, no attribute) get even clusters below a
    first token of their own. `ctx.seed` moves the starts of K-means.
    """

    Config = KmeansTreeConfig
    search_space: ClassVar[Mapping[str, Any]] = {
        "clusters": (8, 128, "log"),
        "leaf_size": (16, 256, "log"),
        "dimensions": [32, 64, 128],
    }

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        if self.config.vectors in ("attributes", "both"):
            self.needs = frozenset({"item_features"})

    def ready(self) -> None:
        """NeedsMissing without what sasrec needs, where its vectors are asked for."""
        if self.config.vectors == "sasrec":
            check_sasrec()

    def fingerprint(self) -> str:
        """SHA-256 of the code that learns the vectors, where they are learned."""
        return sasrec_fingerprint() if self.config.vectors == "sasrec" else ""

    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """Codes of all items. Equal input and seed give equal codes, whatever the number of threads."""
        config: KmeansTreeConfig = self.config
        kinds = self.kinds(train)
        with threadpool_limits(1):
            vectors, facts = self.item_vectors(train, kinds, ctx)
            known: Bool = np.any(vectors, axis=1)
            with ctx.progress.phase("clustering", total=train.n_items, unit="items") as tick:
                labels = self.tree(vectors, known, ctx, tick)

        items, collisions = add_suffix(labels)
        leaves = row_groups(labels)[1]
        return Index.from_labels(
            items,
            scope=config.token_scope,
            collision_rate=collisions,
            info={
                "method": "kmeans-tree",
                "vectors": "+".join(kinds),
                **facts,
                "items_without_vector": int((~known).sum()),
                "clusters": config.clusters,
                "leaf_size": config.leaf_size,
                "levels": labels.shape[1],
                "leaves": len(leaves),
                "largest_leaf": int(leaves.max()),
                "trie": trie_facts(items),
                "seed_moves": "the starts of K-means",
            },
            vectors=vectors,
        )

    def kinds(self, train: TrainView) -> list[str]:
        """What the vectors are made of: `cooccurrence`, `attributes`, or both."""
        asked = self.config.vectors
        if asked == "auto":
            asked = "cooccurrence" if train.item_features is None else "both"
        return ["cooccurrence", "attributes"] if asked == "both" else [asked]

    def item_vectors(self, train: TrainView, kinds: list[str], ctx: IndexerContext) -> tuple[Float32, dict[str, Any]]:
        """`(n_items, size)`, zero for items that nothing describes, and for each kind its size and its zero rows."""
        config: KmeansTreeConfig = self.config
        parts, facts = [], {}
        with ctx.progress.phase("item vectors", total=len(kinds), unit="matrices") as tick:
            for kind in kinds:
                more: dict[str, Any] = {}
                if kind == "cooccurrence":
                    part = cooccurrence_vectors(train, config.dimensions, config.window)
                elif kind == "sasrec":
                    part, more = sasrec_vectors(train, config.dimensions, config.sasrec_epochs, ctx)
                else:
                    assert train.item_features is not None, "a run checks `needs`"
                    part = attribute_vectors(train.item_features, config.dimensions)

                facts[kind] = {"dimensions": part.shape[1], "items_without": int((~part.any(axis=1)).sum()), **more}
                weight = config.attribute_weight if kind == "attributes" and len(kinds) > 1 else 1
                parts.append(np.float32(weight) * part)
                tick()
        return np.concatenate(parts, axis=1), facts

    def tree(self, vectors: Float32, known: Bool, ctx: IndexerContext, tick: Tick) -> Int32:
        """Label rows `(n_items, levels)`, padded with -1: the cluster at each level, by K-means for `known` items."""
        config: KmeansTreeConfig = self.config
        seed = int(ctx.rng.integers(2**31 - 1))

        def means(points: Float32, clusters: int) -> tuple[Int64, Float32]:
            return kmeans(points, clusters, seed)

        labels = np.full((len(vectors), config.max_levels), PAD, np.int32)
        if known.any():
            split = hierarchical(vectors[known], config.clusters, config.leaf_size, config.max_levels, means, tick)
            labels[known, : split.shape[1]] = split
        if not known.all():
            labels[~known, 0] = labels[:, 0].max() + 1
            below = even_labels(int((~known).sum()), config.clusters, config.leaf_size, config.max_levels - 1)
            labels[~known, 1 : 1 + below.shape[1]] = below
            tick(len(below))
        return labels[:, (labels >= 0).any(axis=0)]


def kmeans(points: Float32, clusters: int, seed: int) -> tuple[Int64, Float32]:
    """Cluster numbers `(n,)` and centres of `points` `(n, size)`, by scikit-learn. Some clusters may be empty.

    With more than `POINTS` points per cluster, it learns from a random sample and assigns all points.
    """
    sample = points
    if len(points) > POINTS * clusters:
        rows = np.random.default_rng(seed).choice(len(points), POINTS * clusters, replace=False)
        sample = points[np.sort(rows)]

    means = KMeans(clusters, n_init=1, max_iter=ITERATIONS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said of fewer different points than clusters
        means.fit(sample)
    return means.predict(points).astype(np.int64), means.cluster_centers_


def even_labels(items: int, clusters: int, leaf_size: int, max_levels: int) -> Int32:
    """Label rows `(items, levels)` of a tree with even leaves in the order of the items; no level if one leaf holds all."""
    leaves = -(-items // leaf_size)
    if leaves == 1 or not max_levels:
        return np.zeros((items, 0), np.int32)
    width = min(digits_needed(leaves, clusters), max_levels)
    leaves = min(leaves, clusters**width)
    return digits(np.arange(items) * leaves // items, clusters, width)


def trie_facts(labels: Int32) -> dict[str, Any]:
    """Of the trie that unique label rows make: its nodes without the root, the most children of one node, and how many
    codes have 0, 1, 2, ... tokens."""
    paths, nodes = assign_tokens(labels, "path")
    tokens, where = np.unique(paths, return_index=True)
    row, level = np.divmod(where[tokens >= 0], paths.shape[1])
    parents = np.where(level > 0, paths[row, np.maximum(level - 1, 0)], nodes)  # `nodes` stands for the root
    lengths = (labels >= 0).sum(axis=1)
    return {
        "nodes": nodes,
        "most_children": int(np.bincount(parents).max()),
        "code_lengths": np.bincount(lengths).tolist(),
    }
