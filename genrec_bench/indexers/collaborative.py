"""Collaborative indexing (P5-CID): recursive spectral clustering of the items' co-occurrence graph.

Items that users buy together share a prefix. Graph and clustering are those of `sci`; P5-CID differs in that it indexes
items only, has larger leaves, and gives every cluster its own token. Knows nothing of users or models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from threadpoolctl import threadpool_limits

from genrec_bench.core.arrays import PAD, Int32
from genrec_bench.core.codes import (
    CodeTable,
    Index,
    TokenScope,
    add_suffix,
    assign_tokens,
)
from genrec_bench.core.sequences import TrainView
from genrec_bench.host.contracts import Indexer, IndexerContext
from genrec_bench.host.ranges import TwoOrMore
from genrec_bench.indexers.sci.cooccurrence import choose_item_graph, interaction_counts
from genrec_bench.indexers.sci.large_graphs import check_method, library_version
from genrec_bench.indexers.sci.spectral import Method
from genrec_bench.indexers.sci.tree import grow, seed_moves, tree_facts


@dataclass(frozen=True)
class CollaborativeConfig:
    """Options of collaborative indexing; the defaults are those of the released script."""

    clusters: TwoOrMore = 20  # clusters per split
    leaf_size: PositiveInt = 500  # stop splitting at this many items; a leaf's members are numbered
    max_levels: PositiveInt = 8  # levels of clusters at most, before the number in the leaf
    method: Method = "auto"  # dense up to 1,500 nodes, sparse up to 100,000, then randomised | always that one
    token_scope: TokenScope = "path"  # which equal cluster labels are one token: below one path, of one level, anywhere


class CollaborativeIndexer(Indexer):
    """Codes from spectral clustering of item co-occurrence: P5-CID (Hua et al. 2023, arXiv 2305.06569). No user codes.

    A token names one cluster (`token_scope=path`); the last token numbers the item within its leaf, and all leaves
    share these numbers. Deliberate departures from the released script: both orders of a pair add up, and items without
    edges get even clusters. `ctx.seed` moves the start of the sparse solver, which matters only where eigenvalues tie.
    Graphs above 100,000 nodes are split as `sci` splits them.
    """

    Config = CollaborativeConfig
    search_space: ClassVar[Mapping[str, Any]] = {"clusters": (5, 100, "log"), "leaf_size": (20, 1000, "log")}

    def ready(self) -> None:
        check_method(self.config.method)

    def fingerprint(self) -> str:
        """The version of METIS where it is used: another version makes another index."""
        return library_version(self.config.method)

    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """Codes of all items. Equal input gives equal codes, whatever the number of threads."""
        config: CollaborativeConfig = self.config
        graph = choose_item_graph(interaction_counts(train), config.method)
        with threadpool_limits(1), ctx.progress.phase("clustering", total=train.n_items, unit="nodes") as tick:
            tree = grow(
                graph,
                clusters=config.clusters,
                leaf_size=config.leaf_size,
                max_levels=config.max_levels,
                method=config.method,
                rng=ctx.rng,
                tick=tick,
            )

        codes, n_tokens, collisions = leaf_codes(tree.labels, config.token_scope)
        return Index(
            CodeTable(codes),
            None,
            n_tokens,
            config.token_scope,
            collisions,
            info={
                "method": "collaborative",
                "clusters": config.clusters,
                "leaf_size": config.leaf_size,
                "leaf_tokens": "shared by all leaves",
                "item_codes": "spectral",
                "seed_moves": seed_moves([graph]),
                "graphs": {"items": tree_facts(tree, graph, config.method)},
            },
        )


def leaf_codes(labels: Int32, scope: TokenScope) -> tuple[Int32, int, float]:
    """Codes from cluster labels `(n, levels)`: one token per cluster, then one for the number within the leaf.

    Returns the codes `(n, levels + 1)`, the number of tokens, and the share of rows that are not alone in their leaf.
    Cluster tokens and number tokens differ, so no code is a prefix of another.
    """
    clusters, used = assign_tokens(labels, scope)
    suffixed, collisions = add_suffix(labels)
    depth = (labels >= 0).sum(axis=1)
    rows = np.arange(len(labels))
    width = labels.shape[1]

    number = np.zeros(len(labels), np.int32)
    if suffixed.shape[1] > width:
        number = np.maximum(suffixed[rows, depth], 0)  # a row that is alone has no suffix: number 0

    codes = np.pad(clusters, ((0, 0), (0, 1)), constant_values=PAD)
    codes[rows, depth] = used + number
    return codes, used + int(number.max(initial=-1)) + 1, collisions
