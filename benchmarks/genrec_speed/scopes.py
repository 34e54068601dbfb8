"""What path tokens cost a search: a token per node of the catalogue's tree, normalised over a node's children, against a
few tokens for each level, normalised over all of them.

Two networks of one size share their weights: the row of a path token is a copy of its level token's. So both must find the
same lists when both normalise over the children, and no time is printed unless they do. Timed is each with the normalisation
that goes with it. The weights are random: what is measured is the search, not what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from genrec_bench.api import Generations, Index, Progress, Queries, Ragged, Sources, TokenScope, TrieConfig, TrieDecoder
from genrec_bench.backbones.encoder_decoder import EncoderDecoder
from genrec_bench.testing.synthetic import clustered_codes
from genrec_speed.agreement import compare, require_same
from genrec_speed.results import Row
from genrec_speed.sequences import SEQUENCES, backbone_of
from genrec_speed.timing import ROUNDS, interleaved, synchroniser

AGAINST = "level tokens, alphabet"
USERS, BEAMS, SHOWN = 64, 20, 10  # users a batch, and items of history
LEAF = 64  # items of a leaf, at most


@dataclass(frozen=True)
class Tree:
    """A planted catalogue: items in a tree of clusters, as `kmeans-tree` divides one with 32 clusters a split."""

    items: int
    clusters: Sequence[int]
    goal: str | None = None

    def labels(self) -> Any:
        """Labels (items, levels), in random order of the items."""
        labels = clustered_codes(self.items, self.clusters, LEAF)
        np.random.default_rng(0).shuffle(labels)
        return labels


TREES = (Tree(12_000, (32, 32), "13a"), Tree(1_000_000, (32, 32, 32), "13b"))


@dataclass
class Side:
    """A network with the codes it writes, and what it reads."""

    backbone: EncoderDecoder
    index: Index
    sources: Sources
    decoder: TrieDecoder

    @classmethod
    def of(cls, name: str, labels: Any, scope: TokenScope, users: int, device: str, **sizes: Any) -> Side:
        """The backbone `name` for tokens of this scope, with the normalisation that goes with it, and random weights."""
        index = Index.from_labels(labels, scope=scope)
        form = SEQUENCES if name == "lightlm" else {}
        normalisation = "children" if scope == "path" else "alphabet"
        backbone = backbone_of(name, **{**form, "normalisation": normalisation, **sizes})
        backbone.begin(index.n_tokens, 0, device, index.items.width)

        history = np.random.default_rng(users).integers(len(labels), size=users * SHOWN).astype(np.int32)
        queries = Queries(np.arange(users, dtype=np.int32), Ragged(history, np.arange(users + 1) * SHOWN))
        return cls(backbone, index, backbone.template("sequential", index).render(queries), TrieDecoder())

    @torch.no_grad()
    def take_weights(self, other: Side) -> None:
        """The weights of `other`, whose codes are of the same labels: each token gets its counterpart's row."""
        own, theirs = self.backbone.net.state_dict(), other.backbone.net.state_dict()
        there = self.index.items.codes >= 0
        tokens, counterparts = (torch.from_numpy(side.index.items.codes[there]).long() for side in (self, other))

        for name, value in theirs.items():
            if value.shape == own[name].shape and name != "embedding.weight":
                own[name].copy_(value)
        own["embedding.weight"][0] = theirs["embedding.weight"][0]
        own["embedding.weight"][1 + tokens] = theirs["embedding.weight"][1 + counterparts]

    def search(self, decoder: TrieDecoder | None = None) -> Generations:
        """The lists of all users, in one batch."""
        return (decoder or self.decoder).generate(self.backbone, self.sources, self.index, beams=BEAMS)


def rows(device: str, progress: Progress) -> list[Row]:
    """The rows of both backbones and all trees."""
    cases = [(name, tree) for tree in TREES for name in ("depth", "lightlm")]
    measured = []
    with progress.phase("path tokens", len(cases), "cases") as tick:
        for name, tree in cases:
            measured.append(measure(name, tree, device))
            tick(1, f"{name}, {tree.items:,} items")
    return measured


def measure(name: str, tree: Tree, device: str = "cpu", rounds: int = ROUNDS, users: int = USERS, **sizes: Any) -> Row:
    """The row of one case. ListsDiffer unless equal weights give equal lists."""
    labels = tree.labels()
    sides = {scope: Side.of(name, labels, scope, users, device, **sizes) for scope in ("level", "path")}
    case = f"{name}, {tree.items:,} items, path tokens, children"
    agreement = require_equal_lists(case, sides)

    times = interleaved(
        {scope: side.search for scope, side in sides.items()}, rounds=rounds, synchronise=synchroniser(device)
    )
    ratio, low, high = times.ratio("path", "level")
    details = {
        "users/s": users / times.median("path"),
        "users/s, usual": users / times.median("level"),
        "tokens": sides["path"].index.n_tokens,
        "tokens, usual": sides["level"].index.n_tokens,
        "rounds": rounds,
        "same lists %": agreement,
    }
    goal = tree.goal if device == "cpu" else None
    return Row(f"{case}: time, of that with {AGAINST}", AGAINST, ratio, "x", low, high, goal, details)


def require_equal_lists(case: str, sides: Mapping[str, Side]) -> float:
    """Per cent of users whose lists are equal where both sides have equal weights and normalise over the children.

    ListsDiffer if any are not, up to ties.
    """
    sides["path"].take_weights(sides["level"])
    children = TrieDecoder(TrieConfig(normalisation="children"))
    level, path = sides["level"].search(children), sides["path"].search()
    return require_same(case, compare(path.items, path.scores, level.items, level.scores)).share
