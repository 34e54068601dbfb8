"""How a training went, from its record: loss and validation by pass over the data, and how fast it learned.

A pass is every training target once: an epoch may be a part of one, where it samples or shows recent targets only. Knows
nothing of how a curve is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genrec_bench.runs.record import RunRecord

HELD_OUT = {"direct": 2, "sequential": 3}  # items of each user that are no training target; a first one is none either


@dataclass(frozen=True)
class Point:
    """One epoch, from 1: its mean loss and, where it was validated, ndcg@10 (seen items hidden)."""

    epoch: int
    loss: float | None
    validation: float | None


@dataclass(frozen=True)
class Pace:
    """How fast a training learned, validation left out; None where nobody measured it."""

    targets_per_second: float | None
    passes_per_hour: float | None


def curve(record: RunRecord) -> list[Point]:
    """An entry for each epoch of which the record tells; empty where nothing was trained."""
    return [
        Point(row["epoch"], _number(row.get("loss")), _number(row.get("validation", row.get("ndcg@10"))))
        for row in record.training.get("history", ())
        if isinstance(row.get("epoch"), int)
    ]


def passes_per_epoch(record: RunRecord) -> float | None:
    """The share of all training targets that one epoch learned from; None where nobody can say."""
    targets, data = _targets_per_epoch(record), record.data
    held_out = HELD_OUT.get(str(record.spec.get("task")))
    interactions, users = data.get("interactions"), data.get("users")
    if not targets or held_out is None or not isinstance(interactions, int) or not isinstance(users, int):
        return None
    every = interactions - held_out * users
    return targets / every if every > 0 else None


def pace(record: RunRecord) -> Pace:
    """From the seconds of each epoch. A baseline's last epoch does not count if the time limit may have cut it short."""
    seconds = [row.get("seconds") for row in record.training.get("history", ())]
    if record.spec.get("baseline") and record.training.get("ended_by") == "time limit":
        seconds = seconds[:-1]
    took = sum(seconds) if seconds and None not in seconds else 0.0
    if took <= 0 and not record.spec.get("baseline"):
        took, seconds = record.training.get("seconds") or 0.0, [None] * (record.training.get("epochs") or 0)

    if took <= 0 or record.training.get("ended_by") == "closed form":
        return Pace(None, None)
    targets, passes = _targets_per_epoch(record), passes_per_epoch(record)
    return Pace(
        targets_per_second=targets * len(seconds) / took if targets else None,
        passes_per_hour=passes * len(seconds) / took * 3600 if passes else None,
    )


def passes(record: RunRecord) -> float | None:
    """Passes over the training targets in the whole training."""
    each, epochs = passes_per_epoch(record), record.training.get("epochs")
    return None if each is None or epochs is None else each * epochs


def _targets_per_epoch(record: RunRecord) -> int | None:
    """Training targets in one epoch. Where no count is recorded, examples are targets, except a user's in `direct`."""
    training = record.training
    if "targets_per_epoch" in training:
        return training["targets_per_epoch"] or None
    a_user_each = record.spec.get("task") == "direct" and not record.spec.get("baseline")
    return None if a_user_each else training.get("examples_per_epoch") or None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def validated(points: Sequence[Point]) -> list[tuple[int, float]]:
    """Epoch and score of each validation."""
    return [(point.epoch, point.validation) for point in points if point.validation is not None]
