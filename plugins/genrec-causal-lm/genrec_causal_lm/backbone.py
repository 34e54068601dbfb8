"""The backbone `causal-lm`: a decoder-only language model writes the code after the prompt.

From scratch it is a small Llama or GPT-2 over the code tokens; with `model` it is a checkpoint that transformers can load,
trained whole or through LoRA. Everything that is trained or decoded goes through one of two layouts
(`genrec_causal_lm.layouts`). Knows tokens, never items.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import NonNegativeInt, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor
from transformers import AutoConfig

from genrec_bench.api import (
    BackboneContext,
    ConfigError,
    Examples,
    FitReport,
    Index,
    Share,
    Sources,
    Task,
    Template,
    TorchBackbone,
    TrainingConfig,
    expand_home,
    forked,
    local_files,
)
from genrec_causal_lm import network as networks
from genrec_causal_lm.layouts import LAYOUTS, Layout, choose
from genrec_causal_lm.network import CausalNetwork
from genrec_causal_lm.prompts import PromptTemplate, Words
from genrec_causal_lm.training import fit


@dataclass(frozen=True)
class CausalConfig(TrainingConfig):
    """Which network, how it is trained, and what it is shown."""

    epochs: PositiveInt = 20  # maximum number of epochs
    batch_size: PositiveInt = 32  # sources per step
    model: str = ""  # folder or hub name of a causal LM of transformers; empty = from scratch, with the sizes below
    architecture: Literal["llama", "gpt2"] = "llama"  # from scratch only, like the next five
    layers: PositiveInt = 4  # decoder layers
    d_model: PositiveInt = 128  # width of the embeddings and of every layer
    heads: PositiveInt = 4  # attention heads per layer
    d_ff: PositiveInt = 256  # feed-forward width
    dropout: Share = 0.0  # llama has it on attention weights alone
    history: PositiveInt = 20  # items shown in the sequential task
    prompt: Literal["words", "ids"] = "words"  # words: a short text around the codes, for checkpoints; ids: codes alone
    layout: Literal["auto", "tree", "rows"] = "auto"  # beams in one sequence (faster), or a row each; auto tries it out
    lora_rank: NonNegativeInt = 0  # rank of the adapters; 0 = train the whole network
    lora_alpha: float = 16.0  # adapters count lora_alpha / lora_rank
    lora_dropout: Share = 0.0  # probability of dropout before the adapters
    lora_targets: tuple[str, ...] = ()  # matrices that get adapters, e.g. q_proj,v_proj; empty = all linear

    @model_validator(mode="after")
    def _sizes_and_adapters_fit_the_network(self) -> Self:
        if self.d_model % self.heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of heads {self.heads}")
        if self.architecture == "llama" and self.d_model // self.heads % 2:
            raise ValueError(f"d_model / heads must be even for llama, not {self.d_model // self.heads}")
        if self.lora_rank and not self.model:
            raise ValueError("lora_rank adapts a pretrained network: give model, or set lora_rank to 0")
        path = expand_home(self.model)
        if path.startswith((".", "/")) and not Path(path).is_dir():
            raise ValueError(
                f"model {self.model!r} is not a folder; model= (empty) trains a small network from scratch"
            )
        return self


class CausalLM(TorchBackbone):
    """Decoder-only language model: any Hugging Face causal LM with code tokens added, or a small one from scratch."""

    Config = CausalConfig
    contract = 1
    search_space: Mapping[str, Any] = {
        "learning_rate": (1e-4, 1e-2, "log"),
        "weight_decay": (1e-3, 0.3, "log"),
        "dropout": [0.0, 0.1, 0.2, 0.3],
        "batch_size": [32, 64, 128],
    }
    profiles: Mapping[str, Mapping[str, Any]] = {
        "quick": {  # averaging and the learning rate chosen on validation (ml-100k)
            "epochs": 25,
            "batch_size": 32,
            "learning_rate": 2e-3,
            "patience": 8,
            "averaging": 0.98,
            "latest_targets": 20,
        },
        "quick/sequential": {
            "epochs": 8,
            "batch_size": 128,
            "averaging": 0.0,
            "latest_targets": 0,
            "examples_per_epoch": 20_000,
        },
        "tiny": {"layers": 2, "d_model": 32, "heads": 2, "d_ff": 64, "epochs": 5, "learning_rate": 3e-3},
        "tiny/sequential": {"examples_per_epoch": 2_000},
        "finetune": {"epochs": 5, "batch_size": 16, "learning_rate": 2e-4, "latest_targets": 20},
        "finetune/sequential": {"epochs": 3, "latest_targets": 0, "examples_per_epoch": 20_000},
    }

    network: CausalNetwork | None = None
    layout: Layout = LAYOUTS["tree"]

    def fingerprint(self) -> str:
        return local_files(expand_home(self.config.model)) if self.config.model else ""

    def template(self, task: Task, index: Index) -> Template:
        c = self.config
        if not c.model or c.prompt == "ids":
            return PromptTemplate(task, index, c.history, Words())
        tokenizer = networks.tokenizer_of(c.model)

        def encode(text: str) -> list[int]:
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])

        bos = tokenizer.bos_token_id
        opened = bos is not None and tokenizer("a")["input_ids"][:1] == [bos]
        return PromptTemplate(task, index, c.history, Words.of(task, encode, (bos,) if opened else ()))

    def fit(self, examples: Examples, ctx: BackboneContext) -> FitReport:
        self.begin(examples.n_tokens, ctx.seed, ctx.device, ctx.progress.note)
        self._check_length(int(examples.sources.lengths.max(initial=0)) + examples.targets.shape[1])
        return fit(self.net, self.layout, examples, self.config, ctx)

    def begin(
        self, n_tokens: int, seed: int = 0, device: str = "cpu", note: Callable[[str], None] = lambda text: None
    ) -> None:
        """The network as it is before the first step, and the layout that suits it. `note` is told what was mended in a
        checkpoint."""
        with forked(device):
            torch.manual_seed(seed)
            self.place(self._new(n_tokens, note), device)
            self.layout = choose(self.net, self.config.layout, device)

    def _new(self, n_tokens: int, note: Callable[[str], None] = lambda text: None) -> CausalNetwork:
        c = self.config
        if not c.model:
            model = networks.scratch(c.architecture, c.layers, c.d_model, c.heads, c.d_ff, c.dropout)
            return CausalNetwork(model, n_tokens, keep_words=False)

        network = CausalNetwork(networks.from_checkpoint(c.model, note), n_tokens, keep_words=c.prompt == "words")
        if c.lora_rank:
            network.add_lora(c.lora_rank, c.lora_alpha, c.lora_dropout, c.lora_targets)
        return network

    def _check_length(self, length: int) -> None:
        longest = self.net.longest(shared=self.layout.name == "tree")
        if longest is not None and length > longest:
            raise ConfigError(
                f"backbone.history: a prompt and its code take {length} positions, and this network reads {longest}: "
                f"lower backbone.history (now {self.config.history})",
                part="backbone",
                key="history",
            )

    @torch.no_grad()
    def start(self, batch: Sources) -> Any:
        self._check_length(int(batch.lengths.max(initial=0)) + 1)
        return self.layout.start(self.net, batch, self.device)

    @torch.no_grad()
    def advance(self, state: Any, tokens: Tensor, parents: Tensor) -> tuple[Tensor, Any]:
        return self.layout.advance(self.net, state, tokens, parents)

    def facts(self) -> Mapping[str, Any]:
        return {
            "n_tokens": self.net.n_tokens,
            "layout": self.layout.name,
            "frozen": frozen_digest(self.net),
            "model": json.loads(self.net.model.config.to_json_string(use_diff=False)),
        }

    def build(self, facts: Mapping[str, Any]) -> CausalNetwork:
        """With LoRA the checkpoint is read again; ConfigError if it is another one by now."""
        self.layout = LAYOUTS[facts["layout"]]
        if self.config.lora_rank:
            network = self._new(facts["n_tokens"])
        else:
            model = networks.from_config(AutoConfig.for_model(**facts["model"]))
            words = bool(self.config.model) and self.config.prompt == "words"
            network = CausalNetwork(model, facts["n_tokens"], keep_words=words)

        if frozen_digest(network) != facts["frozen"]:
            raise ConfigError(
                f"backbone.model = {self.config.model!r} is not the checkpoint that these adapters were trained on: give "
                "that one, or train anew with --force",
                part="backbone",
                key="model",
            )
        return network

    def weights(self, network: CausalNetwork) -> Mapping[str, Tensor]:  # type: ignore[override]
        """What was trained: all parameters, or with LoRA the adapters and the code tokens' rows."""
        return network.trained()

    def tables(self) -> Iterable[Tensor]:
        own = [value for table in self.net.tables.values() for value in table.parameters()]
        return [*super().tables(), *own]

    def size(self) -> str:
        c = self.config
        if not c.model:
            return f"{c.layers}x{c.d_model}/{c.d_ff}"
        if self.network is None:
            return ""
        sizes = self.net.config
        inner = getattr(sizes, "intermediate_size", None) or getattr(sizes, "n_inner", None) or 4 * sizes.hidden_size
        return f"{sizes.num_hidden_layers}x{sizes.hidden_size}/{inner}"

    def variant(self) -> str:
        c = self.config
        name = Path(expand_home(c.model)).name if c.model else "scratch"
        return name + (f"+lora{c.lora_rank}" if c.lora_rank else "")


def frozen_digest(network: CausalNetwork) -> str:
    """SHA-256 of the parameters that are not trained; empty if all are."""
    frozen = [(name, value) for name, value in network.named_parameters() if not value.requires_grad]
    if not frozen:
        return ""
    sha = hashlib.sha256()
    for name, value in sorted(frozen, key=lambda pair: pair[0]):
        sha.update(name.encode())
        sha.update(value.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()
