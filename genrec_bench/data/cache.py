"""Parsed data kept on disk: a folder per data set and options with flat `.npy` arrays, opened memory-mapped.

Every array is compared with the digest in its manifest, and a damaged entry is built again, with a note. Folders appear
whole or not at all, so processes may share a cache. Knows no file format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.events import Interactions
from genrec_bench.core.files import beside, file_digest, remove, sweep
from genrec_bench.core.hashing import digest
from genrec_bench.data.prepare import PrepareConfig, prepare
from genrec_bench.host.config import config_dict
from genrec_bench.host.contracts import DatasetContext

FORMAT = 3  # of the folder's layout
PARSER = 3  # increase it when parsing or preparation changes what the same file gives
MANIFEST = "manifest.json"


def load_prepared(
    ctx: DatasetContext, name: str, config: PrepareConfig, files: list[Path], parse: Callable[[], Interactions]
) -> Interactions:
    """The data set `name` under `config`: from the cache in `ctx.cache_dir`, or parsed, prepared and kept there.

    `files` are the raw files; their SHA-256 are part of the key, so a changed file has its own entry.
    """
    facts = {
        "dataset": name,
        "config": config_dict(config),
        "files": {file.name: file_digest(file) for file in files},
        "parser": PARSER,
    }

    def build() -> Interactions:
        with ctx.progress.phase(f"reading {name}"):
            return prepare(parse(), config)

    if ctx.cache_dir is None:
        return build()

    key = digest(json.dumps(facts, sort_keys=True))[:16]
    folder = ctx.cache_dir / "data" / f"{name}-{key}"
    damaged = False
    if folder.exists():
        try:
            return _read(folder, facts)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            ctx.progress.note(f"the cached copy of {name} in {folder} is damaged ({error}); building it again")
            damaged = True

    data = build()
    try:
        if damaged:
            _remove(folder)
        _write(folder, facts, data)
    except OSError as error:
        ctx.progress.note(f"{name} could not be cached in {folder}: {error.strerror or error}; continuing without")
    return data


def _read(folder: Path, facts: Mapping[str, Any]) -> Interactions:
    """What `_write` wrote. ValueError and others for an entry that is damaged or not about `facts`."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest["format"] != FORMAT or manifest["facts"] != facts:
        raise ValueError("its manifest describes something else")
    if manifest.pop("digest") != _digest(manifest):
        raise ValueError("its manifest has changed")

    arrays: dict[str, Any] = {}
    for name, expected in manifest["arrays"].items():
        if file_digest(folder / f"{name}.npy") != expected:
            raise ValueError(f"{name}.npy has changed")
        arrays[name] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    if "feature_offsets" in arrays:
        arrays["item_features"] = Ragged(arrays.pop("feature_values"), arrays.pop("feature_offsets"))
    return Interactions(**{"time": None, **arrays}, dropped=manifest["dropped"], read_as=manifest["read_as"])


def _digest(manifest: Mapping[str, Any]) -> str:
    return digest(json.dumps(manifest, sort_keys=True))


def _write(folder: Path, facts: Mapping[str, Any], data: Interactions) -> None:
    """Write all columns and a manifest, first into a temporary folder beside `folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    fresh = beside(folder)
    fresh.mkdir()  # as the umask says: other users may read what they share a cache for

    try:
        arrays = _arrays(data)
        for name, values in arrays.items():
            np.save(fresh / f"{name}.npy", values, allow_pickle=False)

        manifest = {
            "format": FORMAT,
            "facts": facts,
            "arrays": {name: file_digest(fresh / f"{name}.npy") for name in arrays},
            "dropped": dict(data.dropped),
            "read_as": dict(data.read_as),
            "fingerprint": data.fingerprint(),
        }

        manifest["digest"] = _digest(manifest)
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        _install(fresh, folder)
    finally:
        remove(fresh)


def _remove(folder: Path) -> None:
    """Move `folder` (or a file of that name) away in one step, then delete it. Another process may do the same."""
    with suppress(FileNotFoundError):
        os.replace(folder, beside(folder))
    remove(beside(folder))


def _install(fresh: Path, folder: Path) -> None:
    """Rename `fresh` to `folder`; if another process was faster, its copy stays."""
    try:
        os.rename(fresh, folder)
    except OSError:
        if not folder.is_dir():
            raise


def _arrays(data: Interactions) -> dict[str, np.ndarray]:
    """The columns that the data has, by name."""
    columns = ("user", "item", "time", "rating", "user_ids", "item_ids", "item_titles")
    arrays = {name: getattr(data, name) for name in columns if getattr(data, name) is not None}
    if data.item_features is not None:
        arrays |= {"feature_values": data.item_features.values, "feature_offsets": data.item_features.offsets}
    return arrays
