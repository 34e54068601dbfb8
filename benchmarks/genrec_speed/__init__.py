"""Benchmarks of genrec_bench: how fast it is, against what, under which conditions, and whether the results are equal.

One module per benchmark, each with `run(grid, progress) -> Result`. A benchmark first shows that both sides give the
same result, and refuses to print a time if they do not. `genrec bench` imports only the benchmark that it runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from genrec_bench.api import Progress
    from genrec_speed.results import Grid, Result


class Benchmark(Protocol):
    """What the command line needs of a benchmark's module."""

    def run(self, grid: Grid, progress: Progress, **options: Any) -> Result:
        """Measure. The grid `small` takes minutes on two cores, `full` several times as long. `train` has an option."""


def load(name: str) -> Benchmark:
    """The module of the benchmark `name`."""
    return cast(Benchmark, import_module(f"{__name__}.{name}"))
