"""The benchmark's network as Hugging Face transformers' T5, with the same weights: what both peers, decoding and training,
are built on. Token ids are ours plus one: 0 pads and starts."""

from __future__ import annotations

from typing import Any

from genrec_bench.backbones.hf_t5 import from_transformers
from genrec_bench.backbones.t5 import T5
from genrec_bench.errors import NeedsMissing


def transformers() -> Any:
    """The module. NeedsMissing, with the extra to install, if it is not there."""
    try:
        import transformers as module
    except ImportError:
        raise NeedsMissing(
            "the benchmark compares with transformers: pip install 'genrec-bench[pretrained]'", needs="transformers"
        ) from None
    module.logging.set_verbosity_error()
    return module


def twin(net: T5, **options: Any) -> Any:
    """A `T5ForConditionalGeneration` with the weights of `net`, on its device, dropout 0, output tied to its input.

    `options` are more of its configuration. ValueError for whole-word embeddings and template words, which have no place
    in it.
    """
    hf, shape = transformers(), net.shape
    if net.words is not None or shape.n_scored != shape.n_rows - 1:
        raise ValueError("only a network of code tokens alone, without whole-word embeddings, is transformers' T5")
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
    model, ours = hf.T5ForConditionalGeneration(config), net.state_dict()
    places = from_transformers({name: name for name in model.state_dict()})  # type: ignore[arg-type]
    missing, _ = model.load_state_dict({theirs: ours[name] for name, theirs in places.items()}, strict=False)  # type: ignore[index]
    tied = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}
    assert set(missing) <= tied and model.lm_head.weight is model.shared.weight
    return model.to(next(net.parameters()).device)
