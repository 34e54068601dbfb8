"""The training loop of backbones: batches, early stopping, checkpoints, for any network over tokens.

Everything random is drawn from (seed, epoch), so a run resumed from its checkpoint ends with the weights of a run that
was never interrupted. Knows trees of tokens, never items, and of a network only its parameters and its loss.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from genrec_bench.backbones.base import forked
from genrec_bench.backbones.target_trees import TargetTrees, build_trees, latest_targets
from genrec_bench.core.arrays import Int64
from genrec_bench.core.code_trees import CodeTree
from genrec_bench.core.sequences import Examples, Sources
from genrec_bench.errors import Diverged
from genrec_bench.host.contracts import BackboneContext, FitReport, Normalisation
from genrec_bench.host.ranges import Share

# The summed negative log-likelihood of the target tokens of some examples (by number), and how many tokens these are.
Loss = Callable[[Sources, TargetTrees, Int64], tuple[Tensor, int]]

BETAS, EPSILON = (0.9, 0.999), 1e-6  # of AdamW
SORTED_BATCHES = 16  # examples are sorted by length within windows of so many batches, so that batches stay mixed
READ_EVERY = 20  # steps between two looks at a GPU's loss: each one waits for the GPU


# options --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingConfig:
    """Options of training, common to the built-in backbones."""

    epochs: PositiveInt = 30  # maximum number of epochs
    batch_size: PositiveInt = 64  # maximum number of sources per step
    token_budget: NonNegativeInt = 0  # maximum number of tokens per step (source, target, padding); 0 = no limit
    learning_rate: PositiveFloat = 1e-3  # peak learning rate
    weight_decay: NonNegativeFloat = 0.01  # on matrices; norms, biases and embeddings are not decayed
    warmup: Share = 0.05  # share of the steps in which the learning rate rises
    clip: PositiveFloat = 1.0  # maximum norm of the gradient
    patience: NonNegativeInt = 5  # validations without improvement before training stops; 0 = never
    validate_every: PositiveInt = 1  # epochs between validations
    examples_per_epoch: NonNegativeInt = 0  # sources sampled per epoch; 0 = all
    latest_targets: NonNegativeInt = 0  # learn only a source's last targets (`direct` has many); 0 = all
    averaging: Share = 0.0  # decay per step of a mean of the weights, which is validated and kept; 0 = off
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # bf16 (autocast); auto = bf16 where it is faster


def resolve_precision(precision: str, device: str, d_model: int) -> str:
    """`auto` as fp32 or bf16, whichever trains faster on `device`.

    bf16 on GPUs that have it, and on CPUs with AVX-512 bf16 from d_model 128 on: narrower networks lose more by the casts
    than they win (measured).
    """
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # no public function tells
    return "bf16" if device == "cpu" and d_model >= 128 and has() else "fp32"


# batches --------------------------------------------------------------------------------------------------------------


def epoch_batches(lengths: Int64, config: TrainingConfig, seed: int, epoch: int) -> Iterator[Int64]:
    """Batches of example numbers: similar lengths together, so that little is padding, in random order.

    `lengths` (examples,) are their tokens, source and target. A batch has at most `batch_size` examples and, padded to
    the longest, `token_budget` tokens; an example above the budget is a batch of its own.
    """
    rng = np.random.default_rng([seed, epoch])
    rows = rng.permutation(len(lengths))
    if config.examples_per_epoch:
        rows = rows[: config.examples_per_epoch]

    size = config.batch_size * SORTED_BATCHES
    windows = np.split(rows, range(size, len(rows), size))
    by_length = [window[np.argsort(lengths[window], kind="stable")] for window in windows]

    batches = [batch for window in by_length for batch in _cut(window, lengths[window], config)]
    for number in rng.permutation(len(batches)):
        yield batches[number]


def _cut(rows: Int64, lengths: Int64, config: TrainingConfig) -> Iterator[Int64]:
    """`rows`, sorted by their `lengths`, in batches."""
    at = 0
    while at < len(rows):
        size = len(rows[at : at + config.batch_size])
        if config.token_budget:
            padded = np.arange(1, size + 1) * lengths[at : at + size]  # the last is the longest
            size = max(1, int(np.searchsorted(padded, config.token_budget, side="right")))
        yield rows[at : at + size]
        at += size


def steps_of(lengths: Int64, config: TrainingConfig, seed: int) -> int:
    """Steps of a whole training. Under a token budget epochs differ in them, and prompts drawn anew may move the number
    a little."""
    if config.token_budget:
        epochs = range(1, config.epochs + 1)
        return sum(sum(1 for _ in epoch_batches(lengths, config, seed, epoch)) for epoch in epochs)
    # windows are whole multiples of a batch, so only an epoch's last batch is short
    used = min(len(lengths), config.examples_per_epoch or len(lengths))
    return config.epochs * math.ceil(used / config.batch_size)


# the loop -------------------------------------------------------------------------------------------------------------


def fit(
    network: nn.Module,
    examples: Examples,
    config: TrainingConfig,
    ctx: BackboneContext,
    loss_of: Loss,
    *,
    d_model: int,
    tables: Collection[Tensor] = (),
    normalisation: Normalisation = "alphabet",
) -> FitReport:
    """Train `network` in place and leave it with the weights of its best epoch.

    Trains and keeps the parameters that require a gradient. `d_model` decides on the precision; `tables` are matrices
    that are not decayed, beside those of `nn.Embedding`. With `children`, the trees that `loss_of` gets have their places in
    the catalogue. Diverged if a loss is infinite or NaN.
    """
    if config.latest_targets:
        examples = latest_targets(examples, config.latest_targets)
    trees = build_trees(examples.targets, examples.target_offsets, examples.visible)
    if normalisation == "children":
        trees = trees.placed_in(CodeTree.build(examples.catalogue))
    precision = resolve_precision(config.precision, ctx.device, d_model)
    autocast = torch.autocast(ctx.device.split(":")[0], torch.bfloat16, enabled=precision == "bf16")

    sources = examples.sources
    steps = steps_of(sources.lengths + trees.sizes, config, ctx.seed)
    training = Training(network, config, ctx, steps, tables)
    resumed = training.resume()

    with ctx.progress.phase("training", steps, "steps") as tick, forked(ctx.device):
        tick(training.steps_taken)
        for epoch in range(resumed + 1, config.epochs + 1):
            if training.exhausted():
                break
            torch.manual_seed(_epoch_seed(ctx.seed, epoch))
            if examples.redraw is not None:
                sources = examples.redraw(np.random.default_rng([ctx.seed, epoch, 1]))

            network.train()
            epoch_loss = EpochLoss(ctx.device, epoch)
            for rows in epoch_batches(sources.lengths + trees.sizes, config, ctx.seed, epoch):
                with autocast:
                    loss, tokens = loss_of(sources, trees, rows)
                epoch_loss.add(loss.detach(), tokens)
                training.step(loss / tokens)
                tick(1, f"epoch {epoch}/{config.epochs}, loss {epoch_loss.shown:.3f}{training.best_note()}")

            network.eval()
            training.finish_epoch(epoch, epoch_loss.read())

    training.restore_best()
    used = min(len(examples), config.examples_per_epoch or len(examples))
    history = tuple(training.history)
    return FitReport(len(history), training.best_epoch, history, used, resumed, precision)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)


class EpochLoss:
    """The loss of an epoch, summed on the device. A GPU's sum is read once in `READ_EVERY` steps."""

    def __init__(self, device: str, epoch: int) -> None:
        self.epoch, self.every = epoch, READ_EVERY if device.startswith("cuda") else 1
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.tokens = self.steps = 0
        self.shown = 0.0  # the mean when it was last read

    def add(self, loss: Tensor, tokens: int) -> None:
        """Count one batch. Diverged if the loss is infinite or NaN, which the sum keeps until it is read."""
        self.loss += loss
        self.tokens, self.steps = self.tokens + tokens, self.steps + 1
        if self.steps % self.every == 0:
            self.read()

    def read(self) -> float:
        """The mean loss of a token so far."""
        total = self.loss.item()
        if not math.isfinite(total):
            raise Diverged(f"the loss is {total} in epoch {self.epoch}: lower backbone.learning_rate", epoch=self.epoch)
        self.shown = total / self.tokens
        return self.shown


class Training:
    """What has to survive an interruption, and the few steps that change it."""

    def __init__(
        self,
        network: nn.Module,
        config: TrainingConfig,
        ctx: BackboneContext,
        steps: int,
        tables: Collection[Tensor] = (),
    ) -> None:
        self.network, self.config, self.ctx = network, config, ctx
        self.parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}

        self.optimiser = adamw(network, config, tables)
        self.steps, self.warm = steps, max(1, int(steps * config.warmup))
        self.steps_taken = 0

        self.history: list[dict[str, Any]] = []
        self.best_epoch, self.best_score, self.stale = 0, -1.0, 0
        self.best: dict[str, Tensor] = {}
        self.mean = self._copy() if config.averaging else {}
        self._average = get_ema_multi_avg_fn(config.averaging)

    @property
    def rate(self) -> float:
        """The learning rate of the next step: rises over `warm` steps, then falls to 0 at the last of `steps`."""
        falling = max(0.0, (self.steps - self.steps_taken) / max(1, self.steps - self.warm))
        return self.config.learning_rate * min((self.steps_taken + 1) / self.warm, falling)

    def step(self, loss: Tensor) -> None:
        """Learn from the mean loss of one batch."""
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.steps_taken += 1

        if self.mean:
            newest = [self.parameters[name] for name in self.mean]
            self._average(list(self.mean.values()), newest, self.steps_taken)

    def finish_epoch(self, epoch: int, loss: float) -> None:
        """Validate, keep the weights if they are the best so far, and write the checkpoint."""
        row: dict[str, Any] = {"epoch": epoch, "loss": loss}
        newest = self._copy() if self.mean else {}
        self._put(self.mean)

        validate = self.ctx.validate
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

    def exhausted(self) -> bool:
        """Whether `patience` validations brought no improvement."""
        return bool(self.config.patience) and self.stale >= self.config.patience

    def best_note(self) -> str:
        """The best validation so far, for the progress line."""
        return f", best ndcg@10 {self.best_score:.4f} (epoch {self.best_epoch})" if self.best_score >= 0 else ""

    def restore_best(self) -> None:
        """End with the weights of the best epoch."""
        self._put(self.best)
        self.network.eval()

    def _keep(self, epoch: int, score: float) -> None:
        self.best_epoch, self.best_score, self.stale = epoch, score, 0
        self.best = self._copy()

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.parameters[name].copy_(value)

    @property
    def file(self) -> Path | None:
        """The checkpoint; None: nothing is kept."""
        return None if self.ctx.folder is None else self.ctx.folder / "checkpoint.pt"

    def _save(self, epoch: int) -> None:
        if self.file is None:
            return

        self.file.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "epoch": epoch,
            "network": {name: value.detach() for name, value in self.parameters.items()},
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            "mean": self.mean,
            "facts": [self.steps_taken, self.history, self.best_epoch, self.best_score, self.stale],
        }

        # A run that is cut short here leaves the last checkpoint whole.
        partial = self.file.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.file)

    def resume(self) -> int:
        """Read the checkpoint. Gives the epochs already done, 0 if there is no checkpoint that fits."""
        if self.file is None or not self.file.exists():
            return 0

        try:
            state = torch.load(self.file, map_location=self.ctx.device, weights_only=True)
            shapes = {name: value.shape for name, value in self.parameters.items()}
            if {name: value.shape for name, value in state["network"].items()} != shapes:
                raise ValueError("weights of other shapes")
            self.optimiser.load_state_dict(state["optimiser"])
            self._put(state["network"])
        except Exception as error:  # whatever the damage: training starts over, and says so
            self.ctx.progress.note(f"checkpoint {self.file} is not usable ({error}): training from the start")
            return 0

        self.best, self.mean = state["best"], state["mean"]
        self.steps_taken, self.history, self.best_epoch, self.best_score, self.stale = state["facts"]
        self.ctx.progress.note(f"resuming training after epoch {state['epoch']}")
        return int(state["epoch"])


def adamw(network: nn.Module, config: TrainingConfig, tables: Collection[Tensor] = ()) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over what requires a gradient; weight decay skips embeddings, norms and biases."""
    spared = {id(table) for table in tables}
    spared |= {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    trained = [value for value in network.parameters() if value.requires_grad]
    decayed = [value for value in trained if value.ndim > 1 and id(value) not in spared]
    kept = [value for value in trained if value.ndim <= 1 or id(value) in spared]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=BETAS, eps=EPSILON, fused=True)
