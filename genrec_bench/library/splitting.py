"""The protocol's parts of a data set as interactions by external id."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genrec_bench.core.arrays import Int64
from genrec_bench.core.events import Interactions
from genrec_bench.core.frames import data_frame
from genrec_bench.data.export import PARTS, parts_of
from genrec_bench.data.loading import load_dataset
from genrec_bench.protocol.constants import PROTOCOL
from genrec_bench.protocol.split import leave_one_out, order_events

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class SplitData:
    """The parts of leave-one-out (`protocol`): `test` has each user's last interaction, `validation` the one before it, and
    `train` the rest, in order of time. Users and items keep the numbers of the data set."""

    train: Interactions
    validation: Interactions
    test: Interactions
    protocol: str = PROTOCOL

    def to_pandas(self) -> pd.DataFrame:
        """All interactions with their `part`, training first. NeedsMissing without pandas."""
        parts = {name: getattr(self, name).columns() for name in PARTS}
        columns = {key: np.concatenate([part[key] for part in parts.values()]) for key in parts["train"]}
        return data_frame(columns | {"part": np.repeat(list(PARTS), [len(getattr(self, name)) for name in PARTS])})

    def __repr__(self) -> str:
        return f"<{self.protocol}: {', '.join(f'{name} {len(getattr(self, name)):,}' for name in PARTS)} interactions>"


def split(data: Interactions | str | Path, *, data_dir: Path | str | None = None) -> SplitData:
    """Split interactions, the data set of a name, or a file, as every run does. DataError if users are too short.

    >>> split("clicks.csv").train.to_pandas()  # doctest: +SKIP
    """
    if not isinstance(data, Interactions):
        data = load_dataset(str(data), data_dir=data_dir)
    leave_one_out(data)  # which says what data it cannot split

    order, parts = order_events(data), parts_of(data)
    train, validation, test = (_taken(data, order[parts == name]) for name in PARTS)
    return SplitData(train, validation, test)


def _taken(data: Interactions, rows: Int64) -> Interactions:
    columns = {name: getattr(data, name) for name in ("user", "item", "time", "rating")}
    return replace(data, **{name: column[rows] for name, column in columns.items() if column is not None})
