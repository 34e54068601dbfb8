"""The usual training loop, to compare with: Hugging Face's T5 with eager attention, one sequence per target.

Batches are drawn at random and padded to their longest source, labels are padded with -100, and numbers are fp32. AdamW
is not fused: it updates one tensor after the other on a CPU and all at once on a GPU, as PyTorch does by default. The
softmax is over the code tokens, as ours is. Token ids are ours plus one: id 0 is the padding and the start token.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genrec_bench.api import Examples, Int64, TrainingConfig
from genrec_bench.backbones.t5 import T5
from genrec_speed.hf import padded, twin


class UsualLoop:
    """Trains a copy of `net` on pairs of a source and one of its targets, numbered as `examples.targets` are.

    `positions` counts the source tokens fed so far, `padding` those of them that were padding.
    """

    def __init__(self, net: T5, examples: Examples, config: TrainingConfig, steps: int) -> None:
        self.model = twin(net, attn_implementation="eager").train()
        self.examples, self.config = examples, config
        self.device = next(net.parameters()).device
        self.source = np.repeat(np.arange(len(examples)), np.diff(examples.target_offsets))  # of each pair
        self.positions = self.padding = 0

        # Weight decay skips embeddings and norms.
        tables = {id(module.weight) for module in self.model.modules() if isinstance(module, nn.Embedding)}
        matrices = [p for p in self.model.parameters() if p.ndim > 1 and id(p) not in tables]
        rest = [p for p in self.model.parameters() if p.ndim <= 1 or id(p) in tables]
        groups = [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, eps=1e-6, fused=False)

        warm = max(1, int(steps * config.warmup))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser,
            lambda step: min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm))),
        )

    def pass_over(self, pairs: Int64, batch_size: int, rng: np.random.Generator) -> None:
        """Learn from all pairs once, in random order."""
        order = rng.permutation(pairs)
        for start in range(0, len(order), batch_size):
            self.step(order[start : start + batch_size])

    def step(self, pairs: Int64) -> Tensor:
        """Learn from some pairs; the mean loss of a target token."""
        ids, mask = self._sources(pairs)
        labels = torch.from_numpy(self.examples.targets[pairs].astype(np.int64)).to(self.device)
        inputs = F.pad(labels[:, :-1] + 1, (1, 0))  # id 0 starts, and pads a shorter code

        logits = self.model(input_ids=ids, attention_mask=mask, decoder_input_ids=inputs).logits[..., 1:]
        labels = labels.masked_fill(labels < 0, -100)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())

        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimiser.step()
        self.schedule.step()
        return loss.detach()

    def _sources(self, pairs: Int64) -> tuple[Tensor, Tensor]:
        sources = self.examples.sources.take(self.source[pairs])
        ids, mask = padded(sources, self.device)
        self.positions += ids.numel()
        self.padding += ids.numel() - len(sources.tokens)
        return ids, mask
