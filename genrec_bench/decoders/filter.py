"""The decoder `filter`: a free beam search, as a language model that knows no catalogue would decode."""

from __future__ import annotations

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import Index
from genrec_bench.core.rankings import Generations
from genrec_bench.core.sequences import Sources
from genrec_bench.decoders.base import Searching, no_hypotheses
from genrec_bench.decoders.beam_search import beam_search
from genrec_bench.host.contracts import Backbone


class FilterDecoder(Searching):
    """Beam search over all code tokens. Hypotheses that are not catalogue items are dropped afterwards, and counted.

    A free search knows no children to normalise over, so it takes none of a backbone that was trained so.
    """

    normalisations = frozenset({"alphabet"})

    def generate(
        self, backbone: Backbone, batch: Sources, index: Index, *, beams: int, exclude: Ragged | None = None
    ) -> Generations:
        if not len(batch):
            return no_hypotheses(0, beams, index.items.width)
        trie = self.trie(index, backbone.device)
        with self.reduced(backbone):
            return beam_search(
                backbone, batch, trie, beams=beams, free=True, normalisation=self.normalisation(backbone)
            )
