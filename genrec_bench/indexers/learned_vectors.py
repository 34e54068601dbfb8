"""Item vectors that the baseline `sasrec` learns from the training part, for indexers that quantise vectors.

SASRec comes with genrec-baselines and is trained there, by RecBole in a process of its own, for a fixed number of epochs:
no validation item is an input, and none chooses the epoch. Knows a baseline's contract and the options of `sasrec`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from genrec_bench.core.arrays import Float32
from genrec_bench.core.item_vectors import unit_rows
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import GenrecError, NeedsMissing, UnknownComponent
from genrec_bench.host import registry
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import Baseline, BaselineContext, IndexerContext

NAME = "sasrec"
SASREC_HEADS = 2  # of RecBole's SASRec, which divide its width
TIME_LIMIT = 86_400.0  # seconds; vectors of half a training would differ from machine to machine


def sasrec_vectors(
    train: TrainView, dimensions: int, epochs: int, ctx: IndexerContext
) -> tuple[Float32, dict[str, Any]]:
    """`(n_items, dimensions)`, rows of length 1: SASRec's item embeddings after `epochs` passes; and how it was trained.

    An item without a training interaction has a zero row. The last bits depend on the device and on the number of
    threads, and codes may with them. NeedsMissing without genrec-baselines or RecBole.
    """
    model = _sasrec({"epochs": epochs, "embedding_size": dimensions, "settings": "none", "time_limit": TIME_LIMIT})
    model.ready()
    context = BaselineContext(ctx.seed, ctx.device if model.uses_gpu else "cpu", ctx.progress, task="sequential")
    model.fit(train, context)
    facts = model.facts()
    if facts.get("epochs") != epochs:
        raise GenrecError(
            f"sasrec ended after {facts.get('epochs')} of {epochs} epochs: its vectors would not be reproducible"
        )

    met = np.bincount(train.sequences.values, minlength=train.n_items) > 0
    vectors = np.where(met[:, None], unit_rows(model.item_vectors()), 0).astype(np.float32)
    packages = facts.get("recbole", {}).get("packages", {})
    return vectors, {"epochs": epochs, "loss": facts["history"][-1]["loss"], "versions": packages}


def check_sasrec() -> None:
    """NeedsMissing, in one line, if SASRec cannot be trained here."""
    _sasrec({}).ready()


def sasrec_fingerprint() -> str:
    """SHA-256 of the code that trains SASRec: other code makes other vectors."""
    check_sasrec()
    return registry.code_digest(registry.find("baseline", NAME))


def _sasrec(options: dict[str, Any]) -> Baseline:
    try:
        cls = registry.load("baseline", NAME)
    except UnknownComponent as error:
        where = registry.where_to_get("baseline", NAME)
        raise NeedsMissing(f"vectors of sasrec need the baseline {NAME}. {where}", needs="genrec-baselines") from error
    model: Baseline = cls(make_config(cls.Config, options, "baseline"))
    return model
