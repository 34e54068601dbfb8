"""The parameters that a model runs with on a data set, and where they come from: one TOML file per data set.

A baseline does not know its data set, so a file names the training part that it is for: its users, items and events.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from genrec_bench.api import TrainView, digest

DEFAULTS = "RecBole 1.2.1 defaults"


def settings_for(model: str, train: TrainView, *, sequential: bool = False) -> tuple[dict[str, Any], str]:
    """The parameters of a model (its name as a baseline) on this training part, and their source."""
    sizes = {"users": train.n_users, "items": train.n_items, "events": len(train.sequences.values)}
    for name, file in files().items():
        if file["data"] == sizes:
            tables = [dict(table) for table in _tables(file, model, sequential)]
            source = "; ".join(table.pop("source") for table in tables)
            return {key: value for table in tables for key, value in table.items()}, f"{source} ({name})"
    return {}, DEFAULTS


def files() -> dict[str, Mapping[str, Any]]:
    """The content of all settings files, by name."""
    paths = sorted(resources.files(__name__).iterdir(), key=lambda path: path.name)
    return {path.name: tomllib.loads(path.read_text(encoding="utf-8")) for path in paths if path.name.endswith(".toml")}


def fingerprint(model: str, *, sequential: bool = False) -> str:
    """SHA-256 of what the files say about a model: with other settings, a run of it is another run."""
    return digest(*((name, file["data"], *_tables(file, model, sequential)) for name, file in files().items()))


def _tables(file: Mapping[str, Any], model: str, sequential: bool) -> list[Mapping[str, Any]]:
    """The tables of a file that apply to a model, the general ones first."""
    names = ("every-model", *(["every-sequential-model"] if sequential else []), model)
    return [file[name] for name in names if name in file]
