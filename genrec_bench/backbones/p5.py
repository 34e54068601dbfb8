"""P5: T5-small that is asked in natural language (Geng et al. 2022, arXiv 2203.13366; OpenP5, arXiv 2306.11134).

Several prompts per task, one drawn for each source and epoch of training; evaluation uses one of them, or one that
training never showed. Whole-word embeddings tell which tokens form a word or a code. Departures: the prompts are worded
anew in P5's manner, a code is written in tokens of its own instead of the pieces of `item_1234`, no comma stands between
items, and only the two recommendation tasks of this benchmark are trained, not P5's rating and review tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from genrec_bench.backbones.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from genrec_bench.backbones.t5_small import TINY, T5Small
from genrec_bench.backbones.templates import SampledPrompts
from genrec_bench.core.codes import Index
from genrec_bench.host.contracts import Task, Template

SEEN: Mapping[str, tuple[str, ...]] = {
    "direct": (
        "What should we recommend to user {user} ?",
        "Which item would user {user} like to buy ?",
        "Choose an item that we should recommend to user {user} .",
        "Please find the next item for user {user} .",
        "Can you tell which item user {user} will buy next ?",
    ),
    "sequential": (
        "User {user} has bought {history} . What should we recommend next ?",
        "Here is the list of items that user {user} has bought : {history} . Which item would user {user} buy next ?",
        "Given the items {history} of user {user} , please find the next item .",
        "After {history} , which item will user {user} choose ?",
        "Can you tell what user {user} will buy next , given {history} ?",
    ),
}
UNSEEN: Mapping[str, str] = {  # of words that the seen prompts have
    "direct": "Can you find an item that user {user} would like ?",
    "sequential": "Given that user {user} has bought {history} , find the next item .",
}


@dataclass(frozen=True)
class P5Config(EncoderDecoderConfig):
    """T5-small's sizes, and which prompt evaluation uses."""

    word_embedding: bool = True  # add an embedding of the whole word's (or code's) position to each of its tokens
    prompt: Literal["seen", "unseen"] = "seen"  # evaluate with the first prompt of training | one it never saw


class P5(EncoderDecoder):
    """T5-small with P5's natural-language prompts and whole-word embeddings (Geng et al. 2022, arXiv 2203.13366)."""

    Config = P5Config
    prompts = (*SEEN["direct"], *SEEN["sequential"], *UNSEEN.values())
    search_space = T5Small.search_space
    profiles: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"epochs": 10, "batch_size": 64, "token_budget": 16_384},
        "quick": T5Small.profiles["quick"],
        "full": T5Small.profiles["full"],
        # a prompt has words behind the history, so that it cannot show every target its part: one source per target
        "quick/sequential": {
            "history": 5,
            "averaging": 0.0,
            "latest_targets": 0,
            "batch_size": 64,
            "learning_rate": 1.558e-3,
            "patience": 3,
        },
        "full/sequential": {"averaging": 0.0, "latest_targets": 0, "batch_size": 64, "learning_rate": 1.558e-3},
        "tiny": TINY,
        "tiny/sequential": {"examples_per_epoch": 2_000},
    }

    def template(self, task: Task, index: Index) -> Template:
        prompt = SEEN[task][0] if self.config.prompt == "seen" else UNSEEN[task]
        return SampledPrompts(index, self.config.history, self.vocabulary(), prompt, SEEN[task])
