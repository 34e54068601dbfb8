"""A causal body over the history's items, and a small decoder that writes the next item's code (RQ-Transformer).

The body reads one position per item and gives one vector per position; the decoder adds that vector to each of its inputs
and writes the code token by token, without attending to the history again (Lee et al. 2022, arXiv 2203.01941, "spatial" and "depth"
transformer). All positions of a user are trained in one pass, and the decoder's work does not grow with the history. The
network is that of the encoder-decoders without cross-attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from genrec_bench.backbones.encoder_decoder import WORD_ROWS, EncoderDecoder, EncoderDecoderConfig
from genrec_bench.backbones.templates import IdTemplate
from genrec_bench.core.codes import Index
from genrec_bench.host.contracts import Normalisation, Task, Template
from genrec_bench.host.ranges import Share

QUICK: Mapping[str, Any] = {
    "epochs": 20,
    "batch_size": 128,
    "learning_rate": 2e-3,
    "weight_decay": 0.1,
    "patience": 5,
    "validate_every": 2,
    "minutes": 10,
}


@dataclass(frozen=True)
class DepthConfig(EncoderDecoderConfig):
    """Sizes and training of the depth transformer."""

    layers: PositiveInt = 2  # layers of the body
    decoder_layers: NonNegativeInt = 1  # layers of the decoder
    d_model: PositiveInt = 128  # width of the embeddings and of every layer
    heads: PositiveInt = 4  # attention heads per layer
    d_ff: PositiveInt = 256  # feed-forward width
    dropout: Share = 0.5  # probability of dropout
    inner_dropout: bool = False  # dropout on attention weights and behind the last norms too, as in T5
    history: Annotated[int, Field(ge=1, le=WORD_ROWS)] = 50  # items shown in the sequential task
    encoder: Literal["bidirectional", "causal"] = "causal"  # causal: a position sees those before it only
    history_tokens: Literal["code", "item"] = "item"  # body positions: one per token | one per item, its tokens' sum
    trains_on: Literal["rows", "sequences"] = "sequences"  # sequential: one source per target | per user
    normalisation: Normalisation = "children"  # of a token's probabilities: over all | over a trie node's children
    embedding_std: PositiveFloat = 0.09  # standard deviation of the embeddings before training
    embedding_init: Literal["random", "vectors"] = "vectors"  # drawn | what the codes were made from, or co-occurrence


class Depth(EncoderDecoder):
    """Causal body over items and a depth decoder over their code tokens (RQ-Transformer, Lee et al. 2022)."""

    Config = DepthConfig
    cross = False
    search_space: ClassVar[Mapping[str, Any]] = {
        "learning_rate": (5e-4, 5e-3, "log"),
        "weight_decay": (1e-2, 0.5, "log"),
        "dropout": [0.2, 0.3, 0.4, 0.5],
        "d_model": [128, 192, 256],
    }
    profiles: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": QUICK,
        "full": {**QUICK, "epochs": 40, "patience": 5, "minutes": 0},
        "tiny": {"d_model": 32, "heads": 2, "d_ff": 64, "dropout": 0.1, "epochs": 10, "batch_size": 32},
    }

    def template(self, task: Task, index: Index) -> Template:
        return IdTemplate(task, index, self.config.history)
