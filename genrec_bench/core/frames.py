"""Tables as pandas data frames. pandas is optional, and is imported only when somebody asks for a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from genrec_bench.errors import NeedsMissing

if TYPE_CHECKING:
    import pandas as pd

EXTRA = "notebook"  # of this distribution: pandas and Matplotlib


def data_frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    """A data frame of `columns`, all of one length. NeedsMissing without pandas."""
    try:
        import pandas as pd
    except ImportError:
        raise needs("a data frame", "pandas") from None
    return pd.DataFrame(dict(columns))


def needs(what: str, package: str) -> NeedsMissing:
    """The error of `what`, which needs an optional `package`."""
    return NeedsMissing(f"{what} needs {package}: pip install 'genrec-bench[{EXTRA}]'", needs=(package,))
