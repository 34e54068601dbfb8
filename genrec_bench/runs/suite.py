"""Suites: a TOML file that asks for many runs, a grid of specs or single ones, and what becomes of each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from genrec_bench.errors import (
    BrokenComponent,
    ComponentFault,
    ConfigError,
    GenrecError,
    UsageError,
    did_you_mean,
)
from genrec_bench.runs.folders import run_folder
from genrec_bench.runs.record import RECORD_FILE, RunRecord
from genrec_bench.runs.run import resolve, run
from genrec_bench.runs.spec import RunSpec, read_toml

SECTIONS = ("all", "grid", "runs")
AXES = tuple(field.name for field in fields(RunSpec) if field.name not in ("options", "resolved", "set"))


@dataclass(frozen=True)
class Outcome:
    """What became of one run of a suite. `record` is None where it failed; then `error` says why in one line.

    `ran` is False where an earlier run had finished already.
    """

    spec: RunSpec
    record: RunRecord | None
    error: str
    seconds: float
    ran: bool = True


def read_suite(path: Path) -> list[RunSpec]:
    """The resolved specs that a suite file asks for, in its order, each once.

    `[all]` holds what every run has in common; `[grid]` (or several `[[grid]]`) lists of values, of which every
    combination runs, options too (`set."backbone.epochs" = [1, 2]`); `[[runs]]` single runs. Keys are those of a run
    spec, options under `set` (`set."backbone.epochs"`). Everything is resolved here, so that a mistyped name stops a suite
    before its first run; only specs with a broken component stay as they are, and fail when their turn comes. UsageError
    or ConfigError names the file.
    """
    try:
        asked = read_toml(path)
        for section in asked:
            if section not in SECTIONS:
                raise ConfigError(
                    f"no section {section!r}.{did_you_mean(section, SECTIONS)} Sections: {', '.join(SECTIONS)}.",
                    part="suite",
                    key=section,
                )
        common = _tables(asked.get("all", {}), "all")
        wanted = [values for grid in _tables(asked.get("grid", []), "grid") for values in _product(grid)]
        wanted += _tables(asked.get("runs", []), "runs")
        specs = [_resolved(RunSpec.from_dict(_merged(common[0] if common else {}, values))) for values in wanted]
    except GenrecError as error:
        raise type(error)(str(error) if str(path) in str(error) else f"{path}: {error}", **error.facts) from None
    if not specs:
        raise UsageError(f"{path} asks for no run: give it a [grid] or [[runs]]")
    return list({spec.spec_id: spec for spec in specs}.values())


def _resolved(spec: RunSpec) -> RunSpec:
    try:
        return resolve(spec)
    except (BrokenComponent, ComponentFault):
        return spec


def run_suite(specs: Sequence[RunSpec], **how: Any) -> Iterator[Outcome]:
    """Run `specs` one after another; `how` goes to `genrec_bench.run`. A run that fails is told, and the next one runs."""
    for spec in specs:
        file = run_folder(Path(how.get("out", "runs")), spec) / RECORD_FILE
        began, before = time.perf_counter(), _written(file)
        try:
            record, error = run(spec, **how), ""
        except Exception as failure:  # whatever it is, it is this run's: the next one has not been tried
            record, error = None, f"{type(failure).__name__}: {' '.join(str(failure).split())}"
        ran = record is None or before is None or _written(file) != before
        yield Outcome(spec, record, error, time.perf_counter() - began, ran)


def _written(file: Path) -> int | None:
    """When a file was written, in nanoseconds; None if there is none."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None


def _tables(value: Any, section: str) -> list[Mapping[str, Any]]:
    tables = list(value) if isinstance(value, list) else [value]
    if not all(isinstance(table, Mapping) for table in tables):
        raise ConfigError(f"{section} is no table of run spec keys", part="suite", key=section)
    return tables


def _product(grid: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of a grid's lists; options vary under `set`."""
    axes = {key: values for key, values in grid.items() if key != "set"}
    for key in axes:
        if key not in AXES:
            raise ConfigError(f"a grid has no axis {key!r}.{did_you_mean(key, AXES)}", part="suite", key=key)
    options = _flat(grid.get("set"))
    for key, values in (*axes.items(), *((f"set.{key}", values) for key, values in options.items())):
        if not isinstance(values, list) or not values:
            raise ConfigError(f"grid.{key} = {values!r}: expected a list of values", part="suite", key=key)
    for combination in itertools.product(*axes.values(), *options.values()):
        chosen = dict(zip(options, combination[len(axes) :], strict=True))
        yield {**dict(zip(axes, combination[: len(axes)], strict=True)), **({"set": chosen} if chosen else {})}


def _merged(common: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` over `common`, options too; a baseline takes only what a baseline has."""
    together = {**common, **values, "set": {**_flat(common.get("set")), **_flat(values.get("set"))}}
    if together.get("baseline") is not None:
        together["set"] = {key: value for key, value in together["set"].items() if key.split(".")[0] in _BASELINE}
        for key in ("profile", "beams"):
            if key not in values:
                together.pop(key, None)
    return together


_BASELINE = ("dataset", "baseline")


def _flat(settings: Any) -> dict[str, Any]:
    """`{"backbone": {"epochs": 1}}`, which is how TOML reads an unquoted dot, as `{"backbone.epochs": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in (settings or {}).items():
        flat |= (
            {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, Mapping) else {key: value}
        )
    return flat
