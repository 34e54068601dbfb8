"""The training loop of backbones: batches, early stopping, and an engine that any network over tokens can use.

Everything random is drawn from (seed, epoch), so a run resumed from its checkpoint ends with the weights of a run that
was never interrupted. Knows trees of tokens, never items, and of a network only its parameters and its loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

from genrec_bench.backbones.loop import Loop, TrainingConfig
from genrec_bench.backbones.trees import TargetTrees, build_trees, latest_targets
from genrec_bench.contracts import Context, FitReport
from genrec_bench.errors import Diverged
from genrec_bench.types import Examples, Int64, Sources

# The summed negative log-likelihood of the target tokens of some examples (by number), and how many tokens these are.
Loss = Callable[[Sources, TargetTrees, Int64], tuple[Tensor, int]]


def resolve_precision(precision: str, device: str, d_model: int) -> str:
    """`auto` as what it means on `device`: bf16 on GPUs that have it, and on CPUs with AVX-512 bf16 from d_model 128 on
    (measured: narrower networks lose more by the casts than they win), else fp32."""
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if device == "cpu" and d_model >= 128 and has() else "fp32"


def epoch_batches(lengths: Int64, config: TrainingConfig, seed: int, epoch: int) -> Iterator[Int64]:
    """Batches of example numbers: similar lengths together, so that little is padding, in random order.

    `lengths` (examples,) are their tokens, source and target. A batch has at most `batch_size` examples and, padded to
    the longest, `token_budget` tokens; an example above the budget is a batch of its own.
    """
    rng = np.random.default_rng([seed, epoch])
    rows = rng.permutation(len(lengths))
    if config.examples_per_epoch:
        rows = rows[: config.examples_per_epoch]
    window = config.batch_size * 16  # sorted within windows of the shuffled order: batches stay mixed
    pieces = [
        part[np.argsort(lengths[part], kind="stable")] for part in np.split(rows, range(window, len(rows), window))
    ]
    batches = [batch for piece in pieces for batch in cut(piece, lengths[piece], config)]
    for number in rng.permutation(len(batches)):
        yield batches[number]


def cut(rows: Int64, lengths: Int64, config: TrainingConfig) -> Iterator[Int64]:
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
    """Steps of a whole training: with a token budget epochs differ in them. Prompts drawn anew may move it a little."""
    if config.token_budget:
        epochs = range(1, config.epochs + 1)
        return sum(sum(1 for _ in epoch_batches(lengths, config, seed, epoch)) for epoch in epochs)
    used = min(len(lengths), config.examples_per_epoch or len(lengths))
    return config.epochs * -(
        -used // config.batch_size
    )  # windows are whole multiples of a batch: only the last is short


def fit(
    network: nn.Module,
    examples: Examples,
    config: TrainingConfig,
    ctx: Context,
    loss_of: Loss,
    *,
    d_model: int,
    tables: Collection[Tensor] = (),
) -> FitReport:
    """Train `network` in place and leave it with the weights of its best epoch.

    What requires a gradient is trained and kept. `d_model` decides on the precision; `tables` are matrices that are not
    decayed, beside those of `nn.Embedding`. Diverged if a loss is no finite number.
    """
    if config.latest_targets:
        examples = latest_targets(examples, config.latest_targets)
    trees = build_trees(examples.targets, examples.target_offsets)
    precision = resolve_precision(config.precision, ctx.device, d_model)
    used = min(len(examples), config.examples_per_epoch or len(examples))
    steps = steps_of(examples.sources.lengths + trees.sizes, config, ctx.seed)
    loop = Loop(network, config, ctx, steps, tables)
    resumed = loop.resume()
    sources = examples.sources
    with ctx.progress.phase("training", steps, "steps") as tick, forked(ctx.device):
        tick(loop.optimiser.taken)
        for epoch in range(resumed + 1, config.epochs + 1):
            if loop.exhausted():
                break
            torch.manual_seed(_stir(ctx.seed, epoch))
            if examples.redraw is not None:
                sources = examples.redraw(np.random.default_rng([ctx.seed, epoch, 1]))
            lengths = sources.lengths + trees.sizes
            network.train()
            told = Total(ctx.device, epoch)
            for rows in epoch_batches(lengths, config, ctx.seed, epoch):
                with torch.autocast(ctx.device.split(":")[0], torch.bfloat16, enabled=precision == "bf16"):
                    loss, tokens = loss_of(sources, trees, rows)
                told.add(loss.detach(), tokens)
                loop.step(loss / tokens)
                tick(1, f"epoch {epoch}/{config.epochs}, loss {told.shown:.3f}{loop.best_note()}")
            network.eval()
            loop.finish_epoch(epoch, told.read())
    loop.restore_best()
    return FitReport(len(loop.history), loop.best_epoch, tuple(loop.history), used, resumed, precision)


class Total:
    """The loss of an epoch, summed on the device, which is waited for once in `EVERY` steps (each step on a CPU)."""

    EVERY = 20

    def __init__(self, device: str, epoch: int) -> None:
        self.epoch, self.every = epoch, self.EVERY if device.startswith("cuda") else 1
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.tokens = self.steps = 0
        self.shown = 0.0  # the mean when it was last read

    def add(self, loss: Tensor, tokens: int) -> None:
        """Count one batch. Diverged if the loss is no finite number (which a sum keeps)."""
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


def forked(device: str) -> AbstractContextManager[None]:
    """Random numbers of the block's own: the caller's go on where they were."""
    return torch.random.fork_rng([torch.device(device)] if device.startswith("cuda") else [])


def _stir(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
