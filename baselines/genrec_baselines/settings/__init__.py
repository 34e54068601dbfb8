"""Which parameters a model runs with on a data set, and where they come from: one TOML file per data set.

A baseline is not told what data set it is on, so a file says what training part it is for: users, items and events.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from genrec_bench.core.hashing import digest
from genrec_bench.core.sequences import TrainView

DEFAULTS = "RecBole 1.2.1 defaults"


def settings_for(model: str, train: TrainView, *, sequential: bool = False) -> tuple[dict[str, Any], str]:
    """Parameters of a model (its name as a baseline) on this training part, and their source."""
    here = {"users": train.n_users, "items": train.n_items, "events": len(train.sequences.values)}
    for name, table in files().items():
        if table["data"] == here:
            told = [dict(each) for each in _tables(table, model, sequential)]
            source = "; ".join(each.pop("source") for each in told)
            return {key: value for each in told for key, value in each.items()}, f"{source} ({name})"
    return {}, DEFAULTS


def files() -> dict[str, Mapping[str, Any]]:
    """All settings files by name, read."""
    found = sorted(resources.files(__name__).iterdir(), key=lambda each: each.name)
    return {each.name: tomllib.loads(each.read_text(encoding="utf-8")) for each in found if each.name.endswith(".toml")}


def fingerprint(model: str, *, sequential: bool = False) -> str:
    """SHA-256 of what the files say of a model: with other settings a finished run of it is another run."""
    return digest(*((name, table["data"], *_tables(table, model, sequential)) for name, table in files().items()))


def _tables(file: Mapping[str, Any], model: str, sequential: bool) -> list[Mapping[str, Any]]:
    """The tables of a file that hold for a model, the general ones first."""
    names = ("every-model", *(["every-sequential-model"] if sequential else []), model)
    return [file[each] for each in names if each in file]
