"""The training loop: likelihood of target codes, warm-up and decay, early stopping, checkpoints.

Everything random is drawn from (seed, epoch), so a run resumed from its checkpoint ends with the weights of a run that
was never interrupted. Only the parameters that are trained are kept: with LoRA, a checkpoint is small. Knows tokens only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genrec_bench.backbones.training import resolve_precision
from genrec_bench.backbones.trees import latest_targets, take_batch
from genrec_bench.contracts import Context, FitReport
from genrec_bench.errors import Diverged
from genrec_bench.types import Examples, Int64
from genrec_causal_lm.layouts import Layout, targets_as_trees
from genrec_causal_lm.network import CausalNetwork


@dataclass(frozen=True)
class TrainingOptions:
    """Options of training. In the direct task a source's targets are all learned at once, as one tree of positions."""

    epochs: int = 20  # at most
    batch_size: int = 32  # sources per step
    learning_rate: float = 1e-3  # peak
    weight_decay: float = 0.01  # on matrices; norms, biases and embeddings are not decayed
    warmup: float = 0.05  # share of the steps
    clip: float = 1.0  # gradient norm
    patience: int = 5  # validations without improvement before training stops; 0 = never
    validate_every: int = 1  # epochs
    examples_per_epoch: int = 0  # sources sampled per epoch; 0 = all
    latest_targets: int = 0  # targets of a source that are learned: its last ones (`direct` has many); 0 = all
    averaging: float = 0.0  # decay per step of a running mean of the weights, validated and kept instead; 0 = off
    precision: str = "auto"  # of training: fp32, bf16 (autocast), auto = bf16 where it is faster; decoding is fp32

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0")
        for name in ("patience", "examples_per_epoch", "latest_targets", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("warmup", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is a share, from 0 to below 1")
        if self.precision not in ("auto", "fp32", "bf16"):
            raise ValueError("precision is auto, fp32 or bf16")


def fit(
    network: CausalNetwork, layout: Layout, examples: Examples, options: TrainingOptions, ctx: Context
) -> FitReport:
    """Train `network` in place and leave it with the weights of its best epoch."""
    if options.latest_targets:
        examples = latest_targets(examples, options.latest_targets)
    trees, owners = targets_as_trees(layout, examples.sources, examples.targets, examples.target_offsets)
    precision = resolve_precision(options.precision, ctx.device, network.config.hidden_size)
    used = min(len(owners), options.examples_per_epoch or len(owners))
    steps = -(-used // options.batch_size)
    loop = Loop(network, options, ctx, steps * options.epochs)
    resumed = loop.resume()
    lengths = examples.sources.lengths[owners] + trees.sizes
    device = ctx.device.split(":")[0]
    with ctx.progress.phase("training", options.epochs * steps, "steps") as tick, forked(ctx.device):
        tick(resumed * steps)
        for epoch in range(resumed + 1, options.epochs + 1):
            if loop.exhausted():
                break
            torch.manual_seed(int(np.random.SeedSequence([ctx.seed, epoch]).generate_state(1, np.uint64)[0] >> 1))
            network.train()
            total = count = 0.0
            for rows in epoch_batches(lengths, options, ctx.seed, epoch):
                batch = take_batch(trees, rows)
                with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                    logits = layout.train(network, examples.sources.take(owners[rows]), batch, ctx.device)
                loss, tokens = negative_log_likelihood(logits, batch), int(batch.edge_count.sum())
                if not torch.isfinite(loss):
                    raise Diverged(
                        f"the loss is {loss.item()} in epoch {epoch}: lower backbone.learning_rate", epoch=epoch
                    )
                loop.step(loss / tokens)
                total, count = total + loss.item(), count + tokens
                tick(1, f"epoch {epoch}/{options.epochs}, loss {total / count:.3f}{loop.best_note()}")
            network.eval()
            loop.finish_epoch(epoch, total / count)
    loop.restore_best()
    return FitReport(len(loop.history), loop.best_epoch, tuple(loop.history), used, resumed, precision)


def negative_log_likelihood(logits: Tensor, batch: Any) -> Tensor:
    """Summed over the batch's target tokens: `logits` (nodes, V), each edge of the trees as often as targets pass it."""
    node, token, passing = (
        torch.from_numpy(x).to(logits.device) for x in (batch.edge_node, batch.edge_token, batch.edge_count)
    )
    return -(logits.float().log_softmax(-1)[node, token] * passing).sum()


def epoch_batches(lengths: Int64, options: TrainingOptions, seed: int, epoch: int) -> Iterator[Int64]:
    """Batches of example numbers: similar lengths together, so that little is padding, in random order."""
    rng = np.random.default_rng([seed, epoch])
    rows = rng.permutation(len(lengths))[: options.examples_per_epoch or None]
    size, window = options.batch_size, options.batch_size * 16  # sorted within windows, so that batches stay mixed
    windows = [rows[at : at + window] for at in range(0, len(rows), window)]
    rows = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in windows])
    batches = [rows[at : at + size] for at in range(0, len(rows), size)]
    for number in rng.permutation(len(batches)):
        yield batches[number]


def forked(device: str) -> Any:
    """Random numbers of the block's own: the caller's go on where they were."""
    return torch.random.fork_rng([torch.device(device)] if device.startswith("cuda") else [])


class Loop:
    """What has to survive an interruption, and the few steps that change it."""

    def __init__(self, network: CausalNetwork, options: TrainingOptions, ctx: Context, steps: int) -> None:
        self.network, self.options, self.ctx = network, options, ctx
        self.trained = network.trained()
        tables = {id(p) for m in network.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        tables |= {id(p) for m in network.tables.values() for p in m.parameters()}
        plain = [p for p in self.trained.values() if p.ndim <= 1 or id(p) in tables]
        decayed = [p for p in self.trained.values() if p.ndim > 1 and id(p) not in tables]
        groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=options.learning_rate, eps=1e-6, fused=True)
        warm = max(1, int(steps * options.warmup))

        def factor(step: int) -> float:
            return min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm)))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, factor)
        self.history: list[dict[str, Any]] = []
        self.best_epoch, self.best_score, self.stale = 0, -1.0, 0
        self.best: dict[str, Tensor] = {}
        self.mean = self._copy() if options.averaging else {}

    @property
    def file(self) -> Path | None:
        return None if self.ctx.folder is None else self.ctx.folder / "checkpoint.pt"

    def step(self, loss: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(list(self.trained.values()), self.options.clip)
        self.optimiser.step()
        self.schedule.step()
        with torch.no_grad():
            for name in self.mean:
                self.mean[name].lerp_(self.trained[name], 1 - self.options.averaging)

    def finish_epoch(self, epoch: int, loss: float) -> None:
        row: dict[str, Any] = {"epoch": epoch, "loss": loss}
        newest = self._copy() if self.mean else {}
        self._put(self.mean)
        if self.ctx.validate is None:
            self._keep(epoch, -1.0)
        elif epoch % self.options.validate_every == 0 or epoch == self.options.epochs:
            row["validation"] = score = self.ctx.validate()
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
        return bool(self.options.patience) and self.stale >= self.options.patience

    def best_note(self) -> str:
        return f", best ndcg@10 {self.best_score:.4f} (epoch {self.best_epoch})" if self.best_score >= 0 else ""

    def _save(self, epoch: int) -> None:
        if self.file is None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "epoch": epoch,
            "network": self._copy(),
            "optimiser": self.optimiser.state_dict(),
            "steps": self.schedule.last_epoch,
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
            if {n: v.shape for n, v in state["network"].items()} != {n: v.shape for n, v in self.trained.items()}:
                raise ValueError("weights of other shapes")
            self.optimiser.load_state_dict(state["optimiser"])
            self.history, self.best_epoch, self.best_score, self.stale = state["facts"]
            self.best, self.mean, self.schedule.last_epoch = state["best"], state["mean"], state["steps"]
        except Exception as error:  # any damage at all: training starts over, and says so
            self.ctx.progress.note(f"checkpoint {self.file} is not usable ({error}): training from the start")
            return 0
        self._put(state["network"])
        self.schedule._last_lr = [group["lr"] for group in self.optimiser.param_groups]
        self.ctx.progress.note(f"resuming training after epoch {state['epoch']}")
        return int(state["epoch"])

    def restore_best(self) -> None:
        self._put(self.best)
        self.network.eval()
