"""A worker process: started, listened to, held to its limits, ended. Knows JSON lines, nothing of what they mean.

A worker that crashes, is killed, hangs or needs too much memory ends as a `WorkerFailed` with the end of its log.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import psutil

from genrec_bench.errors import GenrecError

CODE = Path(__file__).with_name("worker")
LOG = "recbole.log"
POLL = 0.25  # seconds between looks at a silent worker's memory
LAST_LINES = 4  # of the log, in an error's message
LONGEST = 160  # characters of each
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class WorkerFailed(GenrecError):
    """A worker process ended before its work did, or was ended at a limit (`model`, `log`: its last lines)."""


class Worker:
    """One process. Whoever lets go of it ends it; its folder goes with it, its log stays in `log_folder`."""

    def __init__(self, python: str, model: str, memory_limit_mb: int | None, log_folder: Path | None) -> None:
        self.model, self._memory_limit = model, memory_limit_mb
        self._place = tempfile.TemporaryDirectory(prefix="genrec-recbole-", ignore_cleanup_errors=True)
        self.folder = Path(self._place.name)
        if log_folder is not None:
            log_folder.mkdir(parents=True, exist_ok=True)
        self.log = (log_folder or self.folder) / LOG
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                [python, str(CODE), str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONHASHSEED": "0"},
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is the host's to handle
            )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_read, args=(self._process.stdout, self._lines), daemon=True).start()
        self.close = weakref.finalize(self, _end, self._process, self._place)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Mapping[str, Any]) -> None:
        """Say something. A worker that is gone is found out by the next `receive`."""
        with suppress(BrokenPipeError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def receive(self, until: float, what: str) -> dict[str, Any]:
        """What it says next. WorkerFailed if it ends, fails, needs too much memory, or is silent `until` that time of the
        monotonic clock, busy with `what`."""
        while True:
            try:
                line = self._lines.get(timeout=POLL)
            except queue.Empty:
                self._check_memory()
                if time.monotonic() > until:
                    raise self._failed(f"did not end {what} within its time limit and was stopped") from None
                continue
            if line is None:
                raise self._failed(self._how_it_ended())
            message = _parsed(line)
            if message is None:
                raise self._failed(f"said what is no message: {line.strip()[:80]!r}")
            if "error" in message:
                raise self._failed(f"failed: {' '.join(message['error'].split())}")
            self._check_memory()
            return message

    def _check_memory(self) -> None:
        if self._memory_limit is None:
            return
        used = resident(self.pid)
        if used > self._memory_limit:
            raise self._failed(f"used {used:.0f} MB, more than memory_limit_mb={self._memory_limit}, and was stopped")

    def _how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code = self._process.returncode
        if code is not None and code < 0:
            with suppress(ValueError):
                name = signal.Signals(-code).name
                return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"ended by itself (exit code {code})"

    def _failed(self, how: str) -> WorkerFailed:
        last = tail(self.log)
        self.close()
        where = f"whole log: {self.log}" if self.log.exists() else "no log was kept"
        said = f"; the end of its log: {' | '.join(last)}" if last else ""
        return WorkerFailed(f"RecBole's process for {self.model} {how}{said} ({where})", model=self.model, log=last)


def tail(log: Path, lines: int = LAST_LINES) -> tuple[str, ...]:
    """The last lines of a log that say something, without colours, long ones cut."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ()
    said = [line for line in map(str.strip, COLOURS.sub("", text).splitlines()) if line]
    return tuple(line if len(line) <= LONGEST else f"{line[:LONGEST]}..." for line in said[-lines:])


def resident(pid: int) -> float:
    """Resident memory of a process and of those it started, in MB (10^6 bytes); 0 once it is gone."""
    used = 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                used += each.memory_info().rss / 1e6
    return used


def _parsed(line: str) -> dict[str, Any] | None:
    """A message; None for anything else."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _read(stream: IO[str] | None, lines: queue.Queue[str | None]) -> None:
    """Pass a worker's lines on; None says that there will be no more."""
    assert stream is not None
    with suppress(ValueError, OSError), stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _end(process: subprocess.Popen[str], place: tempfile.TemporaryDirectory[str]) -> None:
    """End a process and what it started, and remove its folder."""
    with suppress(OSError, ValueError):
        assert process.stdin is not None
        process.stdin.close()
    if process.poll() is None:
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
    place.cleanup()
