"""The usual training loop, to compare with: Hugging Face's T5 with eager attention, one sequence per target.

Batches are drawn at random and padded to their longest, labels are padded with -100, numbers are fp32, and AdamW is not
fused: on a CPU it takes one tensor after the other, on a GPU all at once, as PyTorch does by itself. The softmax is over the
code tokens, as ours is; token ids are ours plus one, 0 pads and starts.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genrec_bench.backbones.t5 import T5
from genrec_bench.backbones.trainer import TrainingConfig
from genrec_bench.bench.hf import twin
from genrec_bench.core.arrays import Int64
from genrec_bench.core.sequences import Examples


class UsualLoop:
    """Trains a copy of `net` on pairs of a source and one of its targets, numbered as `examples.targets` are."""

    def __init__(self, net: T5, examples: Examples, config: TrainingConfig, steps: int) -> None:
        self.model, self.examples, self.config = twin(net, attn_implementation="eager").train(), examples, config
        self.device = next(net.parameters()).device
        self.source = np.repeat(np.arange(len(examples)), np.diff(examples.target_offsets))  # of each pair
        tables = {id(m.weight) for m in self.model.modules() if isinstance(m, nn.Embedding)}
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
        self.positions = self.padding = 0  # source tokens fed so far, and how many of them were padding

    def pass_over(self, pairs: Int64, batch_size: int, rng: np.random.Generator) -> None:
        """One pass over the pairs in random order."""
        order = rng.permutation(pairs)
        for at in range(0, len(order), batch_size):
            self.step(order[at : at + batch_size])

    def step(self, pairs: Int64) -> Tensor:
        """Learn from some pairs; the mean loss of a target token."""
        ids, mask = self._sources(pairs)
        labels = torch.from_numpy(self.examples.targets[pairs].astype(np.int64)).to(self.device)
        inputs = F.pad(labels[:, :-1] + 1, (1, 0))  # the start token is 0, and so is what follows a shorter code
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
        there = np.arange(int(sources.lengths.max())) < sources.lengths[:, None]
        ids = np.zeros(there.shape, np.int64)
        ids[there] = sources.tokens + 1
        self.positions, self.padding = self.positions + ids.size, self.padding + int((~there).sum())
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(there.astype(np.int64)).to(self.device)
