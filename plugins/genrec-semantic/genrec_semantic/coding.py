"""What all semantic indexers share: encode the items, quantise the distinct vectors, report the result.

Items with equal vectors get equal codes, followed by a running number (the suffix level). Items without content share a
separate first token and are numbered below it. Only `encoder=cooccurrence` and `encoder=sasrec` read interactions, those of
the training part; none can leak through the others.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from genrec_bench.api import (
    PAD,
    Bool,
    Float32,
    Index,
    Indexer,
    IndexerContext,
    Int32,
    Int64,
    TokenScope,
    TrainView,
    add_suffix,
    check_sasrec,
    digits,
)
from genrec_semantic.content import encode
from genrec_semantic.options import OF_INTERACTIONS, ContentConfig


@dataclass(frozen=True)
class Quantised:
    """`labels` `(m, levels)`, padded with -1: the code chosen at each level for each distinct vector.

    `size` is the number of codes that a level chooses from; `restored` `(m, d)` are the vectors that the codes describe.
    """

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
            self.needs = frozenset({"item_ids"})  # other encoders need none

    def ready(self) -> None:
        """NeedsMissing without what sasrec needs, where its vectors are asked for."""
        if self.config.chosen == "sasrec":
            check_sasrec()

    def fingerprint(self) -> str:
        """SHA-256 of the file of vectors, the local model or the code that learns vectors: a changed one makes another index."""
        return self.config.fingerprint()

    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """Codes of all items from their vectors; no user codes. NeedsMissing if no item has a vector."""
        content = encode(train, self.config, ctx)
        rows = content.vectors[content.known]
        distinct, which, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
        which = which.reshape(-1)

        quantised = self.quantise(distinct, counts, ctx)
        item_labels = quantised.labels[which]
        unique, _ = add_suffix(self.with_unknown(item_labels, quantised.size, content.known))
        collisions = collision_facts(item_labels)
        return Index.from_labels(
            unique,
            scope=self.token_scope,
            collision_rate=collisions["rate"],
            info={
                "method": self.method,
                "content": {**content.facts, "identical_content": _share_not_unique(counts)},
                "events_used": len(train.sequences.values) if self.config.chosen in OF_INTERACTIONS else 0,
                "collisions": collisions,
                "levels": level_facts(item_labels, quantised.size),
                "reconstruction_error": reconstruction_error(distinct, quantised.restored, counts),
                "seed_moves": self.seed_moves,
                **quantised.facts,
            },
            vectors=content.vectors,
        )

    @property
    def token_scope(self) -> TokenScope:
        """Which equal labels are one token: those of one level, unless there is an option for it."""
        return getattr(self.config, "token_scope", "level")

    def with_unknown(self, labels: Int32, size: int, known: Bool) -> Int32:
        """Label rows of all items, `(n_items, levels)`, from those of items with content."""
        return with_unknown(labels, size, known)

    @abstractmethod
    def quantise(self, vectors: Float32, weights: Int64, ctx: IndexerContext) -> Quantised:
        """Labels for distinct vectors `(m, d)`; `weights` `(m,)` counts the items that have each vector."""


def with_unknown(labels: Int32, size: int, known: Bool) -> Int32:
    """Label rows of all items, `(n_items, levels)`, from those of items with content.

    The others get the first label `size`, which no content has, and below it a running number in base `size`. Numbers
    that do not fit are left to the suffix.
    """
    all_labels = np.full((len(known), labels.shape[1]), PAD, np.int32)
    all_labels[known] = labels
    all_labels[~known, 0] = size
    levels_below = labels.shape[1] - 1
    if levels_below and not known.all():
        all_labels[~known, 1:] = digits(np.arange(int((~known).sum())), max(size, 2), levels_below)
    return all_labels


def collision_facts(labels: Int32) -> dict[str, Any]:
    """How items with content share codes before the suffix level.

    `rate` is the share of items that share their code. `duplicate_rate` is the share that would have to go for all
    codes to differ; some papers call it the collision rate. `largest_group` is the most items with one code.
    """
    counts = np.unique(labels, axis=0, return_counts=True)[1]
    return {
        "rate": _share_not_unique(counts),
        "duplicate_rate": round(1 - len(counts) / int(counts.sum()), 6),
        "largest_group": int(counts.max()),
        "distinct_codes": len(counts),
        "items": int(counts.sum()),
    }


def level_facts(labels: Int32, size: int) -> list[dict[str, Any]]:
    """For each level: its codes, how many are used and dead, and the perplexity of their use (if even: equals `used`)."""
    facts = []
    for level in labels.T:
        counts = np.bincount(level[level >= 0], minlength=size)
        share = counts[counts > 0] / max(int(counts.sum()), 1)
        used = len(share)
        perplexity = float(np.exp(-(share * np.log(share)).sum()))
        facts.append({"codes": size, "used": used, "dead": size - used, "perplexity": round(perplexity, 2)})
    return facts


def reconstruction_error(vectors: Float32, restored: Float32, weights: Int64) -> float:
    """Squared error of the restored vectors over that of the mean vector: 0 is perfect, 1 is no better than no code."""
    exact = vectors.astype(np.float64)
    mean = np.average(exact, axis=0, weights=weights)
    spread = float((weights * ((exact - mean) ** 2).sum(axis=1)).sum())
    error = float((weights * ((exact - restored) ** 2).sum(axis=1)).sum())
    return round(error / spread, 6) if spread else 0.0


def _share_not_unique(counts: NDArray[Any]) -> float:
    """The share of members in groups of more than one."""
    return float(counts[counts > 1].sum() / counts.sum())
