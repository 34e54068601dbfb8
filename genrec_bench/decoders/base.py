"""What the decoders share: the trie of the index in use, and the network's precision while they search."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
import torch
from pydantic.dataclasses import dataclass

from genrec_bench.core.arrays import PAD
from genrec_bench.core.codes import Index
from genrec_bench.core.rankings import NO_HYPOTHESIS, Generations
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.host.contracts import Backbone, Decoder, Normalisation


@dataclass(frozen=True)
class SearchConfig:
    """Options of every search."""

    precision: Literal["fp32", "bf16"] = "fp32"  # of the network; bf16: slightly other lists, slow without AVX-512
    normalisation: Literal["trained", "alphabet", "children"] = (
        "trained"  # of probabilities: as the backbone was trained | other
    )


class Searching(Decoder):
    """A decoder that keeps the trie of the index it was last used with."""

    Config = SearchConfig

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._trie: tuple[Index, torch.device, Trie] | None = None

    def trie(self, index: Index, device: torch.device | str) -> Trie:
        """The trie of the item codes, read or built once per index and device."""
        wanted = torch.device(device)  # `cuda` stays `cuda` here, while its tensors are on `cuda:0`
        if self._trie is None or self._trie[0] is not index or self._trie[1] != wanted:
            self._trie = index, wanted, Trie.of(index, device)
        return self._trie[2]

    def normalisation(self, backbone: Backbone) -> Normalisation:
        """What a token's probabilities sum to 1 over in this search."""
        asked = self.config.normalisation
        return backbone.normalisation if asked == "trained" else asked

    def share_trie(self, other: Searching) -> None:
        """Use the trie that `other` searches, instead of building it again."""
        self._trie = other._trie

    def reduced(self, backbone: Backbone, *, cache_weights: bool = True) -> AbstractContextManager[Any]:
        """The network's matrix products in bf16, if `precision` asks for it. Scores are summed in fp32 all the same.

        `cache_weights`: convert weights once per search and keep them until its end. Not for a search that is captured,
        which would read them after that.
        """
        return torch.autocast(
            torch.device(backbone.device).type,
            torch.bfloat16,
            enabled=self.config.precision == "bf16",
            cache_enabled=cache_weights,
        )


def no_hypotheses(users: int, beams: int, width: int) -> Generations:
    """Empty beams: what a search of an empty catalogue finds."""
    shape = (users, beams)
    return Generations(
        np.full((*shape, width), PAD, np.int32),
        np.full(shape, -np.inf, np.float32),
        np.full(shape, NO_HYPOTHESIS, np.int32),
        np.full(users, -np.inf, np.float32),
    )
