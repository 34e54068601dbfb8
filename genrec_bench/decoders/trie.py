"""The decoders `trie` and `filter`, over one beam search and the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from pydantic.dataclasses import dataclass

from genrec_bench.core.arrays import Bool, Ragged
from genrec_bench.core.codes import Index
from genrec_bench.core.progress import Quiet
from genrec_bench.core.rankings import Generations
from genrec_bench.core.sequences import Sources, TrainView
from genrec_bench.decoders.base import SearchConfig, Searching, nothing
from genrec_bench.decoders.beam_search import beam_search
from genrec_bench.decoders.captured import CaptureFailed, Programs
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.decoders.exact import ExactConfig, ExactDecoder
from genrec_bench.errors import ConfigError
from genrec_bench.host.contracts import Backbone, DecoderContext

PROVEN = 10  # places that a list has to be certain of, or it is searched again
MARGIN = 1e-5  # by which the last of them has to beat the bound: equal sums may differ by rounding


@dataclass(frozen=True)
class TrieConfig(SearchConfig):
    """Options of the trie decoder."""

    escalate: bool = False  # search users again with `exact`, where the first ten places are not proven
    capture: Literal["auto", "on", "off"] = "auto"  # fixed shapes, on a GPU as CUDA graphs; auto: on a GPU, if it can


class TrieDecoder(Searching):
    """Beam search over the catalogue's trie: every hypothesis is an item (LightLM's constrained generation, section 4.3).

    The user's own items, where they are to be left out, are masked during the search, so lists stay full.
    """

    Config = TrieConfig
    excludes_in_search = True

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._exact = ExactDecoder(ExactConfig(precision=self.config.precision))
        self._escalated, self._fixed = 0, ""  # where the last search had fixed shapes: what such a batch counts as
        self.programs = Programs()
        self._note: Callable[[str], None] = Quiet().note

    def check(self, index: Index) -> None:
        if self.config.escalate:
            with _told_of_escalation(index, self._exact):
                self._exact.check(index)

    def check_network(self, backbone: Backbone, index: Index, source: int) -> None:
        if self.config.escalate:
            with _told_of_escalation(index, self._exact):
                self._exact.check_network(backbone, index, source)

    def prepare(self, train: TrainView, ctx: DecoderContext) -> None:
        self._note = ctx.progress.note

    def generate(
        self, backbone: Backbone, batch: Sources, index: Index, *, beams: int, exclude: Ragged | None = None
    ) -> Generations:
        if not len(index.items) or not len(batch):
            return nothing(len(batch), beams, index.items.width)
        trie = self.trie(index, backbone.device)
        found = self._replayed(backbone, batch, trie, beams, exclude)
        kind = "captured_batches" if trie.device.type == "cuda" else "fixed_shape_batches"
        self._fixed = kind if found is not None else ""
        if found is None:
            with self.reduced(backbone):
                found = beam_search(backbone, batch, trie, beams=beams, free=False, exclude=exclude)
        return self._search_again(found, backbone, batch, index, exclude) if self.config.escalate else found

    def counts(self) -> Mapping[str, int]:
        told = {"escalated_users": self._escalated} if self.config.escalate else {}
        return {**told, self._fixed: 1} if self._fixed else told

    def _replayed(
        self, backbone: Backbone, batch: Sources, trie: Trie, beams: int, exclude: Ragged | None
    ) -> Generations | None:
        """What a captured search finds; None where there is to be none, or there cannot be."""
        wanted = self.config.capture
        if wanted == "off" or self.programs.broken or (wanted == "auto" and trie.device.type != "cuda"):
            return None
        start = backbone.fixed_start()
        if start is None:
            if wanted == "on":
                self._once(
                    "decoder.capture=on, but this backbone offers no start of fixed shapes: it decodes step by step"
                )
            return None
        try:
            with self.reduced(backbone, captured=True):
                return self.programs.search(backbone, start, batch, trie, beams=beams, exclude=exclude)
        except CaptureFailed as error:
            self._once(str(error))
            return None

    def _once(self, message: str) -> None:
        """A note, and no second one."""
        self._note(message)
        self._note = Quiet().note

    def _search_again(
        self, found: Generations, backbone: Backbone, batch: Sources, index: Index, exclude: Ragged | None
    ) -> Generations:
        unsure = np.flatnonzero(~proven(found, min(PROVEN, found.scores.shape[1])))
        self._escalated = len(unsure)
        if not len(unsure):
            return found
        some, beams = None if exclude is None else exclude.take(unsure), found.scores.shape[1]
        self._exact._built = self._built
        with _told_of_escalation(index, self._exact):
            again = self._exact.generate(backbone, batch.take(unsure), index, beams=beams, exclude=some)
        places = np.arange(len(found))
        places[unsure] = len(found) + np.arange(len(unsure))
        return Generations.concatenate([found, again]).take(places)


@contextmanager
def _told_of_escalation(index: Index, exact: ExactDecoder) -> Iterator[None]:
    """A memory bound that is too small, told to somebody who asked for `escalate` and not for `exact`."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(
            f"decoder.escalate searches again with `exact`, and {len(index.items):,} items are more than it holds in "
            f"{exact.config.memory_mb:,} MB: leave it off and take more beams, or use --decoder exact with a larger "
            "decoder.memory_mb",
            part="decoder",
            key="escalate",
        ) from error


def proven(found: Generations, k: int) -> Bool:
    """Per source, (users,): whether nothing that the search discarded can beat its first `k` places."""
    sure: Bool = (found.scores[:, k - 1] > found.bound + MARGIN) | np.isneginf(found.bound)
    return sure
