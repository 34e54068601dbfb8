"""Which tokens a level of the codes chooses from, and how the tokens after the last predicted level are spread.

Levels that every code has are *digits*: a head predicts each, whatever the others are. What some codes have beyond them
(the suffix of codes that collided) is not predicted: the tokens that lead on from a code are equally likely. Knows codes,
no network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genrec_bench.api import Float32, Int32, Int64


@dataclass(frozen=True)
class Levels:
    """The digits of a catalogue: `tokens` `(P,)` are those of the first level, then of the second, ...; `sizes` says how
    many each level has. `edges` `(E,)` are the edges of the tree of all codes, empty where no code is longer."""

    tokens: Int64
    sizes: tuple[int, ...]
    edges: Int64

    @classmethod
    def of(cls, codes: Int32, n_tokens: int) -> Levels:
        """From the codes `(n, width)` of all items, padded with -1."""
        digits = digits_of(codes)
        tokens = [np.unique(codes[:, level]).astype(np.int64) for level in range(digits)]
        longer = digits < codes.shape[1]
        edges = tree_edges(codes, n_tokens) if longer else np.zeros(0, np.int64)
        return cls(np.concatenate(tokens), tuple(len(level) for level in tokens), edges)


def digits_of(codes: Int32) -> int:
    """The number of levels that every code has."""
    return int((codes >= 0).sum(axis=1).min())


def tree_edges(codes: Int32, n_tokens: int) -> Int64:
    """The edges of the tree of `codes`, each `parent * n_tokens + token`, rising: edge `e` leads to node `e + 1`."""
    node, edges, nodes = np.zeros(len(codes), np.int64), [], 1
    for tokens in codes.T:
        rows = np.flatnonzero(tokens >= 0)
        found, which = np.unique(node[rows] * n_tokens + tokens[rows], return_inverse=True)
        node[rows] = nodes + which.reshape(-1)
        nodes += len(found)
        edges.append(found)
    return np.concatenate(edges)


def step(edges: Tensor, n_tokens: int, nodes: Tensor, tokens: Tensor) -> Tensor:
    """The nodes below `nodes` by `tokens`, of one shape; -1 where the tree has no such edge, and from -1 on."""
    wanted = nodes * n_tokens + tokens
    places = torch.searchsorted(edges, wanted).clamp(max=len(edges) - 1)
    return torch.where((nodes >= 0) & (edges[places] == wanted), places + 1, -1)


def leading_on(edges: Tensor, n_tokens: int, nodes: Tensor) -> Tensor:
    """Which tokens lead on from each of `nodes` `(U, N)`: `(U, N, n_tokens)`. From -1, or a leaf, none does."""
    starts = torch.searchsorted(edges, nodes.clamp(min=0) * n_tokens)
    ends = torch.searchsorted(edges, (nodes + 1) * n_tokens)  # of node -1 it is 0, so that none is there
    most = max(1, int((ends - starts).max()))
    places = starts[..., None] + torch.arange(most, device=nodes.device)
    there = places < ends[..., None]
    tokens = edges[places.clamp(max=len(edges) - 1)] % n_tokens

    found = torch.zeros(*nodes.shape, n_tokens + 1, dtype=torch.bool, device=nodes.device)
    return found.scatter_(-1, torch.where(there, tokens, n_tokens), True)[..., :n_tokens]


def log_shares(codes: Int32) -> Float32:
    """What each code `(n,)` loses beyond its digits: minus the logarithm of how many tokens lead on, at every step."""
    lost = np.zeros(len(codes), np.float32)
    for level in range(digits_of(codes), codes.shape[1]):
        rows = np.flatnonzero(codes[:, level] >= 0)
        prefixes, which = np.unique(codes[rows, :level], axis=0, return_inverse=True)
        which = which.reshape(-1)
        edges = np.unique(np.stack([which, codes[rows, level]], axis=1), axis=0)
        children = np.bincount(edges[:, 0], minlength=len(prefixes))
        lost[rows] -= np.log(children[which]).astype(np.float32)
    return lost
