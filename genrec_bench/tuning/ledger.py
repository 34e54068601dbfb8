"""The ledger of a tuning search: one JSON line per trial, in a file that several processes may share.

A lock guards every read and write, so nobody sees half a line. A search belongs to one process at a time, so no trial number
is used twice. Knows what a line must hold, nothing of samplers and runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from genrec_bench.core.progress import Progress
from genrec_bench.errors import OutputError, RecordError
from genrec_bench.protocol.constants import SELECTION

LEDGER_FILE = "ledger.jsonl"
SCORE = f"validation_{SELECTION}"
Trial = dict[str, Any]  # a line of the ledger


@contextmanager
def searching(ledger: Path, search: str, progress: Progress) -> Iterator[None]:
    """Hold the lock of one search in this ledger. Waits, with a note, for another process that runs the same search.

    Other searches of the ledger may run meanwhile. A process that dies releases its lock. OutputError if the folder is not
    writable.
    """
    lock = _lock(ledger, f".{search}")
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.note(f"another process is running this search in {ledger}: waiting for it")
            lock.acquire()
    except OSError as error:
        raise _unwritable(ledger, error) from None

    try:
        yield
    finally:
        lock.release()


def read_ledger(path: Path) -> list[Trial]:
    """All trials of a ledger; none if there is no file. RecordError names a line that is not a trial.

    Takes no lock, so that reading leaves no lock file behind.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"cannot read the ledger {path}: {error}", path=path) from None

    trials = []
    for number, text in enumerate(lines, 1):
        try:
            trial = json.loads(text)
            assert isinstance(trial["params"], dict) and trial["status"] in ("finished", "failed")
            assert trial["status"] == "failed" or 0 <= trial[SCORE] <= 1
        except (ValueError, KeyError, TypeError, AssertionError):
            raise RecordError(f"{path}, line {number}: not a trial; remove that line", path=path) from None
        trials.append(trial)
    return trials


def trials_of(path: Path, search: str) -> dict[int, Trial]:
    """The trials of one search by number. RecordError if a number occurs twice, which no search writes."""
    with _lock(path):
        trials = read_ledger(path)

    by_number: dict[int, Trial] = {}
    for trial in trials:
        if trial.get("search") != search:
            continue
        if not isinstance(trial.get("trial"), int):
            raise RecordError(f"{path}: a trial of search {search} has no number: remove its line", path=path)
        if trial["trial"] in by_number:
            raise RecordError(
                f"{path}: trial {trial['trial']} of search {search} occurs twice: remove one of its lines",
                path=path,
            )
        by_number[trial["trial"]] = trial
    return by_number


def append(path: Path, trial: Trial) -> None:
    """Add a line and wait until it is on disk. OutputError if it cannot be written."""
    line = json.dumps(trial, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path), path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from None


def best_first(trials: Iterable[Trial]) -> list[Trial]:
    """The finished trials, best first; equal ones by number."""
    return sorted((t for t in trials if t["status"] == "finished"), key=lambda t: (-t[SCORE], t["trial"]))


def _lock(ledger: Path, name: str = "") -> FileLock:
    ledger.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(ledger.with_name(f".{ledger.name}{name}.lock"))


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write to {path}: {error.strerror or error}; choose another --ledger", path=path)
