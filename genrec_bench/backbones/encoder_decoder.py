"""What the encoder-decoder backbones share: one T5-compatible network, its training, and where its weights begin.

A backbone is this with sizes (a preset) and an input template. From scratch its vocabulary is the code tokens and the
words of its prompts; from a checkpoint it is the code tokens and all pieces of the checkpoint's tokenizer. Either way the
output softmax is over the code tokens, unless `score_vocab` is `full`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from safetensors.torch import load_file, save_file
from torch import Tensor

from genrec_bench.backbones import hf_t5 as checkpoints
from genrec_bench.backbones.batches import batch_loss, compiled, pad_sources
from genrec_bench.backbones.t5 import T5, DecodeState, T5Shape
from genrec_bench.backbones.target_trees import TargetTrees
from genrec_bench.backbones.templates import Vocabulary, WordList
from genrec_bench.backbones.trainer import TrainingConfig, fit, forked
from genrec_bench.core.arrays import Int64
from genrec_bench.core.sequences import Examples, Sources
from genrec_bench.errors import ConfigError
from genrec_bench.host.contracts import (
    Backbone,
    BackboneContext,
    FitReport,
    FixedStart,
)
from genrec_bench.host.ranges import Share

WORD_ROWS = 512  # whole-word embeddings, as in P5


@dataclass(frozen=True)
class EncoderDecoderConfig(TrainingConfig):
    """Sizes, start and training. The defaults are T5-small's."""

    layers: PositiveInt = 6  # encoder layers, and as many decoder layers
    d_model: PositiveInt = 512
    heads: PositiveInt = 8
    d_kv: NonNegativeInt = 0  # numbers per head; 0 = d_model / heads
    d_ff: PositiveInt = 2048  # feed-forward width
    dropout: Share = 0.1
    history: Annotated[int, Field(ge=1, le=WORD_ROWS)] = 20  # items shown in the sequential task
    word_embedding: bool = False  # add an embedding of the whole word's (or code's) place to each of its tokens
    init: Literal["scratch", "pretrained"] = "scratch"  # random weights | those of a T5 checkpoint
    model: str = "google-t5/t5-small"  # the checkpoint: a local folder or a Hugging Face name
    tokenizer: str = ""  # the checkpoint's tokenizer, likewise; empty = the model's own
    score_vocab: Literal["codes", "full"] = "codes"  # softmax over the code tokens | over prompt words and pieces too
    compile: bool = False  # train by torch.compile: for GPUs and long trainings; a note where it does not work

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if not self.d_kv and self.d_model % self.heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of heads {self.heads}")
        return self


class EncoderDecoder(Backbone):
    """The network of all built-in backbones. A subclass gives profiles, `prompts` and a template."""

    Config = EncoderDecoderConfig
    prompts: ClassVar[tuple[str, ...]] = ()  # every prompt it may write: the word-level vocabulary from scratch
    new_in_checkpoint: ClassVar[tuple[str, ...]] = ()  # matrices that stay as drawn when a checkpoint is read

    def __init__(self, config: EncoderDecoderConfig | None = None) -> None:
        super().__init__(config)
        self.network: T5 | None = None

    @property
    def pretrained(self) -> bool:
        """Whether the weights begin as a checkpoint's."""
        return bool(self.config.init != "scratch")

    def ready(self) -> None:
        if self.pretrained:
            checkpoint = checkpoints.read_config(self.config.model)
            theirs = checkpoints.sizes(checkpoint)
            if "wi" in self.new_in_checkpoint:
                theirs.pop("d_ff")
            odd = [name for name, value in theirs.items() if getattr(self.config, name) != value]
            if odd:
                wanted = " ".join(f"--set backbone.{name}={theirs[name]}" for name in odd)
                raise ConfigError(
                    f"the checkpoint {self.config.model} has other sizes than this profile: add {wanted}",
                    part="backbone",
                    key=odd[0],
                )
            pieces = len(checkpoints.read_tokenizer(self.config.tokenizer or self.config.model))
            if pieces > checkpoint.vocab_size:
                raise ConfigError(
                    f"the tokenizer has {pieces:,} pieces and the checkpoint {self.config.model} embeddings of "
                    f"{checkpoint.vocab_size:,}: give its own tokenizer with --set backbone.tokenizer=FOLDER",
                    part="backbone",
                    key="tokenizer",
                )

    def fingerprint(self) -> str:
        if not self.pretrained:
            return ""
        return checkpoints.local_files(self.config.model, self.config.tokenizer) + checkpoints.revision(
            self.config.model
        )

    def vocabulary(self) -> Vocabulary:
        """The words of prompts: the checkpoint's pieces, or the words of `prompts`."""
        if self.pretrained:
            size = int(checkpoints.read_config(self.config.model).vocab_size)
            return checkpoints.Pieces(checkpoints.read_tokenizer(self.config.tokenizer or self.config.model), size)
        return WordList(self.prompts)

    def fit(self, examples: Examples, ctx: BackboneContext) -> FitReport:
        self._begin(examples.n_tokens, ctx)
        fast = None
        if self.config.compile:
            ctx.progress.note("torch.compile: the first step takes a minute or more")
            fast = compiled(ctx.progress.note)

        def loss_of(sources: Sources, trees: TargetTrees, rows: Int64) -> tuple[Tensor, int]:
            return batch_loss(self.net, sources, trees, rows, ctx.device, fast)

        return fit(self.net, examples, self.config, ctx, loss_of, d_model=self.net.shape.d_model)

    def _begin(self, n_tokens: int, ctx: BackboneContext) -> None:
        """The network as it is before the first step."""
        c = self.config
        words = self.vocabulary().size if self.prompts or self.pretrained else 0
        shape = T5Shape(
            n_rows=1 + n_tokens + words,
            n_tokens=n_tokens,
            d_model=c.d_model,
            layers=c.layers,
            heads=c.heads,
            d_kv=c.d_kv or c.d_model // c.heads,
            d_ff=c.d_ff,
            dropout=c.dropout,
            word_rows=WORD_ROWS if c.word_embedding else 0,
            scores_words=c.score_vocab == "full",
        )
        with forked(ctx.device):
            torch.manual_seed(ctx.seed)
            if self.pretrained:
                theirs = checkpoints.read_config(c.model)
                shape = checkpoints.fit_shape(shape, theirs)
                self._build(shape, ctx.device)
                checkpoints.fill(self.net, checkpoints.read_weights(c.model), self.new_in_checkpoint)
            else:
                self._build(shape, ctx.device)

    def _build(self, shape: T5Shape, device: str) -> None:
        self.network, self.device = T5(shape).to(device).eval(), device
        self.extra_columns = shape.n_scored - shape.n_tokens

    @property
    def net(self) -> T5:
        """The network, once there is one."""
        if self.network is None:
            raise RuntimeError("this backbone has no weights yet: fit or load it first")
        return self.network

    @torch.no_grad()
    def start(self, batch: Sources) -> DecodeState:
        return self._read(*pad_sources(batch, self.device))

    def hypothesis_bytes(self, length: int, source: int) -> int:
        return self.net.shape.hypothesis_bytes(length, source)

    def fixed_start(self) -> FixedStart:
        return FixedStart(self.net, lambda batch, users, length: pad_sources(batch, "cpu", (users, length)), self._read)

    @torch.no_grad()
    def _read(self, rows: Tensor, mask: Tensor, words: Tensor) -> DecodeState:
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
        self._build(T5Shape(**json.loads((folder / "network.json").read_text())), device)
        self.net.load_state_dict(load_file(folder / "weights.safetensors", device=device))

    def parameters_count(self) -> Mapping[str, int]:
        tables = sum(
            p.numel() for name, p in self.net.named_parameters() if name.split(".")[0] in ("embedding", "words")
        )
        return {"embedding": tables, "other": sum(p.numel() for p in self.net.parameters()) - tables}

    def size(self) -> str:
        c = self.config
        return f"{c.layers}+{c.layers}x{c.d_model}/{c.d_ff}"

    def variant(self) -> str:
        return checkpoints.short_name(self.config.model) if self.pretrained else "scratch"
