"""How hypotheses lie in a causal LM's positions, in training and in decoding.

`TreeLayout`: all hypotheses of a user are positions of one sequence, after the user's prompt; each sees the prompt and
its own ancestors, through the attention mask. Keys and values of a prompt exist once per user, and hypotheses are never
reordered or copied. `RowLayout`: every hypothesis is a row with keys and values of its own, as `generate` does it; for
architectures that read no four-dimensional mask or count positions themselves. `choose` compares the two on a few
tokens. Knows tokens only.

Letters in shapes: U users, S prompt tokens, N hypotheses (or tree nodes) of a user, M all positions so far, V code tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from genrec_bench.api import ConfigError, Sources, TreeBatch
from genrec_causal_lm.network import CausalNetwork

Pairs = list[tuple[Tensor, Tensor]]  # keys and values of each layer, (rows, heads, positions, size)


def pad_prompts(sources: Sources, n_tokens: int, device: str, *, left: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Network numbers (U, S), which of them are there (U, S) and lengths (U,). Words move up by one, for the start."""
    lengths = sources.lengths
    width = max(1, int(lengths.max(initial=0)))
    at = np.arange(width)
    there = at >= width - lengths[:, None] if left else at < lengths[:, None]
    numbers = np.full((len(sources), width), n_tokens, np.int64)
    numbers[there] = sources.tokens + (sources.tokens >= n_tokens)
    return tuple(torch.from_numpy(array).to(device) for array in (numbers, there, lengths))  # type: ignore[return-value]


def additive(visible: Tensor) -> Tensor:
    """What may be seen (U, N, M) as a mask to add to attention scores (U, 1, N, M)."""
    mask = torch.zeros(visible.shape, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(mask.dtype).min)[:, None]


def cache_of(pairs: Pairs) -> DynamicCache:
    """A cache that starts from `pairs` and grows beside them: `pairs` themselves stay as they are."""
    cache, layers = DynamicCache(), []
    for keys, values in pairs:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        layers.append(layer)
    cache.layers = layers
    return cache


def pairs_of(cache: Any) -> Pairs:
    """The keys and values in `cache`. ConfigError for an architecture that keeps none."""
    pairs = [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in cache.layers]
    if not pairs or any(keys is None or values is None for keys, values in pairs):
        raise ConfigError(
            "backbone.model: this architecture keeps no keys and values for every layer; use one that attends in all",
            part="backbone",
            key="model",
        )
    return pairs  # type: ignore[return-value]


@dataclass(frozen=True)
class TreeState:
    """Keys and values of a user's prompt (first S places) and of all hypotheses so far; `path` (U, N, depth): the places
    of each hypothesis of the last call, from its first token to its last."""

    pairs: Pairs
    there: Tensor  # (U, S)
    path: Tensor


WIDE = 256  # hypotheses of a user in one forward pass: a wider call is cut, so that its masks stay small


class TreeLayout:
    """All hypotheses of a user in one sequence."""

    name = "tree"

    def train(self, network: CausalNetwork, prompts: Sources, batch: TreeBatch, device: str) -> Tensor:
        """Logits of the batch's real tree nodes, (nodes, V)."""
        numbers, there, lengths = pad_prompts(prompts, network.n_tokens, device, left=False)
        token, depth, ancestors = (
            torch.from_numpy(x).to(device).long() for x in (batch.token, batch.depth, batch.ancestors)
        )

        # A node sees its prompt and its ancestors, and a prompt sees no node.
        users, nodes = token.shape
        prompt_sees = torch.cat([_causal(there), there.new_zeros(*there.shape, nodes)], 2)
        family = torch.eye(nodes, dtype=torch.bool, device=device).repeat(users, 1, 1)
        family.scatter_(2, ancestors, True)  # entries above the root repeat it
        node_sees = torch.cat([there[:, None].expand(-1, nodes, -1), family], 2)

        positions = torch.cat([_places(numbers), lengths[:, None] + depth], 1)
        numbers = torch.cat([numbers, torch.where(token < 0, network.n_tokens, token)], 1)
        mask = additive(torch.cat([prompt_sees, node_sees], 1))
        logits = network(numbers, mask, positions, nodes)
        return logits.flatten(0, 1)[torch.from_numpy(batch.real).to(device)]

    def start(self, network: CausalNetwork, prompts: Sources, device: str) -> TreeState:
        numbers, there, _ = pad_prompts(prompts, network.n_tokens, device, left=False)
        cache = DynamicCache()
        network(numbers, additive(_causal(there)), _places(numbers), 1, cache)
        return TreeState(pairs_of(cache), there, there.new_zeros(len(there), 1, 0, dtype=torch.long))

    def advance(
        self, network: CausalNetwork, state: TreeState, tokens: Tensor, parents: Tensor
    ) -> tuple[Tensor, TreeState]:
        width, known = tokens.shape[1], state.pairs[0][0].shape[2]
        path = state.path.gather(1, parents[..., None].expand(-1, -1, state.path.shape[2]))
        own = (known + torch.arange(width, device=tokens.device)).expand(len(tokens), -1)
        grown = torch.cat([path, own[..., None]], 2)

        if width <= WIDE:
            logits, pairs = _step(network, state.pairs, state.there, path, tokens)
            return logits, TreeState(pairs, state.there, grown)

        # Run a wide call in cuts. Each returns the known pairs and, behind them, its own.
        cuts = zip(path.split(WIDE, 1), tokens.split(WIDE, 1), strict=True)
        parts = [_step(network, *_narrowed(state, some), some_tokens) for some, some_tokens in cuts]
        news = [[(k[:, :, -x.shape[1] :], v[:, :, -x.shape[1] :]) for k, v in pairs] for x, pairs in parts]

        pairs = [
            (
                torch.cat([keys, *(new[layer][0] for new in news)], 2),
                torch.cat([values, *(new[layer][1] for new in news)], 2),
            )
            for layer, (keys, values) in enumerate(state.pairs)
        ]

        return torch.cat([logits for logits, _ in parts], 1), TreeState(pairs, state.there, grown)


def _step(network: CausalNetwork, pairs: Pairs, there: Tensor, path: Tensor, tokens: Tensor) -> tuple[Tensor, Pairs]:
    """Logits (U, N, V) of `tokens` (U, N), each after the prompt and the places in its `path` (U, N, depth)."""
    (users, width), known = tokens.shape, pairs[0][0].shape[2]
    seen = there.new_zeros(users, width, known + width)
    seen[:, :, : there.shape[1]] = there[:, None]
    seen.scatter_(2, path, True)
    seen[:, :, known:] = torch.eye(width, dtype=torch.bool, device=there.device)
    positions = (there.sum(1) + path.shape[2])[:, None].expand(-1, width)
    cache = cache_of(pairs)
    logits = network(torch.where(tokens < 0, network.n_tokens, tokens), additive(seen), positions, width, cache)
    return logits.float(), pairs_of(cache)


def _narrowed(state: TreeState, path: Tensor) -> tuple[Pairs, Tensor, Tensor]:
    """The keys and values of the prompt and of the places that occur in `path`, which of the prompt are there, and
    `path` in places of these."""
    prompt = state.there.shape[1]
    used, renumbered = path.unique(return_inverse=True)
    kept = torch.cat([torch.arange(prompt, device=path.device), used])
    pairs = [(keys[:, :, kept], values[:, :, kept]) for keys, values in state.pairs]
    return pairs, state.there, prompt + renumbered.reshape(path.shape)


@dataclass(frozen=True)
class RowState:
    """Keys, values and `there` of every hypothesis of the last call, hypotheses of a user one after another."""

    pairs: Pairs
    there: Tensor  # (U * N, M)
    lengths: Tensor  # (U,)
    depth: int


class RowLayout:
    """Every hypothesis in a row of its own, with the prompt's keys and values copied."""

    name = "rows"

    def train(self, network: CausalNetwork, prompts: Sources, batch: TreeBatch, device: str) -> Tensor:
        """Logits of the batch's real tree nodes, (nodes, V); every tree is a chain (one target per source)."""
        numbers, there, lengths = pad_prompts(prompts, network.n_tokens, device, left=True)
        token, depth = (torch.from_numpy(x).to(device).long() for x in (batch.token, batch.depth))
        positions = torch.cat([_places_left(there), lengths[:, None] + depth], 1)
        numbers = torch.cat([numbers, torch.where(token < 0, network.n_tokens, token)], 1)
        mask = torch.cat([there, torch.ones_like(token, dtype=torch.bool)], 1).long()
        logits = network(numbers, mask, positions, token.shape[1])
        return logits.flatten(0, 1)[torch.from_numpy(batch.real).to(device)]

    def start(self, network: CausalNetwork, prompts: Sources, device: str) -> RowState:
        numbers, there, lengths = pad_prompts(prompts, network.n_tokens, device, left=True)
        cache = DynamicCache()
        network(numbers, there.long(), _places_left(there), 1, cache)
        return RowState(pairs_of(cache), there, lengths, 0)

    def advance(
        self, network: CausalNetwork, state: RowState, tokens: Tensor, parents: Tensor
    ) -> tuple[Tensor, RowState]:
        users, width = tokens.shape
        before = len(state.there) // users
        rows = (torch.arange(users, device=tokens.device)[:, None] * before + parents).flatten()
        cache = cache_of([(keys[rows], values[rows]) for keys, values in state.pairs])
        there = torch.cat([state.there[rows], torch.ones_like(rows, dtype=torch.bool)[:, None]], 1)
        numbers = torch.where(tokens < 0, network.n_tokens, tokens).reshape(-1, 1)
        positions = (state.lengths + state.depth).repeat_interleave(width)[:, None]
        logits = network(numbers, there.long(), positions, 1, cache)
        state = RowState(pairs_of(cache), there, state.lengths, state.depth + 1)
        return logits.float().reshape(users, width, -1), state


Layout = TreeLayout | RowLayout
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (TreeLayout(), RowLayout())}
CLOSE = 1e-3  # of the logits' own spread: far above rounding, far below a wrong mask or position


def _causal(there: Tensor) -> Tensor:
    """What each prompt position sees, (U, S, S): what is there up to itself, and always itself."""
    size = there.shape[1]
    at = torch.arange(size, device=there.device)
    return (there[:, None] & (at <= at[:, None])) | torch.eye(size, dtype=torch.bool, device=there.device)


def _places(numbers: Tensor) -> Tensor:
    return torch.arange(numbers.shape[1], device=numbers.device).expand(len(numbers), -1)


def _places_left(there: Tensor) -> Tensor:
    return (there.long().cumsum(1) - 1).clamp(min=0)


def choose(network: CausalNetwork, asked: str, device: str) -> Layout:
    """The layout that was asked for; `auto`: `tree` where this architecture can, else `rows`. ConfigError if it cannot."""
    layout = LAYOUTS["tree" if asked != "rows" and _takes_trees(network, device) else "rows"]
    if asked not in ("auto", layout.name):
        raise ConfigError(
            "backbone.layout = 'tree': this architecture does not compute the same with it as on plain sequences; "
            "use auto or rows",
            part="backbone",
            key="layout",
        )
    with torch.no_grad():
        layout.start(network, _trial(network), device)
    return layout


def _trial(network: CausalNetwork) -> Sources:
    """Two short prompts of different lengths."""
    tokens = np.arange(7, dtype=np.int32) % network.n_tokens
    return Sources(tokens, np.zeros_like(tokens), np.ones_like(tokens), np.array([0, 2, 7], np.int64))


@torch.no_grad()
def _takes_trees(network: CausalNetwork, device: str) -> bool:
    """Whether a small tree has the logits of its plain sequences."""
    prompts, last = _trial(network), network.n_tokens - 1
    root = torch.zeros(2, 1, dtype=torch.long, device=device)
    tokens = (torch.arange(2, device=device) % network.n_tokens).expand(2, -1)
    turned = tokens.new_tensor([[1, 0]]).expand(2, -1)

    try:
        layout = TreeLayout()
        _, state = layout.advance(network, layout.start(network, prompts, device), root - 1, root)
        _, state = layout.advance(network, state, tokens, torch.zeros_like(tokens))
        ours, _ = layout.advance(network, state, torch.full_like(tokens, last), turned)
        plain = torch.stack([_plain(network, prompts, user, tokens[0, [1, 0]], last, device) for user in range(2)])
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError):
        return False  # it takes no such mask

    return bool((ours - plain).abs().max() <= CLOSE * plain.std())


def _plain(network: CausalNetwork, prompts: Sources, user: int, tokens: Tensor, last: int, device: str) -> Tensor:
    """Logits (N, V) after the prompt, the start, each of `tokens`, and `last`, by a forward pass without a cache."""
    prompt = prompts.tokens[prompts.offsets[user] : prompts.offsets[user + 1]].tolist()
    rows = torch.tensor([[*prompt, network.n_tokens, int(token), last] for token in tokens], device=device)
    return network(rows, torch.ones_like(rows), _places(rows), 1)[:, 0].float()
