"""Which parameters a model runs with on a data set, and where they come from: one TOML file per data set.

A baseline is not told what data set it is on, so a file says what training part it is for: users, items and events.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from genrec_bench.types import TrainView, digest

DEFAULTS = "RecBole 1.2.1 defaults"


def settings_for(model: str, train: TrainView, *, sequential: bool = False) -> tuple[dict[str, Any], str]:
    """Parameters of a model (its name as a baseline) on this training part, and their source."""
    here = {"users": train.n_users, "items": train.n_items, "events": len(train.sequences.values)}
    for name, table in files().items():
        if table["data"] == here:
            names = ("every-model", *(["every-sequential-model"] if sequential else []), model)
            told = [dict(table[each]) for each in names if each in table]
            source = "; ".join(each.pop("source") for each in told)
            return {key: value for each in told for key, value in each.items()}, f"{source} ({name})"
    return {}, DEFAULTS


def files() -> dict[str, Mapping[str, Any]]:
    """All settings files by name, read."""
    return {name: tomllib.loads(text) for name, text in _texts().items()}


def fingerprint() -> str:
    """SHA-256 of all settings files: with other settings a finished run is another run."""
    return digest(*_texts().items())


def _texts() -> dict[str, str]:
    place = resources.files(__name__)
    return {
        each.name: each.read_text(encoding="utf-8")
        for each in sorted(place.iterdir(), key=lambda each: each.name)
        if each.name.endswith(".toml")
    }
