"""Hugging Face T5 checkpoints: sizes, weights and tokenizer, read through transformers, under this package's names.

T5 1.0 only (ReLU, tied output). T5 1.1 and Flan have gated feed-forwards and an untied output, which the network does not
have: they are refused with a message. Knows no items and no codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from genrec_bench.backbones.checkpoints import check_no_pointers, load_whole
from genrec_bench.backbones.t5 import T5, T5Shape
from genrec_bench.core.hashing import digest
from genrec_bench.errors import NeedsMissing, UsageError


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise NeedsMissing(
            "a pretrained start needs transformers: pip install 'genrec-bench[pretrained]', or --set backbone.init=scratch",
            needs="transformers",
        ) from None
    transformers.logging.disable_progress_bar()  # bars on stderr are ours, and none where stderr is no terminal
    return transformers


def _fetch(what: str, name: str, get: Any) -> Any:
    """`get(name)`; UsageError in one line, whatever goes wrong."""
    try:
        if name.startswith((".", "/", "~")) and not Path(name).exists():
            raise FileNotFoundError("there is no such folder")
        return get(name)

    except UsageError:
        raise
    except Exception as error:  # transformers, its hub client and its file formats each raise their own
        cause = " ".join(str(error).split())[:160]
        raise UsageError(
            f"the {what} {name!r} cannot be fetched ({cause}). Give a local folder with --set backbone."
            f"{'tokenizer' if what == 'tokenizer' else 'model'}=FOLDER, or train from random weights with "
            "--set backbone.init=scratch",
            name=name,
        ) from error


@lru_cache(maxsize=4)
def read_config(name: str) -> Any:
    """The checkpoint's T5Config. UsageError if it is not there or no T5 1.0."""
    check_no_pointers(name)
    config = _fetch("checkpoint", name, _transformers().AutoConfig.from_pretrained)
    if config.model_type != "t5":
        raise UsageError(f"the checkpoint {name!r} is a {config.model_type}, not a T5", name=name)

    tied = config.tie_word_embeddings and getattr(config, "scale_decoder_outputs", True)  # recent versions always tie
    if config.feed_forward_proj != "relu" or not tied:
        untied = "" if tied else " and an untied or unscaled output"
        raise UsageError(
            f"the checkpoint {name!r} has a {config.feed_forward_proj} feed-forward{untied}: it is of the family T5 1.1 / "
            "Flan, which this network cannot hold. Use a T5 1.0 checkpoint such as google-t5/t5-small",
            name=name,
        )

    if config.num_decoder_layers != config.num_layers:
        raise UsageError(
            f"the checkpoint {name!r} has {config.num_layers} encoder and {config.num_decoder_layers} decoder layers: this "
            "network has as many of the one as of the other",
            name=name,
        )

    if Path(name).is_dir() and not any(file.suffix in (".safetensors", ".bin") for file in Path(name).iterdir()):
        raise UsageError(f"the checkpoint folder {name!r} holds no weights (*.safetensors, *.bin)", name=name)
    return config


def sizes(config: Any) -> dict[str, int]:
    """The checkpoint's sizes under our option names."""
    return {"layers": config.num_layers, "d_model": config.d_model, "heads": config.num_heads, "d_ff": config.d_ff}


def fit_shape(shape: T5Shape, config: Any) -> T5Shape:
    """`shape` with what the checkpoint decides beyond the options: head size, position buckets, norm."""
    return replace(
        shape,
        d_kv=config.d_kv,
        buckets=config.relative_attention_num_buckets,
        max_distance=config.relative_attention_max_distance,
        epsilon=config.layer_norm_epsilon,
    )


def local_files(*names: str) -> str:
    """SHA-256 over the files of those `names` that are local folders; empty if none is."""
    files = sorted(path for name in names if name for path in Path(name).glob("*") if path.is_file())
    return digest(*(part for path in files for part in (path.name, path.read_bytes()))) if files else ""


def revision(name: str) -> str:
    """The commit of a checkpoint from a hub; empty for a local folder."""
    return str(getattr(read_config(name), "_commit_hash", None) or "")


def short_name(name: str) -> str:
    """What tables call a checkpoint: a local folder's own name, a hub's name in full."""
    return Path(name).resolve().name if Path(name).is_dir() else name


def read_weights(name: str, note: Callable[[str], None]) -> Mapping[str, torch.Tensor]:
    """The checkpoint's weights under this package's names; UsageError if they are not those of a whole T5."""
    architecture = _transformers().T5ForConditionalGeneration
    model = _fetch("checkpoint", name, lambda name: load_whole(architecture, name, note))
    return from_transformers(model.state_dict(), model.config.d_kv)


def fill(network: T5, weights: Mapping[str, torch.Tensor], new: Sequence[str] = ()) -> None:
    """Copy a checkpoint into `network`; parameters whose name has a part in `new` stay as they are.

    Embedding rows: 0 is the checkpoint's padding, which is T5's start token; code tokens are drawn from the mean and the
    spread of the checkpoint's pieces, dimension by dimension; the pieces follow.
    """
    table = weights["embedding.weight"]
    with torch.no_grad():
        rows = network.embedding.weight
        codes = network.shape.n_tokens
        spread = torch.randn(codes, table.shape[1])
        rows[0] = table[0]
        rows[1 : 1 + codes] = (table.mean(0) + spread * table.std(0)).to(rows.device)
        rows[1 + codes :] = table.to(rows.device)
        own = network.state_dict()
        for name, value in weights.items():
            if name != "embedding.weight" and not any(part in name.split(".") for part in new):
                own[name].copy_(value)


def from_transformers(state: Mapping[str, torch.Tensor], d_kv: int) -> dict[str, torch.Tensor]:
    """Weights of transformers' `T5ForConditionalGeneration` under this package's names (tied output, ReLU models).

    `d_kv` numbers per head: our queries are divided by its root where they are used, T5's are smaller by it.
    """
    named = ((renamed(name), value) for name, value in state.items())
    return {
        name: value * d_kv**0.5 if name.endswith(".attention.q.weight") else value
        for name, value in named
        if name is not None
    }


def renamed(name: str) -> str | None:
    """This package's name for a weight of transformers; None for a copy of the embedding."""
    parts = name.split(".")
    if parts[1] != "block":
        side = parts[0]
        if side == "shared":
            return "embedding.weight"
        return f"{side}_norm.weight" if parts[1] == "final_layer_norm" else None

    side, _, layer, _, part, kind, *rest = parts
    if "relative_attention_bias" in rest:
        return f"{side}_bias.weight"

    block = ("self_", "ff") if side == "encoder" else ("self_", "cross", "ff")
    place = f"{side}.{layer}.{block[int(part)]}"
    if kind == "layer_norm":
        return f"{place}.norm.weight"
    return f"{place}.{rest[0]}.weight" if kind == "DenseReluDense" else f"{place}.attention.{rest[0]}.weight"


@lru_cache(maxsize=4)
def read_tokenizer(name: str) -> Any:
    """The tokenizer in a local folder (its `tokenizer.json` is enough) or of a Hugging Face name."""
    alone = Path(name) / "tokenizer.json"
    if alone.is_file():
        return _fetch(
            "tokenizer", str(alone), lambda path: _transformers().PreTrainedTokenizerFast(tokenizer_file=path)
        )
    return _fetch("tokenizer", name, _transformers().AutoTokenizer.from_pretrained)


class Pieces:
    """The pieces of a T5 tokenizer as the vocabulary of prompts (`templates.Vocabulary`)."""

    def __init__(self, tokenizer: Any, size: int) -> None:
        self.tokenizer, self.size = tokenizer, size
        end = tokenizer.convert_tokens_to_ids("</s>")
        self.end: Sequence[int] = () if end is None else (end,)

    def encode(self, word: str) -> Sequence[int]:
        return tuple(self.tokenizer.encode(word, add_special_tokens=False))
