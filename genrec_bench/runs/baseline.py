"""A baseline's part of a run: fit on the training part, rank the test cases under both history policies."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genrec_bench.baselines.id_canary import IdCanary
from genrec_bench.baselines.popularity import Popularity
from genrec_bench.core.events import Interactions
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries, Split
from genrec_bench.host.contracts import Baseline, BaselineContext
from genrec_bench.protocol import scores, validity
from genrec_bench.protocol.constants import KS, LIST_DEPTH, POLICIES, SELECTION
from genrec_bench.protocol.split import train_view, validation_sample
from genrec_bench.runs.handover import check_facts, check_ranking
from genrec_bench.runs.inputs import Inputs
from genrec_bench.runs.outcome import Outcome, Stopwatch
from genrec_bench.runs.plan import BaselineParts, Part
from genrec_bench.runs.throughput import throughput

BATCH = 256  # queries ranked at once; latency is measured per batch
CANARY = "id-canary"
WARMUP_BATCHES = 1  # ranked twice, the first time untimed


def run_baseline(inputs: Inputs, parts: BaselineParts, folder: Path) -> Outcome:
    """Fit and rank. The baseline may keep its own files in the run's `folder`."""
    clock, baseline = Stopwatch(), parts.baseline
    with clock("fit"):
        facts = fit(inputs, baseline, folder)

    queries = inputs.split.queries(inputs.split.test)
    rankings: dict[str, Ranking] = {}
    seconds: dict[str, list[float]] = {}
    for policy in POLICIES:
        with clock(f"decode_{policy}"):
            rankings[policy], seconds[policy] = rank_all(inputs, baseline, queries, policy)

    speed = throughput(
        seconds["mask"],
        len(queries),
        batch_size=BATCH,
        beams=None,
        precision=None,
        device=inputs.device,
        warmup_batches=WARMUP_BATCHES,
    )
    warnings = canary_warnings(baseline.component, inputs.data, inputs.split, inputs.spec.system, rankings["mask"])
    return Outcome(
        rankings=rankings,
        validity=validity.validity_of_ranking(rankings["mask"], queries.history, KS),
        throughput=speed,
        phases=dict(clock.seconds),
        training=facts,
        warnings=tuple(warnings),
    )


def validate_baseline(inputs: Inputs, parts: BaselineParts, folder: Path) -> tuple[float, dict[str, Any]]:
    """Fit as a run does; return the validation score and the facts about training. The test part stays untouched."""
    facts = fit(inputs, parts.baseline, folder)
    with parts.baseline.held_to("rank"):
        return validator(inputs, parts.baseline)(), facts


def fit(inputs: Inputs, baseline: Part[Baseline], folder: Path) -> dict[str, Any]:
    """Fit the baseline and return its facts for the record's `training`."""
    ctx = BaselineContext(
        inputs.spec.seed,
        inputs.device,
        inputs.progress,
        task=inputs.spec.task,
        folder=folder / "baseline",
        validate=validator(inputs, baseline),
    )

    with baseline.held_to("fit"):
        baseline.component.fit(train_view(inputs.data, inputs.split, baseline.component.needs), ctx)
    with baseline.held_to("facts"):
        return check_facts(baseline.info, baseline.component.facts())


def validator(inputs: Inputs, baseline: Part[Baseline]) -> Callable[[], float]:
    """A function that scores the baseline's current state on validation, with seen items hidden."""
    sample = validation_sample(inputs.split.validation)
    queries = inputs.split.queries(sample)

    def validate() -> float:
        ranking = baseline.component.rank(queries, k=LIST_DEPTH, exclude=queries.history)
        return float(scores.score(ranking, sample.target)[0][SELECTION])

    return validate


def rank_all(inputs: Inputs, baseline: Part[Baseline], queries: Queries, policy: str) -> tuple[Ranking, list[float]]:
    """The ranked lists of all queries under one history policy, and the seconds of each batch."""
    starts = range(0, len(queries), BATCH)
    warmups = [*starts[:WARMUP_BATCHES]] if policy == "mask" else []

    parts, seconds = [], []
    with inputs.progress.phase(f"ranking ({policy})", len(queries), "users") as tick:
        for number, start in enumerate([*warmups, *starts]):
            batch = queries.take(np.arange(start, min(start + BATCH, len(queries))))
            exclude = batch.history if policy == "mask" else None

            began = time.perf_counter()
            with baseline.held_to("rank"):
                ranking = baseline.component.rank(batch, k=LIST_DEPTH, exclude=exclude)
            if number < len(warmups):
                continue
            seconds.append(time.perf_counter() - began)

            parts.append(check_ranking(baseline.info, ranking, batch, policy, inputs.data.n_items))
            tick(len(batch))
    return Ranking.concatenate(parts), seconds


def canary_warnings(baseline: Baseline, data: Interactions, split: Split, system: str, ranking: Ranking) -> list[str]:
    """A warning if the id canary beats popularity, which it should not: then the ids reveal what comes next.

    Both are compared on the test cases, with seen items hidden.
    """
    if not isinstance(baseline, IdCanary):
        return []

    popularity, queries, targets = Popularity(), split.queries(split.test), split.test.target
    popularity.fit(train_view(data, split), BaselineContext())
    popularity_lists = popularity.rank(queries, k=LIST_DEPTH, exclude=queries.history)

    popularity_score = scores.score(popularity_lists, targets)[0][SELECTION]
    canary_score = scores.score(ranking, targets)[0][SELECTION]
    if canary_score <= popularity_score:
        return []
    beaten = f"{system} beats popularity ({SELECTION} {canary_score:.4f} over {popularity_score:.4f}, policy mask)"
    return [f"{beaten}: {baseline.warning}"]
