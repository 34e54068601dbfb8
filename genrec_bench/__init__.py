"""genrec_bench: an open, pluggable benchmark toolkit for generative recommenders.

`run(spec)` takes one system the whole way: load, split, index, train, decode, score, record. Importing this package
imports neither torch nor scipy; that happens when something is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["RunRecord", "RunSpec", "__version__", "run"]

if TYPE_CHECKING:
    from genrec_bench.runs.record import RunRecord
    from genrec_bench.runs.run import run
    from genrec_bench.runs.spec import RunSpec


def __getattr__(name: str) -> Any:
    """The public names, imported when first used."""
    if name == "run":
        from genrec_bench.runs.run import run

        return run
    if name == "RunSpec":
        from genrec_bench.runs.spec import RunSpec

        return RunSpec
    if name == "RunRecord":
        from genrec_bench.runs.record import RunRecord

        return RunRecord
    raise AttributeError(f"module 'genrec_bench' has no attribute {name!r}")
