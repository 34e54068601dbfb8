"""What a benchmark found: rows with their spread, and the conditions they hold under. Knows nothing of what was timed."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from genrec_bench.host.modules import digest_package
from genrec_bench.runs.environment import environment

Grid = Literal["small", "full"]


@dataclass(frozen=True)
class Row:
    """One measured number.

    `case` says what ran, `against` what it is compared with (empty: a plain measurement). `value` is in `unit`: `x` for
    how many times faster or smaller ours is (the median of per-round ratios), else `s`, `CPU s`, `MB`, `GB`, `%`, ...
    `low` and `high` are the range over rounds. `goal` numbers the goal (`genrec_bench.bench.goals`) that the row is
    measured for. `details` holds the numbers behind it: seconds of both sides, sizes, shares.
    """

    case: str
    against: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    goal: str | None = None  # "1", or "1b" where a goal has two parts
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The rows of one benchmark and the conditions they were measured under."""

    benchmark: str
    grid: Grid
    rows: Sequence[Row]
    conditions: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain data: `{benchmark, grid, conditions, rows}`."""
        return {
            "benchmark": self.benchmark,
            "grid": self.grid,
            "conditions": dict(self.conditions),
            "rows": [asdict(row) for row in self.rows],
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Result:
        """What `to_dict` gave. KeyError, TypeError or ValueError for anything else."""
        rows = tuple(_sound(Row(**row)) for row in told["rows"])
        if not rows or told["grid"] not in get_args(Grid):
            raise ValueError("it has no rows, or a grid of no such name")
        if not isinstance(told["benchmark"], str):
            raise TypeError("`benchmark` is no text")
        given = told["conditions"]
        if not isinstance(given, Mapping) or not isinstance(given.get("packages", {}), Mapping):
            raise TypeError("`conditions`, or the packages among them, are no table")
        return cls(told["benchmark"], told["grid"], rows, given)


def _sound(row: Row) -> Row:
    """The row, if its fields have their types: a number is finite. TypeError if not."""
    texts = [row.case, row.against, row.unit, *([] if row.goal is None else [row.goal])]
    numbers = [row.value, *(value for value in (row.low, row.high) if value is not None)]
    if not all(isinstance(text, str) for text in texts) or not isinstance(row.details, Mapping):
        raise TypeError(f"texts or details of row {row.case!r} are of another type")
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        raise TypeError(f"row {row.case!r} has a value that is no finite number")
    return row


def conditions(device: str = "cpu", **more: Any) -> dict[str, Any]:
    """The machine, its threads, how busy it was when the benchmark ended and what code ran, beside what the benchmark adds."""
    found = environment(device)
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    kept = {key: found[key] for key in ("python", "platform", "cpu", "cores", "threads", "gpu", "device", "time")}
    if torch := sys.modules.get("torch"):
        kept["instructions"] = torch.backends.cpu.get_cpu_capability()  # of the processor: AVX2, AVX512, ...
    packages = {name: version for name, version in found["packages"].items() if version}
    kept["code"] = digest_package("genrec_bench")[:12]
    return {**kept, "load": load, "packages": packages, **more}
