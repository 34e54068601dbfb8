"""For authors of plugins: what every component promises, as checks, pytest classes and data to try things on.

`genrec plugins check NAME` runs the same checks. Needs neither pytest nor hypothesis to import; the strategies in
`genrec_bench.testing.strategies` need hypothesis. Names are imported when they are first used, so that the command line
can write a new package without waiting for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genrec_bench.testing.conformance import (
        BackboneConformance,
        BaselineConformance,
        DatasetConformance,
        DecoderConformance,
        IndexerConformance,
    )
    from genrec_bench.testing.fakes import (
        PrefixBackbone,
        code_table,
        index_of,
        log_probability,
        sources,
    )
    from genrec_bench.testing.kit import (
        CHECKS,
        NotApplicable,
        Result,
        Subject,
        run_check,
        run_checks,
    )
    from genrec_bench.testing.planted_data import (
        Planted,
        planted,
        planted_interactions,
        planted_lines,
        tiny_views,
    )

__all__ = [
    "CHECKS",
    "BackboneConformance",
    "BaselineConformance",
    "DatasetConformance",
    "DecoderConformance",
    "IndexerConformance",
    "NotApplicable",
    "Planted",
    "PrefixBackbone",
    "Result",
    "Subject",
    "code_table",
    "index_of",
    "log_probability",
    "planted",
    "planted_interactions",
    "planted_lines",
    "run_check",
    "run_checks",
    "sources",
    "tiny_views",
]
_MODULES = ("conformance", "fakes", "kit", "planted_data")  # the first registers all checks


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in _MODULES:
        found = importlib.import_module(f"{__name__}.{module}")
        if name in vars(found):
            globals()[name] = vars(found)[name]
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
