"""Spectral collaborative indexing (SCI).

Items that users buy together share a prefix. Builds the co-occurrence graph of the training part, splits it by spectral
clustering until a cluster holds at most `leaf_size` nodes, and numbers the members of each leaf. Knows nothing of
models: interactions in, codes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from threadpoolctl import threadpool_limits

from genrec_bench.core.arrays import Int32
from genrec_bench.core.codes import Index, TokenScope, add_suffix
from genrec_bench.core.progress import Tick
from genrec_bench.core.sequences import TrainView
from genrec_bench.host.contracts import Indexer, IndexerContext
from genrec_bench.host.ranges import TwoOrMore
from genrec_bench.indexers.digits import random_user_labels, sequential_labels
from genrec_bench.indexers.sci.cooccurrence import (
    choose_item_graph,
    choose_joint_graph,
    choose_user_graph,
    interaction_counts,
)
from genrec_bench.indexers.sci.implicit_graph import AnyGraph
from genrec_bench.indexers.sci.large_graphs import check_method, library_version
from genrec_bench.indexers.sci.spectral import Method
from genrec_bench.indexers.sci.tree import Tree, grow, seed_moves, tree_facts

Variant = Literal["joint", "separate", "items", "users"]


@dataclass(frozen=True)
class SpectralConfig:
    """Options of SCI. The defaults are the paper's, but for the tokens: one per node of the tree, not one per number."""

    variant: Variant = "joint"  # one graph of users and items | one each | items only | users only
    clusters: TwoOrMore = 50  # clusters per split
    leaf_size: PositiveInt = 100  # stop splitting at this many nodes
    max_levels: PositiveInt = 8  # levels of clusters at most, before the suffix level
    balance: bool = False  # joint: scale the user and item blocks to the weight of the user-item block
    method: Method = "auto"  # dense up to 1,500 nodes, sparse up to 100,000, then randomised | always that one
    token_scope: TokenScope = "path"  # which equal labels are one token: those below one path, of one level, anywhere

    @model_validator(mode="after")
    def _only_one_graph_is_balanced(self) -> Self:
        if self.balance and self.variant != "joint":
            raise ValueError(f"balance needs variant=joint: {self.variant!r} has one block per graph")
        return self


class SpectralIndexer(Indexer):
    """Codes from recursive spectral clustering of co-occurrence: LightLM's SCI (Mei and Zhang 2023, arXiv 2310.17488).

    `variant`: `joint` clusters users and items together, in one alphabet (SCI-CoUI); `separate` clusters each alone
    (SCI-UI); `items` gives users random codes (SCI-I uses their plain numbers); `users` gives items sequential codes
    (SCI-U). Deliberate departures from the released code: no held-out interaction enters a graph, users have one
    numbering, both orders of a pair add up, and nodes without edges get even clusters.

    The method itself is not random. `ctx.seed` moves the start of the sparse solver, which changes codes only where
    eigenvalues tie, and the random user codes of `items`.

    The paper's method needs a graph that fits into memory. A larger one (above 100,000 nodes, or too many edges) stays
    implicit and is split by approximate leading eigenvectors and K-Means (`method=randomised`). `method=metis` makes
    balanced clusters instead and needs the extra `metis`. The record says which method was used.
    """

    Config = SpectralConfig
    search_space: ClassVar[Mapping[str, Any]] = {
        "clusters": (5, 100, "log"),
        "leaf_size": (20, 400, "log"),
        "balance": [False, True],
    }

    def ready(self) -> None:
        check_method(self.config.method)

    def fingerprint(self) -> str:
        """The version of METIS where it is used: another version makes another index."""
        return library_version(self.config.method)

    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """Codes of all items and users. Equal input and seed give equal codes, whatever the number of threads."""
        config: SpectralConfig = self.config
        graphs = self._graphs(train)
        nodes = sum(graph.shape[0] for graph in graphs.values())
        with threadpool_limits(1), ctx.progress.phase("clustering", total=nodes, unit="nodes") as tick:
            trees = {name: self._grow(graph, ctx, tick) for name, graph in graphs.items()}

        items, users, collisions = self._labels(trees, train, ctx)
        facts = {name: tree_facts(trees[name], graph, config.method) for name, graph in graphs.items()}
        if config.variant == "joint":
            facts["joint"]["mixed_level1"] = mixed_clusters(trees["joint"], train.n_users)

        return Index.from_labels(
            items,
            users,
            scope=config.token_scope,
            shared_alphabet=config.variant == "joint",
            collision_rate=collisions,
            info={
                "method": "sci",
                "variant": config.variant,
                "clusters": config.clusters,
                "leaf_size": config.leaf_size,
                "balance": config.balance,
                "user_codes": "random" if config.variant == "items" else "spectral",
                "item_codes": "sequential" if config.variant == "users" else "spectral",
                "seed_moves": seed_moves(graphs.values()) + (", user codes" if config.variant == "items" else ""),
                "graphs": facts,
            },
        )

    def _graphs(self, train: TrainView) -> dict[str, AnyGraph]:
        """The graphs that the variant clusters: `joint`, or `items` and `users`."""
        counts, variant, method = interaction_counts(train), self.config.variant, self.config.method
        if variant == "joint":
            return {"joint": choose_joint_graph(counts, method, self.config.balance)}
        graphs: dict[str, AnyGraph] = {}
        if variant in ("separate", "items"):
            graphs["items"] = choose_item_graph(counts, method)
        if variant in ("separate", "users"):
            graphs["users"] = choose_user_graph(counts, method)
        return graphs

    def _grow(self, graph: AnyGraph, ctx: IndexerContext, tick: Tick) -> Tree:
        config = self.config
        return grow(
            graph,
            clusters=config.clusters,
            leaf_size=config.leaf_size,
            max_levels=config.max_levels,
            method=config.method,
            rng=np.random.default_rng(ctx.seed),  # every graph starts from the seed
            tick=tick,
        )

    def _labels(self, trees: dict[str, Tree], train: TrainView, ctx: IndexerContext) -> tuple[Int32, Int32, float]:
        """Unique label rows of items and of users, and the share of items that needed the suffix."""
        if "joint" in trees:
            labels = trees["joint"].labels
            rows, _ = add_suffix(labels)
            suffixed = (rows >= 0).sum(axis=1) > (labels >= 0).sum(axis=1)
            return rows[train.n_users :], rows[: train.n_users], float(suffixed[train.n_users :].mean())

        if "items" in trees:
            items, collisions = add_suffix(trees["items"].labels)
        else:
            items, collisions = sequential_labels(train), 0.0
        if "users" in trees:
            users, _ = add_suffix(trees["users"].labels)
        else:
            users = random_user_labels(train.n_users, np.random.default_rng(ctx.seed))
        return items, users, collisions


def mixed_clusters(tree: Tree, n_users: int) -> int:
    """How many first-level clusters hold both users (the first `n_users` nodes) and items."""
    level1 = tree.labels[:, 0]
    return len(np.intersect1d(level1[:n_users], level1[n_users:]))
