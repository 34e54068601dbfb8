"""Small stand-ins, as plugin authors get them from `genrec_bench.testing`."""

from genrec_bench.testing.fakes import (
    PrefixBackbone,
    index_of,
    log_probability,
    sources,
)
from genrec_bench.testing.strategies import prefix_free

__all__ = ["PrefixBackbone", "index_of", "log_probability", "prefix_free", "sources"]
