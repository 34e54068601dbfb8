"""What all semantic indexers have in common: encode the items, quantise the distinct vectors, report what came out.

Items with equal vectors get equal codes, and a running number after them (the suffix level). Items without content
share a first token of their own and are numbered below it. No interaction is looked at, so none can leak.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from genrec_bench.core.arrays import (
    PAD,
    Bool,
    Float32,
    Int32,
    Int64,
)
from genrec_bench.core.codes import (
    Index,
    TokenScope,
    add_suffix,
    digits,
)
from genrec_bench.core.sequences import TrainView
from genrec_bench.host.contracts import Indexer, IndexerContext
from genrec_semantic.content import encode
from genrec_semantic.options import ContentConfig


@dataclass(frozen=True)
class Quantised:
    """`labels`, `(m, levels)`, padded with -1: the code chosen at each level for each distinct vector; `size`, the codes
    a level has to choose from; `restored`, `(m, d)`: the vectors as their codes describe them."""

    labels: Int32
    size: int
    restored: Float32
    facts: dict[str, Any] = field(default_factory=dict)


class SemanticIndexer(Indexer):
    """Base of the semantic indexers. A subclass says how vectors become labels (`quantise`)."""

    Config: ClassVar[type] = ContentConfig
    contract = 1
    method: ClassVar[str]
    seed_moves: ClassVar[str]

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        if self.config.chosen == "array":
            self.needs = frozenset({"item_ids"})  # type: ignore[misc]  # of this instance: other encoders need none

    def fingerprint(self) -> str:
        """SHA-256 of the file of vectors or of the local model, so that a changed one never meets an old index."""
        return self.config.fingerprint()

    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """Codes of all items from their content; gives no user codes. NeedsMissing where there is no content."""
        content = encode(train, self.config, ctx)
        rows = content.vectors[content.known]
        distinct, which, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
        which = which.reshape(-1)
        found = self.quantise(distinct, counts, ctx)
        labels = with_unknown(found.labels[which], found.size, content.known)
        unique, _ = add_suffix(labels)
        collisions = collision_facts(found.labels[which])
        return Index.from_labels(
            unique,
            scope=self.token_scope,
            collision_rate=collisions["rate"],
            info={
                "method": self.method,
                "content": {**content.facts, "identical_content": _share_not_alone(counts)},
                "events_used": 0,
                "collisions": collisions,
                "levels": level_facts(found.labels[which], found.size),
                "reconstruction_error": reconstruction_error(distinct, found.restored, counts),
                "seed_moves": self.seed_moves,
                **found.facts,
            },
        )

    @property
    def token_scope(self) -> TokenScope:
        """Which equal labels are one token: those of one level, unless the options say otherwise."""
        return getattr(self.config, "token_scope", "level")

    @abstractmethod
    def quantise(self, vectors: Float32, weights: Int64, ctx: IndexerContext) -> Quantised:
        """Labels for distinct vectors `(m, d)`, of which `weights` `(m,)` items each have one."""


def with_unknown(labels: Int32, size: int, known: Bool) -> Int32:
    """Label rows of all items, `(n_items, levels)`: those of items with content, and numbers for the rest, written in
    base `size` below the first label `size`, which no content has. Numbers that do not fit are left to the suffix."""
    out = np.full((len(known), labels.shape[1]), PAD, np.int32)
    out[known] = labels
    below = labels.shape[1] - 1
    out[~known, 0] = size
    if below and not known.all():
        out[~known, 1:] = digits(np.arange(int((~known).sum())), max(size, 2), below)
    return out


def collision_facts(labels: Int32) -> dict[str, Any]:
    """Of items with content, before the suffix: `rate`, the share that is not alone with its code; `duplicate_rate`,
    the share that would have to go for all codes to differ, which some papers call the collision rate; the largest
    group of one code; distinct codes."""
    counts = np.unique(labels, axis=0, return_counts=True)[1]
    return {
        "rate": _share_not_alone(counts),
        "duplicate_rate": round(1 - len(counts) / int(counts.sum()), 6),
        "largest_group": int(counts.max()),
        "distinct_codes": len(counts),
        "items": int(counts.sum()),
    }


def level_facts(labels: Int32, size: int) -> list[dict[str, Any]]:
    """Per level: codes to choose from, used and dead ones, and the perplexity of their use (all alike: equals `used`)."""
    facts = []
    for level in labels.T:
        counts = np.bincount(level[level >= 0], minlength=size)
        share = counts[counts > 0] / max(int(counts.sum()), 1)
        used = len(share)
        perplexity = float(np.exp(-(share * np.log(share)).sum()))
        facts.append({"codes": size, "used": used, "dead": size - used, "perplexity": round(perplexity, 2)})
    return facts


def reconstruction_error(vectors: Float32, restored: Float32, weights: Int64) -> float:
    """Squared error of the restored vectors over that of the mean vector: 0 is perfect, 1 as good as no code."""
    exact = vectors.astype(np.float64)
    mean = np.average(exact, axis=0, weights=weights)
    spread = float((weights * ((exact - mean) ** 2).sum(axis=1)).sum())
    error = float((weights * ((exact - restored) ** 2).sum(axis=1)).sum())
    return round(error / spread, 6) if spread else 0.0


def _share_not_alone(counts: NDArray[Any]) -> float:
    return float(counts[counts > 1].sum() / counts.sum())
