"""The training loop of the built-in networks: batches, schedule, early stopping, checkpoints.

Everything random is drawn from (seed, epoch), so a run resumed from its checkpoint ends with the weights of a run that
was never interrupted. Knows trees of tokens, never items.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genrec_bench.backbones.t5 import T5
from genrec_bench.backbones.trees import TargetTrees, build_trees, latest_targets, take_batch
from genrec_bench.contracts import Context, FitReport
from genrec_bench.errors import Diverged
from genrec_bench.types import Examples, Int64, Sources


@dataclass(frozen=True)
class TrainingConfig:
    """Options of training, common to the built-in backbones."""

    epochs: int = 30  # at most
    batch_size: int = 64  # sources per step
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
        for name in ("patience", "examples_per_epoch", "latest_targets", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("warmup", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is a share, from 0 to below 1")
        if self.precision not in ("auto", "fp32", "bf16"):
            raise ValueError("precision is auto, fp32 or bf16")


def resolve_precision(precision: str, device: str, d_model: int) -> str:
    """`auto` as what it means on `device`: bf16 on GPUs that have it, and on CPUs with AVX-512 bf16 from d_model 128 on
    (measured: narrower networks lose more by the casts than they win), else fp32."""
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if device == "cpu" and d_model >= 128 and has() else "fp32"


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
    logp = network.logits(hidden.flatten(0, 1)[to["real"]]).float().log_softmax(-1)
    chosen = logp[to["edge_node"], to["edge_token"]]
    return -(chosen * to["edge_count"]).sum(), int(batch.edge_count.sum())


def epoch_batches(lengths: Int64, config: TrainingConfig, seed: int, epoch: int) -> Iterator[Int64]:
    """Batches of example numbers: similar lengths together, so that little is padding, in random order."""
    rng = np.random.default_rng([seed, epoch])
    rows = rng.permutation(len(lengths))
    if config.examples_per_epoch:
        rows = rows[: config.examples_per_epoch]
    window = config.batch_size * 16  # sorted within windows of the shuffled order: batches stay mixed
    pieces = [
        part[np.argsort(lengths[part], kind="stable")] for part in np.split(rows, range(window, len(rows), window))
    ]
    batches = [piece[at : at + config.batch_size] for piece in pieces for at in range(0, len(piece), config.batch_size)]
    for number in rng.permutation(len(batches)):
        yield batches[number]


def fit(network: T5, examples: Examples, config: TrainingConfig, ctx: Context) -> FitReport:
    """Train `network` in place and leave it with the weights of its best epoch."""
    if config.latest_targets:
        examples = latest_targets(examples, config.latest_targets)
    trees = build_trees(examples.targets, examples.target_offsets)
    precision = resolve_precision(config.precision, ctx.device, network.shape.d_model)
    used = min(len(examples), config.examples_per_epoch or len(examples))
    steps = -(-used // config.batch_size)  # windows are whole multiples of a batch, so only the last is short
    optimiser, schedule = _optimiser(network, config, steps * config.epochs, ctx.device)
    loop = _Loop(network, optimiser, schedule, config, ctx)
    resumed = loop.resume()
    sources = examples.sources
    devices = [torch.device(ctx.device)] if ctx.device.startswith("cuda") else []
    with ctx.progress.phase("training", config.epochs * steps, "steps") as tick, torch.random.fork_rng(devices):
        tick(resumed * steps)
        for epoch in range(resumed + 1, config.epochs + 1):
            if loop.exhausted():
                break
            torch.manual_seed(_stir(ctx.seed, epoch))
            if examples.redraw is not None:
                sources = examples.redraw(np.random.default_rng([ctx.seed, epoch, 1]))
            lengths = sources.lengths + trees.sizes
            network.train()
            total = count = 0.0
            for rows in epoch_batches(lengths, config, ctx.seed, epoch):
                with torch.autocast(ctx.device.split(":")[0], torch.bfloat16, enabled=precision == "bf16"):
                    loss, tokens = batch_loss(network, sources, trees, rows, ctx.device)
                if not torch.isfinite(loss):
                    raise Diverged(
                        f"the loss is {loss.item()} in epoch {epoch}: lower backbone.learning_rate", epoch=epoch
                    )
                loop.step(loss / tokens)
                total, count = total + loss.item(), count + tokens
                tick(1, f"epoch {epoch}/{config.epochs}, loss {total / count:.3f}{loop.best_note()}")
            network.eval()
            loop.finish_epoch(epoch, total / count)
    loop.restore_best()
    return FitReport(len(loop.history), loop.best_epoch, tuple(loop.history), used, resumed, precision)


def _stir(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)


def _optimiser(network: T5, config: TrainingConfig, steps: int, device: str) -> tuple[Any, Any]:
    """AdamW with linear warm-up and linear decay; only matrices are decayed."""
    tables = {id(m.weight) for m in network.modules() if isinstance(m, torch.nn.Embedding)}
    decayed = [p for p in network.parameters() if p.ndim > 1 and id(p) not in tables]
    kept = [p for p in network.parameters() if p.ndim <= 1 or id(p) in tables]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, eps=1e-6, fused=True)
    warm = max(1, int(steps * config.warmup))

    def factor(step: int) -> float:
        return min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


class _Loop:
    """What has to survive an interruption, and the few steps that change it."""

    def __init__(self, network: T5, optimiser: Any, schedule: Any, config: TrainingConfig, ctx: Context) -> None:
        self.network, self.optimiser, self.schedule = network, optimiser, schedule
        self.config, self.ctx = config, ctx
        self.history: list[dict[str, Any]] = []
        self.best_epoch, self.best_score, self.stale = 0, -1.0, 0
        self.best: dict[str, Tensor] = {}
        self.mean = self._copy() if config.averaging else {}

    @property
    def file(self) -> Path | None:
        return None if self.ctx.folder is None else self.ctx.folder / "checkpoint.pt"

    def step(self, loss: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimiser.step()
        self.schedule.step()
        with torch.no_grad():
            for name, value in self.network.state_dict().items() if self.mean else ():
                self.mean[name].lerp_(value, 1 - self.config.averaging)

    def finish_epoch(self, epoch: int, loss: float) -> None:
        row: dict[str, Any] = {"epoch": epoch, "loss": loss}
        newest = self._copy() if self.mean else {}
        if self.mean:
            self.network.load_state_dict(self.mean)
        validate: Callable[[], float] | None = self.ctx.validate
        if validate is None:
            self._keep(epoch, -1.0)
        elif epoch % self.config.validate_every == 0 or epoch == self.config.epochs:
            row["validation"] = score = validate()
            if score > self.best_score or not self.best:
                self._keep(epoch, score)
            else:
                self.stale += 1
        if newest:
            self.network.load_state_dict(newest)
        self.history.append(row)
        self._save(epoch)

    def _keep(self, epoch: int, score: float) -> None:
        self.best_epoch, self.best_score, self.stale = epoch, score, 0
        self.best = self._copy()

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

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
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
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
            shapes = {name: value.shape for name, value in self.network.state_dict().items()}
            if {name: value.shape for name, value in state["network"].items()} != shapes:
                raise ValueError("weights of other shapes")
            self.optimiser.load_state_dict(state["optimiser"])
            self.network.load_state_dict(state["network"])
        except Exception as error:  # any damage at all: training starts over, and says so
            self.ctx.progress.note(f"checkpoint {self.file} is not usable ({error}): training from the start")
            return 0
        self.schedule.last_epoch = state["schedule"]["last_epoch"]
        self.schedule._last_lr = [group["lr"] for group in self.optimiser.param_groups]
        self.best, self.mean = state["best"], state["mean"]
        self.history, self.best_epoch, self.best_score, self.stale = state["facts"]
        self.ctx.progress.note(f"resuming training after epoch {state['epoch']}")
        return int(state["epoch"])

    def restore_best(self) -> None:
        if self.best:
            self.network.load_state_dict(self.best)
        self.network.eval()
