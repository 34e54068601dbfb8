"""Runs and resolves specs in processes of their own.

What a component does to its process (replaced functions, default types, threads, an exit) ends with it and reaches no other
run. An isolated process gets the data set from this one, and cannot open its files. Notes and progress come back as messages.
Knows nothing of suites.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from genrec_bench import errors
from genrec_bench.core.progress import Progress, Tick
from genrec_bench.data.loading import make_dataset
from genrec_bench.errors import BrokenComponent, ComponentFault, GenrecError
from genrec_bench.host.isolation import hiding, require_isolation
from genrec_bench.host.sealing import watch
from genrec_bench.host.workers import Host, Worker, WorkerFailed, python
from genrec_bench.runs.inputs import Loaded, load
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.spec import ResolvedSpec, RunSpec

GRACE = 20.0  # seconds that a stopped run gets to write its record
TICKS = 0.2  # seconds between two messages on progress
LIBRARIES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # that read their threads here
FAILURE = "failure"  # key of a message on an error
INTERRUPTED = "Interrupted"


class Stopped(Exception):
    """The run was told to stop."""


# here -----------------------------------------------------------------------------------------------------------------


def resolve_apart(specs: Sequence[RunSpec]) -> list[ResolvedSpec | None]:
    """The resolved specs; None for one whose component is broken, or ends the process that imports it.

    The errors of `resolve` for wrong names and options are raised here.
    """
    resolved: list[ResolvedSpec | None] = []
    while len(resolved) < len(specs):
        rest = specs[len(resolved) :]
        worker, number = _start(), 0
        try:
            worker.send({"resolve": [spec.to_dict() for spec in rest]})
            for number, _ in enumerate(rest):
                answer = worker.receive(math.inf)
                if number and "spec" not in answer:
                    break  # a component of an earlier spec may have changed that process: ask a new one
                if FAILURE in answer and answer[FAILURE] != INTERRUPTED:
                    raise _error(answer)
                spec = answer.get("spec")
                resolved.append(None if spec is None else ResolvedSpec.from_dict(spec))
                if "spec" not in answer:
                    break  # that component interrupted its process

        except WorkerFailed:
            if not number:  # else an earlier one may have ended it: ask again
                resolved.append(None)
        finally:
            worker.close()
    return resolved


def run_apart(
    spec: RunSpec,
    *,
    out: Path,
    device: str,
    data_dir: Path | None,
    progress: Progress,
    force: bool = False,
    isolate: bool = False,
    threads: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> RunRecord:
    """What `run` returns or raises, from a process of its own with so many `threads` (None: as many as this one).

    `isolate` loads the data set here, and hides its files from the process and all that it starts; NeedsMissing if this
    machine cannot. While it runs, `stop` is asked several times a second. Once it says yes, or at Ctrl-C, the run gets
    `GRACE` seconds to record that it was interrupted, and Stopped or KeyboardInterrupt is raised. WorkerFailed if the process
    ends without an answer.
    """

    def look() -> None:
        if stop():
            raise Stopped

    loaded = _load(spec, data_dir, progress) if isolate else None
    worker = _start({name: str(threads) for name in LIBRARIES} if threads else {}, loaded.held_out if loaded else ())
    where = {"out": str(out), "device": device, "data_dir": None if data_dir is None else str(data_dir), "force": force}
    try:
        worker.send({"run": spec.to_dict(), "where": where, "loaded": _handed_over(loaded, worker.folder)})
        with ExitStack() as phases:
            follower = Follower(progress, phases)
            while True:
                message = worker.receive(math.inf, watch=look)
                if FAILURE in message:
                    raise _error(message)
                if "record" in message:
                    return RunRecord.from_dict(message["record"])
                follower.show(message)
    except (Stopped, KeyboardInterrupt):
        worker.stop(GRACE)
        raise
    except WorkerFailed as error:
        last = f" ({error.facts['log'][-1]})" if error.facts.get("log") else ""
        raise WorkerFailed(f"its process {error}{last}") from None
    finally:
        worker.close()


def _start(environment: Mapping[str, str] | None = None, hidden: Collection[str] = ()) -> Worker:
    command = python("from genrec_bench.runs.apart import serve; serve()")
    return Worker(hiding(hidden, command) if hidden else command, environment=environment)


def _load(spec: RunSpec, data_dir: Path | None, progress: Progress) -> Loaded:
    """The data set of a spec, for a process that cannot read it."""
    require_isolation()
    watch()  # or nobody would know which files to hide
    info, dataset = make_dataset(spec.dataset, spec.options.get("dataset", {}))
    return load(info, dataset, data_dir, progress)


def _handed_over(loaded: Loaded | None, folder: Path) -> str | None:
    """The file in which the process finds its data set. It removes the file before it imports any component."""
    if loaded is None:
        return None
    file = folder / "loaded"
    file.write_bytes(pickle.dumps(loaded))
    return str(file)


def _error(message: Mapping[str, Any]) -> GenrecError:
    """The error that a process reported, of its class if it is one of ours."""
    cls = getattr(errors, message[FAILURE], None)
    if isinstance(cls, type) and issubclass(cls, GenrecError):
        return cls(message["why"], **message["facts"])
    return GenrecError(f"{message[FAILURE]}: {message['why']}")


class Follower:
    """Shows the progress of another process. Phases that are still open end with `phases`."""

    def __init__(self, progress: Progress, phases: ExitStack) -> None:
        self.progress, self.phases = progress, phases
        self.open: dict[int, tuple[ExitStack, Tick]] = {}

    def show(self, message: Mapping[str, Any]) -> None:
        """Act on one message of `Forwarded`."""
        if "note" in message:
            self.progress.note(message["note"])
        elif "begin" in message:
            stack = self.phases.enter_context(ExitStack())
            tick = stack.enter_context(self.progress.phase(message["name"], message["total"], message["unit"]))
            self.open[message["begin"]] = stack, tick
        elif "tick" in message:
            self.open[message["tick"]][1](message["steps"], message["beside"], earlier=message["earlier"])
        elif "end" in message:
            self.open.pop(message["end"])[0].close()


# in the other process -------------------------------------------------------------------------------------------------


class Forwarded:
    """Progress that goes to the process that asked for the run."""

    def __init__(self, host: Host) -> None:
        self._host, self._phases = host, 0

    def _send(self, **message: Any) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            self._host.send(**message)

    def note(self, message: str) -> None:
        """See `core.progress.Progress.note`."""
        self._send(note=message)

    def phase(self, name: str, total: int | None = None, unit: str = "") -> AbstractContextManager[Tick]:
        """See `core.progress.Progress.phase`."""
        return self._phase(name, total, unit)

    @contextlib.contextmanager
    def _phase(self, name: str, total: int | None, unit: str) -> Iterator[Tick]:
        self._phases += 1
        number, waiting, sent = self._phases, 0, time.monotonic()
        self._send(begin=number, name=name, total=total, unit=unit)

        def tick(steps: int = 1, note: str = "", *, earlier: bool = False) -> None:
            nonlocal waiting, sent
            if earlier:
                self._send(tick=number, steps=steps, beside=note, earlier=True)
                return
            waiting += steps
            if time.monotonic() - sent >= TICKS:
                self._send(tick=number, steps=waiting, beside=note, earlier=False)
                waiting, sent = 0, time.monotonic()

        try:
            yield tick
        finally:
            self._send(end=number)


def serve() -> None:
    """What the other process runs: one request, answered on stdout. SIGTERM and the end of the asking process stop it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    host = Host()
    request = host.receive()
    threading.Thread(target=_end_with, args=(host,), daemon=True).start()

    try:
        if "resolve" in request:
            _resolve_all(host, request["resolve"])
        else:
            _run(host, request["run"], request["where"], request["loaded"])
    except KeyboardInterrupt:
        host.send(**{FAILURE: INTERRUPTED, "why": "stopped before the end", "facts": {}})
    except (Exception, SystemExit) as error:
        host.send(**_failure(error))


def _end_with(host: Host) -> None:
    """Stop this process when the one that asked is gone: its end of the pipe closes."""
    host.wait_for_end()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)


def _resolve_all(host: Host, specs: Sequence[Mapping[str, Any]]) -> None:
    from genrec_bench.runs.plan import resolve

    for spec in specs:
        try:
            host.send(spec=resolve(RunSpec.from_dict(spec)).spec.to_dict())
        except (BrokenComponent, ComponentFault):
            host.send(spec=None)


def _run(host: Host, spec: Mapping[str, Any], where: Mapping[str, Any], file: str | None) -> None:
    from genrec_bench.runs.run import run

    loaded = None
    if file is not None:
        loaded = pickle.loads(Path(file).read_bytes())
        Path(file).unlink()  # before any component is there to read it

    watch()
    data_dir = None if where["data_dir"] is None else Path(where["data_dir"])
    record = run(
        RunSpec.from_dict(spec),
        out=Path(where["out"]),
        device=where["device"],
        data_dir=data_dir,
        force=where["force"],
        progress=Forwarded(host),
        loaded=loaded,
    )
    host.send(record=record.to_dict())


def _failure(error: BaseException) -> dict[str, Any]:
    facts = {}
    for key, value in getattr(error, "facts", {}).items():
        with contextlib.suppress(TypeError, ValueError):
            facts[key] = json.loads(json.dumps(value))
    return {FAILURE: type(error).__name__, "why": " ".join(str(error).split()), "facts": facts}
