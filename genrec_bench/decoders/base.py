"""What the decoders share: the trie of the index they were last used with, and the precision of the network meanwhile."""

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
from genrec_bench.host.contracts import Backbone, Decoder


@dataclass(frozen=True)
class SearchConfig:
    """Options of every search."""

    precision: Literal["fp32", "bf16"] = "fp32"  # of the network; bf16: slightly other lists, slow without AVX-512


class Searching(Decoder):
    """Keeps the trie of the index it was last used with."""

    Config = SearchConfig

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._built: tuple[Index, torch.device, Trie] | None = None

    def trie(self, index: Index, device: torch.device | str) -> Trie:
        """The trie of the item codes, read or built once per index and device."""
        asked = torch.device(device)  # `cuda` stays `cuda` here, while its tensors are on `cuda:0`
        if self._built is None or self._built[0] is not index or self._built[1] != asked:
            self._built = index, asked, Trie.of(index, device)
        return self._built[2]

    def reduced(self, backbone: Backbone, *, captured: bool = False) -> AbstractContextManager[Any]:
        """The network's matrix products in bf16, where `precision` says so; scores are summed in fp32 all the same.

        `captured`: without autocast's cache of converted weights, which a captured search would outlive."""
        return torch.autocast(
            torch.device(backbone.device).type,
            torch.bfloat16,
            enabled=self.config.precision == "bf16",
            cache_enabled=not captured,
        )


def nothing(users: int, beams: int, width: int) -> Generations:
    """No hypothesis for anybody: what a search of an empty catalogue finds."""
    places = (users, beams)
    return Generations(
        np.full((*places, width), PAD, np.int32),
        np.full(places, -np.inf, np.float32),
        np.full(places, NO_HYPOTHESIS, np.int32),
        np.full(users, -np.inf, np.float32),
    )
