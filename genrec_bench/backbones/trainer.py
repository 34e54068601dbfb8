"""The training loop of backbones: batches, early stopping, checkpoints, for any network over tokens.

Everything random is drawn from (seed, epoch), so a run resumed from its checkpoint ends with the weights of a run that
was never interrupted. Knows trees of tokens, never items, and of a network only its parameters and its loss.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from time import perf_counter
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
from genrec_bench.core.files import read_sealed, write_sealed
from genrec_bench.core.sequences import Examples, Sources
from genrec_bench.errors import Diverged
from genrec_bench.host.contracts import BackboneContext, FitReport, Normalisation
from genrec_bench.host.ranges import Share

# The summed negative log-likelihood of the target tokens of some examples (by number), and how many tokens these are.
Loss = Callable[[Sources, TargetTrees, Int64], tuple[Tensor, int]]

BETAS, EPSILON = (0.9, 0.999), 1e-6  # of AdamW
SORTED_BATCHES = 16  # examples are sorted by length within windows of so many batches, so that batches stay mixed
READ_EVERY = 20  # steps between two looks at a GPU's loss: each one waits for the GPU
SPARE = 0.05  # share of a time limit that a shortened plan leaves free: slower epochs shall not cost it its last one


# options --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingConfig:
    """Options of training, common to the built-in backbones."""

    epochs: PositiveInt = 30  # maximum number of epochs
    minutes: NonNegativeFloat = (
        0.0  # training and validation, wall clock: fewer epochs are run if they take longer; 0 = no limit
    )
    batch_size: PositiveInt = 64  # maximum number of sources per step
    token_budget: NonNegativeInt = 0  # maximum number of tokens per step (source, target, padding); 0 = no limit
    learning_rate: PositiveFloat = 1e-3  # peak learning rate
    schedule: Literal["linear", "cosine"] = "linear"  # how the learning rate falls to 0 after it has risen
    weight_decay: NonNegativeFloat = 0.01  # on matrices; norms, biases and embeddings are not decayed
    decay_embeddings: bool = False  # weight decay on embeddings too
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


def steps_of(lengths: Int64, config: TrainingConfig, seed: int) -> list[int]:
    """Steps of each epoch. Under a token budget epochs differ in them, and prompts drawn anew may move the numbers a
    little."""
    if config.token_budget:
        epochs = range(1, config.epochs + 1)
        return [sum(1 for _ in epoch_batches(lengths, config, seed, epoch)) for epoch in epochs]
    # windows are whole multiples of a batch, so only an epoch's last batch is short
    used = min(len(lengths), config.examples_per_epoch or len(lengths))
    return [math.ceil(used / config.batch_size)] * config.epochs


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

    Trains and keeps the parameters that require a gradient; the epoch is chosen as `Training.choose` says. `d_model` decides on the precision; `tables` are matrices
    count as embeddings, beside those of `nn.Embedding`. With `children`, the trees that `loss_of` gets have their places in
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
    training = Training(network, config, ctx, sum(steps), tables)
    resumed = training.resume()

    with ctx.progress.phase("training", training.steps, "steps") as tick, forked(ctx.device):
        tick(training.steps_taken, earlier=True)
        for epoch in range(resumed + 1, config.epochs + 1):
            if training.exhausted() or epoch > training.planned:
                break
            torch.manual_seed(_epoch_seed(ctx.seed, epoch))
            began = perf_counter()
            if examples.redraw is not None:
                sources = examples.redraw(np.random.default_rng([ctx.seed, epoch, 1]))

            network.train()
            epoch_loss = EpochLoss(ctx.device, epoch, config.learning_rate)
            for rows in epoch_batches(sources.lengths + trees.sizes, config, ctx.seed, epoch):
                with autocast:
                    loss, tokens = loss_of(sources, trees, rows)
                epoch_loss.add(loss.detach(), tokens)
                training.step(loss / tokens)
                training.targets += int((examples.target_offsets[rows + 1] - examples.target_offsets[rows]).sum())
                tick(1, f"loss {epoch_loss.shown:.3f}{training.best_note()}, epoch {epoch}/{training.planned}")

            mean_loss = epoch_loss.read()
            seconds = perf_counter() - began
            network.eval()
            training.finish_epoch(epoch, mean_loss, seconds, steps[epoch:])

    training.choose()
    used = min(len(examples), config.examples_per_epoch or len(examples))
    history = tuple(training.history)
    return FitReport(
        len(history),
        training.best_epoch,
        history,
        used,
        resumed,
        precision,
        targets_per_epoch=round(training.targets / len(history)),
        seconds=training.seconds,
        ended_by=training.ended_by,
        on_all_users=training.on_all_users,
    )


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)


class EpochLoss:
    """The loss of an epoch, summed on the device. A GPU's sum is read once in `READ_EVERY` steps."""

    def __init__(self, device: str, epoch: int, learning_rate: float) -> None:
        self.epoch, self.every = epoch, READ_EVERY if device.startswith("cuda") else 1
        self.learning_rate = learning_rate  # for the message of a training that diverges
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
            raise Diverged(
                f"training diverged: the loss is {total} in epoch {self.epoch}; lower backbone.learning_rate "
                f"(now {self.learning_rate:g}), or let it rise longer (backbone.warmup)",
                epoch=self.epoch,
            )
        self.shown = total / self.tokens
        return self.shown


FACTS = (  # of a training, kept in its checkpoint beside weights and optimiser
    *("steps_taken", "steps", "warm", "planned", "targets"),
    *("history", "validating", "best_epoch", "best_score", "stale"),
)


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
        self.planned = config.epochs
        self.steps_taken = self.targets = 0
        self._plan_steps(steps)

        self.history: list[dict[str, Any]] = []
        self.validating = 0.0  # seconds
        self.best_epoch, self.best_score, self.stale = 0, -1.0, 0
        self.best: dict[str, Tensor] = {}
        self.on_all_users: dict[str, float] = {}
        self.mean = self._copy() if config.averaging else {}
        self._average = get_ema_multi_avg_fn(config.averaging)

    def _plan_steps(self, steps: int) -> None:
        self.steps, self.warm = steps, max(1, int(steps * self.config.warmup))

    @property
    def rate(self) -> float:
        """The learning rate of the next step: rises over `warm` steps, then falls to 0 at the last of `steps`."""
        falling = max(0.0, (self.steps - self.steps_taken) / max(1, self.steps - self.warm))
        if self.config.schedule == "cosine":
            falling = 0.5 - 0.5 * math.cos(math.pi * min(1.0, falling))
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

    def finish_epoch(self, epoch: int, loss: float, seconds: float, later: Sequence[int] = ()) -> None:
        """Validate, keep the weights if they are the best so far, and write the checkpoint.

        The epoch took `seconds`; `later` are the steps of the epochs after it, of which only those that fit into the time
        limit stay planned.
        """
        row: dict[str, Any] = {"epoch": epoch, "loss": loss, "seconds": round(seconds, 4)}
        self.history.append(row)
        newest = self._copy() if self.mean else {}
        self._put(self.mean)

        validate = self.ctx.validate
        self._shorten_plan(epoch, later)  # the last epoch is validated in any case
        if validate is None:
            self._keep(epoch, -1.0)
        elif epoch % self.config.validate_every == 0 or epoch == self.planned:
            began = perf_counter()
            row["validation"] = score = validate()
            self.validating += perf_counter() - began
            better = score > self.best_score or not self.best
            if better:
                self._keep(epoch, score)
            else:
                self.stale += 1
            so_far = "the best so far" if better else f"best {self.best_score:.4f} after epoch {self.best_epoch}"
            self.ctx.progress.note(
                f"epoch {epoch}/{self.planned}: loss {loss:.3f}, validation ndcg@10 {score:.4f}, {so_far}"
            )
            self._shorten_plan(epoch, later)

        self._put(newest)
        self._save(epoch)

    @property
    def seconds(self) -> float:
        """Seconds of the steps of all epochs so far, before a resumption too."""
        return float(sum(row["seconds"] for row in self.history))

    @property
    def ended_by(self) -> str:
        """Why there is no further epoch: `early stop`, `time limit` or `epochs`."""
        if self.exhausted():
            return "early stop"
        return "time limit" if self.planned < self.config.epochs else "epochs"

    def exhausted(self) -> bool:
        """Whether `patience` validations brought no improvement."""
        return bool(self.config.patience) and self.stale >= self.config.patience

    def _shorten_plan(self, epoch: int, later: Sequence[int]) -> None:
        """Plan fewer epochs if those planned do not fit into the time limit, and let the learning rate fall to 0 with them.

        The history row of `epoch` and a note say so. A plan that fits stays as it is, and is never made longer.
        """
        limit = 60 * self.config.minutes
        if not limit or epoch >= self.planned or self._ends(epoch, self.planned) <= limit:
            return

        fitting = range(self.planned - 1, epoch, -1)
        self.planned = next((last for last in fitting if self._ends(epoch, last) <= (1 - SPARE) * limit), epoch)
        self._plan_steps(self.steps_taken + sum(later[: self.planned - epoch]))
        self.history[-1]["planned"] = self.planned
        self.ctx.progress.note(
            f"epoch {epoch} of {self.config.epochs}: training ends with epoch {self.planned}, because more do not fit into "
            f"backbone.minutes={self.config.minutes:g}"
        )

    def _ends(self, epoch: int, last: int) -> float:
        """Seconds of a training that ends with epoch `last`, at the mean pace of the epochs and validations so far."""
        validated = sum("validation" in row for row in self.history)
        every = self.config.validate_every
        to_validate = last // every - epoch // every + (last % every > 0)
        if "validation" not in self.history[-1] and epoch % every == 0:
            to_validate += 1  # the validation of this epoch is still to come

        training = self.seconds / len(self.history) * (last - epoch)
        validating = self.validating / validated * to_validate if validated else 0.0
        return self.seconds + self.validating + training + validating

    def best_note(self) -> str:
        """The best validation so far, for the progress line."""
        return f", best {self.best_score:.4f}" if self.best_score >= 0 else ""

    def choose(self) -> None:
        """End with the weights of the best epoch, or of the last one if that is better on all validation users.

        On a sample of users the best of many epochs is partly the luckiest, and the last one, whose learning rate has
        fallen to 0, is often better than it looks there.
        """
        last, on_all = len(self.history), self.ctx.validate_on_all
        self.network.eval()
        if on_all is not None and self.best_epoch < last == self.planned:
            self._put(self.mean)
            self.on_all_users[str(last)], newest = on_all(), self._copy()
            self._put(self.best)
            self.on_all_users[str(self.best_epoch)] = on_all()
            if self.on_all_users[str(last)] > self.on_all_users[str(self.best_epoch)]:
                self.best_epoch, self.best = last, newest
        self._put(self.best)

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

        state = {
            "epoch": epoch,
            "network": {name: value.detach() for name, value in self.parameters.items()},
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            "mean": self.mean,
            "facts": {name: getattr(self, name) for name in FACTS},
        }
        write_sealed(self.file, lambda file: torch.save(state, file))

    def resume(self) -> int:
        """Read the checkpoint. Gives the epochs already done, 0 if there is no checkpoint that fits."""
        if self.file is None or not self.file.exists():
            return 0

        try:
            state = torch.load(io.BytesIO(read_sealed(self.file)), map_location=self.ctx.device, weights_only=True)
            shapes = {name: value.shape for name, value in self.parameters.items()}
            if {name: value.shape for name, value in state["network"].items()} != shapes:
                raise ValueError("weights of other shapes")
            facts = {name: state["facts"][name] for name in FACTS}
            self.optimiser.load_state_dict(state["optimiser"])
            self._put(state["network"])
        except Exception as error:  # whatever the damage: training starts over, and says so
            self.ctx.progress.note(f"checkpoint {self.file} is not usable ({error}): training from the start")
            return 0

        self.best, self.mean = state["best"], state["mean"]
        for name, value in facts.items():
            setattr(self, name, value)
        self.ctx.progress.note(f"resuming training after epoch {state['epoch']}")
        return int(state["epoch"])


def adamw(network: nn.Module, config: TrainingConfig, tables: Collection[Tensor] = ()) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over what requires a gradient; weight decay skips norms and biases, and embeddings
    unless `decay_embeddings`."""
    spared = {id(table) for table in tables}
    spared |= {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    if config.decay_embeddings:
        spared = set()
    trained = [value for value in network.parameters() if value.requires_grad]
    decayed = [value for value in trained if value.ndim > 1 and id(value) not in spared]
    kept = [value for value in trained if value.ndim <= 1 or id(value) in spared]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=BETAS, eps=EPSILON, fused=True)
