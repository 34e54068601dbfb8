"""The checks in a process of their own: a component that crashes, hangs or exits is a result, not the end.

The child writes one JSON line per event to its first standard output and sends whatever the component prints to standard
error. When it dies in the middle of a check, that check has failed and another child goes on with the next one.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import IO, Any

from genrec_bench.errors import GenrecError, UsageError
from genrec_bench.host import registry

SECONDS = 300.0  # for one check
CODE = "from genrec_bench.testing.process import child; child()"


def check_installed(
    kind: str,
    name: str,
    options: Mapping[str, str] | None = None,
    *,
    task: str = "sequential",
    timeout: float = SECONDS,
) -> Iterator[dict[str, str]]:
    """Results of all checks of an installed component, as dictionaries with `check`, `outcome` and `said`.

    A backbone runs with its profile `tiny`, if it has one, changed by `options`. GenrecError if the component
    cannot be loaded or its options are wrong; a check that takes longer than `timeout` seconds has failed.
    """
    info = registry.find(kind, name)
    who = f"{kind} {info.name!r} ({info.distribution})"
    request = {"kind": kind, "name": name, "options": dict(options or {}), "task": task}
    done: list[str] = []
    broken = ""
    while True:
        running, essential, code = "", False, 0
        late = False
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", CODE, json.dumps({**request, "skip": done, "broken": broken})],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                errors="replace",
            )
            try:
                for event in _events(process, timeout):
                    if event is None:
                        late = True
                        break
                    if event["event"] == "error":
                        raise _error(event)
                    if event["event"] == "end":
                        return
                    if event["event"] == "start":
                        running, essential = event["check"], event["essential"]
                        continue
                    done.append(event["check"])
                    running = ""
                    yield {key: event[key] for key in ("check", "outcome", "said")}
                if not late:
                    code = process.wait()
            finally:
                process.kill()
                process.wait()
            why = f"it took longer than {timeout:g} s" if late else _ending(code, said)
        if not running:
            raise GenrecError(f"{who} could not be checked: {why}", kind=kind, name=name)
        done.append(running)
        broken = running if essential or late else broken  # the next one would hang as well
        yield {"check": running, "outcome": "failed", "said": f"{who} fails {running}: {why}"}


def _events(process: subprocess.Popen[str], timeout: float) -> Iterator[dict[str, Any] | None]:
    """The child's events; None, and then no more, if none comes for `timeout` seconds."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read(stream: IO[str]) -> None:
        for line in stream:
            lines.put(line)
        lines.put(None)

    assert process.stdout is not None
    threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=timeout)
        except queue.Empty:
            yield None
            return
        if line is None:
            return
        yield json.loads(line)


def _ending(code: int, said: IO[bytes]) -> str:
    """How a process came to its end, in one line."""
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    last = f" ({lines[-1].strip()})" if lines else ""
    if code < 0:
        return f"its process was killed by signal {-code}{last}"
    return f"its process ended with exit code {code}{last}"


def _error(event: Mapping[str, Any]) -> GenrecError:
    from genrec_bench import errors

    found: type[GenrecError] = getattr(errors, str(event["type"]), GenrecError)
    return found(str(event["said"]))


def child() -> None:
    """What the other process runs; the request is its first argument."""
    request = json.loads(sys.argv[1])
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a component prints must not look like an event

    def tell(event: str, **facts: Any) -> None:
        out.write(json.dumps({"event": event, **facts}) + "\n")
        out.flush()

    try:
        subject = _subject(request)
    except GenrecError as error:
        tell("error", type=type(error).__name__, said=str(error))
        return
    _run(subject, request["skip"], request["broken"], tell)
    tell("end")


def _subject(request: Mapping[str, Any]) -> Any:
    from genrec_bench.data.loading import data_folder
    from genrec_bench.host.config import make_config
    from genrec_bench.testing.kit import Subject

    kind, name = request["kind"], request["name"]
    for module in (f"{kind}s", "options"):  # registers the checks of this kind; only networks need torch
        importlib.import_module(f"genrec_bench.testing.{module}")
    cls = registry.load(kind, name)
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


def _run(subject: Any, skip: list[str], broken: str, tell: Any) -> None:
    from genrec_bench.testing.kit import CHECKS, run_check

    for name, function in CHECKS[subject.kind].items():
        if name in skip:
            continue
        if broken:
            tell("result", check=name, outcome="skipped", said=f"left out: {broken} failed")
            continue
        essential = function.essential  # type: ignore[attr-defined]
        tell("start", check=name, essential=essential)
        result = run_check(function, subject)
        tell("result", check=name, outcome=result.outcome, said=result.said)
        if result.outcome == "failed" and essential:
            broken = name
