"""Suites: a TOML file that asks for many runs, by grids of specs or singly, and the outcome of each."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from genrec_bench.core.files import expand_home
from genrec_bench.core.progress import Progress, Quiet, Tick
from genrec_bench.errors import ConfigError, GenrecError, UsageError, did_you_mean
from genrec_bench.runs.apart import Stopped, resolve_apart, run_apart
from genrec_bench.runs.folders import run_folder
from genrec_bench.runs.record import RECORD_FILE, RunRecord
from genrec_bench.runs.spec import GENERATOR_PARTS, PARTS, ResolvedSpec, RunSpec, baseline_name, flat_options, read_toml

SECTIONS = ("all", "grid", "runs")
AXES = tuple(field.name for field in fields(RunSpec) if field.name != "options")


@dataclass(frozen=True)
class SuiteRun:
    """One run that a suite asks for. `resolved` is None if a component is broken; running it then says why."""

    asked: RunSpec
    resolved: ResolvedSpec | None

    @property
    def name(self) -> str:
        """Data set, task, seed and system in one line."""
        spec = self.describe()
        system = baseline_name(spec) or " / ".join(str(spec.get(part)) for part in GENERATOR_PARTS)
        return f"{spec['dataset']}, {spec.get('task')}, seed {spec['seed']}: {system}"

    def describe(self) -> dict[str, Any]:
        """The spec as plain data, resolved if possible."""
        return (self.resolved or self.asked).to_dict()


@dataclass(frozen=True)
class SuiteOutcome:
    """The outcome of the `number`-th run of a suite, from 1. `record` is None if it failed; `error` then says why.

    `ran` is False if the run had finished earlier.
    """

    number: int
    record: RunRecord | None
    error: str
    seconds: float
    ran: bool = True


def read_suite(path: Path) -> list[SuiteRun]:
    """The runs that a suite file asks for, in its order, without repeats.

    `[all]` holds what all runs share. `[grid]` (or several `[[grid]]`) holds lists of values, also of options
    (`set."backbone.epochs" = [1, 2]`); every combination runs. `[[runs]]` holds single runs. Keys are those of a run spec,
    with options under `set`. Resolves every run, so that a mistyped name stops a suite before its first run; a run with a
    broken component fails only when its turn comes. UsageError or ConfigError names the file.
    """
    try:
        sections = read_toml(path)
        for section in sections:
            if section not in SECTIONS:
                raise ConfigError(
                    f"no section {section!r}.{did_you_mean(section, SECTIONS)} Sections: {', '.join(SECTIONS)}.",
                    part="suite",
                    key=section,
                )

        (common, *more) = _tables(sections.get("all", {}), "all") or [{}]
        if more:
            raise ConfigError("a suite has one [all]: put what all runs share into one table", part="suite", key="all")
        _check_common(common)
        tables: list[Mapping[str, Any]] = [
            combination for grid in _tables(sections.get("grid", []), "grid") for combination in _product(grid)
        ]
        tables += _tables(sections.get("runs", []), "runs")
        specs = [RunSpec.from_dict(_merged(common, table)) for table in tables]
        runs = [SuiteRun(spec, resolved) for spec, resolved in zip(specs, resolve_apart(specs), strict=True)]
    except GenrecError as error:
        raise type(error)(str(error) if str(path) in str(error) else f"{path}: {error}", **error.facts) from None

    if not runs:
        raise UsageError(f"{path} asks for no run: give it a [grid] or [[runs]]")
    return list({str(run.describe()): run for run in runs}.values())


def run_suite(
    runs: Sequence[SuiteRun],
    *,
    jobs: int = 1,
    out: Path | str = "runs",
    device: str = "auto",
    data_dir: Path | None = None,
    isolate: bool = False,
    progress: Progress | None = None,
) -> Generator[SuiteOutcome, None, None]:
    """Run `runs`, each in a process of its own and `jobs` of them side by side; the outcomes in the order of their ends.

    Failures are reported; the suite continues. Runs side by side share the processor's threads evenly, and index and weights
    through the cache. `isolate` hides the data's files from all of them. Closing the iterator, or an exception in it such as
    KeyboardInterrupt, stops all runs.
    """
    progress, stop, out = progress or Quiet(), threading.Event(), Path(expand_home(out))
    threads = max(1, _threads() // jobs) if jobs > 1 else None

    def outcome(number: int, suite_run: SuiteRun) -> SuiteOutcome:
        file = run_folder(out, suite_run.resolved) / RECORD_FILE if suite_run.resolved else None
        began, written_before = time.perf_counter(), _written(file)
        shown = Numbered(progress, number, len(runs)) if jobs > 1 else progress
        where: dict[str, Any] = {"out": out, "device": device, "data_dir": data_dir, "isolate": isolate}
        try:
            if stop.is_set():
                raise Stopped
            record, error = run_apart(suite_run.asked, **where, progress=shown, threads=threads, stop=stop.is_set), ""
        except Exception as failure:  # any failure concerns this run only
            record, error = None, _one_line(failure)

        ran = record is None or written_before is None or _written(file) != written_before
        return SuiteOutcome(number, record, error, time.perf_counter() - began, ran)

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        waiting = [pool.submit(outcome, number, suite_run) for number, suite_run in enumerate(runs, 1)]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            stop.set()


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if type(error) is GenrecError else f"{type(error).__name__}: {text}"


def _threads() -> int:
    """The threads that a process may use: as OMP_NUM_THREADS says, or one for each core it may run on."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Numbered:
    """Progress of one run among several: its phases and notes begin with its number."""

    def __init__(self, progress: Progress, number: int, total: int) -> None:
        self._progress, self._prefix = progress, f"{number}/{total}"

    def phase(self, name: str, total: int | None = None, unit: str = "") -> AbstractContextManager[Tick]:
        """See `core.progress.Progress.phase`."""
        return self._progress.phase(f"{self._prefix} {name}", total, unit)

    def note(self, message: str) -> None:
        """See `core.progress.Progress.note`."""
        self._progress.note(f"{self._prefix}: {message}")


def _written(file: Path | None) -> int | None:
    """When a file was written, in nanoseconds; None if it does not exist."""
    try:
        return file.stat().st_mtime_ns if file else None
    except OSError:
        return None


def _tables(value: Any, section: str) -> list[Mapping[str, Any]]:
    tables = list(value) if isinstance(value, list) else [value]
    if not all(isinstance(table, Mapping) for table in tables):
        raise ConfigError(f"{section}: expected a table of run spec keys", part="suite", key=section)
    return tables


def _product(grid: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of a grid's lists; options vary under `set`."""
    axes = {key: values for key, values in grid.items() if key != "set"}
    for key in axes:
        if key not in AXES:
            raise ConfigError(f"a grid has no axis {key!r}.{did_you_mean(key, AXES)}", part="suite", key=key)

    options = flat_options(grid.get("set", {}))
    for key, values in (*axes.items(), *((f"set.{key}", values) for key, values in options.items())):
        if not isinstance(values, list) or not values:
            raise ConfigError(f"grid.{key} = {values!r}: expected a list of values", part="suite", key=key)

    for combination in itertools.product(*axes.values(), *options.values()):
        chosen_axes = dict(zip(axes, combination[: len(axes)], strict=True))
        chosen_options = dict(zip(options, combination[len(axes) :], strict=True))
        yield {**chosen_axes, **({"set": chosen_options} if chosen_options else {})}


def _check_common(common: Mapping[str, Any]) -> None:
    """ConfigError for a key that no run could have: what a run leaves out is never read."""
    for key in common:
        if key not in (*AXES, "set"):
            raise ConfigError(f"[all] has no key {key!r}.{did_you_mean(key, (*AXES, 'set'))}", part="suite", key=key)
    for key in flat_options(common.get("set", {})):
        part = key.partition(".")[0]
        if part not in PARTS:
            raise ConfigError(
                f"[all] set.{key}: no part named {part!r}.{did_you_mean(part, PARTS)}", part=part, key=key
            )


def _merged(common: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """`common` overridden by `table`, options too. A baseline takes from `common` only what applies to baselines."""
    shared, own = flat_options(common.get("set", {})), flat_options(table.get("set", {}))
    merged = {**common, **table, "set": {**shared, **own}}
    of_baselines = ("dataset", "baseline")
    if merged.get("baseline") is not None:
        merged["set"] = {key: value for key, value in shared.items() if key.split(".")[0] in of_baselines} | own
        for key in ("profile", "beams"):
            if key not in table:
                merged.pop(key, None)
    return merged
