"""For authors of plugins: what every component promises, as checks, pytest classes and data to try things on.

`genrec plugins check NAME` runs the same checks. Needs neither pytest nor hypothesis to import; the strategies in
`genrec_bench.testing.strategies` need hypothesis.
"""

from genrec_bench.testing.conformance import (
    BackboneConformance,
    BaselineConformance,
    DatasetConformance,
    DecoderConformance,
    IndexerConformance,
)
from genrec_bench.testing.fakes import PrefixBackbone, code_table, index_of, log_probability, sources
from genrec_bench.testing.kit import CHECKS, NotApplicable, Result, Subject, run_check, run_checks
from genrec_bench.testing.planted import Planted, planted, planted_interactions, planted_lines, tiny_views

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
