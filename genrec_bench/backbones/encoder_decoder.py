"""What the encoder-decoder backbones share: one T5-compatible network, its training, and where its weights begin.

A backbone is this with sizes (a preset) and an input template. From scratch its vocabulary is the code tokens and the
words of its prompts; from a checkpoint it is the code tokens and all pieces of the checkpoint's tokenizer. Either way the
output softmax is over the code tokens, unless `score_vocab` is `full`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from genrec_bench.backbones import hf_t5
from genrec_bench.backbones.base import TorchBackbone, forked
from genrec_bench.backbones.batches import batch_loss, compiled, pad_sources
from genrec_bench.backbones.t5 import T5, DecodeState, T5Shape
from genrec_bench.backbones.target_trees import TargetTrees
from genrec_bench.backbones.templates import Vocabulary, WordList
from genrec_bench.backbones.trainer import TrainingConfig, fit
from genrec_bench.core.arrays import Int64
from genrec_bench.core.sequences import Examples, Sources
from genrec_bench.errors import ConfigError
from genrec_bench.host.contracts import BackboneContext, FitReport
from genrec_bench.host.ranges import Share

WORD_ROWS = 512  # whole-word embeddings, as in P5


@dataclass(frozen=True)
class EncoderDecoderConfig(TrainingConfig):
    """Sizes, start and training. The defaults are T5-small's."""

    layers: PositiveInt = 6  # encoder layers, and as many decoder layers
    d_model: PositiveInt = 512  # width of the embeddings and of every layer
    heads: PositiveInt = 8  # attention heads per layer
    d_kv: NonNegativeInt = 0  # numbers per head; 0 = d_model / heads
    d_ff: PositiveInt = 2048  # feed-forward width
    dropout: Share = 0.1  # probability of dropout
    history: Annotated[int, Field(ge=1, le=WORD_ROWS)] = 20  # items shown in the sequential task
    word_embedding: bool = False  # add an embedding of the whole word's (or code's) position to each of its tokens
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


class EncoderDecoder(TorchBackbone):
    """The network of all built-in backbones. A subclass gives profiles, `prompts` and a template."""

    Config = EncoderDecoderConfig
    network: T5 | None = None
    prompts: ClassVar[tuple[str, ...]] = ()  # every prompt it may write: the word-level vocabulary from scratch
    new_in_checkpoint: ClassVar[tuple[str, ...]] = ()  # matrices that stay as drawn when a checkpoint is read

    @property
    def pretrained(self) -> bool:
        """Whether the weights begin as a checkpoint's."""
        return bool(self.config.init != "scratch")

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer."""
        return hf_t5.read_tokenizer(self.config.tokenizer or self.config.model)

    def ready(self) -> None:
        if not self.pretrained:
            return
        checkpoint = hf_t5.read_config(self.config.model)

        sizes = hf_t5.sizes(checkpoint)
        if "wi" in self.new_in_checkpoint:
            sizes.pop("d_ff")
        differing = [name for name, value in sizes.items() if getattr(self.config, name) != value]
        if differing:
            wanted = " ".join(f"--set backbone.{name}={sizes[name]}" for name in differing)
            raise ConfigError(
                f"the checkpoint {self.config.model} has other sizes than this profile: add {wanted}",
                part="backbone",
                key=differing[0],
            )

        pieces = len(self.tokenizer)
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
        return hf_t5.local_files(self.config.model, self.config.tokenizer) + hf_t5.revision(self.config.model)

    def vocabulary(self) -> Vocabulary:
        """The words of prompts: the checkpoint's pieces, or the words of `prompts`."""
        if self.pretrained:
            return hf_t5.Pieces(self.tokenizer, int(hf_t5.read_config(self.config.model).vocab_size))
        return WordList(self.prompts)

    def fit(self, examples: Examples, ctx: BackboneContext) -> FitReport:
        self.begin(examples.n_tokens, ctx.seed, ctx.device)

        loss = None
        if self.config.compile:
            ctx.progress.note("torch.compile: the first step takes a minute or more")
            loss = compiled(ctx.progress.note)

        def loss_of(sources: Sources, trees: TargetTrees, rows: Int64) -> tuple[Tensor, int]:
            return batch_loss(self.net, sources, trees, rows, ctx.device, loss)

        return fit(self.net, examples, self.config, ctx, loss_of, d_model=self.net.shape.d_model)

    def begin(self, n_tokens: int, seed: int = 0, device: str = "cpu") -> None:
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
        if self.pretrained:
            shape = hf_t5.fit_shape(shape, hf_t5.read_config(c.model))

        with forked(device):
            torch.manual_seed(seed)
            network = T5(shape)
            if self.pretrained:
                hf_t5.fill(network, hf_t5.read_weights(c.model), self.new_in_checkpoint)
        self.place(network, device)

    def build(self, facts: Mapping[str, Any]) -> T5:
        return T5(T5Shape(**facts))

    def facts(self) -> Mapping[str, Any]:
        return asdict(self.net.shape)

    def place(self, network: nn.Module, device: str) -> None:
        super().place(network, device)
        self.extra_columns = self.net.shape.n_scored - self.net.shape.n_tokens

    def tables(self) -> Iterable[Tensor]:
        """Rows of tokens, words and whole words; not the position biases, which are `nn.Embedding` too."""
        return [table.weight for table in (self.net.embedding, self.net.words) if table is not None]

    def pad(self, batch: Sources, users: int, length: int) -> tuple[Tensor, ...]:
        return pad_sources(batch, "cpu", (users, length))

    @torch.no_grad()
    def start_padded(self, *padded: Tensor) -> DecodeState:
        rows, mask, words = padded
        encoded = self.net.encode(rows, mask, words)
        return DecodeState([layer.context(encoded) for layer in self.net.decoder], mask, [], 0)

    def start(self, batch: Sources) -> DecodeState:
        return self.start_padded(*pad_sources(batch, self.device))

    @torch.no_grad()
    def advance(self, state: DecodeState, tokens: Tensor, parents: Tensor) -> tuple[Tensor, DecodeState]:
        hidden, state = self.net.step(tokens + 1, parents, state)
        return self.net.logits(hidden).float(), state

    def size(self) -> str:
        c = self.config
        return f"{c.layers}+{c.layers}x{c.d_model}/{c.d_ff}"

    def variant(self) -> str:
        return hf_t5.short_name(self.config.model) if self.pretrained else "scratch"
