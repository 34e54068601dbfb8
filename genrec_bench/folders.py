"""Folders of runs and of the cache: who may write, what is whole, what is thrown away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from genrec_bench.contracts import Progress, Quiet
from genrec_bench.errors import OutputError, RecordError
from genrec_bench.record import RECORD_FILE, SCHEMA, RunRecord, write_json
from genrec_bench.spec import RunSpec
from genrec_bench.types import digest

T = TypeVar("T")
NEW = ".new"  # inside a finished run's folder: the attempt that is to replace it


def run_folder(out: Path, spec: RunSpec) -> Path:
    """Where a resolved spec's run lies: `out/<spec_id>`."""
    return out / spec.spec_id


def open_run_folder(
    folder: Path, spec: RunSpec, *, force: bool = False, progress: Progress | None = None
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
def attempt(folder: Path, spec: RunSpec, *, keep: bool) -> Iterator[Path]:
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


def cached(
    folder: Path, make: Callable[[Path], T], read: Callable[[Path], T], *, fresh: bool, progress: Progress
) -> tuple[T, bool]:
    """What `read(folder)` gives, or what `make(folder.partial)` makes and leaves there; and whether it was read.

    One process makes, others wait. `make` may find what an interrupted attempt left in its folder. A cache that cannot
    be read is made anew, and that is said. `fresh` makes it anew in any case.
    """
    partial = folder.with_name(folder.name + ".partial")
    with _cache_lock(folder, progress):
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(partial, ignore_errors=True)
        if folder.exists():
            try:
                if _content_digest(folder) != (folder / ".digest").read_text():
                    raise ValueError("its content has changed")
                return read(folder), True
            except Exception as error:  # a damaged file makes its reader raise anything
                progress.note(f"cache {folder} is not usable ({error}): made anew")
                shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
        if partial.is_file():
            partial.unlink()
        partial.mkdir(exist_ok=True)
        made = make(partial)
        (partial / ".digest").write_text(_content_digest(partial))
        os.replace(partial, folder)
        return made, False


@contextlib.contextmanager
def _cache_lock(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of a cache entry; says so where another process has to end first."""
    lock = FileLock(folder.with_name(folder.name + ".lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.note(f"another process is making {folder}: waiting for it")
            lock.acquire()
    except OSError as error:
        raise OutputError(
            f"cannot write the cache {folder.parent}: {error.strerror}; set GENREC_CACHE", path=folder
        ) from None
    try:
        yield
    finally:
        lock.release()


def _content_digest(folder: Path) -> str:
    return folder_digest(folder, skip=".digest")


def folder_digest(folder: Path, skip: str = "") -> str:
    """SHA-256 over the names and contents of a folder's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != skip)
    return digest(*(part for path in files for part in (str(path.relative_to(folder)), path.read_bytes())))


def copy_into(source: Path, target: Path) -> None:
    """A copy of a cache entry, without its bookkeeping."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".digest", "checkpoint.*"))
