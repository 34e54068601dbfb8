"""LightLM: the deep and narrow T5 (Mei and Zhang 2023, arXiv 2310.17488).

The paper's network is T5-small with its feed-forward width cut from 2048 to 16; that is the `paper` profile. From scratch
its vocabulary is the code tokens and nothing else. With `init=t5-small` it starts as the released code does: attention,
norms and embeddings are the checkpoint's, the feed-forward is new, and the released prompt is written in T5's pieces.
Departures on purpose: whole-word embeddings are used alike in training and generation, norm weights are not decayed, no
end token, and code tokens are tokens of their own instead of pieces of numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from genrec_bench.backbones.encoder_decoder import EncoderDecoder, NetworkConfig
from genrec_bench.backbones.templates import IdTemplate, PromptTemplate
from genrec_bench.core.codes import Index
from genrec_bench.host.contracts import Task, Template

PROMPTS: Mapping[str, str] = {
    "direct": "Given the user {user} , predict which item will be bought by the user ?",
    "sequential": "Given the history {history} , predict which item will be bought by the user ?",
}


QUICK: Mapping[str, Any] = {  # d_ff is d_model / 4: the paper's rule, d / n with T5's n = 4
    "layers": 4,
    "d_model": 128,
    "heads": 4,
    "d_ff": 32,
    "dropout": 0.0,
    "normalisation": "children",
    "epochs": 25,
    "batch_size": 32,
    "learning_rate": 4e-3,
    "patience": 8,
    "minutes": 10,
    "averaging": 0.98,
    "latest_targets": 20,  # taste drifts: chosen on validation, over 10, 50 and all
}

# The sequential task, one pass per user: the paper's deep and narrow network with a causal encoder that has one position
# per item. Chosen on Beauty's validation part (docs/recipes.md).
SEQUENCES: Mapping[str, Any] = {
    "encoder": "causal",
    "history_tokens": "item",
    "trains_on": "sequences",
    "normalisation": "children",
    "word_embedding": False,
    "embedding_std": 0.09,
    "embedding_init": "vectors",
    "history": 50,
    "layers": 4,
    "d_model": 128,
    "heads": 4,
    "d_ff": 32,
    "dropout": 0.3,
    "inner_dropout": False,
    "epochs": 20,
    "batch_size": 128,
    "learning_rate": 2e-3,
    "weight_decay": 0.1,
    "patience": 5,
    "validate_every": 2,
    "minutes": 10,
    "averaging": 0.0,
    "latest_targets": 0,
}


@dataclass(frozen=True)
class LightLMConfig(NetworkConfig):
    """Sizes and training of LightLM. The defaults are those of the paper's network."""

    d_ff: PositiveInt = 16  # feed-forward width: the narrow part
    word_embedding: bool = True  # add an embedding of the whole code's position to each of its tokens
    init: Literal["scratch", "t5-small"] = "scratch"  # random weights | the checkpoint's attention, norms, embeddings


class LightLM(EncoderDecoder):
    """Deep and narrow encoder-decoder (Mei & Zhang 2023, arXiv 2310.17488), by default from scratch over code tokens."""

    Config = LightLMConfig
    search_space: ClassVar[Mapping[str, Any]] = {
        "learning_rate": (5e-4, 1e-2, "log"),
        "weight_decay": (1e-3, 0.3, "log"),
        "dropout": [0.0, 0.1, 0.2, 0.3],
        "batch_size": [32, 64, 128],
    }
    new_in_checkpoint = ("wi", "wo")  # the released code copies every weight but the feed-forward matrices
    profiles: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "layers": 6,
            "d_model": 512,
            "heads": 8,
            "d_ff": 16,
            "epochs": 10,
            "batch_size": 64,
            "token_budget": 16_384,
        },
        "quick": QUICK,
        "full": {**QUICK, "epochs": 100, "minutes": 0},
        "quick/sequential": SEQUENCES,
        "full/sequential": {**SEQUENCES, "epochs": 40, "patience": 5, "minutes": 0},
        "tiny": {"layers": 2, "d_model": 64, "heads": 2, "d_ff": 16, "epochs": 10, "batch_size": 32},
        "tiny/sequential": {"examples_per_epoch": 2_000},
    }

    def template(self, task: Task, index: Index) -> Template:
        if self.pretrained:
            return PromptTemplate(index, self.config.history, self.vocabulary(), PROMPTS[task])
        return IdTemplate(task, index, self.config.history)

    def variant(self) -> str:
        return f"from {super().variant()}" if self.pretrained else ""
