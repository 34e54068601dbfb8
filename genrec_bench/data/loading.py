"""Loads a data set by name. Needs no system to be run on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genrec_bench.core.cache import cache_dir
from genrec_bench.core.data_files import as_file
from genrec_bench.core.events import Interactions
from genrec_bench.core.files import expand_home
from genrec_bench.core.losses import heavy_loss, loss
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.errors import UsageError
from genrec_bench.host import registry
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import Dataset, DatasetContext
from genrec_bench.host.faults import fault, held_to
from genrec_bench.host.registry import ComponentInfo
from genrec_bench.host.sealing import opened_by


def load_dataset(
    name: str, *, data_dir: Path | str | None = None, progress: Progress | None = None, **options: Any
) -> Interactions:
    """The interactions of an installed data set, or of a file, with its `options`. Users and items keep the numbers it gave them.

    UnknownComponent or ConfigError for a name or an option that does not exist; DataError for data that cannot be read.

    >>> load_dataset("clicks.csv")  # doctest: +SKIP
    """
    info, dataset = make_dataset(name, options)
    return load_interactions(info, dataset, data_dir=data_folder(data_dir), progress=progress or Quiet())


def make_dataset(name: str, options: Mapping[str, Any]) -> tuple[ComponentInfo, Dataset]:
    """An installed data set with its `options`, ready to load, and who supplied it. The path of a file names it too."""
    name, options = as_file(name, options)
    info = registry.find("dataset", name)
    cls = registry.load("dataset", name)
    config = make_config(cls.Config, options, "dataset")
    with held_to(info, "construction"):
        dataset: Dataset = cls(config)
    with held_to(info, "ready"):
        dataset.ready()
    return info, dataset


def load_interactions(
    info: ComponentInfo, dataset: Dataset, *, data_dir: Path | None, progress: Progress
) -> Interactions:
    """What a data set loads, checked. Notes what it left out."""
    ctx = DatasetContext(data_dir=data_dir, cache_dir=cache_dir(), progress=progress)
    with held_to(info, "load"):
        data, _ = opened_by(lambda: dataset.load(ctx))
    if not isinstance(data, Interactions):
        raise fault(info, "interactions", f"load gave a {type(data).__name__}; expected genrec_bench.api.Interactions")

    tell_losses(data, progress)
    return data


def tell_losses(data: Interactions, progress: Progress) -> None:
    """Notes what preparation left out of a data set."""
    counts = {"users": data.n_users, "items": data.n_items, "interactions": len(data), "dropped": data.dropped}
    if lost := loss(counts):
        progress.note(f"{'warning: ' if heavy_loss(counts) else ''}{lost}")


def data_folder(data_dir: Path | str | None) -> Path | None:
    """The data folder: the one given, else `GENREC_DATA`, else none. UsageError if it is not a folder."""
    if data_dir is None and os.environ.get("GENREC_DATA"):
        data_dir = Path(os.environ["GENREC_DATA"])
    data_dir = None if data_dir is None else Path(expand_home(data_dir))
    if data_dir is not None and not data_dir.is_dir():
        raise UsageError(f"no data folder {data_dir}: check --data-dir or GENREC_DATA")
    return data_dir
