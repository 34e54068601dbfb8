"""T5-small as a generative recommender: the stock network of Raffel et al. (2020), and a short task prefix.

From scratch the prefix is a few tokens of its own; pretrained it is T5's pieces, and code tokens are added to them. The
`quick` profile keeps T5's proportions (d_ff = 4 d_model) at a size that two CPU cores train in minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from genrec_bench.backbones.encoder_decoder import EncoderDecoder
from genrec_bench.backbones.lightlm import QUICK, SEQUENCES, LightLM
from genrec_bench.backbones.templates import PromptTemplate
from genrec_bench.core.codes import Index
from genrec_bench.host.contracts import Task, Template

PROMPTS: Mapping[str, str] = {"direct": "recommend to user : {user}", "sequential": "recommend after : {history}"}
TINY = {"layers": 2, "d_model": 64, "heads": 2, "d_ff": 256, "epochs": 10, "batch_size": 32}


class T5Small(EncoderDecoder):
    """T5-small (Raffel et al. 2020, arXiv 1910.10683) with a task prefix, from scratch or from a checkpoint."""

    prompts = tuple(PROMPTS.values())
    search_space: ClassVar[Mapping[str, Any]] = {  # from scratch and, at the lower end, from a checkpoint
        **LightLM.search_space,
        "learning_rate": (1e-4, 1e-2, "log"),
    }
    profiles: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"epochs": 10, "batch_size": 64, "token_budget": 16_384},  # the defaults are T5-small's sizes
        # of LightLM's widths, batch_size and dropout were chosen anew on validation with `sci`, `direct`
        "quick": {**QUICK, "d_ff": 512, "dropout": 0.1, "batch_size": 64},
        "full": {**QUICK, "d_ff": 512, "dropout": 0.1, "batch_size": 64, "epochs": 100, "minutes": 0},
        "quick/sequential": {**SEQUENCES, "d_ff": 512},
        "full/sequential": {**SEQUENCES, "d_ff": 512, "epochs": 40, "patience": 5, "minutes": 0},
        "tiny": TINY,
        "tiny/sequential": {"examples_per_epoch": 2_000},
    }

    def template(self, task: Task, index: Index) -> Template:
        return PromptTemplate(index, self.config.history, self.vocabulary(), PROMPTS[task])
