"""The ledger of tuning trials beside a board's records (protocol P15): checked, counted, and told in its conditions.

A ledger is what `genrec tune` appends. A board that has none says that nobody spent trials on it; how defaults came to be, no ledger tells. Nothing here judges a
setting: which one a row ran with stands in its record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.records import places
from genrec_bench.runs.record import RESCORED, RunRecord

FILE = "ledger.jsonl"
FACTS = ("dataset", "task", "protocol", "data")  # what a trial and its board have in common
WHEN = ("seconds", "time", "versions", "cached", "resumed_from")  # in what a trial that was made again may differ
DEFAULTS = "What went into choosing defaults is no part of this count; known issues tell of it where it is known."
Trial = Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """How many trials a ledger holds of each system, failed ones included, and how many of these failed."""

    trials: Mapping[str, int]
    failed: Mapping[str, int]


def facts_of(record: RunRecord) -> dict[str, Any]:
    """What a trial has to say to belong to the board of this record."""
    return {
        **{key: record.spec.get(key) for key in ("dataset", "task", "protocol")},
        "data": record.fingerprints.get("data"),
    }


def read(folder: Path, record: RunRecord) -> Budget | None:
    """The budget that the ledger in a board's folder tells of; None without a ledger. `record` is one of the board's.

    RecordError names the line that is no trial, of another board, or names a place of its machine; and the trial that is
    missing, or there twice: a ledger holds them all.
    """
    from genrec_bench.tuning.search import read_ledger

    path = folder / FILE
    if not path.exists():
        return None
    try:
        trials = read_ledger(path)
    except RecordError as error:
        raise RecordError(str(error).replace(f"{folder}/", ""), path=path) from None
    check(trials, facts_of(record), path)
    systems = sorted({trial["system"] for trial in trials})
    counts = {name: [trial for trial in trials if trial["system"] == name] for name in systems}
    failed = {name: sum(trial["status"] == "failed" for trial in mine) for name, mine in counts.items()}
    return Budget({name: len(mine) for name, mine in counts.items()}, failed)


def check(trials: Sequence[Trial], facts: Mapping[str, Any], path: Path) -> None:
    """RecordError unless `trials` are whole searches on the data of one board."""
    searches: dict[str, list[int]] = {}
    for number, trial in enumerate(trials, 1):
        line = f"{path.name}, line {number}"
        kinds = {"search": str, "system": str, "trial": int}
        if any(type(trial.get(key)) is not kind for key, kind in kinds.items()):
            raise RecordError(f"{line}: no trial of `genrec tune`; remove that line", path=path)
        for key in FACTS:
            if trial.get(key) != facts[key]:
                told = f"{str(trial.get(key))[:12]}, not {str(facts[key])[:12]}"
                raise RecordError(f"{line}: a trial of another board ({key} {told})", path=path)
        if place := next(places(dict(trial)), None):
            raise RecordError(f"{line} names a place on its machine, which nobody else has: {place}", path=path)
        searches.setdefault(trial["search"], []).append(trial["trial"])
    for search, numbers in searches.items():
        if sorted(numbers) != list(range(len(numbers))):
            odd = next((n for n in range(len(numbers)) if numbers.count(n) != 1), numbers[-1])
            how = "there twice" if numbers.count(odd) > 1 else "missing"
            raise RecordError(
                f"{path.name}: trial {odd} of search {search} is {how}: a ledger holds every trial once", path=path
            )


def _outcome(trial: Trial) -> Trial:
    return {key: value for key, value in trial.items() if key not in WHEN}


def add(path: Path, boards: Mapping[Path, RunRecord]) -> list[Path]:
    """Append the trials of the ledger `path` to those of the boards they belong to, `boards` by folder with one of its
    records each; the ledgers written. Trials that are there already are left alone.

    RecordError, and nothing is written, if some trial belongs to no board, is there with another outcome, or does not hold.
    """
    from genrec_bench.tuning.search import read_ledger

    if not path.exists():
        raise RecordError(f"no ledger at {path}; check the path", path=path)
    left, changed = read_ledger(path), {}
    for folder, record in boards.items():
        facts = facts_of(record)
        mine = [trial for trial in left if all(trial.get(key) == facts[key] for key in FACTS)]
        left = [trial for trial in left if trial not in mine]
        there = read_ledger(folder / FILE)
        known = [_outcome(trial) for trial in there]
        together = [*there, *(trial for trial in mine if _outcome(trial) not in known)]
        check(together, facts, folder / FILE)
        if len(together) > len(there):
            changed[folder / FILE] = together
    if left:
        told = ", ".join(str(left[0].get(key))[:12] for key in FACTS)
        raise RecordError(f"{path}: {len(left)} trials belong to no board there (the first: {told})", path=path)
    for file, trials in changed.items():
        file.write_text("".join(json.dumps(trial, allow_nan=False) + "\n" for trial in trials), encoding="utf-8")
    return list(changed)


def told(budget: Budget | None, runs: Sequence[RunRecord]) -> list[str]:
    """What the board says of tuning, a sentence each: trials per system, and that the others ran as they come."""
    here = list(dict.fromkeys(_system(run) for run in runs if run.tier != RESCORED))
    elsewhere = list(dict.fromkeys(run.system for run in runs if run.tier == RESCORED))
    unknown = [f"Nobody here knows how these were tuned: {', '.join(elsewhere)}."] if elsewhere else []
    if budget is None:
        return [
            "Tuning: nobody spent trials of `genrec tune` on this board (it has no ledger). Each system ran with its own default "
            f"settings, apart from the options that its row or its command shows. {DEFAULTS}",
            *unknown,
        ]
    counts = [
        f"{name} {count}" + (f" ({budget.failed[name]} failed)" if budget.failed[name] else "")
        for name, count in budget.trials.items()
    ]
    rest = [name for name in here if name not in budget.trials]
    equal = not rest and len(set(budget.trials.values())) == 1
    return [
        f"Tuning, in trials of `genrec tune` on validation, every one of them in ledger.jsonl: {', '.join(counts)}; "
        + ("the same for every system." if equal else "not the same for every system."),
        *([f"No trials, the system's own defaults: {', '.join(rest)}. {DEFAULTS}"] if rest else []),
        *unknown,
    ]


def _system(run: RunRecord) -> str:
    """What `genrec tune` calls the system of a run: decoders are not tuned."""
    spec = run.spec
    return str(spec.get("baseline") or f"{spec.get('indexer')}/{spec.get('backbone')}")
