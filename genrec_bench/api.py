"""All that a plugin may import: contracts, data types, errors and the parts built-ins are made of.

This and `genrec_bench.testing` are the only stable paths; every other module may move. Names are listed in `api.pyi` and
imported when they are first used, so an indexer does not wait for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub("genrec_bench", __file__)
