"""The ledger of a tuning search: one JSON line per trial, in a file that several processes may share.

A lock guards every write, so lines never mix. Each line carries its digest, so a number that has changed is never read. A search belongs to one process at a time, so no trial number
is used twice. Knows what a line must hold, nothing of samplers and runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from genrec_bench.core.progress import Progress
from genrec_bench.errors import OutputError, RecordError
from genrec_bench.protocol.constants import SELECTION

LEDGER_FILE = "ledger.jsonl"
HALVES = ".half-lines"  # ending of the file beside a ledger that keeps half lines
SCORE = f"validation_{SELECTION}"
DIGEST = "digest"  # key of a line that holds the SHA-256 of the others; no part of the trial
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


def read_ledger(path: Path, progress: Progress | None = None) -> list[Trial]:
    """All trials of a ledger; none if there is no file. RecordError names a line that is not a trial.

    Half a line at the end, which a killed process or a full disk leaves, is such a line too; with `progress`, it is passed
    over with a note. Takes no lock, so that reading leaves no lock file behind.
    """
    if not path.exists():
        return []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot read the ledger {path}: {error.strerror or error}", path=path) from None

    *lines, last = content.split(b"\n")
    trials = []
    for number, line in enumerate(lines, 1):
        trial = _parsed(line)
        if trial is None:
            raise RecordError(
                f"{path}, line {number}: not a trial, or not as it was written; remove that line", path=path
            )
        trials.append(trial)

    if last and (trial := _parsed(last)) is not None:
        trials.append(trial)
    elif last:
        if progress is None:
            raise RecordError(f"{path}: its last line is half a trial; remove it", path=path)
        progress.note(f"{path}: its last line is half a trial and does not count; {path.name}{HALVES} will keep it")
    return trials


def _parsed(line: bytes) -> Trial | None:
    """A trial as it was written; None for anything else."""
    try:
        trial: Trial = json.loads(line.decode())
        assert trial.pop(DIGEST) == _digest(trial)
        assert isinstance(trial["params"], dict) and trial["status"] in ("finished", "failed")
        assert trial["status"] == "failed" or 0 <= trial[SCORE] <= 1
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError):
        return None
    return trial


def line_of(trial: Trial) -> str:
    """The line of a trial, with its digest and the newline. ValueError for a number that JSON lacks."""
    return json.dumps({**trial, DIGEST: _digest(trial)}, allow_nan=False) + "\n"


def _digest(trial: Trial) -> str:
    text = json.dumps(trial, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def trials_of(path: Path, search: str, progress: Progress | None = None) -> dict[int, Trial]:
    """The trials of one search by number. RecordError if a number occurs twice, which no search writes."""
    with _lock(path):
        trials = read_ledger(path, progress)

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
    """Add a line and wait until it is on disk. OutputError if it cannot be written.

    A trial at the end that lacks its newline gets it. Half a line there moves to `LEDGER.half-lines`.
    """
    line = line_of(trial)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path), path.open("a+b") as file:
            _end_last_line(path, file)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from None


def _end_last_line(path: Path, file: IO[bytes]) -> None:
    """Make sure that what is added next to a ledger begins a line."""
    file.seek(0)
    last = file.read().rpartition(b"\n")[2]
    if not last:
        return
    if _parsed(last) is not None:
        file.write(b"\n")
        return

    with path.with_name(path.name + HALVES).open("ab") as aside:
        aside.write(last + b"\n")
    file.truncate(file.tell() - len(last))


def best_first(trials: Iterable[Trial]) -> list[Trial]:
    """The finished trials, best first; equal ones by number."""
    return sorted((t for t in trials if t["status"] == "finished"), key=lambda t: (-t[SCORE], t["trial"]))


def _lock(ledger: Path, name: str = "") -> FileLock:
    ledger.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(ledger.with_name(f".{ledger.name}{name}.lock"))


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write to {path}: {error.strerror or error}; choose another --ledger", path=path)
