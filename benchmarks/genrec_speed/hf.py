"""The benchmark's network as the T5 of Hugging Face transformers, with the same weights.

Both peers are built on it, the one that decodes and the one that trains. Its token ids are ours plus one: id 0 is the
padding and the start token.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from genrec_bench.api import NeedsMissing, Sources
from genrec_bench.backbones.hf_t5 import renamed
from genrec_bench.backbones.t5 import T5, Query

TIED = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}  # to the shared embedding


def transformers() -> Any:
    """The module. NeedsMissing says what to install if it is not there."""
    try:
        import transformers as module
    except ImportError:
        raise NeedsMissing(
            "this benchmark compares with transformers: in a clone of genrec_bench, pip install './benchmarks[peers]'",
            needs="transformers",
        ) from None
    module.logging.set_verbosity_error()
    return module


def twin(net: T5, **options: Any) -> Any:
    """A `T5ForConditionalGeneration` with the weights of `net`, on its device, without dropout, output tied to input.

    `options` are added to its configuration. ValueError for whole-word embeddings and template words, which transformers'
    T5 does not have.
    """
    hf, shape = transformers(), net.shape
    if net.words is not None or shape.n_scored != shape.n_rows - 1:
        raise ValueError("transformers' T5 has code tokens only: no whole-word embeddings, no template words")

    config = hf.T5Config(
        vocab_size=shape.n_rows,
        d_model=shape.d_model,
        d_kv=shape.d_kv,
        d_ff=shape.d_ff,
        num_layers=shape.layers,
        num_decoder_layers=shape.layers,
        num_heads=shape.heads,
        relative_attention_num_buckets=shape.buckets,
        relative_attention_max_distance=shape.max_distance,
        layer_norm_epsilon=shape.epsilon,
        dropout_rate=0.0,
        pad_token_id=0,
        decoder_start_token_id=0,
        **options,
    )
    model, weights = hf.T5ForConditionalGeneration(config), net.state_dict()
    for module in model.modules():
        if isinstance(getattr(module, "q", None), torch.nn.Linear):
            module.q = Query(shape)  # drawn as ours are, or AdamW would train another function from the second step on
    pairs = ((name, renamed(name)) for name in model.state_dict())
    named = {hf: weights[ours] for hf, ours in pairs if ours is not None}

    missing, _ = model.load_state_dict(named, strict=False)
    assert set(missing) <= TIED and model.lm_head.weight is model.shared.weight
    return model.to(next(net.parameters()).device)


def padded(sources: Sources, device: Any) -> tuple[Tensor, Tensor]:
    """`input_ids` and `attention_mask`, both (users, source tokens), of the sources."""
    mask = np.arange(int(sources.lengths.max())) < sources.lengths[:, None]
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = sources.tokens.astype(np.int64) + 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask.astype(np.int64)).to(device)
