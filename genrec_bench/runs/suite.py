"""Suites: a TOML file that asks for many runs, by grids of specs or singly, and the outcome of each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from genrec_bench.errors import BrokenComponent, ComponentFault, ConfigError, GenrecError, UsageError, did_you_mean
from genrec_bench.runs.folders import run_folder
from genrec_bench.runs.plan import resolve
from genrec_bench.runs.record import RECORD_FILE, RunRecord
from genrec_bench.runs.run import run
from genrec_bench.runs.spec import GENERATOR_PARTS, ResolvedSpec, RunSpec, baseline_name, flat_options, read_toml

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
    """The outcome of one run of a suite. `record` is None if it failed; `error` then says why in one line.

    `ran` is False if the run had finished earlier.
    """

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

        common = _tables(sections.get("all", {}), "all")
        tables = [combination for grid in _tables(sections.get("grid", []), "grid") for combination in _product(grid)]
        tables += _tables(sections.get("runs", []), "runs")
        specs = [RunSpec.from_dict(_merged(common[0] if common else {}, table)) for table in tables]
        runs = [SuiteRun(spec, _resolved(spec)) for spec in specs]
    except GenrecError as error:
        raise type(error)(str(error) if str(path) in str(error) else f"{path}: {error}", **error.facts) from None

    if not runs:
        raise UsageError(f"{path} asks for no run: give it a [grid] or [[runs]]")
    return list({str(run.describe()): run for run in runs}.values())


def _resolved(spec: RunSpec) -> ResolvedSpec | None:
    try:
        return resolve(spec).spec
    except (BrokenComponent, ComponentFault):
        return None


def run_suite(runs: Sequence[SuiteRun], **how: Any) -> Iterator[SuiteOutcome]:
    """Run `runs` one after another; `how` goes to `genrec_bench.run`. Failures are reported; the suite continues."""
    out = Path(how.get("out", "runs"))
    for suite_run in runs:
        file = run_folder(out, suite_run.resolved) / RECORD_FILE if suite_run.resolved else None
        began, written_before = time.perf_counter(), _written(file)
        try:
            record, error = run(suite_run.asked, **how), ""
        except Exception as failure:  # any failure concerns this run only
            record, error = None, f"{type(failure).__name__}: {' '.join(str(failure).split())}"

        ran = record is None or written_before is None or _written(file) != written_before
        yield SuiteOutcome(record, error, time.perf_counter() - began, ran)


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


def _merged(common: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """`common` overridden by `table`, options too. A baseline takes from `common` only what applies to baselines."""
    options = {**flat_options(common.get("set", {})), **flat_options(table.get("set", {}))}
    merged = {**common, **table, "set": options}
    if merged.get("baseline") is not None:
        merged["set"] = {key: value for key, value in options.items() if key.split(".")[0] in ("dataset", "baseline")}
        for key in ("profile", "beams"):
            if key not in table:
                merged.pop(key, None)
    return merged
