"""What the phases of a run work with: the plan, its data and split, and the device. No phase changes it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genrec_bench.core.cache import cache_dir
from genrec_bench.core.events import Interactions
from genrec_bench.core.hashing import digest
from genrec_bench.core.losses import heavy_loss, loss
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.core.sequences import Split
from genrec_bench.data.loading import data_folder, load_dataset, load_interactions
from genrec_bench.host import registry
from genrec_bench.host.contracts import Dataset
from genrec_bench.host.registry import ComponentInfo
from genrec_bench.host.sealing import opened_by
from genrec_bench.protocol import split as protocol
from genrec_bench.protocol.scores import ceiling
from genrec_bench.runs.environment import library_versions
from genrec_bench.runs.plan import Part, Plan
from genrec_bench.runs.spec import ResolvedSpec


@dataclass(frozen=True)
class Inputs:
    """The inputs of one run. `fresh` bars the cache; `held_out` are the files to seal; loading took so many seconds."""

    plan: Plan
    data: Interactions
    split: Split
    held_out: frozenset[str]
    loading: float
    device: str = "cpu"
    fresh: bool = False
    progress: Progress = field(default_factory=Quiet)

    @property
    def spec(self) -> ResolvedSpec:
        """The plan's resolved spec."""
        return self.plan.spec

    def cache_key(self, *more: Any) -> str:
        """What a cached result depends on, as 24 hex digits.

        It covers the data with everything that components may see, the split, the seed, this package's code, the
        versions of the numerical libraries, and `more`.
        """
        titles, features = self.data.item_titles, self.data.item_features
        of_titles = ("",) if titles is None else (np.asarray(titles),)
        of_features = ("",) if features is None else (features.values, features.offsets)

        return digest(
            self.data.fingerprint(),
            self.split.fingerprint,
            self.spec.seed,
            registry.engine_digest(),
            library_versions(),
            *of_titles,
            *of_features,
            *more,
        )[:24]

    def part_key(self, name: str, part: Part[Any]) -> str:
        """A component's name, code and options, and a digest of the files it reads."""
        info = part.info
        options = json.dumps(dict(self.spec.options[name]), sort_keys=True)
        code = registry.code_digest(info)
        return f"{info.distribution}:{info.name} {info.version} {code} {options} {part.fingerprint}".rstrip()


@dataclass(frozen=True)
class Loaded:
    """A data set in memory, what it offers, and the files to seal: those that it was read from, and all parsed copies.

    A path that ends with a separator stands for all below that folder. Loading took so many `seconds`.
    """

    data: Interactions
    offers: frozenset[str]
    held_out: frozenset[str]
    seconds: float


def load(info: ComponentInfo, dataset: Dataset, data_dir: Path | str | None, progress: Progress) -> Loaded:
    """Load a data set, and note the files that hold its test interactions."""
    began, folder = time.perf_counter(), data_folder(data_dir)
    offers, of_header = opened_by(lambda: dataset.offers)
    data, files = opened_by(lambda: load_interactions(info, dataset, data_dir=folder, progress=progress))
    parsed_copies = f"{(cache_dir() / 'data').resolve()}{os.sep}"
    return Loaded(data, offers, files | of_header | {parsed_copies}, time.perf_counter() - began)


def load_inputs(
    plan: Plan,
    *,
    loaded: Loaded | None = None,
    data_dir: Path | str | None = None,
    device: str = "cpu",
    fresh: bool = False,
    progress: Progress | None = None,
) -> Inputs:
    """Load the data of a plan, unless they are `loaded` already, and split them."""
    progress = progress or Quiet()
    if loaded is None:
        loaded = load(plan.dataset.info, plan.dataset.component, data_dir, progress)
    began = time.perf_counter()
    data, split = protocol.split_data(loaded.data, plan.spec.protocol)
    loading = loaded.seconds + time.perf_counter() - began
    return Inputs(plan, data, split, loaded.held_out, loading, device, fresh, progress)


def load_data(
    spec: ResolvedSpec, *, data_dir: Path | str | None = None, progress: Progress | None = None
) -> tuple[Interactions, Split]:
    """The data and split of a resolved spec, without a system to run on them."""
    data = load_dataset(spec.dataset, data_dir=data_dir, progress=progress, **spec.options["dataset"])
    return protocol.split_data(data, spec.protocol)


def data_warnings(data: Interactions, split: Split) -> list[str]:
    """What readers of the numbers must know of the data: more than a tenth was left out, or times that order nothing."""
    facts = {"users": data.n_users, "items": data.n_items, "interactions": len(data), "dropped": data.dropped}
    warnings = [loss(facts)] if heavy_loss(facts) else []
    if split.info.get("tie_users") == data.n_users:
        warnings.append(
            "every user's last events have equal times: the protocol's tie rule alone decides what is held out"
        )
    return warnings


def describe_data(name: str, data: Interactions, split: Split) -> dict[str, Any]:
    """The record's section on the data.

    It holds counts, what a file was taken for, the users whose split falls between equal timestamps, and the highest hit rate within reach of lists
    without seen items.
    """
    return {
        "name": name,
        "users": data.n_users,
        "items": data.n_items,
        "interactions": len(data),
        "tie_users": split.info.get("tie_users"),
        "mask_ceiling": ceiling(split.queries(split.test), split.test.target),
        "test_cases": len(split.test),
        "validation_cases": len(split.validation),
        "dropped": dict(data.dropped),
        **({"read_as": dict(data.read_as)} if data.read_as else {}),
    }
