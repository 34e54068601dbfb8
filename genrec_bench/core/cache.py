"""The cache: where it lies, and entries that one process makes while others wait."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from genrec_bench.core.files import folder_digest
from genrec_bench.core.progress import Progress
from genrec_bench.errors import OutputError

T = TypeVar("T")


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


def cache_dir() -> Path:
    """Where parsed data, indexes and weights are kept: `GENREC_CACHE`, or the user's cache folder."""
    if given := os.environ.get("GENREC_CACHE"):
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("genrec_bench"))
