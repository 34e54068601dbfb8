"""Folders of runs and of the cache: who may write, what is whole, what is thrown away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from genrec_bench.core.files import write_json
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.errors import OutputError, RecordError
from genrec_bench.runs.record import RECORD_FILE, SCHEMA, RunRecord
from genrec_bench.runs.spec import ResolvedSpec

NEW = ".new"  # inside a finished run's folder: the attempt that is to replace it


def run_folder(out: Path, spec: ResolvedSpec) -> Path:
    """Where a resolved spec's run lies: `out/<spec_id>`."""
    return out / spec.spec_id


def open_run_folder(
    folder: Path, spec: ResolvedSpec, *, force: bool = False, progress: Progress | None = None
) -> RunRecord | None:
    """Check that `folder` is free or belongs to `spec`; its record, if it has one. A damaged record counts as none, and
    `progress` says so.

    OutputError if it belongs to another spec, cannot be read, or holds the record of a newer version and not `force`.
    """
    file = folder / "spec.json"
    if not os.path.exists(file):
        if folder.exists() and (not folder.is_dir() or any(p.name != ".lock" for p in folder.iterdir())):
            raise OutputError(f"{folder} exists and is no run folder: choose another --out", path=folder)
        return None
    try:
        theirs = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{file} cannot be read ({error}): remove {folder} or choose another --out", path=folder
        ) from None
    if theirs != json.loads(json.dumps(spec.to_dict())):
        raise OutputError(f"{folder} belongs to another spec: remove it or choose another --out", path=folder)
    if not (folder / RECORD_FILE).exists():
        return None  # died before its first record was written
    try:
        return RunRecord.read(folder)
    except RecordError as error:
        schema = error.facts.get("schema")
        if isinstance(schema, int) and schema > SCHEMA and not force:
            raise OutputError(
                f"{folder} holds a run of a newer version (record schema {schema}, this one reads {SCHEMA}): upgrade "
                "genrec-bench, choose another --out, or replace that run with --force",
                path=folder,
            ) from None
        (progress or Quiet()).note(f"a record cannot be used, so its run is made anew: {error}")
        return None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create `folder` and hold its lock. OutputError if it cannot be written, or if another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror or error}; choose another --out", path=folder
        ) from None
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise OutputError(f"{folder} is in use by another run: wait for it to end", path=folder) from None


@contextlib.contextmanager
def attempt(folder: Path, spec: ResolvedSpec, *, keep: bool) -> Iterator[Path]:
    """A cleared folder for a new attempt at `spec`, with the spec and a `running` record.

    With `keep`, `folder` holds a finished run: the attempt works in `folder/.new`, takes the old run's place when it has
    ended well, and is thrown away when it has not.
    """
    place = folder / NEW if keep else folder
    place.mkdir(exist_ok=True)
    _clear(place)
    write_json(place / "spec.json", spec.to_dict())
    record = RunRecord(spec.to_dict(), spec.spec_id, spec.system_id, "running", process=this_process())
    record.write(place)
    if not keep:
        yield place
        return
    try:
        yield place
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    (folder / RECORD_FILE).unlink()  # from here until the last move, this is a folder whose run has not ended
    _clear(folder, but=NEW)
    for path in sorted(place.iterdir(), key=lambda path: path.name == RECORD_FILE):
        os.replace(path, folder / path.name)
    place.rmdir()


def _clear(folder: Path, but: str = "") -> None:
    for path in folder.iterdir():
        if path.name not in (".lock", but):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def this_process() -> dict[str, Any]:
    """Who is running: to tell a dead run from a live one."""
    return {"pid": os.getpid(), "host": socket.gethostname()}
