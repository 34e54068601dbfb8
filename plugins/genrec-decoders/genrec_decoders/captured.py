"""The decoder `captured-trie`: the search of `trie` in fixed shapes, on a GPU as CUDA graphs.

Needs a backbone that offers `pad` and `start_padded` (`genrec_bench.api.FixedShapes`), as the built-in ones do. Every
other backbone is decoded step by step, as by `trie`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from genrec_bench.api import (
    Backbone,
    DecoderContext,
    Generations,
    Quiet,
    Ragged,
    Sources,
    TrainView,
    Trie,
    TrieConfig,
    TrieDecoder,
)
from genrec_decoders.programs import CaptureFailed, Programs


@dataclass(frozen=True)
class CapturedTrieConfig(TrieConfig):
    """Options of the captured trie decoder."""

    capture: Literal["auto", "on"] = "auto"  # auto: on a GPU only; on: elsewhere too, in fixed shapes without a graph


class CapturedTrieDecoder(TrieDecoder):
    """Beam search over the catalogue's trie, captured once per batch shape and replayed: the lists of `trie`, sooner.

    Where a search cannot be captured, a note says why and decoding goes step by step.
    """

    Config = CapturedTrieConfig

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.programs = Programs()
        self._kind = ""  # what the last batch counts as
        self._note: Callable[[str], None] = Quiet().note

    def prepare(self, train: TrainView, ctx: DecoderContext) -> None:
        self._note = ctx.progress.note

    def search(
        self, backbone: Backbone, batch: Sources, trie: Trie, *, beams: int, exclude: Ragged | None
    ) -> Generations:
        self._kind = ""
        generations = self._captured(backbone, batch, trie, beams, exclude)
        if generations is None:
            return super().search(backbone, batch, trie, beams=beams, exclude=exclude)
        self._kind = "captured_batches" if trie.device.type == "cuda" else "fixed_shape_batches"
        return generations

    def counts(self) -> Mapping[str, int]:
        return {**super().counts(), **({self._kind: 1} if self._kind else {})}

    def _captured(
        self, backbone: Any, batch: Sources, trie: Trie, beams: int, exclude: Ragged | None
    ) -> Generations | None:
        """What a captured search finds. None: there is none, here or for this backbone."""
        on_gpu = trie.device.type == "cuda"
        if self.programs.broken or (self.config.capture == "auto" and not on_gpu):
            return None

        if not hasattr(backbone, "start_padded"):
            self._say_once("this backbone offers no start of fixed shapes: it is decoded step by step")
            return None

        try:
            with self.reduced(backbone, cache_weights=False):
                normalisation = self.normalisation(backbone)
                return self.programs.search(
                    backbone, batch, trie, beams=beams, exclude=exclude, normalisation=normalisation
                )
        except CaptureFailed as error:
            self._say_once(str(error))
            return None

    def _say_once(self, message: str) -> None:
        self._note(message)
        self._note = Quiet().note
