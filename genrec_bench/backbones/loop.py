"""What a training has to keep: weights, optimiser, the best epoch so far, and all of it on disk.

Only parameters that are trained are kept, so that with adapters a checkpoint is small. Knows no batches and no loss.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genrec_bench.backbones.optimiser import AdamW
from genrec_bench.config import later
from genrec_bench.contracts import Context


@dataclass(frozen=True)
class TrainingConfig:
    """Options of training, common to the built-in backbones."""

    epochs: int = 30  # at most
    batch_size: int = 64  # sources per step, at most
    token_budget: int = later(
        0
    )  # tokens per step, source and target, padding counted, at most; 0 = whatever the sources have
    learning_rate: float = 1e-3  # peak
    weight_decay: float = 0.01  # on matrices; norms, biases and embeddings are not decayed
    warmup: float = 0.05  # share of the steps
    clip: float = 1.0  # gradient norm
    patience: int = 5  # validations without improvement before training stops; 0 = never
    validate_every: int = 1  # epochs
    examples_per_epoch: int = 0  # sources sampled per epoch; 0 = all
    latest_targets: int = 0  # targets of a source that are learned: its last ones (`direct` has many); 0 = all
    averaging: float = (
        0.0  # decay per step of a running mean of the weights, which is what is validated and kept; 0 = off
    )
    precision: str = "auto"  # fp32, bf16 (autocast), auto = bf16 where it is faster (see `resolve_precision`)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0")
        for name in ("patience", "token_budget", "examples_per_epoch", "latest_targets", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("warmup", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is a share, from 0 to below 1")
        if self.precision not in ("auto", "fp32", "bf16"):
            raise ValueError("precision is auto, fp32 or bf16")


class Loop:
    """What has to survive an interruption, and the few steps that change it."""

    def __init__(
        self, network: nn.Module, config: TrainingConfig, ctx: Context, steps: int, tables: Collection[Tensor] = ()
    ) -> None:
        self.network, self.config, self.ctx = network, config, ctx
        self.trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self.optimiser = self._optimiser(steps, tables)
        self.history: list[dict[str, Any]] = []
        self.best_epoch, self.best_score, self.stale = 0, -1.0, 0
        self.best: dict[str, Tensor] = {}
        self.mean = self._copy() if config.averaging else {}

    def _optimiser(self, steps: int, tables: Collection[Tensor]) -> AdamW:
        """Only matrices that are no tables lose weight."""
        spared = {id(table) for table in tables}
        spared |= {id(m.weight) for m in self.network.modules() if isinstance(m, nn.Embedding)}
        return AdamW(
            self.trained,
            {name for name, value in self.trained.items() if value.ndim > 1 and id(value) not in spared},
            learning_rate=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            steps=steps,
            warm=max(1, int(steps * self.config.warmup)),
        )

    @property
    def file(self) -> Path | None:
        return None if self.ctx.folder is None else self.ctx.folder / "checkpoint.pt"

    def step(self, loss: Tensor) -> None:
        """Learn from the loss of one batch."""
        loss.backward()
        self.optimiser.step(self.config.clip)
        if self.mean:
            with torch.no_grad():
                newest = [self.trained[name] for name in self.mean]
                torch._foreach_lerp_(list(self.mean.values()), newest, 1 - self.config.averaging)

    def finish_epoch(self, epoch: int, loss: float) -> None:
        row: dict[str, Any] = {"epoch": epoch, "loss": loss}
        newest = self._copy() if self.mean else {}
        self._put(self.mean)
        validate: Callable[[], float] | None = self.ctx.validate
        if validate is None:
            self._keep(epoch, -1.0)
        elif epoch % self.config.validate_every == 0 or epoch == self.config.epochs:
            row["validation"] = score = validate()
            if score > self.best_score or not self.best:
                self._keep(epoch, score)
            else:
                self.stale += 1
        self._put(newest)
        self.history.append(row)
        self._save(epoch)

    def _keep(self, epoch: int, score: float) -> None:
        self.best_epoch, self.best_score, self.stale = epoch, score, 0
        self.best = self._copy()

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.trained.items()}

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.trained[name].copy_(value)

    def exhausted(self) -> bool:
        return bool(self.config.patience) and self.stale >= self.config.patience

    def best_note(self) -> str:
        return f", best ndcg@10 {self.best_score:.4f} (epoch {self.best_epoch})" if self.best_score >= 0 else ""

    def _save(self, epoch: int) -> None:
        if self.file is None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "epoch": epoch,
            "network": {name: value.detach() for name, value in self.trained.items()},
            "optimiser": self.optimiser.state(),
            "best": self.best,
            "mean": self.mean,
            "facts": [self.history, self.best_epoch, self.best_score, self.stale],
        }
        partial = self.file.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.file)

    def resume(self) -> int:
        """Epochs already done, 0 if there is no checkpoint that fits."""
        if self.file is None or not self.file.exists():
            return 0
        try:
            state = torch.load(self.file, map_location=self.ctx.device, weights_only=True)
            shapes = {name: value.shape for name, value in self.trained.items()}
            if {name: value.shape for name, value in state["network"].items()} != shapes:
                raise ValueError("weights of other shapes")
            self.optimiser.load(state["optimiser"])
            self._put(state["network"])
        except Exception as error:  # any damage at all: training starts over, and says so
            self.ctx.progress.note(f"checkpoint {self.file} is not usable ({error}): training from the start")
            return 0
        self.best, self.mean = state["best"], state["mean"]
        self.history, self.best_epoch, self.best_score, self.stale = state["facts"]
        self.ctx.progress.note(f"resuming training after epoch {state['epoch']}")
        return int(state["epoch"])

    def restore_best(self) -> None:
        self._put(self.best)
        self.network.eval()
