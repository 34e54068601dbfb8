"""Our training loop without validation and checkpoints, as the benchmarks time it."""

from __future__ import annotations

import torch

from genrec_bench.api import BackboneContext, Examples, Int64, TrainingConfig, build_trees
from genrec_bench.backbones.batches import TreeLoss, batch_loss, visible_words
from genrec_bench.backbones.t5 import T5
from genrec_bench.backbones.trainer import Training, epoch_batches
from genrec_bench.core.code_trees import CodeTree
from genrec_bench.host.contracts import Normalisation


def config(batch_size: int = 32) -> TrainingConfig:
    """Options of both loops."""
    return TrainingConfig(batch_size=batch_size, learning_rate=1e-3, warmup=0.2, precision="fp32")


class OurLoop:
    """Our training of a copy of `net`, with a compiled `loss` if one is given.

    `batch_size` is in sources a step. `positions` counts the source tokens fed so far, `padding` those of them that were
    padding.
    """

    def __init__(
        self,
        net: T5,
        examples: Examples,
        steps: int,
        precision: str,
        loss: TreeLoss | None = None,
        *,
        normalisation: Normalisation = "alphabet",
        batch_size: int = 32,
    ) -> None:
        self.device = next(net.parameters()).device.type
        self.net = T5(net.shape).to(self.device).train()
        self.net.load_state_dict(net.state_dict())

        examples = visible_words(examples) if net.shape.word_width else examples
        self.examples, self.precision, self.config, self.loss = examples, precision, config(batch_size), loss
        self.trees = build_trees(examples.targets, examples.target_offsets, examples.visible)
        if normalisation == "children":
            self.trees = self.trees.placed_in(CodeTree.build(examples.catalogue))
        self.lengths = examples.sources.lengths + self.trees.sizes
        self.loop = Training(self.net, self.config, BackboneContext(device=self.device), steps)
        self.epoch = self.positions = self.padding = 0

    def batches(self) -> list[Int64]:
        """The batches of the next epoch."""
        self.epoch += 1
        return list(epoch_batches(self.lengths, self.config, 0, self.epoch))

    def pass_over(self) -> None:
        """One epoch."""
        for rows in self.batches():
            self.step(rows)

    def step(self, rows: Int64) -> torch.Tensor:
        """Learn from some sources with all their targets; the mean loss of a target token, not yet waited for."""
        loss, tokens = self.loss_of(rows)
        self.loop.step(loss / tokens)

        lengths = self.examples.sources.lengths[rows]
        positions = len(rows) * int(lengths.max())
        self.positions += positions
        self.padding += positions - int(lengths.sum())
        return loss.detach() / tokens

    def loss_of(self, rows: Int64) -> tuple[torch.Tensor, int]:
        """The summed loss of some sources with all their targets, and their number of target tokens."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            return batch_loss(self.net, self.examples.sources, self.trees, rows, self.device, self.loss)
