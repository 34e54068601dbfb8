"""LightLM: the deep and narrow T5 (Mei and Zhang 2023, arXiv 2310.17488), from scratch over an ID-only vocabulary.

The paper's network is T5-small with its feed-forward width cut from 2048 to 16; that is the `paper` profile. Departures
from the released code, each on purpose: no pre-trained start and no text prompt (the vocabulary is the code tokens),
whole-word embeddings used alike in training and generation, norm weights not decayed, no end token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from genrec_bench.backbones.t5 import T5, DecodeState, T5Shape
from genrec_bench.backbones.templates import IdTemplate
from genrec_bench.backbones.training import TrainingConfig, fit, pad_sources
from genrec_bench.codes import Index
from genrec_bench.contracts import Backbone, Context, FitReport, Task, Template
from genrec_bench.types import Examples, Sources

WORD_ROWS = 512  # as in the released code


@dataclass(frozen=True)
class LightLMConfig(TrainingConfig):
    """Sizes and training of LightLM. The defaults are those of the paper's network."""

    layers: int = 6  # encoder layers, and as many decoder layers
    d_model: int = 512
    heads: int = 8
    d_ff: int = 16  # feed-forward width: the narrow part
    dropout: float = 0.1
    history: int = 20  # items shown in the sequential task
    word_embedding: bool = True  # add an embedding of the whole code's place to each of its tokens

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("layers", "d_model", "heads", "d_ff", "history"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.history > WORD_ROWS:
            raise ValueError(f"history must be at most {WORD_ROWS}")
        if self.d_model % self.heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of heads {self.heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError("dropout is a share, from 0 to below 1")


class LightLM(Backbone):
    """Deep and narrow encoder-decoder (Mei & Zhang 2023, arXiv 2310.17488), from scratch over the code tokens."""

    Config = LightLMConfig
    profiles: Mapping[str, Mapping[str, Any]] = {
        "paper": {"layers": 6, "d_model": 512, "heads": 8, "d_ff": 16, "epochs": 10, "batch_size": 64},
        "quick": {  # d_ff is d_model / 4: the paper's rule, d / n with T5's n = 4
            "layers": 4,
            "d_model": 128,
            "heads": 4,
            "d_ff": 32,
            "dropout": 0.0,
            "epochs": 25,
            "batch_size": 32,
            "learning_rate": 4e-3,
            "patience": 8,
            "averaging": 0.98,
            "latest_targets": 20,  # taste drifts: chosen on validation, over 10, 50 and all
        },
        "quick/sequential": {
            "d_ff": 16,
            "averaging": 0.0,
            "latest_targets": 0,
            "dropout": 0.1,
            "epochs": 10,
            "batch_size": 128,
            "learning_rate": 2e-3,
            "examples_per_epoch": 20_000,
        },
        "tiny": {"layers": 2, "d_model": 64, "heads": 2, "d_ff": 16, "epochs": 10, "batch_size": 32},
        "tiny/sequential": {"examples_per_epoch": 2_000},
    }

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.network: T5 | None = None

    def template(self, task: Task, index: Index) -> Template:
        return IdTemplate(task, index, self.config.history)

    def fit(self, examples: Examples, ctx: Context) -> FitReport:
        with torch.random.fork_rng([]):
            torch.manual_seed(ctx.seed)
            self._build(examples.n_tokens, ctx.device)
        return fit(self.net, examples, self.config, ctx)

    def _build(self, n_tokens: int, device: str) -> None:
        c = self.config
        words = WORD_ROWS if c.word_embedding else 0
        shape = T5Shape(
            n_tokens + 1, n_tokens, c.d_model, c.layers, c.heads, c.d_model // c.heads, c.d_ff, c.dropout, words
        )
        self.network, self.device = T5(shape).to(device).eval(), device

    @property
    def net(self) -> T5:
        """The network, once there is one."""
        if self.network is None:
            raise RuntimeError("this backbone has no weights yet: fit or load it first")
        return self.network

    @torch.no_grad()
    def start(self, batch: Sources) -> DecodeState:
        rows, mask, words = pad_sources(batch, self.device)
        encoded = self.net.encode(rows, mask, words)
        return DecodeState([layer.context(encoded) for layer in self.net.decoder], mask, [], 0)

    @torch.no_grad()
    def advance(self, state: DecodeState, tokens: Tensor, parents: Tensor) -> tuple[Tensor, DecodeState]:
        hidden, state = self.net.step(tokens + 1, parents, state)
        return self.net.logits(hidden).float(), state

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.net.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")
        (folder / "weights.safetensors").chmod(0o644)  # safetensors writes for the owner alone
        (folder / "network.json").write_text(json.dumps(asdict(self.net.shape), indent=1) + "\n")

    def load(self, folder: Path, device: str = "cpu") -> None:
        self._build(json.loads((folder / "network.json").read_text())["n_tokens"], device)
        self.net.load_state_dict(load_file(folder / "weights.safetensors", device=device))

    def parameters_count(self) -> Mapping[str, int]:
        tables = sum(
            p.numel() for name, p in self.net.named_parameters() if name.split(".")[0] in ("embedding", "words")
        )
        return {"embedding": tables, "other": sum(p.numel() for p in self.net.parameters()) - tables}

    def size(self) -> str:
        c = self.config
        return f"{c.layers}+{c.layers}x{c.d_model}/{c.d_ff}"
