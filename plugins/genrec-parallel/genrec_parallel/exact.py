"""The exact ranking of a catalogue whose codes' digits are predicted independently: sums, without a search.

An item's score is the sum of its digits' log-probabilities, less the logarithm of how many codes share its digits. It is
the score that `trie` and `exact` give. A backbone whose digits depend on one another is walked as by `exact`.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from genrec_bench.api import Backbone, ExactDecoder, Index, Sources, Trie, UsageError
from genrec_parallel.levels import log_shares


class Parallel(Protocol):
    """What a backbone offers beside its contract: all digits at once."""

    places: Tensor  # (digits, n_tokens): the column of `digit_scores` that is of this token at this level; -1: none

    def digit_scores(self, batch: Sources) -> Tensor:
        """Log-probabilities (users, places) of every token at every level."""
        ...


class RPGExact(ExactDecoder):
    """Exact full ranking by sums of the digits' log-probabilities, for backbones that predict them independently (`rpg`).

    Ranks as `exact` does, in a fraction of its time: with other backbones, and with `normalisation=children`, it is
    `exact`.
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._shares: tuple[Index, Tensor] | None = None

    def scores(self, backbone: Backbone, batch: Sources, index: Index, trie: Trie, most: int) -> Tensor:
        """Every item's score for every source, (U, items). UsageError if the backbone was trained for another index."""
        if not hasattr(backbone, "digit_scores") or self.normalisation(backbone) != "alphabet":
            return super().scores(backbone, batch, index, trie, most)
        parallel: Parallel = backbone

        columns = self._columns(parallel.places, index).to(trie.device)  # (digits, items)
        logp = parallel.digit_scores(batch).float()
        scores = torch.zeros(len(batch), len(index.items), device=trie.device)
        for column in columns:
            scores += logp[:, column]
        return scores + self._shares_of(index).to(trie.device)

    def _columns(self, places: Tensor, index: Index) -> Tensor:
        codes = torch.from_numpy(index.items.codes[:, : len(places)].T.astype(np.int64)).to(places.device)
        fits = codes.shape[0] == len(places) and index.n_tokens == places.shape[1] and bool((codes >= 0).all())
        columns = places.gather(1, codes.clamp(0, places.shape[1] - 1)) if fits else None
        if columns is None or bool((columns < 0).any()):
            raise UsageError(
                "the codes have other digits than those that the backbone predicts: it was trained for another index"
            )
        return columns

    def _shares_of(self, index: Index) -> Tensor:
        if self._shares is None or self._shares[0] is not index:
            self._shares = index, torch.from_numpy(log_shares(index.items.codes))
        return self._shares[1]
