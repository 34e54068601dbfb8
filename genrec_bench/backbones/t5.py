"""A T5-compatible encoder-decoder (Raffel et al. 2020) for short code sequences.

RMS norm, relative position bias shared by the layers, no biases, ReLU; the output layer is the scaled input embedding of
the code tokens. Two things are arranged for generative recommendation: everything that belongs to a user is computed
once (encoder, cross-attention keys and values), and decoder positions form a *tree*: each position attends to its
ancestors only, so that hypotheses, or targets, with a common prefix share its positions. Knows tokens only.

Letters in shapes: U users (sources), S source tokens, N decoder positions of a user (or beams), D ancestors of a position
counting itself, H heads, K numbers per head, E = d_model, V code tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genrec_bench.backbones.kernels import attention, rms_norm, rows_of


@dataclass(frozen=True)
class T5Shape:
    """Sizes of the network. `d_kv` is per head. Embedding row 0 is padding and start, rows 1..`n_tokens` are the code
    tokens, rows above them template words."""

    n_rows: int
    n_tokens: int
    d_model: int = 512
    layers: int = 6
    heads: int = 8
    d_kv: int = 64
    d_ff: int = 16
    dropout: float = 0.1
    word_rows: int = 0  # whole-word embedding rows (P5, LightLM); 0 = none
    buckets: int = 32
    max_distance: int = 128
    epsilon: float = 1e-6  # of the norms
    scores_words: bool = False  # whether the output softmax has template words beside the code tokens

    @property
    def n_scored(self) -> int:
        """Columns of the logits: the code tokens, then the template words if they are scored."""
        return self.n_rows - 1 if self.scores_words else self.n_tokens


class RMSNorm(nn.Module):
    """T5's layer norm: scale only, statistics in fp32."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(shape.d_model)), shape.epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(..., E) -> (..., E) in fp32."""
        return rms_norm(x.float(), self.weight, self.epsilon)


class Projections(nn.Module):
    """The four matrices of one attention block, without biases; T5 does not scale by 1/sqrt(K)."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        inner = shape.heads * shape.d_kv
        self.heads, self.dropout = shape.heads, shape.dropout
        self.q, self.k, self.v = (nn.Linear(shape.d_model, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, shape.d_model, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """(U, N, H*K) -> (U, H, N, K)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """Queries (U, H, N, K) over keys and values (U, H, S, K), `bias` broadcast to (U, H, N, S) -> (U, N, E)."""
        drop = self.dropout if self.training else 0.0
        return self.o(attention(q, k, v, bias, drop).transpose(1, 2).flatten(2))

    def attend_ancestors(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """Each position (U, N, H*K) over its own D ancestors (U, N, D, H*K); `bias` broadcast to (U, N, D, H) -> (U, N, E)."""
        q = q.unflatten(-1, (1, self.heads, -1))  # (U, N, 1, H, K)
        k, v = (x.unflatten(-1, (self.heads, -1)) for x in (k, v))  # (U, N, D, H, K)
        weights = ((q * k).sum(-1).float() + bias).softmax(dim=2)  # (U, N, D, H)
        weights = F.dropout(weights, self.dropout, self.training).to(v.dtype)
        return self.o((weights.unsqueeze(-1) * v).sum(2).flatten(2))


class Attention(nn.Module):
    """Pre-norm attention with its residual connection."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        self.norm = RMSNorm(shape)
        self.attention = Projections(shape)
        self.drop = nn.Dropout(shape.dropout)


class FeedForward(nn.Module):
    """Pre-norm ReLU feed-forward with its residual connection; narrow in LightLM (d_ff << d_model)."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        self.norm = RMSNorm(shape)
        self.wi = nn.Linear(shape.d_model, shape.d_ff, bias=False)
        self.wo = nn.Linear(shape.d_ff, shape.d_model, bias=False)
        self.drop = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(U, N, E) -> (U, N, E)."""
        return x + self.drop(self.wo(self.drop(F.relu(self.wi(self.norm(x))))))


class EncoderLayer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        self.self_, self.ff = Attention(shape), FeedForward(shape)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Self-attention under `bias` (U, H, S, S) and feed-forward, (U, S, E) -> (U, S, E)."""
        a, normed = self.self_.attention, self.self_.norm(x)
        q, k, v = a.split(a.q(normed)), a.split(a.k(normed)), a.split(a.v(normed))
        return self.ff(x + self.self_.drop(a.attend(q, k, v, bias)))


class DecoderLayer(nn.Module):
    """One layer of the decoder; self-attention is laid out by `T5.decode_tree` and `T5.step`."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        self.self_, self.cross, self.ff = Attention(shape), Attention(shape), FeedForward(shape)

    def context(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-attention keys and values (U, H, S, K) of the encoded sources (U, S, E): once per user."""
        a = self.cross.attention
        return a.split(a.k(encoded)), a.split(a.v(encoded))

    def read(self, x: Tensor, context: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """Cross-attention and feed-forward: all positions of a user are queries over the same keys."""
        a = self.cross.attention
        x = x + self.cross.drop(a.attend(a.split(a.q(self.cross.norm(x))), *context, mask))
        return self.ff(x)


class T5(nn.Module):
    """The network. `encode` reads sources, `decode_tree` trains, `step` decodes."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.n_rows, shape.d_model)
        self.words = nn.Embedding(shape.word_rows, shape.d_model) if shape.word_rows else None
        self.encoder_bias = nn.Embedding(shape.buckets, shape.heads)
        self.decoder_bias = nn.Embedding(shape.buckets, shape.heads)
        self.encoder = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.layers))
        self.decoder = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.layers))
        self.encoder_norm, self.decoder_norm = RMSNorm(shape), RMSNorm(shape)
        self.drop = nn.Dropout(shape.dropout)
        self.reset()

    def reset(self) -> None:
        """T5's initialisation (Mesh TensorFlow's, as in transformers)."""
        e, inner = self.shape.d_model, self.shape.heads * self.shape.d_kv
        nn.init.normal_(self.embedding.weight)
        if self.words is not None:
            nn.init.normal_(self.words.weight)

        for module in self.modules():
            if isinstance(module, Projections):
                nn.init.normal_(module.q.weight, std=(e * self.shape.d_kv) ** -0.5)
                nn.init.normal_(module.k.weight, std=e**-0.5)
                nn.init.normal_(module.v.weight, std=e**-0.5)
                nn.init.normal_(module.o.weight, std=inner**-0.5)
            elif isinstance(module, FeedForward):
                nn.init.normal_(module.wi.weight, std=e**-0.5)
                nn.init.normal_(module.wo.weight, std=self.shape.d_ff**-0.5)

        for bias in (self.encoder_bias, self.decoder_bias):
            nn.init.normal_(bias.weight, std=e**-0.5)

    def encode(self, rows: Tensor, mask: Tensor, words: Tensor | None = None) -> Tensor:
        """Embedding rows (U, S), additive `mask` (U, 1, 1, S), whole-word numbers (U, S) -> encoded (U, S, E)."""
        x = self.embedding(rows)
        if self.words is not None and words is not None:
            x = x + self.words(words.clamp(max=self.shape.word_rows - 1))
        at = torch.arange(rows.shape[1], device=rows.device)
        buckets = relative_bucket(at[None, :] - at[:, None], True, self.shape.buckets, self.shape.max_distance)
        bias = self.encoder_bias(buckets).permute(2, 0, 1)[None] + mask  # (U, H, S, S)
        x = self.drop(x)
        for layer in self.encoder:
            x = layer(x, bias)
        return self.drop(self.encoder_norm(x))

    def distance_bias(self, distances: int) -> Tensor:
        """Bias (D, H) of an ancestor 0, 1, ... steps up."""
        steps = torch.arange(distances, device=self.decoder_bias.weight.device)
        return self.decoder_bias(relative_bucket(-steps, False, self.shape.buckets, self.shape.max_distance)).float()

    def decode_tree(self, rows: Tensor, ancestors: Tensor, depth: Tensor, encoded: Tensor, mask: Tensor) -> Tensor:
        """Hidden states (U, N, E) of every decoder position of every user at once.

        `rows` (U, N) are input embedding rows; `ancestors` (U, N, D) positions: itself, its parent, ...; entries beyond
        `depth` (U, N) are ignored. `encoded` (U, S, E) and `mask` (U, 1, 1, S) come from the encoder.
        """
        users, n, d = ancestors.shape
        flat = ancestors + torch.arange(users, device=rows.device)[:, None, None] * n
        there = torch.arange(d, device=rows.device) <= depth[..., None]  # (U, N, D)
        bias = self.distance_bias(d).masked_fill(~there[..., None], -math.inf)  # (U, N, D, H)
        x = self.drop(self.embedding(rows))
        for layer in self.decoder:
            a, normed = layer.self_.attention, layer.self_.norm(x)
            k, v = (rows_of(p(normed).flatten(0, 1), flat) for p in (a.k, a.v))  # (U, N, D, H*K)
            x = x + layer.self_.drop(a.attend_ancestors(a.q(normed), k, v, bias))
            x = layer.read(x, layer.context(encoded), mask)
        return self.drop(self.decoder_norm(x))

    def step(self, rows: Tensor, parents: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        """One token for every hypothesis: `rows`, `parents` (U, N) -> hidden (U, N, E) and the new state."""
        users = len(rows)
        bias = self.distance_bias(state.length + 1)
        before = state.caches[0][0].shape[1] if state.length else 1
        parent_rows = (parents + torch.arange(users, device=parents.device)[:, None] * before).flatten()

        x = self.embedding(rows)
        caches = []
        for number, layer in enumerate(self.decoder):
            a, normed = layer.self_.attention, layer.self_.norm(x)
            k, v = a.k(normed).unsqueeze(2), a.v(normed).unsqueeze(2)

            if state.length:
                old = (
                    cache.flatten(0, 1).index_select(0, parent_rows).unflatten(0, rows.shape)
                    for cache in state.caches[number]
                )
                k, v = (torch.cat(pair, 2) for pair in zip((k, v), old, strict=True))

            caches.append((k, v))
            x = x + a.attend_ancestors(a.q(normed), k, v, bias)
            x = layer.read(x, state.contexts[number], state.mask)

        return self.decoder_norm(x), DecodeState(state.contexts, state.mask, caches, state.length + 1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., E) -> logits (..., V) over the code tokens, and over the words where they are scored."""
        table = self.embedding.weight[1 : 1 + self.shape.n_scored]
        return F.linear(hidden * self.shape.d_model**-0.5, table.to(hidden.dtype))


@dataclass(frozen=True)
class DecodeState:
    """What one decoding needs to go on: per layer the users' keys and values, and each hypothesis's own, newest first."""

    contexts: list[tuple[Tensor, Tensor]]  # (U, H, S, K), shared by all hypotheses of a user
    mask: Tensor  # (U, 1, 1, S)
    caches: list[tuple[Tensor, Tensor]]  # (U, N, length, H*K)
    length: int


def relative_bucket(distance: Tensor, both_ways: bool, buckets: int, max_distance: int) -> Tensor:
    """T5's bucket of a relative position (key minus query): exact when near, logarithmic when far."""
    bucket = torch.zeros_like(distance)
    if both_ways:
        buckets //= 2
        bucket = (distance > 0).long() * buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = buckets // 2
    far = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact) * (buckets - exact)
    return bucket + torch.where(distance < exact, distance, (exact + far.long()).clamp(max=buckets - 1))
