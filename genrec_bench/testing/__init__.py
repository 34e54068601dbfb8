"""For authors of plugins: the promises of every component as checks and pytest classes, and data to try them on.

`genrec plugins check NAME` runs the same checks. Importing this needs neither pytest nor hypothesis; only
`genrec_bench.testing.strategies` needs hypothesis. Names are imported on first use, so that the command line can write a
new package without waiting for torch.
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
        names = vars(importlib.import_module(f"{__name__}.{module}"))
        if name in names:
            globals()[name] = names[name]
            return names[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
