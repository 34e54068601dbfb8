"""The result of a benchmark: rows with their spread, and the conditions they were measured under."""

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
ENVIRONMENT = ("python", "platform", "cpu", "cores", "threads", "gpu", "device", "time")


@dataclass(frozen=True)
class Row:
    """One measured number.

    `case` says what ran, and `against` what it is compared with (empty: a plain measurement). `value` is in `unit`: `x`
    for how many times faster or smaller we are (the median of the ratios of each round), else `s`, `CPU s`, `MB`, `GB`,
    `%`, ... `low` and `high` are the range over rounds. `goal` is the number of the goal (`genrec_speed.goals`) that the
    row is measured for. `details` holds the numbers behind it: seconds of both sides, sizes, shares.
    """

    case: str
    against: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    goal: str | None = None  # "1", or "1b" if a goal has two parts
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The rows of one benchmark, and the conditions they were measured under."""

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
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """The inverse of `to_dict`. KeyError, TypeError or ValueError for other data."""
        rows = tuple(_checked(Row(**row)) for row in data["rows"])
        if not rows or data["grid"] not in get_args(Grid):
            raise ValueError("it has no rows, or an unknown grid")
        if not isinstance(data["benchmark"], str):
            raise TypeError("`benchmark` is not a text")

        stated = data["conditions"]
        if not isinstance(stated, Mapping) or not isinstance(stated.get("packages", {}), Mapping):
            raise TypeError("`conditions`, or its `packages`, is not a table")
        return cls(data["benchmark"], data["grid"], rows, stated)


def _checked(row: Row) -> Row:
    """The row, if its fields have their types and its numbers are finite. TypeError if not."""
    texts = [row.case, row.against, row.unit, *([] if row.goal is None else [row.goal])]
    if not all(isinstance(text, str) for text in texts) or not isinstance(row.details, Mapping):
        raise TypeError(f"row {row.case!r} has a text or details of another type")

    numbers = [row.value, *(value for value in (row.low, row.high) if value is not None)]
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        raise TypeError(f"row {row.case!r} has a value that is not a finite number")
    return row


def conditions(device: str = "cpu", **more: Any) -> dict[str, Any]:
    """The machine, its threads, its load at the end of the benchmark, and the code that ran; `more` is added."""
    facts = environment(device)
    stated = {key: facts[key] for key in ENVIRONMENT}
    if torch := sys.modules.get("torch"):
        stated["instructions"] = torch.backends.cpu.get_cpu_capability()  # of the processor: AVX2, AVX512, ...

    stated["code"] = digest_package("genrec_bench")[:12]
    stated["benchmark code"] = digest_package("genrec_speed")[:12]
    stated["load"] = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    stated["packages"] = {name: version for name, version in facts["packages"].items() if version}
    return {**stated, **more}
