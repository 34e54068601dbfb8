"""Batches of the T5 network: sources and target trees as padded tensors, and their likelihood. Knows tokens only."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genrec_bench.backbones.kernels import rows_of
from genrec_bench.backbones.t5 import T5
from genrec_bench.backbones.trees import TargetTrees, take_batch
from genrec_bench.types import Int64, Sources


def pad_sources(sources: Sources, device: str | torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Embedding rows (U, S), additive mask (U, 1, 1, S) and whole-word numbers (U, S) of a batch; row 0 pads."""
    lengths = sources.lengths
    shape = (len(sources), max(1, int(lengths.max())))
    there = np.arange(shape[1]) < lengths[:, None]
    rows, words = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    rows[there], words[there] = sources.tokens.astype(np.int64) + 1, sources.words
    bias = np.where(there | (lengths[:, None] == 0), 0.0, -np.inf).astype(np.float32)[:, None, None]
    return tuple(torch.from_numpy(array).to(device) for array in (rows, bias, words))  # type: ignore[return-value]


def batch_loss(network: T5, sources: Sources, trees: TargetTrees, rows: Int64, device: str) -> tuple[Tensor, int]:
    """Summed negative log-likelihood of the batch's target tokens, and their number."""
    source_rows, mask, words = pad_sources(sources.take(rows), device)
    batch = take_batch(trees, rows)
    to = {name: torch.from_numpy(np.ascontiguousarray(value)).to(device).long() for name, value in vars(batch).items()}
    encoded = network.encode(source_rows, mask, words)
    hidden = network.decode_tree(to["token"] + 1, to["ancestors"], to["depth"], encoded, mask)
    logp = network.logits(rows_of(hidden.flatten(0, 1), to["real"])).float().log_softmax(-1)
    chosen = logp[to["edge_node"], to["edge_token"]]
    return -(chosen * to["edge_count"]).sum(), int(batch.edge_count.sum())
