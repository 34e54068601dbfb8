"""Data sets that a person added under a name: where their entries are, and what an entry holds.

An entry is a small JSON file with the path of the data, its digest and the options it is read with. Knows no format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genrec_bench.errors import DataError, UsageError

OWNER = "added here"  # stands for a distribution in listings and records
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def folder() -> Path:
    """Where the entries are: a person's own data folder."""
    from platformdirs import user_data_path  # here: `genrec --help` needs none

    return user_data_path("genrec-bench") / "datasets"


def names() -> list[str]:
    """The names of all added data sets."""
    return sorted(path.stem for path in folder().glob("*.json") if NAME.fullmatch(path.stem))


def read(name: str) -> dict[str, Any]:
    """The entry of a name: `options` and `sha256`. DataError if it is garbled."""
    path = folder() / f"{name}.json"
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        return {"options": dict(entry["options"]), "sha256": str(entry["sha256"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is not an added data set ({error}); add it again", path=path) from None


def write(name: str, options: Mapping[str, Any], sha256: str, *, replace: bool) -> Path:
    """Keep an entry. UsageError for a name that cannot be one, or that is taken unless `replace`."""
    if not NAME.fullmatch(name):
        raise UsageError(f"a data set cannot be named {name!r}: use small letters, digits, - and _")
    path = folder() / f"{name}.json"
    if path.exists() and not replace:
        raise UsageError(
            f"a data set {name!r} has been added before ({path}): choose another name, or replace it with --force"
        )
    from genrec_bench.core.files import write_json  # here: listing the names waits for no NumPy

    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"options": dict(options), "sha256": sha256})
    return path


def remove(name: str) -> None:
    """Forget an entry; the data's file stays. UsageError if there is none of that name."""
    if name not in names():
        added = f"those added are {', '.join(names())}" if names() else "none has been added"
        raise UsageError(f"no data set {name!r} was added: {added}")
    (folder() / f"{name}.json").unlink()
