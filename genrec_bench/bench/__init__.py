"""Benchmarks of the toolkit itself: how fast, against what, under which conditions, and whether the results are equal.

One module per benchmark, each with `run(grid, progress) -> Result`. A benchmark first shows that both sides give the same
result, and refuses to print a time when they do not. Nothing here is imported unless `genrec bench` asks for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from genrec_bench.bench.results import Grid, Result
from genrec_bench.core.progress import Progress


class Benchmark(Protocol):
    """What a module of this package is to the command line."""

    def run(self, grid: Grid, progress: Progress) -> Result:
        """Measure; `small` takes minutes on two cores, `full` what it takes."""


def load(name: str) -> Benchmark:
    """The module of a benchmark, by its name."""
    return cast(Benchmark, import_module(f"{__name__}.{name}"))
