"""The network: a transformers causal LM with rows of its own for the code tokens, and an output over those alone.

The checkpoint's vocabulary is kept as it is; code tokens come first, then the start of a code, then the checkpoint's own
tokens. Only the code tokens can be written, so only their logits are computed. Knows tokens, never items.

Letters in shapes: B rows, L positions, V code tokens, E = hidden size.
"""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from genrec_bench.api import ConfigError, NeedsMissing, UsageError, expand_home, load_whole


class CodeRows(nn.Module):
    """Input embeddings: numbers below V are code tokens, V starts a code, V + 1 + w is word w of the checkpoint."""

    def __init__(self, rows: Tensor, words: nn.Module | None, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(rows)  # (V + 1, E)
        self.words, self.scale = words, scale

    def forward(self, numbers: Tensor) -> Tensor:
        """Numbers (B, L) -> embeddings (B, L, E)."""
        own = len(self.weight)
        coded = F.embedding(numbers.clamp(max=own - 1), self.weight) * self.scale
        if self.words is None:
            return coded
        return torch.where((numbers < own)[..., None], coded, self.words((numbers - own).clamp(min=0)))


class CodeHead(nn.Module):
    """The output layer: the code tokens' rows, shared with the input where the checkpoint shares its own."""

    def __init__(self, rows: CodeRows, own: Tensor | None, bias: Tensor | None) -> None:
        super().__init__()
        self.rows = rows
        self.own = None if own is None else nn.Parameter(own)  # (V, E)
        self.bias = None if bias is None else nn.Parameter(bias)  # (V,)

    @property
    def weight(self) -> Tensor:
        """The rows of the code tokens (V, E); some architectures ask for them by this name."""
        return self.rows.weight[:-1] if self.own is None else self.own

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., E) -> logits (..., V)."""
        return F.linear(hidden, self.weight, self.bias)


class CausalNetwork(nn.Module):
    """`model` with the code tokens' rows in place of its embeddings and output layer."""

    def __init__(self, model: Any, n_tokens: int, *, keep_words: bool) -> None:
        super().__init__()
        old, out = model.get_input_embeddings(), model.get_output_embeddings()
        if not isinstance(old, nn.Embedding) or not isinstance(out, nn.Linear):
            raise ConfigError(
                f"backbone.model: a {type(model).__name__} has no plain embeddings to add code tokens to",
                part="backbone",
                key="model",
            )

        tied = out.weight is old.weight
        scale = float(getattr(old, "embed_scale", 1.0))
        rows = CodeRows(_new_rows(old.weight, n_tokens + 1), old if keep_words else None, scale)
        bias = None if out.bias is None else out.bias.detach().mean().expand(n_tokens).clone()
        head = CodeHead(rows, None if tied else _new_rows(out.weight, n_tokens), bias)

        model.set_input_embeddings(rows)
        model.set_output_embeddings(head)
        self.model, self.n_tokens = model, n_tokens
        self.accepts = frozenset(inspect.signature(type(model).forward).parameters)
        self.tables = {"rows": rows, "head": head}  # not registered again: they are parts of `model`

    @property
    def config(self) -> Any:
        """The checkpoint's configuration, its text part."""
        return self.model.config.get_text_config(decoder=True)

    def forward(self, numbers: Tensor, mask: Tensor, positions: Tensor, keep: int, cache: Any = None) -> Tensor:
        """Numbers and positions (B, L) -> logits of the last `keep` positions (B, keep, V).

        `mask` is 2D, (B, all positions), 1 = there, or 4D and additive, (B, 1, L, all positions). `cache` is filled.
        """
        offered = {"position_ids": positions, "logits_to_keep": keep}
        taken = {name: value for name, value in offered.items() if name in self.accepts}
        out = self.model(
            input_ids=numbers, attention_mask=mask, past_key_values=cache, use_cache=cache is not None, **taken
        )
        return out.logits[:, -keep:]

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that training moves, each once."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def add_lora(self, rank: int, alpha: float, dropout: float, targets: tuple[str, ...]) -> None:
        """Freeze all but low-rank adapters and the code tokens' rows. NeedsMissing without peft."""
        try:
            import peft
        except ImportError:
            raise NeedsMissing(
                "backbone.lora_rank needs peft: pip install 'genrec-causal-lm[lora]', or set it to 0", needs="peft"
            ) from None

        chosen = list(targets) or "all-linear"
        options = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=chosen)

        try:
            with warnings.catch_warnings():  # peft sets fan_in_fan_out itself for GPT-2, and says so every time
                warnings.simplefilter("ignore", UserWarning)
                peft.inject_adapter_in_model(options, self.model)
        except ValueError as error:
            raise ConfigError(
                f"backbone.lora_targets = {','.join(targets)}: {_first_line(error)}",
                part="backbone",
                key="lora_targets",
            ) from None

        # peft freezes all but its adapters, yet the new tokens must learn.
        self.tables["rows"].weight.requires_grad_(True)
        for own in (self.tables["head"].own, self.tables["head"].bias):
            if own is not None:
                own.requires_grad_(True)

    def longest(self, shared: bool) -> int | None:
        """Positions that the network can read; None if it has no bound. `shared`: beams share one sequence of keys,
        which a sliding window would have to cut."""
        bounds = [getattr(self.config, "max_position_embeddings", None)]
        sliding = getattr(self.config, "layer_types", None) or ["sliding_attention"]
        if shared and "sliding_attention" in sliding:
            bounds.append(getattr(self.config, "sliding_window", None))
        return min((bound for bound in bounds if bound), default=None)


def _new_rows(old: Tensor, count: int) -> Tensor:
    """Rows distributed like the old ones, number by number: a new token starts as an average word, not as an outlier."""
    old = old.detach().float()
    mean = old.mean(0)
    spread = old.std(0) if len(old) > 1 else torch.full_like(mean, 0.02)
    return mean + spread * torch.randn(count, old.shape[1], device=old.device)


SCRATCH_WORDS = 512  # rows of a throw-away vocabulary: the code tokens' rows are drawn like them


def scratch(architecture: str, layers: int, d_model: int, heads: int, d_ff: int, dropout: float) -> Any:
    """A small Llama or GPT-2 with random weights, input and output embeddings shared."""
    common = {"vocab_size": SCRATCH_WORDS, "bos_token_id": None, "eos_token_id": None, "tie_word_embeddings": True}
    if architecture == "gpt2":
        config: Any = transformers.GPT2Config(
            n_layer=layers, n_embd=d_model, n_head=heads, n_inner=d_ff, n_positions=1024,
            resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout, **common,
        )  # fmt: skip
    else:
        config = transformers.LlamaConfig(
            num_hidden_layers=layers, hidden_size=d_model, num_attention_heads=heads, num_key_value_heads=heads,
            intermediate_size=d_ff, attention_dropout=dropout, max_position_embeddings=4096, **common,
        )  # fmt: skip
    return from_config(config)


def from_config(config: Any) -> Any:
    """A causal LM with random weights, in fp32."""
    with quietly():
        return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def from_checkpoint(name: str, note: Callable[[str], None]) -> Any:
    """A pretrained causal LM, in fp32. ConfigError says what can be done where it cannot be had; UsageError if weights are
    missing or left over. `note` is told what was mended."""
    with quietly(), _told(name, "model"):
        return load_whole(transformers.AutoModelForCausalLM, expand_home(name), note, dtype=torch.float32)


def tokenizer_of(name: str) -> Any:
    """The checkpoint's tokenizer."""
    with quietly(), _told(name, "tokenizer"):
        return transformers.AutoTokenizer.from_pretrained(expand_home(name))


@contextlib.contextmanager
def _told(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # transformers raises many kinds: OSError, ValueError, KeyError, its own
        spare = "backbone.prompt=ids needs no tokenizer, " if what == "tokenizer" else ""
        raise ConfigError(
            f"backbone.model = {name!r}: no {what} could be loaded ({_first_line(error)}). Give a local folder that "
            f"transformers' save_pretrained wrote, or a name that this machine can fetch; {spare}backbone.model= (empty) trains a small network from scratch.",
            part="backbone",
            key="model",
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' own bars and advice: the toolkit has its own progress."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
