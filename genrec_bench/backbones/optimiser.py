"""AdamW (Loshchilov and Hutter 2019) with linear warm-up and linear decay, and clipping by the gradient's norm.

The step is PyTorch's fused kernel, bit by bit that of `torch.optim.AdamW(fused=True)`. The class around it is ours because
`torch.optim` imports the whole compiler, which takes longer than an epoch of a small network. Knows parameters by name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from genrec_bench.backbones.kernels import clip

BETAS, EPSILON = (0.9, 0.999), 1e-6


class AdamW:
    """Trains `parameters`, by name; those named in `decayed` lose `weight_decay` times the rate of their weight a step.

    The rate rises to `learning_rate` over the first `warm` steps and falls to 0 at step `steps`.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        decayed: Collection[str],
        *,
        learning_rate: float,
        weight_decay: float,
        steps: int,
        warm: int,
    ) -> None:
        self.parameters, self.learning_rate, self.steps, self.warm = parameters, learning_rate, steps, warm
        kept = [name for name in parameters if name not in decayed]
        self.groups = ((weight_decay, [name for name in parameters if name in decayed]), (0.0, kept))
        self.first = {name: torch.zeros_like(value) for name, value in parameters.items()}
        self.second = {name: torch.zeros_like(value) for name, value in parameters.items()}
        self.updates = {name: torch.zeros((), device=value.device) for name, value in parameters.items()}
        self.taken = 0

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        falling = max(0.0, (self.steps - self.taken) / max(1, self.steps - self.warm))
        return self.learning_rate * min((self.taken + 1) / self.warm, falling)

    @torch.no_grad()
    def step(self, most: float) -> None:
        """One step by the gradients, after their common norm is brought to at most `most`; then they are let go."""
        clip([value.grad for value in self.parameters.values() if value.grad is not None], most)
        for decay, names in self.groups:
            moved = [name for name in names if self.parameters[name].grad is not None]
            if not moved:
                continue
            torch._foreach_add_([self.updates[name] for name in moved], 1)
            torch._fused_adamw_(
                [self.parameters[name] for name in moved],
                [self.parameters[name].grad for name in moved],
                [self.first[name] for name in moved],
                [self.second[name] for name in moved],
                [],
                [self.updates[name] for name in moved],
                lr=self.rate,
                beta1=BETAS[0],
                beta2=BETAS[1],
                weight_decay=decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )
        for value in self.parameters.values():
            value.grad = None
        self.taken += 1

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; tensors are the living ones, not copies."""
        return {"first": self.first, "second": self.second, "updates": self.updates, "taken": self.taken}

    def load(self, state: Mapping[str, Any]) -> None:
        """What `state` gave. KeyError or RuntimeError for what belongs to other parameters."""
        for mine, theirs in ((self.first, "first"), (self.second, "second"), (self.updates, "updates")):
            for name, value in mine.items():
                value.copy_(state[theirs][name])
        self.taken = int(state["taken"])
