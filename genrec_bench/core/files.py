"""Writing files whole or not at all, and digests of folders."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec_bench.core.hashing import digest
from genrec_bench.errors import OutputError

if TYPE_CHECKING:
    pass


def check_writable(folder: Path, advice: str) -> None:
    """OutputError unless `folder` can be written or created. Leaves nothing behind."""
    there = next((place for place in (folder, *folder.absolute().parents) if os.path.lexists(place)), folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".write-", dir=there):
            pass
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}; {advice}", path=folder) from None


def check_file_writable(path: Path, advice: str) -> None:
    """OutputError if `path` is there (a folder, a link to nowhere, somebody else's file) and cannot be written."""
    if os.path.lexists(path):
        try:
            with path.open("a"):
                pass
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}; {advice}", path=path) from None


def folder_digest(folder: Path, skip: str = "") -> str:
    """SHA-256 over the names and contents of a folder's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != skip)
    return digest(*(part for path in files for part in (str(path.relative_to(folder)), path.read_bytes())))


def copy_into(source: Path, target: Path) -> None:
    """A copy of a cache entry, without its bookkeeping."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".digest", "checkpoint.*"))


def write_json(path: Path, data: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(_text(data) + "\n")
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _text(data: Any) -> str:
    """Indented JSON with each list of numbers on one line, so that a record stays readable."""
    lists: list[str] = []
    mark = f"numbers-{uuid.uuid4().hex}-"

    def fold(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: fold(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            if value and all(type(inner) in (int, float) for inner in value):
                lists.append(json.dumps(list(value), allow_nan=False))
                return f"{mark}{len(lists) - 1}"
            return [fold(inner) for inner in value]
        return value

    text = json.dumps(fold(data), indent=1, allow_nan=False)
    return re.sub(rf'"{mark}(\d+)"', lambda match: lists[int(match[1])], text)
