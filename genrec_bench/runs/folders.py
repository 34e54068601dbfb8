"""Run folders: who may write to one, how a new attempt replaces an old run, what is thrown away."""

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

NEW = ".new"  # in a finished run's folder: the attempt to replace it


def run_folder(out: Path, spec: ResolvedSpec) -> Path:
    """The folder of a resolved spec's run: `out/<spec_id>`."""
    return out / spec.spec_id


def open_run_folder(
    folder: Path, spec: ResolvedSpec, *, force: bool = False, progress: Progress | None = None
) -> RunRecord | None:
    """Check that `folder` is free or belongs to `spec`, and return its record, if it has one.

    A damaged record counts as none, with a note to `progress`. OutputError if the folder belongs to another spec or cannot
    be read, or, unless `force`, if a newer version wrote its record.
    """
    file = folder / "spec.json"
    if not os.path.exists(file):
        if folder.exists() and (not folder.is_dir() or any(p.name != ".lock" for p in folder.iterdir())):
            raise OutputError(f"{folder} exists and is not a run folder: choose another --out", path=folder)
        return None

    try:
        spec_there = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{file} cannot be read ({error}): remove {folder} or choose another --out", path=folder
        ) from None
    if spec_there != json.loads(json.dumps(spec.to_dict())):
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
        (progress or Quiet()).note(f"running again, because the record cannot be used: {error}")
        return None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create `folder` and hold its lock. OutputError if it is not writable, or if another process holds the lock."""
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

    With `keep`, `folder` holds a finished run. The attempt then works in `folder/.new` and replaces that run if it
    succeeds; if it fails, it is thrown away.
    """
    workspace = folder / NEW if keep else folder
    workspace.mkdir(exist_ok=True)
    _clear(workspace)

    write_json(workspace / "spec.json", spec.to_dict())
    record = RunRecord(spec.to_dict(), spec.spec_id, spec.system_id, "running", process=this_process())
    record.write(workspace)
    if not keep:
        yield workspace
        return

    try:
        yield workspace
    except BaseException:
        shutil.rmtree(workspace, ignore_errors=True)
        raise

    # Without a record, the folder counts as unfinished; the record moves last.
    (folder / RECORD_FILE).unlink()
    _clear(folder, but=NEW)
    for path in sorted(workspace.iterdir(), key=lambda path: path.name == RECORD_FILE):
        os.replace(path, folder / path.name)
    workspace.rmdir()


def _clear(folder: Path, but: str = "") -> None:
    for path in folder.iterdir():
        if path.name not in (".lock", but):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def this_process() -> dict[str, Any]:
    """The process that runs, by which a later one can tell whether the run is still alive."""
    return {"pid": os.getpid(), "host": socket.gethostname()}
