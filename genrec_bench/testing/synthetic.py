"""A clustered catalogue, a network with random weights, and sources, on which decoders are tested and timed.

Everything is drawn from a seed. A search takes the same steps with random weights as with trained ones, but its results mean
nothing.
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

CHILDREN = (48, 4, 4)  # of the root and of each node below it; the items share the last level
ALPHABET = 256  # tokens of each level
SHARPNESS = 3.0  # standard deviation of the logits
READING = 4.0  # weight of the source, relative to T5's initialisation


def clustered_codes(items: int, children: Sequence[int] = CHILDREN, alphabet: int = ALPHABET) -> Int32:
    """Codes (items, len(children) + 1) of a clustered catalogue.

    Every node of a level has as many children as `children` says, and the items are dealt to the last clusters in turn.
    Each level has tokens of its own. Nodes of a level shift their children's tokens by a number that depends on the node.
    Cheap at any size: no sort, no table beside the codes. ValueError if a level needs more than `alphabet` tokens.
    """
    number = np.arange(items, dtype=np.int64)
    clusters = int(np.prod(children))
    if -(-items // clusters) > alphabet or max(children) > alphabet:
        raise ValueError(f"{items:,} items in {clusters:,} clusters need more than {alphabet} tokens a level")

    # The labels of an item's path: mixed-radix digits of its cluster, then its number in the cluster.
    cluster, member = number % clusters, number // clusters
    labels = [member]
    for size in reversed(children):
        cluster, label = np.divmod(cluster, size)
        labels.append(label)

    codes = np.empty((items, len(children) + 1), np.int32)
    parent = np.zeros(items, np.int64)
    for level, label in enumerate([*reversed(labels[1:]), labels[0]]):
        codes[:, level] = (label + parent * 37) % alphabet + level * alphabet
        parent = parent * 131 + label + 1
    return codes


def catalogue(items: int) -> Index:
    """An index of `items` clustered items, in random order, over four levels of 256 tokens."""
    codes = clustered_codes(items)
    np.random.default_rng(0).shuffle(codes)
    return Index(CodeTable(codes), None, ALPHABET * codes.shape[1])


def network(
    n_tokens: int, device: str, *, layers: int = 6, d_model: int = 512, heads: int = 8, d_ff: int = 16
) -> LightLM:
    """LightLM, by default at the paper's size, with random weights whose scores spread and depend on the source."""
    backbone = LightLM(LightLMConfig(layers=layers, d_model=d_model, heads=heads, d_ff=d_ff, word_embedding=False))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = T5Shape(1 + n_tokens, n_tokens, d_model, layers, heads, d_model // heads, d_ff, dropout=0.0)
        net = T5(shape).eval()

    with torch.no_grad():
        net.decoder_norm.weight.mul_(SHARPNESS)
        for layer in net.decoder:
            assert layer.cross is not None, "T5Shape.cross is the default"
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
    return Sources(tokens.ravel(), levels.ravel(), words.ravel(), offsets)
