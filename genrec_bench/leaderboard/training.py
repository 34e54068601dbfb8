"""How trainings ended and how long they took, from records. Trains nothing, and claims nothing that no record says.

RecBole's models say themselves whether they converged. Built-in backbones leave the epochs they ran, the best one and the
options: fewer epochs than declared mean that patience ended them; all of them mean that the schedule, whose learning rate
falls to zero at the last step, was gone through. That is no time limit, and no proof of convergence either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genrec_bench.runs.record import RunRecord

YES, NO, SCHEDULE = "yes", "no", "schedule"
NOT_CONVERGED = "not converged"  # what stands in a row


def converged(record: RunRecord) -> str | None:
    """`yes`, `no`, `schedule` (all declared epochs of a decaying learning rate), or None where nobody can say."""
    told = record.training.get("converged")
    if isinstance(told, bool):
        return YES if told else NO
    declared, patience = _declared(record)
    ran = record.training.get("epochs")
    if ran is None or declared is None:
        return None
    if patience and (ran < declared or _stale(record) >= patience):
        return YES
    return SCHEDULE if ran >= declared else None


def all_converged(records: Iterable[RunRecord]) -> str | None:
    """The same of all runs of a row: `no` as soon as one did not, None as soon as one is unknown, then `schedule`."""
    told = {converged(record) for record in records}
    return next((each for each in (NO, None, SCHEDULE) if each in told), YES)


def ending(record: RunRecord) -> str | None:
    """How a training ended, in words: `time limit after 3,600 s`; None where nobody can say."""
    fit, (declared, patience) = record.training, _declared(record)
    how = fit.get("ended_by")
    if isinstance(how, str):
        limit = _options(record, "baseline").get("time_limit")
        if how == "time limit" and isinstance(limit, int | float):
            return f"time limit after {limit:,.10g} s"
        return "its last epoch, no early stop" if how == "epochs" else how
    if converged(record) == YES:
        return f"early stop: {patience} validations without a better one"
    return f"schedule of {declared} epochs" if converged(record) == SCHEDULE else None


def _declared(record: RunRecord) -> tuple[int | None, int]:
    """The most epochs that a generator's options allow, and its patience (0: none); (None, 0) for others."""
    options = _options(record, "backbone")
    epochs, patience = options.get("epochs"), options.get("patience")
    return (epochs if isinstance(epochs, int) else None), (patience if isinstance(patience, int) else 0)


def _options(record: RunRecord, part: str) -> Mapping[str, Any]:
    return record.spec.get("options", {}).get(part, {})


def _stale(record: RunRecord) -> int:
    """Validations since the best epoch."""
    best = record.training.get("best_epoch") or 0
    return sum("validation" in row and row.get("epoch", 0) > best for row in record.training.get("history", ()))


def parameters(record: RunRecord) -> int | None:
    """Trained numbers; None for what counts or solves instead of training."""
    if record.parameters.get("total") is not None:
        return int(record.parameters["total"])
    told = record.training.get("parameters")
    if not isinstance(told, Mapping) or record.training.get("ended_by") == "closed form":
        return None
    parts = [told.get("embedding"), told.get("other")]
    return sum(parts) if all(isinstance(part, int) for part in parts) else None


def train_seconds(records: Sequence[RunRecord]) -> dict[str, float | None]:
    """Per run (`spec_id`) the seconds of the training that gave its weights.

    A run whose weights came from the cache has those of the run here that trained the very same weights (by their
    fingerprint) on a machine of the same description; None if there is none, or if a training went on from a checkpoint.
    """
    timed: dict[tuple[str, ...], float] = {}
    for record in sorted(records, key=lambda record: str(record.environment.get("time"))):  # the latest counts
        if (whole := _whole(record)) is not None and (key := _trained(record)):
            timed[key] = whole
    return {record.spec_id: _seconds(record, timed) for record in records}


def _seconds(record: RunRecord, timed: Mapping[tuple[str, ...], float]) -> float | None:
    if not record.training.get("cached"):
        return _whole(record)
    key = _trained(record)
    return timed.get(key) if key else None


def _whole(record: RunRecord) -> float | None:
    """Seconds of the phase `fit`, if the whole training happened in it."""
    partly = record.training.get("cached") or record.training.get("resumed_from")
    return None if partly else record.phases.get("fit")


def _trained(record: RunRecord) -> tuple[str, ...] | None:
    """What tells one training from another: the weights, and the machine; None without weights."""
    weights = record.fingerprints.get("weights")
    place = (str(record.environment.get(key)) for key in ("device", "cpu", "gpu", "threads"))
    return (weights, *place) if weights else None
