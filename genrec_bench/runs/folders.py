"""Run folders: who may write to one, how a new attempt replaces an old run, what is thrown away.

A process may be killed between any two steps. The table in docs/reliability.md lists the states that it can leave, and what
the next run makes of each. Three rules hold: `spec.json` is the first file of a folder and stays; a finished run stays until
its successor is complete; names that begin with a dot are this module's own.
"""

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

from genrec_bench.core.files import file_digest, naming_disks, read_text, remove, write_json
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.errors import OutputError, RecordError
from genrec_bench.runs.record import RECORD_FILE, SCHEMA, RunRecord
from genrec_bench.runs.spec import ResolvedSpec

SPEC_FILE = "spec.json"
LOCK = ".lock"
NEW = ".new"  # in the folder of an old run: the attempt to replace it
COMPLETE = ".complete"  # that attempt when it has succeeded, while the old run is removed
MOVING = ".moving"  # the same, while its files move to their places


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
    file = folder / SPEC_FILE
    if not os.path.exists(file):
        if folder.exists() and (not folder.is_dir() or any(p.name[0] != "." for p in folder.iterdir())):
            raise OutputError(f"{folder} exists and is not a run folder: choose another --out", path=folder)
        return None

    try:
        spec_there = json.loads(read_text(file))
    except (OSError, ValueError, RecursionError) as error:
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


def keeps(folder: Path, earlier: RunRecord | None) -> bool:
    """Whether the run in `folder` stays until its successor is complete: it has finished, or nobody can read its record."""
    return (folder / RECORD_FILE).exists() if earlier is None else earlier.status == "finished"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create `folder`, hold its lock, and finish what a killed process left half done there.

    OutputError if the folder is not writable, its disk is full, or another process holds the lock.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        probe = folder / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except Timeout:
        raise OutputError(f"{folder} is in use by another run: wait for it to end", path=folder) from None
    except OSError as error:
        lock.release()
        raise OutputError(
            f"cannot write to {folder}: {error.strerror or error}; choose another --out", path=folder
        ) from None

    try:
        with naming_disks(folder):
            _install(folder)
            _sweep(folder)
            yield
    finally:
        lock.release()


def tidy(folder: Path) -> None:
    """Remove what killed processes left in a run's folder, unless a process is at work there."""
    if any(True for _ in _left_over(folder)):
        with contextlib.suppress(OSError), FileLock(folder / LOCK, timeout=0):
            _sweep(folder)


def _sweep(folder: Path) -> None:
    for path in _left_over(folder):
        remove(path)


def _left_over(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        at_work = path.name == MOVING and any(path.iterdir())  # an empty one has done its work
        if path.name[0] == "." and path.name not in (LOCK, COMPLETE) and not at_work:
            yield path


@contextlib.contextmanager
def attempt(folder: Path, spec: ResolvedSpec, *, keep: bool) -> Iterator[Path]:
    """A cleared folder for a new attempt at `spec`, with the spec and a `running` record.

    With `keep`, `folder` holds a run worth keeping. The attempt then works in `folder/.new` and replaces that run if it
    succeeds; if it fails, it is thrown away.
    """
    workspace = folder / NEW if keep else folder
    workspace.mkdir(exist_ok=True)
    _clear(workspace)

    write_json(workspace / SPEC_FILE, spec.to_dict())
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

    os.replace(workspace, folder / COMPLETE)  # from here on, the new run is the one that counts
    _install(folder)


def _install(folder: Path) -> None:
    """Put a complete attempt in the place of the old run. Goes on wherever a killed process stopped."""
    complete, moving = folder / COMPLETE, folder / MOVING
    if complete.exists():
        _clear(folder, but=COMPLETE)
        os.replace(complete, moving)

    if moving.exists():
        # Without a record, the folder counts as unfinished; the record moves last.
        for path in sorted(moving.iterdir(), key=lambda path: path.name == RECORD_FILE):
            os.replace(path, folder / path.name)
        moving.rmdir()


def _clear(folder: Path, but: str = "") -> None:
    """Remove the run in a folder: its record first, for what is half removed is no run. The folder stays the spec's."""
    remove(folder / RECORD_FILE)
    for path in folder.iterdir():
        if path.name not in (LOCK, SPEC_FILE, but):
            remove(path)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of every file of a run but its record and spec, by its path in the folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    kept = {name: path for name, path in sorted(files.items()) if name[0] != "."}
    return {name: file_digest(path) for name, path in kept.items() if name not in (RECORD_FILE, SPEC_FILE)}


def damaged_files(record: RunRecord, folder: Path, only: str = "") -> list[str]:
    """The files of a run that are not what it stored, each with what is wrong: `lists.parquet is gone`.

    `only` asks for one file.
    """
    damages = []
    for name, stored in record.stored.items():
        if only not in ("", name):
            continue
        try:
            if file_digest(folder / name) != stored:
                damages.append(f"{name} has changed")
        except FileNotFoundError:
            damages.append(f"{name} is gone")
        except OSError as error:
            damages.append(f"{name} cannot be read ({error.strerror or error})")
    return damages


def this_process() -> dict[str, Any]:
    """The process that runs, by which a later one can tell whether the run is still alive."""
    return {"pid": os.getpid(), "host": socket.gethostname()}
