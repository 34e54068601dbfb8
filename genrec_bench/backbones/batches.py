"""Batches of the T5 network: sources and target trees as padded tensors, and their likelihood. Knows tokens only."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental import _config as shapes

from genrec_bench.backbones.kernels import rows_of
from genrec_bench.backbones.t5 import T5
from genrec_bench.backbones.target_trees import TargetTrees, pack_batch, take_batch
from genrec_bench.core.arrays import Bool, Float32, Int64
from genrec_bench.core.sequences import Examples, Sources

TreeLoss = Callable[..., Tensor]  # `tree_loss`, or what `compiled` makes of it


def pad_sources(
    sources: Sources, device: str | torch.device, shape: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Embedding rows (U, S), additive mask (U, 1, 1, S) and whole-word numbers (U, S) of a batch; row 0 pads. `shape`:
    (U, S), where it is more than the batch needs."""
    users, length = shape or (len(sources), max(1, int(sources.lengths.max())))
    real = _filled(sources.lengths, users, length)
    rows, words = np.zeros((users, length), np.int64), np.zeros((users, length), np.int64)
    rows[real], words[real] = sources.tokens.astype(np.int64) + 1, sources.words
    return _on(device, rows, _mask_of(real), words)


def pad_words(
    sources: Sources, device: str | torch.device, width: int, shape: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with one position for each whole word, of `width` tokens at most: rows (U, S, width), mask (U, 1, 1, S) and
    numbers (U, S)."""
    word = word_places(sources)
    counts = _words_in(sources, word)
    users, length = shape or (len(sources), max(1, int(counts.max())))
    first = np.diff(word, prepend=-1) != 0
    first[sources.offsets[:-1][sources.lengths > 0]] = True
    starts = np.flatnonzero(first)
    place = np.arange(len(word)) - np.repeat(starts, np.diff(starts, append=len(word)))  # of a token in its word

    real = _filled(counts, users, length)
    user = np.repeat(np.arange(len(sources)), sources.lengths)
    rows = np.zeros((users, length, width), np.int64)
    words = np.zeros((users, length), np.int64)
    rows[user, word, place] = sources.tokens.astype(np.int64) + 1
    words[user, word] = sources.words
    return _on(device, rows, _mask_of(real), words)


def word_places(sources: Sources) -> Int64:
    """The number of each token's word within its source, from 0, `(tokens,)`."""
    starts = np.repeat(sources.offsets[:-1], sources.lengths)
    changes = np.diff(sources.words, prepend=-1) != 0
    changes[sources.offsets[:-1][sources.lengths > 0]] = True
    count = np.cumsum(changes)
    return count - count[starts] if len(count) else count


def longest_word(sources: Sources) -> int:
    """The most tokens that a whole word has."""
    word = word_places(sources)
    owner = np.repeat(np.arange(len(sources)), sources.lengths)
    starts = np.flatnonzero((np.diff(word, prepend=-1) != 0) | (np.diff(owner, prepend=-1) != 0))
    return int(np.diff(starts, append=len(word)).max(initial=0))


def _words_in(sources: Sources, word: Int64) -> Int64:
    """How many words each source has."""
    counts = np.zeros(len(sources), np.int64)
    some = sources.lengths > 0
    counts[some] = word[sources.offsets[1:][some] - 1] + 1
    return counts


def visible_words(examples: Examples) -> Examples:
    """The same examples with `visible` counted in whole words; each target sees whole words only."""
    if examples.visible is None:
        return examples
    word, sources = word_places(examples.sources), examples.sources
    owner = np.repeat(np.arange(len(sources)), np.diff(examples.target_offsets))
    return replace(examples, visible=word[sources.offsets[:-1][owner] + examples.visible - 1] + 1)


def _filled(lengths: Int64, users: int, length: int) -> Bool:
    """Which places of (users, length) the first `lengths` fill; further users have none."""
    return np.arange(length) < np.pad(lengths, (0, users - len(lengths)))[:, None]


def _mask_of(real: Bool) -> Float32:
    """The additive mask (U, 1, 1, S) that leaves what is real, and everything where nothing is."""
    seen = real | ~real.any(axis=1, keepdims=True)
    return np.where(seen, 0.0, -np.inf).astype(np.float32)[:, None, None]


def _on(device: str | torch.device, rows: Int64, mask: Float32, words: Int64) -> tuple[Tensor, Tensor, Tensor]:
    rows_on, mask_on, words_on = (torch.from_numpy(array).to(device) for array in (rows, mask, words))
    return rows_on, mask_on, words_on


def batch_loss(
    network: T5, sources: Sources, trees: TargetTrees, rows: Int64, device: str, loss: TreeLoss | None = None
) -> tuple[Tensor, int]:
    """Summed negative log-likelihood of the batch's target tokens, and their number. `loss`: `tree_loss`, compiled.

    Normalised over the children of each node where the trees have their places in the catalogue.
    """
    source_rows, mask, words = pad_for(network, sources.take(rows), device)
    batch = take_batch(trees, rows)
    arrays: dict[str, np.ndarray] = {"edge_node": batch.edge_node, "edge_count": batch.edge_count}
    if network.shape.cross:
        arrays |= {name: getattr(batch, name) for name in ("token", "depth", "ancestors", "real")}
        if (batch.visible >= 0).any():
            arrays["visible"] = batch.visible
    else:
        arrays |= vars(pack_batch(batch))

    places = trees.places
    if places is None:
        arrays["edge_at"] = batch.edge_token
    else:
        nodes, which = np.unique(places.node[batch.nodes], return_inverse=True)
        arrays |= {"edge_at": places.edge[batch.edges], "children": places.tree.children(nodes), "which": which}

    to = {name: torch.from_numpy(np.ascontiguousarray(value)).to(device).long() for name, value in arrays.items()}
    return (loss or tree_loss)(network, source_rows, mask, words, to), int(batch.edge_count.sum())


def pad_for(
    network: T5, sources: Sources, device: str | torch.device, shape: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The sources as the network's encoder reads them: by token, or by whole word."""
    if network.shape.word_width:
        return pad_words(sources, device, network.shape.word_width, shape)
    return pad_sources(sources, device, shape)


def tree_loss(network: T5, rows: Tensor, mask: Tensor, words: Tensor, trees: dict[str, Tensor]) -> Tensor:
    """The loss of padded sources (`pad_sources`, `pad_words`) and trees (`Batches.loss`): all that a compiler needs to
    see."""
    encoded = network.encode(rows, mask, words)
    nodes = trees["token"] + 1, trees["ancestors"], trees["depth"]
    if network.shape.cross:
        hidden = network.decode_tree(*nodes, encoded, shown(mask, trees.get("visible")))
        hidden = rows_of(hidden.flatten(0, 1), trees["real"])
    else:
        hidden = network.decode_packed(*nodes, trees["owner"], trees["visible"], encoded, mask)

    if "children" in trees:
        children = trees["children"]
        logits = network.node_logits(hidden, children.clamp(min=0), trees["which"]).float()
        logits = logits.masked_fill((children < 0)[trees["which"]], -math.inf)
    else:
        logits = network.logits(hidden).float()
    chosen = logits.log_softmax(-1)[trees["edge_node"], trees["edge_at"]]
    return -(chosen * trees["edge_count"]).sum()


def shown(mask: Tensor, visible: Tensor | None) -> Tensor:
    """An additive `mask` (U, 1, 1, S) for positions that see the first `visible` (U, N) encoder positions only (-1: all):
    (U, 1, N, S). None: all of them see all."""
    if visible is None:
        return mask
    at = torch.arange(mask.shape[-1], device=mask.device)
    hidden = (at >= visible[..., None]) & (visible >= 0)[..., None]  # (U, N, S)
    return mask.masked_fill(hidden[:, None], -math.inf)


def compiled(note: Callable[[str], None]) -> TreeLoss:
    """`tree_loss` by `torch.compile` with sizes left open; where that fails, a note, and `tree_loss` from then on.

    The first batch is gone through once more, backwards too: both directions are compiled when they are first run. Sizes
    that are equal in that batch are not taken for one, or it would all be compiled again when they differ.
    """
    open_sizes = shapes.patch(use_duck_shape=False)  # type: ignore[attr-defined]  # torch adds it when it is imported
    fast: TreeLoss = open_sizes(torch.compile(tree_loss, dynamic=True))
    broken = tried = False

    def loss(network: T5, *batch: Any) -> Tensor:
        nonlocal broken, tried
        if not broken:
            try:
                if not tried:
                    _try_both_ways(fast, network, *batch)
                    tried = True
                return fast(network, *batch)
            except Exception as error:  # no compiler, an operation it does not know: many ways, one answer
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                note(f"torch.compile does not work here ({first}): training goes on without it")
                broken = True
        return tree_loss(network, *batch)

    return loss


def _try_both_ways(loss: TreeLoss, network: T5, rows: Tensor, *batch: Any) -> None:
    """One step's work on a batch that leaves neither gradients nor a trace in the random numbers."""
    try:
        with torch.random.fork_rng([rows.device] if rows.device.type == "cuda" else []):
            loss(network, rows, *batch).backward()
    finally:  # one that breaks off halfway has left some gradients
        network.zero_grad(set_to_none=True)
