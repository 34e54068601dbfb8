"""What the decoding benchmarks work on: a clustered catalogue, a network with random weights, and users' sources.

Everything is drawn from a seed. Random weights search as trained ones do, step for step; what they find means nothing, so
accuracy is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from genrec_bench.backbones.lightlm import LightLM, LightLMConfig
from genrec_bench.backbones.t5 import T5, T5Shape
from genrec_bench.core.arrays import Int32
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.sequences import Sources

FAMILIES = (48, 4, 4)  # children of the root and of each node below it; the items share the last level
ALPHABET = 256  # tokens of each level
SHARPNESS = 3.0  # standard deviation of the logits
READING = 4.0  # how much louder than at T5's initialisation the source is heard


def clustered_codes(items: int, families: Sequence[int] = FAMILIES, alphabet: int = ALPHABET) -> Int32:
    """Codes `(items, len(families) + 1)` of a clustered catalogue: every node has as many children as `families` says, and
    the items are dealt to the last clusters in turn. A level's tokens are its own; equal numbers of children differ in
    their tokens by a shift that depends on the parent. Cheap at any size: no sort, no table beside the codes."""
    number = np.arange(items, dtype=np.int64)
    leaves = int(np.prod(families))
    if -(-items // leaves) > alphabet or max(families) > alphabet:
        raise ValueError(f"{items:,} items in {leaves:,} clusters need more than {alphabet} tokens a level")
    cluster, place = number % leaves, number // leaves
    path = []
    for size in reversed(families):
        cluster, label = np.divmod(cluster, size)
        path.append(label)
    codes = np.empty((items, len(families) + 1), np.int32)
    parent = np.zeros(items, np.int64)
    for level, label in enumerate([*reversed(path), place]):
        codes[:, level] = (label + parent * 37) % alphabet + level * alphabet
        parent = parent * 131 + label + 1
    return codes


def catalogue(items: int) -> Index:
    """An index of `items` clustered items, shuffled, over four levels of 256 tokens."""
    codes = clustered_codes(items)
    np.random.default_rng(0).shuffle(codes)
    return Index(CodeTable(codes), None, ALPHABET * codes.shape[1])


def network(
    n_tokens: int, device: str, *, layers: int = 6, d_model: int = 512, heads: int = 8, d_ff: int = 16
) -> LightLM:
    """LightLM at the paper's size, with random weights whose scores spread and depend on the source."""
    backbone = LightLM(LightLMConfig(layers=layers, d_model=d_model, heads=heads, d_ff=d_ff, word_embedding=False))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = T5Shape(1 + n_tokens, n_tokens, d_model, layers, heads, d_model // heads, d_ff, dropout=0.0)
        net = T5(shape).eval()
    with torch.no_grad():
        net.decoder_norm.weight.mul_(SHARPNESS)
        for layer in net.decoder:
            layer.cross.attention.o.weight.mul_(READING)
    backbone.network, backbone.device = net.to(device), device
    return backbone


def sources(index: Index, users: int, length: int) -> Sources:
    """`users` histories of whole item codes, `length` tokens each."""
    width = index.items.width
    items = np.random.default_rng(users * 1000 + length).integers(0, len(index.items), (users, -(-length // width)))
    tokens = index.items.codes[items].reshape(users, -1)[:, :length]
    levels = np.broadcast_to(np.arange(length, dtype=np.int32) % width, tokens.shape)
    words = np.broadcast_to(np.arange(length, dtype=np.int32) // width + 1, tokens.shape)
    offsets = np.arange(users + 1, dtype=np.int64) * length
    return Sources(*(np.ascontiguousarray(part).ravel() for part in (tokens, levels, words)), offsets)
