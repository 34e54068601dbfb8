"""Writing files whole or not at all, and digests of files and folders."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genrec_bench.core.hashing import digest
from genrec_bench.errors import OutputError


def check_writable(folder: Path, advice: str) -> None:
    """OutputError unless `folder` can be written or created. Leaves nothing behind."""
    existing = next((path for path in (folder, *folder.absolute().parents) if os.path.lexists(path)), folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".write-", dir=existing):
            pass
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}; {advice}", path=folder) from None


def check_file_writable(path: Path, advice: str) -> None:
    """OutputError if `path` exists (a folder, a dangling link, another user's file) and cannot be written."""
    if os.path.lexists(path):
        try:
            with path.open("a"):
                pass
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}; {advice}", path=path) from None


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path, skip: str = "") -> str:
    """SHA-256 (hex) of the names and contents of all files in a folder, except those named `skip`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != skip)
    return digest(*(part for path in files for part in (str(path.relative_to(folder)), path.read_bytes())))


def copy_into(source: Path, target: Path) -> None:
    """Copy a cache entry without its bookkeeping."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".digest", "checkpoint.*"))


def write_json(path: Path, data: Any) -> None:
    """Write JSON in one step: a reader sees the old file or the new one, never half of either."""
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
    """Indented JSON with every list of numbers on one line, to keep records readable."""
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
