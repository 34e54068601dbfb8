"""RecBole's process: a worker with a folder, a log and a memory limit.

If it crashes, is killed, hangs, fails or needs too much memory, that is a `WorkerFailed` with the end of its log.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from genrec_bench.api import Worker, WorkerFailed, temporary_folder

CODE = Path(__file__).with_name("worker")
LOG = "recbole.log"


class RecBoleWorker(Worker):
    """The process that trains one model. Its folder is removed when it ends; its log stays in `log_folder`."""

    def __init__(self, interpreter: str, model: str, memory_limit_mb: int | None, log_folder: Path | None) -> None:
        self.model, self._memory_limit = model, memory_limit_mb
        if log_folder is not None:
            log_folder.mkdir(parents=True, exist_ok=True)
        folder = temporary_folder()
        log = (log_folder or folder) / LOG
        super().__init__([interpreter, str(CODE), str(folder)], log, {"PYTHONHASHSEED": "0"}, folder)

    def answer(self, until: float, task: str) -> dict[str, Any]:
        """The next message. WorkerFailed if there is none, if it reports an error, or beyond the memory limit."""
        message = self.receive(until, task, self._check_memory)
        if "error" in message:
            raise self.failure(f"failed: {' '.join(message['error'].split())}")
        return message

    def failure(self, why: str, error: type[WorkerFailed] = WorkerFailed) -> WorkerFailed:
        """End the worker; the error names the model and ends with the last lines of the log."""
        log = super().failure(why).facts["log"]
        last = f"; the end of its log: {' | '.join(log)}" if log else ""
        where = f"whole log: {self.log}" if self.log.exists() else "no log was kept"
        return error(f"RecBole's process for {self.model} {why}{last} ({where})", model=self.model, log=log)

    def _check_memory(self) -> None:
        if self._memory_limit is None:
            return
        used = resident(self.pid)
        if used > self._memory_limit:
            raise self.failure(f"used {used:.0f} MB, more than memory_limit_mb={self._memory_limit}, and was stopped")


def resident(pid: int) -> float:
    """Resident memory of a process and of those that it started, in MB (10^6 bytes); 0 once it has ended."""
    used = 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                used += member.memory_info().rss / 1e6
    return used
