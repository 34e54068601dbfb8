"""The decoders `trie` and `filter`, over one beam search and the same weights."""

from __future__ import annotations

from typing import Any

import torch

from genrec_bench.codes import Index
from genrec_bench.contracts import Backbone, Decoder
from genrec_bench.decoders.search import beam_search
from genrec_bench.decoders.trie import Trie
from genrec_bench.types import Generations, Ragged, Sources


class Searching(Decoder):
    """Keeps the trie of the index it was last used with."""

    free = False

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._index: Index | None = None
        self._trie: Trie | None = None

    def trie(self, index: Index, device: torch.device | str) -> Trie:
        """The trie of the item codes, built once per index and device."""
        if self._trie is None or self._index is not index or self._trie.item.device != torch.device(device):
            self._index, self._trie = index, Trie.build(index.items, device)
        return self._trie

    def generate(
        self, backbone: Backbone, batch: Sources, index: Index, *, beams: int, exclude: Ragged | None = None
    ) -> Generations:
        trie = self.trie(index, backbone.device)
        exclude = exclude if self.excludes_in_search else None
        return beam_search(backbone, batch, trie, beams=beams, free=self.free, exclude=exclude)


class TrieDecoder(Searching):
    """Beam search over the catalogue's trie: every hypothesis is an item (LightLM's constrained generation, section 4.3).

    The user's own items, where they are to be left out, are masked during the search, so lists stay full.
    """

    excludes_in_search = True


class FilterDecoder(Searching):
    """Beam search over all code tokens; what is no catalogue item is dropped afterwards, and the drop is recorded."""

    free = True
