"""genrec_bench: an open, pluggable benchmark toolkit for generative recommenders.

`run(spec)` takes one system the whole way: load, split, index, train, decode, score, record. Importing this package
imports neither torch nor scipy; that happens when something is run. The public names are listed in `__init__.pyi`.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
