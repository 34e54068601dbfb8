"""The ledger of tuning trials beside a board's records (protocol P15): checked, counted, and stated in its conditions.

A ledger is what `genrec tune` appends. A board without one says that nobody spent trials on it; no ledger says how
defaults were chosen. Nothing here judges a setting: a row's record holds the one it ran with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec_bench.core.files import write_text
from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.records import machine_paths
from genrec_bench.runs.record import RESCORED, RunRecord
from genrec_bench.tuning.ledger import LEDGER_FILE, line_of, read_ledger

FACTS = ("dataset", "task", "protocol", "data")  # what a trial and its board have in common
VARYING = ("seconds", "time", "versions", "cached", "resumed_from")  # may differ when a trial is repeated
Trial = Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """How many trials a ledger holds of each system, failed ones included, and how many of these failed."""

    trials: Mapping[str, int]
    failed: Mapping[str, int]


def facts_of(record: RunRecord) -> dict[str, Any]:
    """What a trial must state to belong to the board of this record."""
    spec = record.spec
    return {
        "dataset": spec.get("dataset"),
        "task": spec.get("task"),
        "protocol": spec.get("protocol"),
        "data": record.fingerprints.get("data"),
    }


def read(folder: Path, record: RunRecord) -> Budget | None:
    """The budget in the ledger of a board's folder; None without a ledger. `record` is one of the board's.

    RecordError names a line that is not a trial, belongs to another board or names a path of a machine, and a trial that
    is missing or there twice: a ledger holds each of them once.
    """
    path = folder / LEDGER_FILE
    if not path.exists():
        return None
    try:
        trials = read_ledger(path)
    except RecordError as error:
        raise RecordError(str(error).replace(f"{folder}/", ""), path=path) from None
    check(trials, facts_of(record), path)

    counts, failed = {}, {}
    for system in sorted({trial["system"] for trial in trials}):
        statuses = [trial["status"] for trial in trials if trial["system"] == system]
        counts[system] = len(statuses)
        failed[system] = statuses.count("failed")
    return Budget(counts, failed)


def check(trials: Sequence[Trial], facts: Mapping[str, Any], path: Path) -> None:
    """RecordError unless `trials` are whole searches on the data of one board."""
    searches: dict[str, list[int]] = {}
    for number, trial in enumerate(trials, 1):
        _check_trial(trial, facts, f"{path.name}, line {number}", path)
        searches.setdefault(trial["search"], []).append(trial["trial"])

    for search, numbers in searches.items():
        if sorted(numbers) != list(range(len(numbers))):
            wrong = next((n for n in range(len(numbers)) if numbers.count(n) != 1), numbers[-1])
            how = "there twice" if numbers.count(wrong) > 1 else "missing"
            raise RecordError(
                f"{path.name}: trial {wrong} of search {search} is {how}: a ledger holds every trial once", path=path
            )


def _check_trial(trial: Trial, facts: Mapping[str, Any], line: str, path: Path) -> None:
    types = {"search": str, "system": str, "trial": int}
    if any(type(trial.get(key)) is not expected for key, expected in types.items()):
        raise RecordError(f"{line}: not a trial of `genrec tune`; remove that line", path=path)
    for key in FACTS:
        if trial.get(key) != facts[key]:
            values = f"{str(trial.get(key))[:12]}, not {str(facts[key])[:12]}"
            raise RecordError(f"{line}: a trial of another board ({key} {values})", path=path)
    if machine_path := next(machine_paths(dict(trial)), None):
        raise RecordError(f"{line} names a path that exists on its machine only: {machine_path}", path=path)


def add(path: Path, boards: Mapping[Path, RunRecord]) -> list[Path]:
    """Append the trials of the ledger `path` to the ledgers of the boards they belong to; the ledgers written.

    `boards` gives one record of each board, by folder. Trials that are already there are skipped. RecordError, and
    nothing is written, if a trial belongs to no board, is there with another outcome, or fails a check.
    """
    if not path.exists():
        raise RecordError(f"no ledger at {path}; check the path", path=path)

    unclaimed, changed = read_ledger(path), {}
    for folder, record in boards.items():
        facts = facts_of(record)
        fitting = [trial for trial in unclaimed if all(trial.get(key) == facts[key] for key in FACTS)]
        unclaimed = [trial for trial in unclaimed if trial not in fitting]

        present = read_ledger(folder / LEDGER_FILE)
        known = [_outcome(trial) for trial in present]
        together = [*present, *(trial for trial in fitting if _outcome(trial) not in known)]
        check(together, facts, folder / LEDGER_FILE)
        if len(together) > len(present):
            changed[folder / LEDGER_FILE] = together

    if unclaimed:
        first = ", ".join(str(unclaimed[0].get(key))[:12] for key in FACTS)
        raise RecordError(f"{path}: {len(unclaimed)} trials belong to no board there (the first: {first})", path=path)
    for file, trials in changed.items():
        write_text(file, "".join(map(line_of, trials)))
    return list(changed)


def _outcome(trial: Trial) -> Trial:
    return {key: value for key, value in trial.items() if key not in VARYING}


DEFAULTS = "This count leaves out how defaults were chosen; known issues say so where it is known."


def sentences(budget: Budget | None, runs: Sequence[RunRecord]) -> list[str]:
    """What a board says of tuning, a sentence each: trials per system, and which systems ran with their defaults."""
    systems = sorted({_tuned_system(run) for run in runs if run.tier != RESCORED})
    elsewhere = sorted({run.system for run in runs if run.tier == RESCORED})
    unknown = [f"It is unknown how these were tuned: {', '.join(elsewhere)}."] if elsewhere else []
    if budget is None:
        return [
            "Tuning: nobody spent trials of `genrec tune` on this board (it has no ledger). Each system ran with its own default "
            f"settings, except for the options that its row or its command shows. {DEFAULTS}",
            *unknown,
        ]

    counts = [
        f"{system} {count}" + (f" ({budget.failed[system]} failed)" if budget.failed[system] else "")
        for system, count in budget.trials.items()
    ]
    untuned = [system for system in systems if system not in budget.trials]
    equal = not untuned and len(set(budget.trials.values())) == 1
    sentences = [
        f"Tuning, in trials of `genrec tune` on validation, all of them in ledger.jsonl: {', '.join(counts)}; "
        + ("the same for every system." if equal else "not the same for every system.")
    ]
    if untuned:
        sentences.append(f"Without trials, at their own defaults: {', '.join(untuned)}. {DEFAULTS}")
    return sentences + unknown


def trials_of(run: RunRecord, budget: Budget | None) -> int | None:
    """How many trials the system of a run had; None for lists made elsewhere."""
    if run.tier == RESCORED:
        return None
    return budget.trials.get(_tuned_system(run), 0) if budget else 0


def _tuned_system(run: RunRecord) -> str:
    """What `genrec tune` calls the system of a run: decoders are not tuned."""
    spec = run.spec
    return str(spec.get("baseline") or f"{spec.get('indexer')}/{spec.get('backbone')}")
