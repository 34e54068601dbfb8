"""What one run record says in words or numbers: its name, code, hardware, command, and how its training went.

Trains nothing, and claims nothing that no record says. RecBole's models report themselves whether they converged.
Backbones leave how training ended, and what each validation gave: a generator that ran all its epochs has converged unless
the last validation was the best one. In older records the epochs and the patience tell how it ended.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genrec_bench.core.data_files import FILE
from genrec_bench.core.hashing import digest
from genrec_bench.host.registry import BUILT_IN
from genrec_bench.leaderboard.curves import curve
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.spec import DEFAULT_BEAMS, DEFAULT_DECODER, DEFAULT_PROFILE

YES, NO = "yes", "no"
USUAL = {  # what a command need not name
    "decoder": DEFAULT_DECODER.partition(":")[2],
    "profile": DEFAULT_PROFILE,
    "beams": DEFAULT_BEAMS,
    "seed": 0,
}
EARLY_STOP, CLOSED_FORM, TIME_LIMIT, EPOCHS = "early stop", "closed form", "time limit", "epochs"  # how trainings end
NOT_CONVERGED = "not converged"  # how a table marks a row


def name_of(record: RunRecord) -> str:
    """A run in words: its system, seed and id."""
    return f"{record.system} (seed {record.spec.get('seed', 0)}, run {record.spec_id})"


def code_of(record: RunRecord) -> str:
    """The version of the code of a run's components: eight digits, equal where all of the code is."""
    code = {part: facts.get("code") for part, facts in record.components.items() if part != "dataset"}
    return digest(json.dumps(code, sort_keys=True))[:8]


def hardware_of(record: RunRecord) -> str | None:
    """What speed depends on, in words: machine, threads, batch, precision, and the precision of the training.

    The operating system's release is part of it, because processors of one name may differ in their instructions.
    None for lists made elsewhere: the machine that scored them did not make them.
    """
    if record.tier:
        return None
    environment, throughput = record.environment, record.throughput

    device = str(throughput.get("device") or "cpu")
    on_cpu = device.startswith("cpu")
    name = environment.get("cpu" if on_cpu else "gpu") or (device if throughput else None)
    system = str(environment.get("platform") or "").split("-with-")[0]

    parts = [name, system]
    threads = throughput.get("threads") or environment.get("threads")
    if on_cpu and threads:
        parts.append(f"{threads} thread{'s' if threads > 1 else ''}")
    if throughput.get("batch_size"):
        parts.append(f"batch {throughput['batch_size']}")
    if throughput.get("precision"):
        parts.append(str(throughput["precision"]))
        if trained := record.training.get("precision"):
            parts.append(f"trained in {trained}")
    return ", ".join(part for part in parts if part) or None


def command(record: RunRecord) -> str:
    """The command line of a run: its parts, and what differs from the defaults, as far as the record says what does."""
    spec, words = dict(record.spec), ["genrec", "run"]
    named = {part: dict(options) for part, options in (record.changed or spec.get("options", {})).items()}
    if spec.get("dataset") == FILE:
        spec["dataset"] = named.get("dataset", {}).pop("path", FILE)

    for key in ("dataset", "task", "baseline", "indexer", "backbone", "decoder", "profile", "beams", "seed"):
        if spec.get(key) not in (None, USUAL.get(key)):
            words += [f"--{key}", str(spec[key])]
    for part, options in sorted(named.items()):
        for key, value in sorted(options.items()):
            words += ["--set", f"{part}.{key}={_setting(value)}"]
    return shlex.join(words)


def _setting(value: Any) -> str:
    """An option's value as `--set` reads it."""
    if isinstance(value, list | tuple):
        return ",".join(map(_setting, value))
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def normalisation(record: RunRecord) -> str | None:
    """What a token's probabilities sum to 1 over in the search: `alphabet` or `children`, and what in training if that
    was the other. None for baselines; a generator's record that does not say is of a time that knew the alphabet only."""
    if record.spec.get("backbone") is None:
        return None
    searched = record.throughput.get("normalisation", "alphabet")
    trained = record.throughput.get("trained_normalisation", searched)
    return str(searched) if trained == searched else f"{searched} (trained: {trained})"


def converged(record: RunRecord) -> str | None:
    """`yes`, `no`, or None where nobody can say (protocol P15).

    `yes`: the record says so, or training stopped early, or it ran all its epochs and the best validation was not the last.
    """
    reported = record.training.get("converged")
    if isinstance(reported, bool):
        return YES if reported else NO

    reason = _ended_by(record)
    if reason in (EARLY_STOP, CLOSED_FORM):
        return YES
    if reason == EPOCHS:
        later = _later_validations(record)
        return None if later is None else YES if later else NO
    return NO if reason == TIME_LIMIT else None


def all_converged(records: Iterable[RunRecord]) -> str | None:
    """The same for all runs of a row: `no` if one did not, else None if one is unknown."""
    outcomes = {converged(record) for record in records}
    return next((outcome for outcome in (NO, None) if outcome in outcomes), YES)


def patience(record: RunRecord) -> int | None:
    """How many validations in a row without a better one end its training; None where none do, or nobody can say."""
    if record.spec.get("baseline") is None:
        return _declared(record)[1] or None
    stated = record.training.get("recbole", {}).get("settings", {}).get("stopping_step")
    return stated if isinstance(stated, int) and record.training.get("ended_by") != CLOSED_FORM else None


def is_deterministic(record: RunRecord) -> bool:
    """Whether the seed moves nothing: a baseline of this package, all of which count or solve, or a closed form."""
    if record.spec.get("baseline") is None:
        return False
    ours = record.components.get("baseline", {}).get("distribution") == BUILT_IN
    return ours or record.training.get("ended_by") == CLOSED_FORM


def ending(record: RunRecord) -> str | None:
    """How a training ended, in words: `time limit after 3,600 s`; None where nobody can say."""
    reason = _ended_by(record)
    if reason == TIME_LIMIT:
        return f"{reason}{_limit(record)}"
    if record.spec.get("baseline"):
        return "its last epoch, no early stop" if reason == EPOCHS else reason

    _, patience = _declared(record)
    if reason == EARLY_STOP and patience:
        return f"early stop: {patience} validations without a better one"
    if reason == EPOCHS:
        best = {YES: ", after the best one", NO: ", the best one"}.get(converged(record) or "", "")
        return f"its last epoch{best}"
    return reason


def _limit(record: RunRecord) -> str:
    """The limit of time that a record's options set, as words to add."""
    seconds, minutes = _options(record, "baseline").get("time_limit"), _options(record, "backbone").get("minutes")
    if isinstance(seconds, int | float):
        return f" after {seconds:,.10g} s"
    return f" of {minutes:,.10g} min" if isinstance(minutes, int | float) else ""


def _ended_by(record: RunRecord) -> str | None:
    """What ended a training; of an older generator, what its epochs and its patience tell."""
    reason = record.training.get("ended_by")
    if isinstance(reason, str) and reason:
        return reason

    epochs, patience = _declared(record)
    ran = record.training.get("epochs")
    if ran is None or epochs is None:
        return None
    if patience and (ran < epochs or (_later_validations(record) or 0) >= patience):
        return EARLY_STOP
    return EPOCHS if ran >= epochs else None


def _declared(record: RunRecord) -> tuple[int | None, int]:
    """The most epochs that a generator's options allow, and its patience (0: none); (None, 0) for others."""
    options = _options(record, "backbone")
    epochs, patience = options.get("epochs"), options.get("patience")
    return (epochs if isinstance(epochs, int) else None), (patience if isinstance(patience, int) else 0)


def _options(record: RunRecord, part: str) -> Mapping[str, Any]:
    options: Mapping[str, Any] = record.spec.get("options", {}).get(part, {})
    return options


def _later_validations(record: RunRecord) -> int | None:
    """How many validations came after the best one of the curve; None where no validation is known."""
    decided = record.training.get("on_all_users") or {}  # the last epoch may have won there; the curve is of the sample
    best = min(map(int, decided)) if decided else record.training.get("best_epoch") or 0
    epochs = [point.epoch for point in curve(record) if point.validation is not None]
    return sum(epoch > best for epoch in epochs) if epochs else None


def parameters(record: RunRecord) -> int | None:
    """The number of trained parameters; None for systems that count or solve instead of training."""
    if record.parameters.get("total") is not None:
        return int(record.parameters["total"])
    counts = record.training.get("parameters")
    if not isinstance(counts, Mapping) or record.training.get("ended_by") == "closed form":
        return None
    embedding, other = counts.get("embedding"), counts.get("other")
    return embedding + other if isinstance(embedding, int) and isinstance(other, int) else None


def train_seconds(records: Sequence[RunRecord]) -> dict[str, float | None]:
    """Per run (`spec_id`) the seconds of the training that gave its weights.

    A run whose weights came from the cache gets the seconds of a run among `records` that trained these very weights (by
    their fingerprint) on a machine of the same description. None if there is none, or if the training resumed from a
    checkpoint.
    """
    timed: dict[tuple[str, ...], float] = {}
    by_time = sorted(records, key=lambda record: str(record.environment.get("time")))
    for record in by_time:  # of several trainings of the same weights, the latest counts
        seconds, training = _whole_training(record), _training_key(record)
        if seconds is not None and training:
            timed[training] = seconds
    return {record.spec_id: _seconds(record, timed) for record in records}


def _seconds(record: RunRecord, timed: Mapping[tuple[str, ...], float]) -> float | None:
    if not record.training.get("cached"):
        return _whole_training(record)
    training = _training_key(record)
    return timed.get(training) if training else None


def _whole_training(record: RunRecord) -> float | None:
    """Seconds of the phase `fit`, if the whole training took place in it."""
    partly = record.training.get("cached") or record.training.get("resumed_from")
    return None if partly else record.phases.get("fit")


def _training_key(record: RunRecord) -> tuple[str, ...] | None:
    """What identifies a timed training: its weights and its machine; None without weights."""
    weights = record.fingerprints.get("weights")
    machine = (str(record.environment.get(key)) for key in ("device", "cpu", "gpu", "threads"))
    return (weights, *machine) if weights else None
