"""The ledger of a search: one JSON line per trial, in a file that several processes may share.

Lines are read and written under a lock, so nobody sees half of one; a search is one process's at a time, so no trial is
numbered twice. Knows what a line must hold, nothing of samplers and runs.
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
    """Hold a search of this ledger: another process that runs the same one is waited for, and that is said.

    Other searches go on beside it. A process that dies lets go. OutputError if the folder cannot be written.
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
    """All trials of a ledger, none if there is no file. RecordError names the line that is no trial.

    Takes no lock, and so leaves no lock file beside a ledger that is only read.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is no readable ledger: {error}", path=path) from None
    trials = []
    for number, text in enumerate(lines, 1):
        try:
            trial = json.loads(text)
            assert isinstance(trial["params"], dict) and trial["status"] in ("finished", "failed")
            assert trial["status"] == "failed" or 0 <= trial[SCORE] <= 1
        except (ValueError, KeyError, TypeError, AssertionError):
            raise RecordError(f"{path}, line {number}: no trial of a ledger; remove that line", path=path) from None
        trials.append(trial)
    return trials


def trials_of(path: Path, search: str) -> dict[int, Trial]:
    """The trials of one search by their numbers. RecordError if a number is there twice, which no search writes."""
    found: dict[int, Trial] = {}
    with _lock(path):
        trials = read_ledger(path)
    for trial in trials:
        if trial.get("search") != search:
            continue
        if not isinstance(trial.get("trial"), int):
            raise RecordError(f"{path}: a trial of search {search} has no number: remove its line", path=path)
        if trial["trial"] in found:
            raise RecordError(
                f"{path}: trial {trial['trial']} of search {search} stands there twice: remove one of its lines",
                path=path,
            )
        found[trial["trial"]] = trial
    return found


def append(path: Path, trial: Trial) -> None:
    """Add a line, on disk when this returns. OutputError if it cannot be written."""
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
    """The finished trials, the best first; equal ones in their order."""
    return sorted((t for t in trials if t["status"] == "finished"), key=lambda t: (-t[SCORE], t["trial"]))


def _lock(ledger: Path, name: str = "") -> FileLock:
    ledger.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(ledger.with_name(f".{ledger.name}{name}.lock"))


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write to {path}: {error.strerror or error}; choose another --ledger", path=path)
