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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genrec_bench.backbones.candidates import candidate_logits, row_logits
from genrec_bench.backbones.kernels import Dropout, attention, dropout, rms_norm, rows_of
from genrec_bench.host.contracts import Candidates

UNTIED_STD = 0.02  # of an output layer of its own: first probabilities are nearly even


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
    inner_dropout: bool = True  # also on attention weights and behind the last norms, as in T5
    word_rows: int = 0  # whole-word embedding rows (P5, LightLM); 0 = none
    buckets: int = 32
    max_distance: int = 128
    epsilon: float = 1e-6  # of the norms
    scores_words: bool = False  # whether the output softmax has template words beside the code tokens
    decoder_layers: int = 0  # 0 = as many as the encoder has
    word_width: int = (
        0  # tokens of the longest whole word, where the encoder has one position per word; 0 = one per token
    )
    causal: bool = False  # whether an encoder position sees only those before it, and itself
    cross: bool = (
        True  # whether the decoder attends to the encoder; else it adds the encoder's last position to its own
    )
    tied: bool = True  # whether the output layer is the input embedding
    embedding_std: float = 1.0  # of the embeddings as they are drawn

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


class Query(nn.Linear):
    """The query matrix, divided by sqrt(K) where it is used.

    T5 draws it smaller by sqrt(K) instead: the same function, but not the same training. AdamW moves every weight by about
    the learning rate, however small the weight is, so T5's attention logits grow sqrt(K) times as fast: at LightLM's sizes and
    1e-3 they pass 250 within the first epoch, and training diverges some epochs later. T5 itself was trained with
    Adafactor, whose steps are relative to a matrix's size (Shazeer and Stern 2018, section 8).
    """

    def __init__(self, shape: T5Shape) -> None:
        super().__init__(shape.d_model, shape.heads * shape.d_kv, bias=False)
        self.scale = shape.d_kv**-0.5

    def forward(self, x: Tensor) -> Tensor:
        """(..., E) -> (..., H*K)."""
        return F.linear(x, self.weight * self.scale)


class Projections(nn.Module):
    """The four matrices of one attention block, without biases."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        inner = shape.heads * shape.d_kv
        self.heads, self.dropout = shape.heads, shape.dropout if shape.inner_dropout else 0.0
        self.q = Query(shape)
        self.k, self.v = (nn.Linear(shape.d_model, inner, bias=False) for _ in range(2))
        self.o = nn.Linear(inner, shape.d_model, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """(U, N, H*K) -> (U, H, N, K)"""
        split: Tensor = x.unflatten(-1, (self.heads, -1))
        return split.transpose(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """Queries (U, H, N, K) over keys and values (U, H, S, K), `bias` broadcast to (U, H, N, S) -> (U, N, E)."""
        drop = self.dropout if self.training else 0.0
        mixed: Tensor = self.o(attention(q, k, v, bias, drop).transpose(1, 2).flatten(2))
        return mixed

    def attend_ancestors(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """Each position (U, N, H*K) over its own D ancestors (U, N, D, H*K); `bias` broadcast to (U, N, D, H) -> (U, N, E)."""
        q = q.unflatten(-1, (1, self.heads, -1))  # (U, N, 1, H, K)
        k, v = (x.unflatten(-1, (self.heads, -1)) for x in (k, v))  # (U, N, D, H, K)
        weights = ((q * k).sum(-1).float() + bias).softmax(dim=2)  # (U, N, D, H)
        weights = dropout(weights, self.dropout, self.training).to(v.dtype)
        mixed: Tensor = self.o((weights.unsqueeze(-1) * v).sum(2).flatten(2))
        return mixed


class Attention(nn.Module):
    """Pre-norm attention with its residual connection."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        self.norm = RMSNorm(shape)
        self.attention = Projections(shape)
        self.drop = Dropout(shape.dropout)


class FeedForward(nn.Module):
    """Pre-norm ReLU feed-forward with its residual connection; narrow in LightLM (d_ff << d_model)."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        self.norm = RMSNorm(shape)
        self.wi = nn.Linear(shape.d_model, shape.d_ff, bias=False)
        self.wo = nn.Linear(shape.d_ff, shape.d_model, bias=False)
        self.drop = Dropout(shape.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(U, N, E) -> (U, N, E)."""
        added: Tensor = self.drop(self.wo(self.drop(F.relu(self.wi(self.norm(x))))))
        return x + added


class EncoderLayer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        self.self_, self.ff = Attention(shape), FeedForward(shape)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Self-attention under `bias` (U, H, S, S) and feed-forward, (U, S, E) -> (U, S, E)."""
        a, normed = self.self_.attention, self.self_.norm(x)
        q, k, v = a.split(a.q(normed)), a.split(a.k(normed)), a.split(a.v(normed))
        out: Tensor = self.ff(x + self.self_.drop(a.attend(q, k, v, bias)))
        return out


class DecoderLayer(nn.Module):
    """One layer of the decoder; self-attention is laid out by `T5.decode_tree` and `T5.step`."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        self.self_, self.ff = Attention(shape), FeedForward(shape)
        self.cross = Attention(shape) if shape.cross else None

    def context(self, encoded: Tensor) -> tuple[Tensor, Tensor] | None:
        """Cross-attention keys and values (U, H, S, K) of the encoded sources (U, S, E): once per user. None without
        cross-attention."""
        if self.cross is None:
            return None
        a = self.cross.attention
        return a.split(a.k(encoded)), a.split(a.v(encoded))

    def read(self, x: Tensor, context: tuple[Tensor, Tensor] | None, mask: Tensor) -> Tensor:
        """Cross-attention and feed-forward: all positions of a user are queries over the same keys. `mask` broadcasts to
        (U, H, N, S)."""
        if self.cross is not None and context is not None:
            a = self.cross.attention
            x = x + self.cross.drop(a.attend(a.split(a.q(self.cross.norm(x))), *context, mask))
        out: Tensor = self.ff(x)
        return out


class T5(nn.Module):
    """The network. `encode` reads sources, `decode_tree` trains, `step` decodes."""

    def __init__(self, shape: T5Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.n_rows, shape.d_model)
        self.words = nn.Embedding(shape.word_rows, shape.d_model) if shape.word_rows else None
        self.output = None if shape.tied else nn.Embedding(shape.n_scored, shape.d_model)
        self.encoder_bias = nn.Embedding(shape.buckets, shape.heads)
        self.decoder_bias = nn.Embedding(shape.buckets, shape.heads)
        self.encoder = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.layers))
        layers = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.decoder_layers or shape.layers))
        self.decoder = cast("Sequence[DecoderLayer]", layers)  # a ModuleList does not say of what
        self.encoder_norm, self.decoder_norm = RMSNorm(shape), RMSNorm(shape)

        self.drop = Dropout(shape.dropout)
        self.last_drop = Dropout(shape.dropout if shape.inner_dropout else 0.0)
        self.reset()

    def reset(self) -> None:
        """T5's initialisation (Mesh TensorFlow's, as in transformers).

        Where embeddings have another scale, what the layers add to them has it too: larger additions would drown them.
        """
        e, inner, scale = self.shape.d_model, self.shape.heads * self.shape.d_kv, self.shape.embedding_std
        nn.init.normal_(self.embedding.weight, std=scale)
        if self.words is not None:
            nn.init.normal_(self.words.weight, std=scale)
        if self.output is not None:
            nn.init.normal_(self.output.weight, std=UNTIED_STD)

        for module in self.modules():
            if isinstance(module, Projections):
                nn.init.normal_(module.q.weight, std=e**-0.5)
                nn.init.normal_(module.k.weight, std=e**-0.5)
                nn.init.normal_(module.v.weight, std=e**-0.5)
                nn.init.normal_(module.o.weight, std=inner**-0.5 * scale)
            elif isinstance(module, FeedForward):
                nn.init.normal_(module.wi.weight, std=e**-0.5)
                nn.init.normal_(module.wo.weight, std=self.shape.d_ff**-0.5 * scale)

        for bias in (self.encoder_bias, self.decoder_bias):
            nn.init.normal_(bias.weight, std=e**-0.5)

    @torch.no_grad()
    def begin_with(self, vectors: Tensor) -> None:
        """Take vectors (n_tokens, k) for the code tokens' embeddings, turned at random into E dimensions. Tokens whose vector
        is NaN keep the embedding that was drawn."""
        e = self.shape.d_model
        vectors = vectors[:, :e]
        turn, _ = torch.linalg.qr(torch.randn(e, e))
        rows = vectors @ turn[: vectors.shape[1]]  # (n_tokens, E)

        some = ~vectors.isnan().any(1)
        own = self.embedding.weight[1 : 1 + self.shape.n_tokens]
        own[some] = rows[some]
        if self.output is not None:
            self.output.weight[: self.shape.n_tokens][some] = rows[some]

    def encode(self, rows: Tensor, mask: Tensor, words: Tensor | None = None) -> Tensor:
        """Embedding rows (U, S), additive `mask` (U, 1, 1, S), whole-word numbers (U, S) -> encoded (U, S, E).

        Rows (U, S, W) are summed over W, without padding: one position for each whole word.
        """
        x = self.embedding(rows) if rows.ndim == 2 else self._summed(rows)
        if self.words is not None and words is not None:
            x = x + self.words(words.clamp(max=self.shape.word_rows - 1))

        at = torch.arange(rows.shape[1], device=rows.device)
        both_ways, distance = not self.shape.causal, at[None, :] - at[:, None]
        buckets = relative_bucket(distance, both_ways, self.shape.buckets, self.shape.max_distance)
        bias = self.encoder_bias(buckets).permute(2, 0, 1)[None] + mask  # (U, H, S, S)
        if self.shape.causal:
            bias = bias.masked_fill(distance > 0, -math.inf)
        x = self.drop(x)
        for layer in self.encoder:
            x = layer(x, bias)
        encoded: Tensor = self.last_drop(self.encoder_norm(x))
        return encoded

    def _summed(self, rows: Tensor) -> Tensor:
        table = self.embedding.weight
        return F.embedding_bag(rows.flatten(0, 1), table, mode="sum", padding_idx=0).view(*rows.shape[:2], -1)

    def distance_bias(self, distances: int) -> Tensor:
        """Bias (D, H) of an ancestor 0, 1, ... steps up."""
        steps = torch.arange(distances, device=self.decoder_bias.weight.device)
        buckets = relative_bucket(-steps, False, self.shape.buckets, self.shape.max_distance)
        bias: Tensor = self.decoder_bias(buckets)
        return bias.float()

    def decode_tree(
        self,
        rows: Tensor,
        ancestors: Tensor,
        depth: Tensor,
        encoded: Tensor,
        mask: Tensor,
        root: Tensor | None = None,
    ) -> Tensor:
        """Hidden states (U, N, E) of every decoder position of every user at once.

        `rows` (U, N) are input embedding rows; `ancestors` (U, N, D) positions: itself, its parent, ...; entries beyond
        `depth` (U, N) are ignored. `encoded` (U, S, E) comes from the encoder; `mask` broadcasts to (U, H, N, S). `root`
        (U, N, E) is added to the embeddings, and takes their place at depth 0.
        """
        users, n, d = ancestors.shape
        flat = ancestors + torch.arange(users, device=rows.device)[:, None, None] * n
        there = torch.arange(d, device=rows.device) <= depth[..., None]  # (U, N, D)
        bias = self.distance_bias(d).masked_fill(~there[..., None], -math.inf)  # (U, N, D, H)

        x = self.drop(self.embedding(rows))
        if root is not None:
            x = root + x.masked_fill((depth == 0)[..., None], 0)

        for layer in self.decoder:
            a, normed = layer.self_.attention, layer.self_.norm(x)
            k, v = (rows_of(p(normed).flatten(0, 1), flat) for p in (a.k, a.v))  # (U, N, D, H*K)
            x = x + layer.self_.drop(a.attend_ancestors(a.q(normed), k, v, bias))
            x = layer.read(x, layer.context(encoded), mask)
        hidden: Tensor = self.last_drop(self.decoder_norm(x))
        return hidden

    def decode_packed(
        self,
        rows: Tensor,
        ancestors: Tensor,
        depth: Tensor,
        owner: Tensor,
        visible: Tensor,
        encoded: Tensor,
        mask: Tensor,
    ) -> Tensor:
        """`decode_tree` without cross-attention, of all users' positions one after another: hidden states (M, E).

        `rows`, `depth`, `owner` (M,) and `ancestors` (M, D); position `i` starts from the encoder position `visible[i]` - 1
        of its user, or from the last one (-1).
        """
        last = torch.where(visible < 0, last_position(mask)[owner], visible - 1)
        root = rows_of(encoded.flatten(0, 1), owner * encoded.shape[1] + last)
        return self.decode_tree(rows[None], ancestors[None], depth[None], encoded, mask, root[None])[0]

    def step(self, rows: Tensor, parents: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        """One token for every hypothesis: `rows`, `parents` (U, N) -> hidden (U, N, E) and the new state."""
        users = len(rows)
        bias = self.distance_bias(state.length + 1)
        before = state.caches[0][0].shape[1] if state.length else 1
        parent_rows = (parents + torch.arange(users, device=parents.device)[:, None] * before).flatten()

        x = self.embedding(rows)
        if state.root is not None:
            x = state.root + x * min(state.length, 1)
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

        return self.decoder_norm(x), replace(state, caches=caches, length=state.length + 1)

    @property
    def scale(self) -> float:
        """What hidden states are multiplied with before the output layer. Where that is the embedding, it is T5's at T5's
        scale of embeddings, and the first logits are no larger at another."""
        return self.shape.d_model**-0.5 / self.shape.embedding_std if self.shape.tied else 1.0

    @property
    def table(self) -> Tensor:
        """The output layer (V, E): a row for every code token, and for every word where words are scored."""
        return self.embedding.weight[1 : 1 + self.shape.n_scored] if self.output is None else self.output.weight

    def logits(self, hidden: Tensor, candidates: Candidates | None = None) -> Tensor:
        """Hidden states (..., E) -> logits (..., V) over the code tokens, and over the words where they are scored; or of
        (U, N, E) those of the candidates (U, N, C)."""
        hidden = hidden * self.scale
        if candidates is None:
            return F.linear(hidden, self.table.to(hidden.dtype))
        return candidate_logits(hidden, self.table, candidates)

    def node_logits(self, hidden: Tensor, tokens: Tensor, which: Tensor) -> Tensor:
        """Hidden states (N, E) -> logits (N, C) of the tokens (M, C) in the row that `which` (N,) names."""
        return row_logits(hidden * self.scale, self.table, tokens, which)


def last_position(mask: Tensor) -> Tensor:
    """The last position (U,) that an additive `mask` (U, 1, 1, S) shows; it shows all of a source without any token."""
    return (mask[:, 0, 0] == 0).sum(1) - 1


@dataclass(frozen=True)
class DecodeState:
    """What one decoding needs to go on: per layer the users' keys and values, and each hypothesis's own, newest first."""

    contexts: list[tuple[Tensor, Tensor] | None]  # (U, H, S, K), shared by all hypotheses of a user
    mask: Tensor  # (U, 1, 1, S)
    root: Tensor | None  # (U, 1, E): what every decoder position starts from, where none attends to the encoder
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
