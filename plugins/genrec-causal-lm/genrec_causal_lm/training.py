"""Training of a causal LM by the toolkit's own loop: its examples laid out as the layout wants them, and its loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from genrec_bench.api import (
    BackboneContext,
    Examples,
    FitReport,
    Int64,
    Sources,
    TargetTrees,
    TrainingConfig,
    latest_targets,
    take_batch,
)
from genrec_bench.api import fit as fit_by
from genrec_causal_lm.layouts import Layout
from genrec_causal_lm.network import CausalNetwork


def fit(
    network: CausalNetwork, layout: Layout, examples: Examples, config: TrainingConfig, ctx: BackboneContext
) -> FitReport:
    """Train `network` in place and leave it with the weights of its best epoch."""

    def loss_of(sources: Sources, trees: TargetTrees, rows: Int64) -> tuple[Tensor, int]:
        """Summed negative log-likelihood of the rows' target tokens, each as often as targets pass it, and how many."""
        batch = take_batch(trees, rows)
        logits = layout.train(network, sources.take(rows), batch, ctx.device)  # (nodes, V)
        node, token, passing = (
            torch.from_numpy(x).to(logits.device) for x in (batch.edge_node, batch.edge_token, batch.edge_count)
        )
        return -(logits.float().log_softmax(-1)[node, token] * passing).sum(), int(batch.edge_count.sum())

    if layout.name == "rows":  # a hypothesis is a row, so a target is an example
        examples = one_target_each(latest_targets(examples, config.latest_targets or len(examples.targets)))
    tables = [p for module in network.tables.values() for p in module.parameters()]
    return fit_by(network, examples, config, ctx, loss_of, d_model=network.config.hidden_size, tables=tables)


def one_target_each(examples: Examples) -> Examples:
    """The same examples with a source of its own for every target."""
    owners = np.repeat(np.arange(len(examples)), np.diff(examples.target_offsets))
    offsets = np.arange(len(owners) + 1, dtype=np.int64)
    return replace(examples, sources=examples.sources.take(owners), target_offsets=offsets, redraw=None)
