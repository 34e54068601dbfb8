"""The network of RPG: a causal transformer over a user's items and one head for each digit of the next item's code.

An item is the mean of its tokens' embeddings. A head is a residual block; its state is compared by cosine with the
embeddings of its digit's tokens. Knows tokens only.

Letters in shapes: U users, S items of a source, W tokens of an item, T states, D digits, E = d_model, P places (pairs of
digit and token).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STD = 0.02  # of all matrices before training, as in GPT-2


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. `level_sizes` are the numbers of tokens of each digit, `edges` those of the catalogue's tree,
    0 if no code is longer than its digits."""

    n_tokens: int
    level_sizes: Sequence[int]
    edges: int
    d_model: int
    layers: int
    heads: int
    d_ff: int
    positions: int
    dropout: float
    temperature: float


class Block(nn.Module):
    """A layer of GPT-2: causal attention and a feed-forward part, each with its norm before it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        e = shape.d_model
        self.heads, self.dropout = shape.heads, shape.dropout
        self.attention_norm, self.norm = nn.LayerNorm(e), nn.LayerNorm(e)
        self.qkv, self.out = nn.Linear(e, 3 * e), nn.Linear(e, e)
        self.wide, self.narrow = nn.Linear(e, shape.d_ff), nn.Linear(shape.d_ff, e)
        self.drop = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(U, S, E) -> (U, S, E); position `s` sees the positions up to `s`."""
        q, k, v = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        x = x + self.drop(self.out(seen.transpose(1, 2).flatten(2)))
        return x + self.drop(self.narrow(F.gelu(self.wide(self.norm(x)), approximate="tanh")))


class Network(nn.Module):
    """`encode` reads sources, `logits` gives those of all digits."""

    level_tokens: Tensor
    edges: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        digits, e = len(shape.level_sizes), shape.d_model
        self.embedding = nn.Embedding(1 + shape.n_tokens, e, padding_idx=0)
        self.positions = nn.Embedding(shape.positions, e)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm, self.drop = nn.LayerNorm(e), nn.Dropout(shape.dropout)
        self.head = nn.Parameter(torch.zeros(digits, e, e))  # zero: a head is the identity before training
        self.head_bias = nn.Parameter(torch.zeros(digits, e))
        self.register_buffer("level_tokens", torch.zeros(sum(shape.level_sizes), dtype=torch.long))
        self.register_buffer("edges", torch.zeros(shape.edges, dtype=torch.long))

        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.embedding.weight[0])

    def encode(self, rows: Tensor) -> Tensor:
        """Embedding rows (U, S, W), 0 for padding on the right -> states (U, S, E), one for each item."""
        items = F.embedding_bag(rows.flatten(0, 1), self.embedding.weight, mode="mean", padding_idx=0)
        at = torch.arange(rows.shape[1], device=rows.device).clamp(max=self.shape.positions - 1)
        x = self.drop(items.view(*rows.shape[:2], -1) + self.positions(at))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def logits(self, states: Tensor) -> list[Tensor]:
        """States (T, E) -> for each digit the logits (T, tokens of the digit): cosines divided by the temperature."""
        heads = torch.einsum("te,dfe->dtf", states, self.head) + self.head_bias[:, None]
        with torch.autocast(
            states.device.type, enabled=False
        ):  # a cosine in bf16 is too coarse for a small temperature
            heads = F.normalize(states.float() + F.silu(heads.float()), dim=-1)
            tokens = F.normalize(self.embedding(self.level_tokens + 1).float(), dim=-1).split(
                list(self.shape.level_sizes)
            )
            return [one @ table.T / self.shape.temperature for one, table in zip(heads, tokens, strict=True)]

    def log_probabilities(self, states: Tensor) -> Tensor:
        """States (T, E) -> (T, P): log-probabilities of the first digit's tokens, then of the second's, ..."""
        return torch.cat([logits.log_softmax(-1) for logits in self.logits(states)], dim=1)

    def loss(self, states: Tensor, places: Tensor) -> Tensor:
        """Summed cross-entropy of targets, by `places` (T, D): the place of each digit's token within its digit."""
        parts = [
            F.cross_entropy(one, at, reduction="sum") for one, at in zip(self.logits(states), places.T, strict=True)
        ]
        return torch.stack(parts).sum()
