"""Runs cases in processes of their own, judges what comes back, and counts the outcomes in a table.

A case that crashes or hangs takes its process down, never the campaign. Knows nothing of faults.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

LIMIT = 90.0  # seconds that a case may take
LINE = 2_000  # characters: a longer message is no clear line
SAYS = re.compile(r"[A-Z]\w+: \S.*")  # how a clean error begins
TRACE = "Traceback (most recent call last)"


class Outcome(StrEnum):
    """How a case ended. The last three are faults of the toolkit."""

    RIGHT = "right"
    CLEAN = "clean error"
    WRONG = "wrong"
    UNCLEAN = "unclean"
    BLOCKED = "blocked"


FAULTS = (Outcome.WRONG, Outcome.UNCLEAN, Outcome.BLOCKED)


@dataclass(frozen=True)
class Verdict:
    """The outcome of a case, and what shows it."""

    outcome: Outcome
    detail: str = ""


RIGHT = Verdict(Outcome.RIGHT)


def wrong(why: str) -> Verdict:
    """A wrong number, or a wrong word, in silence."""
    return Verdict(Outcome.WRONG, why)


@dataclass(frozen=True)
class Case:
    """One fault to try. `run` gets a generator seeded by the case's name and an empty folder."""

    part: str
    kind: str
    number: int
    run: Callable[[random.Random, Path], Verdict]

    @property
    def name(self) -> str:
        """`mutations/events.csv/17`: the campaign runs a case again by its name."""
        return f"{self.part}/{self.kind}/{self.number}"


# processes ------------------------------------------------------------------------------------------------------------


def conduct(cases: Sequence[Case], seed: int, scratch: Path, limit: float = LIMIT) -> Iterator[tuple[Case, Verdict]]:
    """The verdict of every case, in order.

    Cases run one after another in a forked process. If it ends or takes longer than `limit` seconds over one case, that
    case is blamed, and another process goes on with the next.
    """
    done = 0
    while done < len(cases):
        pid, pipe = _forked(lambda write, rest=cases[done:]: _work(rest, seed, scratch, write))
        try:
            for line in _lines(pipe, limit):
                answer = json.loads(line)
                yield cases[done], Verdict(Outcome(answer["outcome"]), answer["detail"])
                done += 1
            ended = ""
        except TimeoutError:
            ended = f"no answer within {limit:g} s"
        finally:
            os.close(pipe)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        if done < len(cases):
            kind = Outcome.BLOCKED if ended else Outcome.UNCLEAN
            yield cases[done], Verdict(kind, ended or f"the process ended with {status}")
            done += 1


def _forked(work: Callable[[int], None]) -> tuple[int, int]:
    """The process that does `work` with the writing end of a pipe, and the reading end."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read

    try:
        os.setsid()
        os.close(read)
        work(write)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(70)


def _work(cases: Sequence[Case], seed: int, scratch: Path, pipe: int) -> None:
    """What the forked process does: one line per case."""
    log = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(log, descriptor)

    for case in cases:
        folder = scratch / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        os.chdir(folder)
        try:
            verdict = case.run(random.Random(f"{seed}/{case.name}"), folder)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            verdict = Verdict(Outcome.UNCLEAN, f"{type(error).__name__} at {where}: {error}")
        line = json.dumps({"outcome": verdict.outcome, "detail": verdict.detail[:1000]})
        os.write(pipe, line.encode() + b"\n")


def _lines(pipe: int, limit: float) -> Iterator[bytes]:
    """The lines that come through a pipe until it closes. TimeoutError if one takes longer than `limit` seconds."""
    rest = b""
    while True:
        deadline = time.monotonic() + limit
        while b"\n" not in rest:
            if not select.select([pipe], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise TimeoutError
            block = os.read(pipe, 1 << 16)
            if not block:
                return
            rest += block
        line, _, rest = rest.partition(b"\n")
        yield line


# commands -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """How a command ended. `code` is negative for a signal, None if it was stopped for taking too long."""

    code: int | None
    out: str
    err: str

    @property
    def fault(self) -> Verdict | None:
        """What is wrong with a command's end, if anything is: it hangs, shows a traceback, or says nothing clear."""
        if self.code is None:
            return Verdict(Outcome.BLOCKED, f"the command did not end: {self.err[-300:]}")
        lines = self.err.strip().splitlines()
        last = lines[-1] if lines else ""
        if TRACE in self.err or self.code not in (0, 1, 2):
            return Verdict(Outcome.UNCLEAN, f"exit code {self.code}: {self.err[-500:]}")
        if self.code and (not SAYS.match(last) or last.startswith("unexpected") or len(last) > LINE):
            return Verdict(Outcome.UNCLEAN, f"exit code {self.code}: {last[:500]}")
        return None

    @property
    def clean(self) -> Verdict:
        """The verdict on a command that refused: its fault, or a clean error."""
        return self.fault or Verdict(Outcome.CLEAN, self.err.strip().rpartition("\n")[2])


def genrec(
    *words: object,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    limit: float = 60,
    first: Callable[[], object] = lambda: None,
) -> Done:
    """A command of `genrec` in a forked process that works in `folder`; `first` is called there before it begins."""
    streams = [folder / f".{name}" for name in ("out", "err")]
    pid = os.fork()
    if not pid:
        try:
            _become(words, folder, environment or {}, streams, first)
        finally:
            os._exit(70)

    deadline = time.monotonic() + limit
    code: int | None = None
    pause = 0.001
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            break
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)

    texts = [path.read_text(errors="replace") if path.exists() else "" for path in streams]
    for path in streams:
        path.unlink(missing_ok=True)
    return Done(code, *texts)


def _become(
    words: Sequence[object],
    folder: Path,
    environment: Mapping[str, str],
    streams: Sequence[Path],
    first: Callable[[], object],
) -> None:
    """Turn this process into a command of `genrec`; never returns."""
    code = 70
    try:
        os.chdir(folder)
        os.environ.update(environment)
        for descriptor, path in enumerate(streams, 1):
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, descriptor)
            os.close(opened)
        sys.stdout, sys.stderr = (open(n, "w", closefd=False, buffering=1) for n in (1, 2))  # noqa: SIM115
        sys.argv = ["genrec", *map(str, words)]

        from genrec_bench.__main__ import main

        first()
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


# readers --------------------------------------------------------------------------------------------------------------


def judged(read: Callable[[], T], objection: Callable[[T], str]) -> Verdict:
    """Call a reader. What it accepts is right unless `objection` says why not; what it refuses must be one clear line."""
    from genrec_bench.cli.main import explain
    from genrec_bench.errors import GenrecError

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            value = read()
        except GenrecError as error:
            line, code = explain(error)
            if code not in (1, 2) or "\n" in line or len(line) > LINE or not SAYS.match(line):
                return Verdict(Outcome.UNCLEAN, f"exit code {code}: {line[:500]}")
            return Verdict(Outcome.CLEAN, line)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            return Verdict(Outcome.UNCLEAN, f"{type(error).__name__} at {where}: {error}")

    if numeric := [str(warning.message) for warning in said if issubclass(warning.category, RuntimeWarning)]:
        return Verdict(Outcome.UNCLEAN, f"a library warned: {numeric[0]}")
    why = objection(value)
    return wrong(why) if why else RIGHT


# tables ---------------------------------------------------------------------------------------------------------------


class Tally:
    """Counts outcomes by part and kind, with the seconds of each part."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], Counter[Outcome]] = {}
        self.seconds: Counter[str] = Counter()
        self.faults: list[tuple[Case, Verdict]] = []

    def add(self, case: Case, verdict: Verdict, seconds: float) -> None:
        """Count one verdict."""
        self.counts.setdefault((case.part, case.kind), Counter())[verdict.outcome] += 1
        self.seconds[case.part] += seconds
        if verdict.outcome in FAULTS:
            self.faults.append((case, verdict))

    def of_part(self, part: str) -> Counter[Outcome]:
        """The outcomes of one part."""
        return sum((count for (of, _), count in self.counts.items() if of == part), Counter())

    def markdown(self, by_kind: bool = False) -> str:
        """A table with a row per part, or per kind."""
        parts = list(dict.fromkeys(part for part, _ in self.counts))
        rows = [(part, self.of_part(part), f"{self.seconds[part]:.0f}") for part in parts]
        if by_kind:
            rows = [(f"{part}: {kind}", count, "") for (part, kind), count in self.counts.items()]
        heads = ("tried", *Outcome)
        lines = [
            f"| part | {' | '.join(heads)} |{'' if by_kind else ' seconds |'}",
            f"|---|{'---:|' * (len(heads) + (not by_kind))}",
        ]
        for name, count, seconds in rows:
            cells = [count.total(), *(count[outcome] for outcome in Outcome)]
            text = " | ".join(f"{cell:,}" for cell in cells)
            lines.append(f"| {name} | {text} |{'' if by_kind else f' {seconds} |'}")
        return "\n".join(lines)


def run_all(
    cases: Iterable[Case], seed: int, scratch: Path, tally: Tally, note: Callable[[str], Any], verbose: bool = False
) -> None:
    """Run cases and count them; `note` is told of every fault, or of every case."""
    began = time.monotonic()
    for case, verdict in conduct(list(cases), seed, scratch):
        now = time.monotonic()
        tally.add(case, verdict, now - began)
        began = now
        if verbose or verdict.outcome in FAULTS:
            note(f"{case.name}: {verdict.outcome}: {verdict.detail}")
