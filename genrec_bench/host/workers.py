"""Worker processes: started, talked to in JSON lines, held to a time limit, ended. Knows nothing of their work.

For code that may crash, hang or exit: what it does to its own process is an answer here, not the end of this process.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from genrec_bench.core.files import scratch_folder
from genrec_bench.errors import GenrecError

POLL = 0.25  # seconds between two looks at a silent worker
LAST_LINES, LONGEST = 4, 160  # of a log, in an error: lines, and characters per line
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class WorkerFailed(GenrecError):
    """A worker gave no answer (`log`: the last lines that it wrote to standard error)."""


class WorkerTimeout(WorkerFailed):
    """A worker gave no answer in time, and was stopped."""


def python(code: str) -> list[str]:
    """The command that runs `code` in another process of this interpreter."""
    return [sys.executable, "-P", "-c", code]  # -P: modules in the working folder stay out


class Worker:
    """A process that exchanges JSON lines with this one: objects in on stdin, out on stdout; stderr goes to `log`.

    `environment` holds additional variables. `folder` goes when the worker ends; it holds the log if `log` is not given.
    Dropping a worker ends its process, and every process that it started.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.folder = temporary_folder() if folder is None else folder
        self.log = self.folder / "log" if log is None else log

        with self.log.open("wb") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **(environment or {})},
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # Ctrl-C is for this process to handle
            )

        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_read, args=(self._process.stdout, self._lines), daemon=True).start()
        self._finalizer = weakref.finalize(self, _end, self._process, self.folder)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message. If the worker is gone, the next `receive` says so."""
        with suppress(BrokenPipeError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def receive(self, until: float, task: str = "answer", watch: Callable[[], None] | None = None) -> dict[str, Any]:
        """The next message; `task` says what the worker is doing, for errors. Calls `watch` while waiting; it may raise.

        WorkerTimeout if there is none `until` that time of the monotonic clock; WorkerFailed if the worker ends, or
        writes anything but messages. Both end the worker.
        """
        while True:
            try:
                line = self._lines.get(timeout=min(POLL, max(until - time.monotonic(), 0)))
            except queue.Empty:
                if watch is not None:
                    watch()
                if time.monotonic() > until:
                    raise self.failure(f"did not {task} within its time limit and was stopped", WorkerTimeout) from None
                continue

            if line is None:
                raise self.failure(self._how_it_ended())
            message = _parsed(line)
            if message is None:
                raise self.failure(f"wrote what is not a message: {line.strip()[:80]!r}")

            if watch is not None:
                watch()
            return message

    def failure(self, why: str, error: type[WorkerFailed] = WorkerFailed) -> WorkerFailed:
        """End the worker; the error that says `why`."""
        log = tail(self.log)
        self.close()
        return error(why, log=log)

    def stop(self, seconds: float) -> None:
        """Ask the process to end, and end it after so many seconds."""
        with suppress(OSError):
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=seconds)
        self.close()

    def close(self) -> None:
        """End the process and those that it started, and remove its folder."""
        self._finalizer()

    def _how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code = self._process.returncode
        if code is not None and code < 0:
            with suppress(ValueError):
                name = signal.Signals(-code).name
                return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"ended by itself (exit code {code})"


class Host:
    """The worker's end of the line, for Python code of this package.

    Takes stdin and stdout for itself: from now on, reads of stdin find nothing, and prints go to stderr.
    """

    def __init__(self) -> None:
        self._sending = threading.Lock()
        self._in = os.fdopen(os.dup(0), encoding="utf-8")
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    def receive(self) -> dict[str, Any]:
        """The next message."""
        message: dict[str, Any] = json.loads(self._in.readline())
        return message

    def wait_for_end(self) -> None:
        """Wait until the other process closes the line, as it does when it ends."""
        with suppress(ValueError, OSError):
            for _ in self._in:
                pass

    def send(self, **message: Any) -> None:
        """Send a message. Threads may do so at once."""
        with self._sending:
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()


def temporary_folder() -> Path:
    """A new folder, for a worker that removes it when it ends."""
    return scratch_folder("worker")


def tail(log: Path, lines: int = LAST_LINES) -> tuple[str, ...]:
    """The last lines of a log that are not blank, without colours, long ones cut."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ()
    filled = [line for line in map(str.strip, COLOURS.sub("", text).splitlines()) if line]
    return tuple(line if len(line) <= LONGEST else f"{line[:LONGEST]}..." for line in filled[-lines:])


def _parsed(line: str) -> dict[str, Any] | None:
    """A message; None for anything else."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    """Pass a worker's lines on, then None."""
    with suppress(ValueError, OSError), stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _end(process: subprocess.Popen[str], folder: Path) -> None:
    """End a process and those that it started, and remove its folder."""
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
    shutil.rmtree(folder, ignore_errors=True)
