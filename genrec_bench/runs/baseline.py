"""The baseline's part of a run: fit on the training part, rank the test cases under both history policies."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from genrec_bench.baselines.popularity import Popularity
from genrec_bench.core.events import Interactions
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Split
from genrec_bench.host.contracts import Baseline, Context
from genrec_bench.protocol import scores, validity
from genrec_bench.protocol.constants import (
    KS,
    LIST_DEPTH,
    POLICIES,
    SELECTION,
)
from genrec_bench.protocol.split import train_view, validation_sample
from genrec_bench.runs.handover import check_facts, check_ranking
from genrec_bench.runs.throughput import throughput

if TYPE_CHECKING:
    from genrec_bench.runs.run import Run

BATCH = 256  # queries ranked at once; a latency is one batch's
WARMUP_BATCHES = 1  # ranked twice, the first time untimed


def run_baseline(this: Run) -> None:
    """Fill `this.rankings` and the record's sections."""
    baseline, _ = fit_baseline(this)
    split = this.split
    queries, info = split.queries(split.test), this.info("baseline")
    for policy in POLICIES:
        parts, seconds = [], []
        with this.phase(f"decode_{policy}"), this.progress.phase(f"ranking ({policy})", len(queries), "users") as tick:
            starts = list(range(0, len(queries), BATCH))
            warm = starts[:WARMUP_BATCHES] if policy == "mask" else []
            for number, at in enumerate([*warm, *starts]):
                rows = range(at, min(at + BATCH, len(queries)))
                batch = queries.take(list(rows))
                began = time.perf_counter()
                with this.held("baseline", "rank"):
                    ranking = baseline.rank(batch, k=LIST_DEPTH, exclude=batch.history if policy == "mask" else None)
                if number < len(warm):
                    continue
                seconds.append(time.perf_counter() - began)
                parts.append(check_ranking(info, ranking, batch, policy, this.data.n_items))
                tick(len(rows))
        this.rankings[policy] = Ranking.concatenate(parts)
        if policy == "mask":
            this.found["throughput"] = throughput(
                seconds,
                len(queries),
                batch_size=BATCH,
                beams=None,
                precision=None,
                device=this.device,
                warmup_batches=WARMUP_BATCHES,
            )
    this.found["validity"] = validity.validity_of_ranking(this.rankings["mask"], queries.history, KS)
    if baseline.alarm:
        this.found["warnings"] = alarms(this.data, this.split, this.spec.system, this.rankings["mask"], baseline.alarm)


def fit_baseline(this: Run) -> tuple[Baseline, Callable[[], float]]:
    """The fitted baseline, and what scores it on validation; its facts are the record's `training`."""
    baseline: Baseline = this.component("baseline")
    sample = validation_sample(this.split.validation)
    questions = this.split.queries(sample)

    def validate() -> float:
        ranking = baseline.rank(questions, k=LIST_DEPTH, exclude=questions.history)
        return float(scores.score(ranking, sample.target)[0][SELECTION])

    surroundings = {"device": this.device, "progress": this.progress, "folder": this.folder / "baseline"}
    ctx = Context(seed=this.spec.seed, task=this.spec.task, **surroundings)  # type: ignore[arg-type]
    with this.phase("fit"), this.held("baseline", "fit"):
        baseline.fit(train_view(this.data, this.split, baseline.needs), validate, ctx)
    with this.held("baseline", "facts"):
        this.found["training"] = check_facts(this.info("baseline"), baseline.facts())
    return baseline, validate


def validate_baseline(this: Run) -> float:
    """Fit as a run does, and stop there: the validation score. The test part is not looked at."""
    _, validate = fit_baseline(this)
    with this.held("baseline", "rank"):
        return validate()


def alarms(data: Interactions, split: Split, system: str, ranking: Ranking, alarm: str) -> list[str]:
    """The alarm of a baseline that should not beat popularity, with both numbers, if its lists of policy mask do on the
    test cases."""
    floor, queries, targets = Popularity(), split.queries(split.test), split.test.target
    floor.fit(train_view(data, split), None, Context())
    floors = floor.rank(queries, k=LIST_DEPTH, exclude=queries.history)
    theirs, ours = (scores.score(each, targets)[0][SELECTION] for each in (floors, ranking))
    if ours <= theirs:
        return []
    beaten = f"{system} beats popularity ({SELECTION} {ours:.4f} over {theirs:.4f}, policy mask)"
    return [f"{beaten}: {alarm}"]
