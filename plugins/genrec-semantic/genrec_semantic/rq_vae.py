"""Residual-quantised VAE: an autoencoder whose bottleneck is a short code, trained on item vectors.

Random numbers come from its own generators, seeded by the run, and on a CPU it computes on one thread: codes depend
neither on global state nor on the number of cores.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor

from genrec_bench.api import Diverged, Float32, IndexerContext, Int64, TwoOrMore
from genrec_semantic.coding import Quantised, SemanticIndexer, reconstruction_error
from genrec_semantic.content import versions
from genrec_semantic.options import ContentConfig
from genrec_semantic.rq_vae_net import RqVae

KMEANS_ROWS = 20_000  # at most; the rows that the starting codebooks are made of
GAIN = 1e-3  # an epoch counts as better if it lowers the error by this share


@dataclass(frozen=True)
class ResidualVaeConfig(ContentConfig):
    """Options of the RQ-VAE."""

    levels: PositiveInt = 3  # codes of an item, before the suffix
    codebook_size: TwoOrMore = 256  # codes of each level
    latent: PositiveInt = 32  # numbers in the bottleneck, and in each code's vector
    hidden: tuple[PositiveInt, ...] = (256, 128)  # widths of the encoder's layers; the decoder has them in reverse
    commitment: NonNegativeFloat = 0.25  # weight of the penalty on the encoder output's distance from its codes
    epochs: PositiveInt = 200  # passes over the distinct item vectors, at most
    patience: PositiveInt = 30  # stop after this many epochs that did not lower the reconstruction error
    batch_size: PositiveInt = 256  # item vectors per step
    learning_rate: PositiveFloat = 1e-3  # AdamW's at the start; it falls to zero along a half cosine
    kmeans_init: bool = True  # start the codebooks from K-means of the encoder's output, not at random
    revive: bool = True  # after each epoch, re-draw codes that no item chose from what their level is given


class ResidualVae(SemanticIndexer):
    """Semantic IDs by a residual-quantised VAE over item content (TIGER, Rajput et al. 2023, arXiv 2305.05065).

    Quantiser: Lee et al. 2022 (arXiv 2203.01941). Departures from TIGER: AdamW on a half cosine and early stopping
    instead of 20,000 epochs of Adagrad; unused codes are redrawn; equal vectors are one example, weighted by their
    number; the epoch with the lowest reconstruction error over the catalogue is kept.
    """

    Config = ResidualVaeConfig
    search_space: Mapping[str, Any] = {
        "levels": [2, 3, 4],
        "codebook_size": (16, 512, "log"),
        "latent": [16, 32, 64],
        "learning_rate": (1e-4, 1e-2, "log"),
    }
    method = "rq-vae"
    seed_moves = "weights, batches, codebook starts"

    def quantise(self, vectors: Float32, weights: Int64, ctx: IndexerContext) -> Quantised:
        """See `SemanticIndexer.quantise`. Diverged if the loss becomes infinite."""
        config: ResidualVaeConfig = self.config
        size = min(config.codebook_size, max(len(vectors), 2))

        with one_thread(ctx.device):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(ctx.seed)  # torch.manual_seed would reset a GPU's state too
                net = RqVae(vectors.shape[1], config.hidden, config.latent, config.levels, size)
            net.to(ctx.device)
            x = torch.from_numpy(vectors).to(ctx.device)
            facts = _Training(net, x, weights, config, ctx).run()
            codes, restored = net.describe(x)

        labels = codes.cpu().numpy().astype(np.int32)
        sizes = {
            "codebook_size": size,
            "latent": config.latent,
            "device": ctx.device,
            "torch": versions("torch")["torch"],
        }
        return Quantised(labels, size, restored.cpu().numpy(), {**sizes, **facts})


class _Training:
    """One training of one network: its data, optimiser and generator."""

    def __init__(self, net: RqVae, x: Tensor, weights: Int64, config: ResidualVaeConfig, ctx: IndexerContext) -> None:
        self.net, self.x, self.config, self.ctx = net, x, config, ctx
        self.counts, self.vectors = weights, x.cpu().numpy()
        self.weights = torch.from_numpy(weights.astype(np.float32)).to(x.device)
        self.generator = torch.Generator().manual_seed(ctx.seed)
        self.optimiser = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=1e-4)
        self.revived = 0

    def run(self) -> dict[str, Any]:
        """Train, and load the best epoch's weights."""
        config = self.config
        if config.kmeans_init:
            self.start_codebooks()

        best, best_epoch, state, epoch = float("inf"), 0, {}, 0
        with self.ctx.progress.phase("rq-vae", config.epochs, "epochs") as tick:
            for epoch in range(1, config.epochs + 1):
                self.set_learning_rate(epoch)
                used = self.epoch()
                error = reconstruction_error(self.vectors, self.net.describe(self.x)[1].cpu().numpy(), self.counts)
                tick(note=f"error {error:.4f}")
                if error < best * (1 - GAIN) or not state:
                    best, best_epoch, state = error, epoch, copy.deepcopy(self.net.state_dict())
                elif epoch - best_epoch >= config.patience:
                    break
                if config.revive and epoch < config.epochs:
                    self.revive(used)

        self.net.load_state_dict(state)
        return {"epochs": epoch, "best_epoch": best_epoch, "codes_revived": self.revived}

    def set_learning_rate(self, epoch: int) -> None:
        """A half cosine to zero.

        Residuals of deep levels are small: with a constant learning rate Adam never settles their codes, and most items
        end up on a few of them.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / self.config.epochs)) / 2

    def epoch(self) -> Tensor:
        """One pass in random order. Returns how often each code was chosen, `(levels, size)`."""
        levels, size, _ = self.net.codebooks.shape
        used = torch.zeros(levels, size, device=self.x.device)
        for rows in torch.randperm(len(self.x), generator=self.generator).split(self.config.batch_size):
            rows = rows.to(self.x.device)
            loss, codes = self.net.loss(self.x[rows], self.weights[rows], self.config.commitment)
            if not torch.isfinite(loss):
                raise Diverged(f"the RQ-VAE's loss became {loss.item()}: lower indexer.learning_rate")
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            used.scatter_add_(1, codes.T, torch.ones_like(codes.T, dtype=used.dtype))
        return used

    @torch.no_grad()
    def revive(self, used: Tensor) -> None:
        """Move codes that an epoch never chose to residuals of random items, and reset their momentum.

        Goes level by level: a level sees the residuals that the revived levels above it leave.
        """
        z = self.net.encoder(self.x[self.sample(self.config.batch_size)])
        for level, counts in enumerate(used):
            dead = (counts == 0).nonzero()[:, 0]
            given = self.net.quantise(z)[2][level]
            draw = torch.randperm(len(given), generator=self.generator)[: len(dead)].to(given.device)
            dead = dead[: len(draw)]
            self.net.codebooks[level, dead] = given[draw]
            for moment in ("exp_avg", "exp_avg_sq"):
                self.optimiser.state[self.net.codebooks][moment][level, dead] = 0
            self.revived += len(dead)

    @torch.no_grad()
    def start_codebooks(self) -> None:
        """Codebooks by K-means over what each level is given of the untrained encoder's output (as TIGER starts)."""
        rows = self.sample(KMEANS_ROWS)
        residuals = self.net.encoder(self.x[rows]).cpu().numpy()
        weight = self.weights[rows].cpu().numpy()
        for book in self.net.codebooks:
            centres = min(len(book), len(np.unique(residuals, axis=0)))
            means = KMeans(centres, n_init=1, max_iter=30, random_state=self.ctx.seed % 2**32)
            means.fit(residuals, sample_weight=weight)
            book[:centres] = torch.from_numpy(means.cluster_centers_).to(book)
            residuals = residuals - means.cluster_centers_[means.labels_]

    def sample(self, most: int) -> Tensor:
        """At most `most` random rows, without repeats."""
        return torch.randperm(len(self.x), generator=self.generator)[:most].to(self.x.device)


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """Compute on one thread inside, if the device is a CPU."""
    before = torch.get_num_threads()
    with threadpool_limits(1):
        if device == "cpu":
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
