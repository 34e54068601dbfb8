"""The checks in a process of their own: a component that crashes, hangs or exits fails a check, and the others go on.

The worker sends one message per event. If it dies in the middle of a check, that check has failed, and another worker
goes on with the next one.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from genrec_bench.errors import GenrecError, UsageError
from genrec_bench.host import registry
from genrec_bench.host.workers import Host, Worker, WorkerFailed, WorkerTimeout, python

SECONDS = 300.0  # for one check
CODE = "from genrec_bench.testing.process import run_in_worker; run_in_worker()"


def check_installed(
    kind: str,
    name: str,
    options: Mapping[str, str] | None = None,
    *,
    task: str = "sequential",
    timeout: float = SECONDS,
) -> Iterator[dict[str, str]]:
    """Results of all checks of an installed component, as dictionaries with `check`, `outcome` and `said`.

    A backbone runs with its profile `tiny`, if it has one, changed by `options`. GenrecError if the component cannot be
    loaded or its options are wrong; a check that takes longer than `timeout` seconds has failed.
    """
    info = registry.find(kind, name)
    who = f"{kind} {info.name!r} ({info.distribution})"
    request = {"kind": kind, "name": name, "options": dict(options or {}), "task": task}
    done: list[str] = []
    broken = ""  # the failed check that makes the others pointless

    while True:
        running, essential = "", False
        worker = Worker(python(CODE))
        worker.send({**request, "skip": done, "broken": broken})

        try:
            while True:
                event = worker.receive(time.monotonic() + timeout)
                match event["event"]:
                    case "error":
                        raise _error(event)
                    case "end":
                        return
                    case "start":
                        running, essential = event["check"], event["essential"]
                    case "result":
                        done.append(event["check"])
                        running = ""
                        yield {key: event[key] for key in ("check", "outcome", "said")}

        except WorkerTimeout:
            why = f"it took longer than {timeout:g} s"
            essential = True  # the next check would hang as well
        except WorkerFailed as error:
            last = f" ({error.facts['log'][-1]})" if error.facts["log"] else ""
            why = f"its process {error}{last}"
        finally:
            worker.close()

        if not running:
            raise GenrecError(f"{who} could not be checked: {why}", kind=kind, name=name)
        done.append(running)
        broken = running if essential else broken
        yield {"check": running, "outcome": "failed", "said": f"{who} fails {running}: {why}"}


def _error(event: Mapping[str, Any]) -> GenrecError:
    """The worker's error as one of this process."""
    from genrec_bench import errors

    cls: type[GenrecError] = getattr(errors, str(event["type"]), GenrecError)
    return cls(str(event["said"]))


def run_in_worker() -> None:
    """What the worker runs; the request is its first message."""
    host = Host()
    request = host.receive()
    try:
        subject = _subject(request)
    except GenrecError as error:
        host.send(event="error", type=type(error).__name__, said=str(error))
        return
    _run(subject, request["skip"], request["broken"], host)
    host.send(event="end")


def _subject(request: Mapping[str, Any]) -> Any:
    """The component with its options. GenrecError if it cannot be loaded or an option is wrong."""
    from genrec_bench.data.loading import data_folder
    from genrec_bench.host.config import make_config
    from genrec_bench.testing.kit import Subject

    kind, name = request["kind"], request["name"]
    cls = registry.load(kind, name)  # first: without torch, it says what to install
    for module in (f"{kind}s", "options"):  # registers the checks of this kind; only networks need torch
        importlib.import_module(f"genrec_bench.testing.{module}")

    options = dict(request["options"])
    for key in list(options):
        part, dot, plain = key.partition(".")
        if dot and part != kind:
            raise UsageError(f"--set {key}: only options of this {kind} can be set here, as {kind}.OPTION or OPTION")
        options[plain if dot else key] = options.pop(key)
    if "tiny" in getattr(cls, "profiles", {}):
        options = {**cls.profile("tiny", request["task"]), **options}
    make_config(cls.Config, options, kind)
    return Subject.of(kind, name, options, task=request["task"], data_dir=data_folder(None))


def _run(subject: Any, skip: list[str], broken: str, host: Host) -> None:
    """All checks but those in `skip`; after `broken` has failed, the rest is reported as skipped."""
    from genrec_bench.testing.kit import CHECKS, run_check

    for name, function in CHECKS[subject.kind].items():
        if name in skip:
            continue
        if broken:
            host.send(event="result", check=name, outcome="skipped", said=f"left out: {broken} failed")
            continue
        essential = function.essential  # type: ignore[attr-defined]
        host.send(event="start", check=name, essential=essential)
        result = run_check(function, subject)
        host.send(event="result", check=name, outcome=result.outcome, said=result.said)
        if result.outcome == "failed" and essential:
            broken = name
