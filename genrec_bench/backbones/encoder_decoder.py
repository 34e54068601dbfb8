"""What the encoder-decoder backbones share: one T5-compatible network, its training, and where its weights begin.

A backbone is this with sizes (a preset) and an input template. From scratch its vocabulary is the code tokens and the
words of its prompts; from a checkpoint it is the code tokens and all pieces of the checkpoint's tokenizer. Either way the
output softmax is over the code tokens, unless `score_vocab` is `full`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from scipy import sparse
from torch import Tensor, nn

from genrec_bench.backbones import hf_t5
from genrec_bench.backbones.base import TorchBackbone, forked
from genrec_bench.backbones.batches import batch_loss, compiled, longest_word, pad_for, visible_words
from genrec_bench.backbones.t5 import T5, DecodeState, T5Shape, last_position
from genrec_bench.backbones.target_trees import TargetTrees
from genrec_bench.backbones.templates import Vocabulary, WordList
from genrec_bench.backbones.trainer import TrainingConfig, fit
from genrec_bench.core.arrays import PAD, Int32, Int64, Ragged
from genrec_bench.core.files import expand_home
from genrec_bench.core.item_vectors import cooccurrence_vectors, leading_dimensions, token_vectors
from genrec_bench.core.sequences import Examples, Sources, TrainView
from genrec_bench.errors import ConfigError
from genrec_bench.host.contracts import BackboneContext, Candidates, FitReport, Normalisation
from genrec_bench.host.ranges import Share

WORD_ROWS = 512  # whole-word embeddings, as in P5
VECTOR_DIMENSIONS = 128  # of the items' co-occurrence, at most: more are mostly noise


@dataclass(frozen=True)
class NetworkConfig(TrainingConfig):
    """Sizes, start and training. The defaults are T5-small's. A subclass says which values of `init` it knows."""

    layers: PositiveInt = 6  # encoder layers, and as many decoder layers
    d_model: PositiveInt = 512  # width of the embeddings and of every layer
    heads: PositiveInt = 8  # attention heads per layer
    d_kv: NonNegativeInt = 0  # numbers per head; 0 = d_model / heads
    d_ff: PositiveInt = 2048  # feed-forward width
    dropout: Share = 0.1  # probability of dropout
    inner_dropout: bool = True  # dropout on attention weights and behind the last norms too, as in T5
    history: Annotated[int, Field(ge=1, le=WORD_ROWS)] = 20  # items shown in the sequential task
    word_embedding: bool = False  # add an embedding of the whole word's (or code's) position to each of its tokens
    init: Literal["scratch", "pretrained", "t5-small"] = "scratch"  # random weights | a checkpoint's | most of those
    model: str = "google-t5/t5-small"  # the checkpoint: a local folder or a Hugging Face name
    tokenizer: str = ""  # the checkpoint's tokenizer, likewise; empty = the model's own
    score_vocab: Literal["codes", "full"] = "codes"  # softmax over the code tokens | over prompt words and pieces too
    decoder_layers: NonNegativeInt = 0  # decoder layers, where they are not as many as the encoder's; 0 = as many
    encoder: Literal["bidirectional", "causal"] = "bidirectional"  # causal: a position sees those before it only
    history_tokens: Literal["code", "item"] = (
        "code"  # encoder positions: one per token | one per item, the sum of its tokens
    )
    trains_on: Literal["rows", "sequences"] = (
        "rows"  # sequential: one source per target | per user (needs encoder=causal)
    )
    normalisation: Normalisation = (
        "alphabet"  # of a token's probabilities: over all tokens | over a trie node's children
    )
    tied: bool = True  # the output layer is the input embedding
    embedding_std: PositiveFloat = 1.0  # standard deviation of the embeddings before training; T5's is 1
    embedding_init: Literal["random", "vectors"] = (
        "random"  # drawn | what the codes were made from, or items' co-occurrence
    )
    compile: bool = False  # train by torch.compile: for GPUs and long trainings; a note where it does not work

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if not self.d_kv and self.d_model % self.heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of heads {self.heads}")
        return self

    @model_validator(mode="after")
    def _sequences_need_a_causal_encoder(self) -> Self:
        if self.trains_on == "sequences":
            if self.encoder != "causal":
                raise ValueError("trains_on=sequences needs encoder=causal: any other encoder would see the targets")
            if self.word_embedding:
                raise ValueError(
                    "word_embedding counts items back from the latest, which is another for every target: set it to false, "
                    "or trains_on=rows"
                )
        if self.normalisation == "children" and self.score_vocab == "full":
            raise ValueError("score_vocab=full is for normalisation=alphabet: a node's children are all code tokens")
        return self

    @model_validator(mode="after")
    def _a_checkpoint_keeps_its_form(self) -> Self:
        forms = {
            "encoder": "bidirectional",
            "history_tokens": "code",
            "tied": True,
            "decoder_layers": 0,
            "embedding_std": 1.0,
            "embedding_init": "random",
        }

        changed = [name for name, form in forms.items() if getattr(self, name) != form]
        if self.init != "scratch" and changed:
            raise ValueError(
                f"{changed[0]} changes the network, and init={self.init} reads a checkpoint's: use init=scratch"
            )
        return self


@dataclass(frozen=True)
class EncoderDecoderConfig(NetworkConfig):
    """The options of a network that starts at random or from a whole checkpoint."""

    init: Literal["scratch", "pretrained"] = "scratch"  # random weights | those of a T5 checkpoint


class EncoderDecoder(TorchBackbone):
    """The network of all built-in backbones. A subclass gives profiles, `prompts` and a template."""

    Config: ClassVar[type[NetworkConfig]] = EncoderDecoderConfig
    network: T5 | None = None
    prompts: ClassVar[tuple[str, ...]] = ()  # every prompt it may write: the word-level vocabulary from scratch
    cross: ClassVar[bool] = True  # whether the decoder attends to the encoder, or starts from its last position
    new_in_checkpoint: ClassVar[tuple[str, ...]] = ()  # matrices that stay as drawn when a checkpoint is read

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.normalisation, self.trains_on = self.config.normalisation, self.config.trains_on

    @property
    def net(self) -> T5:
        network: T5 = super().net
        return network

    @property
    def pretrained(self) -> bool:
        """Whether the weights begin as a checkpoint's."""
        return bool(self.config.init != "scratch")

    @property
    def checkpoint(self) -> str:
        """The checkpoint's folder, or its name on a hub."""
        return expand_home(self.config.model)

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer."""
        return hf_t5.read_tokenizer(expand_home(self.config.tokenizer) or self.checkpoint)

    def ready(self) -> None:
        if not self.pretrained:
            return
        checkpoint = hf_t5.read_config(self.checkpoint)

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
        return hf_t5.local_files(self.checkpoint, expand_home(self.config.tokenizer)) + hf_t5.revision(self.checkpoint)

    def vocabulary(self) -> Vocabulary:
        """The words of prompts: the checkpoint's pieces, or the words of `prompts`."""
        if self.pretrained:
            return hf_t5.Pieces(self.tokenizer, int(hf_t5.read_config(self.checkpoint).vocab_size))
        return WordList(self.prompts)

    def fit(self, examples: Examples, ctx: BackboneContext) -> FitReport:
        pooled = self.config.history_tokens == "item"
        if pooled:
            examples = visible_words(examples)
        width = max(examples.catalogue.width, longest_word(examples.sources)) if pooled else 0
        vectors = None
        if self.config.embedding_init == "vectors":
            vectors = start_vectors(examples, self.config.d_model, self.config.embedding_std)
        self.begin(examples.n_tokens, ctx.seed, ctx.device, word_width=width, vectors=vectors, note=ctx.progress.note)

        loss = None
        if self.config.compile:
            ctx.progress.note("torch.compile: the first step takes a minute or more")
            loss = compiled(ctx.progress.note)

        def loss_of(sources: Sources, trees: TargetTrees, rows: Int64) -> tuple[Tensor, int]:
            return batch_loss(self.net, sources, trees, rows, ctx.device, loss)

        return fit(
            self.net,
            examples,
            self.config,
            ctx,
            loss_of,
            d_model=self.net.shape.d_model,
            normalisation=self.normalisation,
        )

    def begin(
        self,
        n_tokens: int,
        seed: int = 0,
        device: str = "cpu",
        word_width: int = 0,
        vectors: Tensor | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """The network as it is before the first step. `word_width`: as in `T5Shape`; `vectors`: as in `T5.begin_with`.

        `note` is told what was mended in a checkpoint.
        """
        c = self.config
        words = self.vocabulary().size if self.prompts or self.pretrained else 0
        shape = T5Shape(
            n_rows=1 + n_tokens + words,
            n_tokens=n_tokens,
            d_model=c.d_model,
            layers=c.layers,
            decoder_layers=c.decoder_layers,
            heads=c.heads,
            d_kv=c.d_kv or c.d_model // c.heads,
            d_ff=c.d_ff,
            dropout=c.dropout,
            inner_dropout=c.inner_dropout,
            word_rows=WORD_ROWS if c.word_embedding else 0,
            scores_words=c.score_vocab == "full",
            word_width=word_width,
            causal=c.encoder == "causal",
            cross=self.cross,
            tied=c.tied,
            embedding_std=c.embedding_std,
        )
        if self.pretrained:
            shape = hf_t5.fit_shape(shape, hf_t5.read_config(self.checkpoint))

        with forked(device):
            torch.manual_seed(seed)
            network = T5(shape)
            if self.pretrained:
                hf_t5.fill(network, hf_t5.read_weights(self.checkpoint, note), self.new_in_checkpoint)
            if vectors is not None:
                network.begin_with(vectors)
        self.place(network, device)

    def build(self, facts: Mapping[str, Any]) -> T5:
        """ValueError if the weights were trained with the other normalisation."""
        shape = dict(facts)
        if (trained := shape.pop("normalisation")) != self.normalisation:
            raise ValueError(
                f"these weights were trained with normalisation={trained}, and the option says {self.normalisation}"
            )
        return T5(T5Shape(**shape))

    def facts(self) -> Mapping[str, Any]:
        return {**asdict(self.net.shape), "normalisation": self.normalisation}

    def place(self, network: nn.Module, device: str) -> None:
        super().place(network, device)
        self.extra_columns = self.net.shape.n_scored - self.net.shape.n_tokens

    def tables(self) -> Iterable[Tensor]:
        """Rows of tokens, words, whole words and the output; not the position biases, which are `nn.Embedding` too."""
        tables = (self.net.embedding, self.net.words, self.net.output)
        return [table.weight for table in tables if table is not None]

    def pad(self, batch: Sources, users: int, length: int) -> tuple[Tensor, ...]:
        return pad_for(self.net, batch, "cpu", (users, length))

    @torch.no_grad()
    def start_padded(self, *padded: Tensor) -> DecodeState:
        rows, mask, words = padded
        encoded = self.net.encode(rows, mask, words)
        root = None
        if not self.net.shape.cross:
            root = encoded[torch.arange(len(rows), device=rows.device), last_position(mask)][:, None]
        return DecodeState([layer.context(encoded) for layer in self.net.decoder], mask, root, [], 0)

    def start(self, batch: Sources) -> DecodeState:
        return self.start_padded(*pad_for(self.net, batch, self.device))

    @torch.no_grad()
    def advance(self, state: DecodeState, tokens: Tensor, parents: Tensor) -> tuple[Tensor, DecodeState]:
        return self.net.step(tokens + 1, parents, state)

    @torch.no_grad()
    def logits(self, hidden: Tensor, candidates: Candidates | None = None) -> Tensor:
        return self.net.logits(hidden, candidates).float()

    def size(self) -> str:
        c = self.config
        return f"{c.layers}+{c.decoder_layers or c.layers}x{c.d_model}/{c.d_ff}"

    def variant(self) -> str:
        return hf_t5.short_name(self.checkpoint) if self.pretrained else "scratch"


def start_vectors(examples: Examples, dimensions: int, std: float) -> Tensor:
    """A vector for each code token, (n_tokens, at most `dimensions`): from the vectors that the codes were made from, or
    from the items' co-occurrence in training where the index has none.

    The tokens' vectors sum to their item's, whose root mean square over `dimensions` is `std` on average. Tokens that occur
    in sources only, a user's, sum to the mean of the source's targets. Those that occur nowhere are NaN.
    """
    n_items = len(examples.catalogue)
    if examples.vectors is None:
        vectors = cooccurrence_vectors(TrainView(examples.sequences, n_items), min(dimensions, VECTOR_DIMENSIONS))
    else:
        vectors = leading_dimensions(examples.vectors, dimensions)

    some = vectors.any(axis=1)
    vectors[some] -= vectors[some].mean(axis=0)
    size = np.sqrt((vectors**2).sum() / max(1, some.sum()))
    vectors *= np.float32(std * dimensions**0.5 / max(size, 1e-12))

    tokens = np.full((examples.n_tokens, vectors.shape[1]), np.nan, np.float32)
    tokens = token_vectors(examples.catalogue.codes, vectors, tokens)

    # What a source learns to write says where it belongs.
    targets = Ragged(examples.catalogue.find(examples.targets), examples.target_offsets)
    ones = np.ones(len(targets.values), np.float32)
    means = sparse.csr_array((ones, targets.values, targets.offsets), (len(targets), n_items)) @ vectors
    means /= np.maximum(targets.lengths, 1)[:, None]
    return torch.from_numpy(token_vectors(_codes_in(examples), means, tokens))


def _codes_in(examples: Examples) -> Int32:
    """The code tokens of each source, (sources, longest), padded with -1; none where sources are made of items' codes."""
    sources = examples.sources
    own = np.setdiff1d(sources.tokens, examples.catalogue.codes)
    if not (own < examples.n_tokens).any():
        return np.zeros((len(sources), 0), np.int32)

    codes = np.full((len(sources), int(sources.lengths.max())), PAD, np.int32)
    codes[np.arange(codes.shape[1]) < sources.lengths[:, None]] = sources.tokens
    return np.where(codes < examples.n_tokens, codes, PAD)  # words of a prompt are no code
