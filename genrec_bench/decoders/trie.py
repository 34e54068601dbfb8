"""The decoder `trie`: beam search over the catalogue, with an exact second search where the beam is not certain."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import Index
from genrec_bench.core.rankings import Generations
from genrec_bench.core.sequences import Sources
from genrec_bench.decoders.base import SearchConfig, Searching, no_hypotheses
from genrec_bench.decoders.beam_search import beam_search
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.decoders.exact import ExactConfig, ExactDecoder
from genrec_bench.errors import ConfigError
from genrec_bench.host.contracts import Backbone
from genrec_bench.protocol.validity import certified

CERTIFIED = 10  # places that a list has to be certified for, or its user is searched again


@dataclass(frozen=True)
class TrieConfig(SearchConfig):
    """Options of the trie decoder."""

    escalate: bool = False  # search users again with `exact` unless their first ten places are certified


class TrieDecoder(Searching):
    """Beam search over the catalogue's trie: every hypothesis is an item (LightLM's constrained generation, section 4.3).

    Excluded items are masked during the search, so lists stay full.
    """

    Config = TrieConfig
    excludes_in_search = True

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._escalated = 0  # users that the last search searched again

    def generate(
        self, backbone: Backbone, batch: Sources, index: Index, *, beams: int, exclude: Ragged | None = None
    ) -> Generations:
        if not len(index.items) or not len(batch):
            return no_hypotheses(len(batch), beams, index.items.width)
        generations = self.search(backbone, batch, self.trie(index, backbone.device), beams=beams, exclude=exclude)
        if self.config.escalate:
            return self._search_again(generations, backbone, batch, index, exclude)
        return generations

    def search(
        self, backbone: Backbone, batch: Sources, trie: Trie, *, beams: int, exclude: Ragged | None
    ) -> Generations:
        """The beam search. A subclass may run the same search in another way."""
        with self.reduced(backbone):
            normalisation = self.normalisation(backbone)
            return beam_search(
                backbone, batch, trie, beams=beams, free=False, exclude=exclude, normalisation=normalisation
            )

    def counts(self) -> Mapping[str, int]:
        return {"escalated_users": self._escalated} if self.config.escalate else {}

    @cached_property
    def _exact(self) -> ExactDecoder:
        """What searches again; it remembers how much of a search fits into the device's memory."""
        return ExactDecoder(ExactConfig(self.config.precision, self.config.normalisation))

    def _search_again(
        self, generations: Generations, backbone: Backbone, batch: Sources, index: Index, exclude: Ragged | None
    ) -> Generations:
        """The same with the exact lists of users whose first places are not certified."""
        beams = generations.scores.shape[1]
        sure = certified(generations, generations.items >= 0, min(CERTIFIED, beams))
        unsure = np.flatnonzero(~sure)
        self._escalated = len(unsure)
        if not len(unsure):
            return generations

        own = None if exclude is None else exclude.take(unsure)
        exact = self._exact
        exact.share_trie(self)
        try:
            again = exact.generate(backbone, batch.take(unsure), index, beams=beams, exclude=own)
        except ConfigError as error:  # its user asked for `escalate`, not for `exact`
            raise ConfigError(
                f"decoder.escalate searches again with `exact`, and {len(index.items):,} items are more than it holds in "
                f"{exact.config.memory_mb:,} MB: leave it off and take more beams, or use --decoder exact with a "
                "larger decoder.memory_mb",
                part="decoder",
                key="escalate",
            ) from error

        rows = np.arange(len(generations))
        rows[unsure] = len(generations) + np.arange(len(unsure))
        return Generations.concatenate([generations, again]).take(rows)
