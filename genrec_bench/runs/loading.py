"""From a spec to its components, data and split. No torch here, so that tables, `verify` and `recommend` stay light."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from genrec_bench.core.cache import cache_dir
from genrec_bench.core.events import Interactions
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.core.sequences import Split
from genrec_bench.errors import UsageError
from genrec_bench.host import registry
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import Context, Dataset
from genrec_bench.host.faults import held_to, opened_by
from genrec_bench.protocol.scores import ceiling
from genrec_bench.protocol.split import make_split
from genrec_bench.runs.handover import check_data
from genrec_bench.runs.spec import RunSpec


def data_folder(data_dir: Path | None) -> Path | None:
    """The data folder: the one given, else `GENREC_DATA`, else none. UsageError if it is no folder."""
    if data_dir is None and os.environ.get("GENREC_DATA"):
        data_dir = Path(os.environ["GENREC_DATA"])
    if data_dir is not None and not data_dir.is_dir():
        raise UsageError(f"no data folder {data_dir}: check --data-dir or GENREC_DATA")
    return data_dir


def component(spec: RunSpec, part: str) -> Any:
    """The component that plays `part` in a resolved spec, with its options."""
    cls = registry.load(part, getattr(spec, part))
    config = make_config(cls.Config, spec.options.get(part, {}), part)
    with held_to(registry.find(part, getattr(spec, part)), "construction"):
        return cls(config)


def fingerprint(spec: RunSpec, part: str) -> str:
    """The fingerprint of the files that a component reads besides the data set; empty if it reads none."""
    made = component(spec, part)
    with held_to(registry.find(part, getattr(spec, part)), "fingerprint"):
        return str(made.fingerprint())


def load_data(
    spec: RunSpec, *, data_dir: Path | None = None, progress: Progress | None = None
) -> tuple[Interactions, Split]:
    """The data set of `spec` in the protocol's numbering, and the protocol's split of it."""
    dataset: Dataset = component(spec, "dataset")
    ctx = Context(
        data_dir=data_folder(data_dir),
        cache_dir=cache_dir(),
        progress=progress or Quiet(),
    )
    info = registry.find("dataset", spec.dataset)
    with held_to(info, "load"):
        data = dataset.load(ctx)
    return make_split(check_data(info, data), spec.protocol)


def load_hiding(
    spec: RunSpec, *, data_dir: Path | None = None, progress: Progress | None = None
) -> tuple[Interactions, Split, frozenset[str]]:
    """`load_data`, and what to seal while components run: the files it read, and the folder of parsed copies."""
    (data, split), files = opened_by(lambda: load_data(spec, data_dir=data_dir, progress=progress))
    return data, split, files | {f"{(cache_dir() / 'data').resolve()}{os.sep}"}


def describe_data(spec: RunSpec, data: Interactions, split: Split) -> dict[str, Any]:
    """The record's section on the data: counts, users cut on a tie of timestamps, what no `mask` list can exceed."""
    return {
        "name": spec.dataset,
        "users": data.n_users,
        "items": data.n_items,
        "interactions": len(data),
        "tie_users": split.info.get("tie_users"),
        "mask_ceiling": ceiling(split.queries(split.test), split.test.target),
        "test_cases": len(split.test),
        "validation_cases": len(split.validation),
        "dropped": dict(data.dropped),
    }
