"""Batches of the T5 network: sources and target trees as padded tensors, and their likelihood. Knows tokens only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental import _config as shapes

from genrec_bench.backbones.kernels import rows_of
from genrec_bench.backbones.t5 import T5
from genrec_bench.backbones.target_trees import TargetTrees, take_batch
from genrec_bench.core.arrays import Int64
from genrec_bench.core.sequences import Sources

TreeLoss = Callable[..., Tensor]  # `tree_loss`, or what `compiled` makes of it


def pad_sources(
    sources: Sources, device: str | torch.device, shape: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Embedding rows (U, S), additive mask (U, 1, 1, S) and whole-word numbers (U, S) of a batch; row 0 pads. `shape`:
    (U, S), where it is more than the batch needs."""
    shape = shape or (len(sources), max(1, int(sources.lengths.max())))
    lengths = np.pad(sources.lengths, (0, shape[0] - len(sources)))
    real = np.arange(shape[1]) < lengths[:, None]
    rows, words = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    rows[real], words[real] = sources.tokens.astype(np.int64) + 1, sources.words
    bias = np.where(real | (lengths[:, None] == 0), 0.0, -np.inf).astype(np.float32)[:, None, None]
    return tuple(torch.from_numpy(array).to(device) for array in (rows, bias, words))  # type: ignore[return-value]


def batch_loss(
    network: T5, sources: Sources, trees: TargetTrees, rows: Int64, device: str, loss: TreeLoss | None = None
) -> tuple[Tensor, int]:
    """Summed negative log-likelihood of the batch's target tokens, and their number. `loss`: `tree_loss`, compiled."""
    source_rows, mask, words = pad_sources(sources.take(rows), device)
    batch = take_batch(trees, rows)
    to = {name: torch.from_numpy(np.ascontiguousarray(value)).to(device).long() for name, value in vars(batch).items()}
    return (loss or tree_loss)(network, source_rows, mask, words, to), int(batch.edge_count.sum())


def tree_loss(network: T5, rows: Tensor, mask: Tensor, words: Tensor, trees: dict[str, Tensor]) -> Tensor:
    """The loss of padded sources (`pad_sources`) and trees (the fields of a `TreeBatch`): all that a compiler needs to see."""
    encoded = network.encode(rows, mask, words)
    hidden = network.decode_tree(trees["token"] + 1, trees["ancestors"], trees["depth"], encoded, mask)
    logp = network.logits(rows_of(hidden.flatten(0, 1), trees["real"])).float().log_softmax(-1)
    chosen = logp[trees["edge_node"], trees["edge_token"]]
    return -(chosen * trees["edge_count"]).sum()


def compiled(note: Callable[[str], None]) -> TreeLoss:
    """`tree_loss` by `torch.compile` with sizes left open; where that fails, a note, and `tree_loss` from then on.

    The first batch is gone through once more, backwards too: both directions are compiled when they are first run. Sizes
    that are equal in that batch are not taken for one, or it would all be compiled again when they differ.
    """
    fast = shapes.patch(use_duck_shape=False)(torch.compile(tree_loss, dynamic=True))
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
