"""For authors of plugins: the promises of every component as checks and pytest classes, and data to try them on.

`genrec plugins check NAME` runs the same checks. Importing this needs neither pytest nor hypothesis; only
`genrec_bench.testing.strategies` needs hypothesis. Names are imported on first use, so that the command line can write a
new package without waiting for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
