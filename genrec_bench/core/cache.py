"""The cache: where it is, and entries that one process makes while the others wait."""

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
DIGEST = ".digest"  # the file that holds the digest of an entry's content


def cached(
    folder: Path, make: Callable[[Path], T], read: Callable[[Path], T], *, fresh: bool, progress: Progress
) -> tuple[T, bool]:
    """The cached value, read from `folder` or made there; and whether it was read.

    `make` gets a partial folder, which may hold the remains of an interrupted attempt, and leaves there what `read`
    reads later. An entry that is damaged is made again, with a note; `fresh` makes it again in any case.
    """
    partial = folder.with_name(folder.name + ".partial")
    with _cache_lock(folder, progress):
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(partial, ignore_errors=True)

        if folder.exists():
            try:
                if folder_digest(folder, skip=DIGEST) != (folder / DIGEST).read_text():
                    raise ValueError("its content has changed")
                return read(folder), True
            except Exception as error:  # readers of damaged files raise anything
                progress.note(f"the cache {folder} cannot be used ({error}): making it again")
                shutil.rmtree(folder) if folder.is_dir() else folder.unlink()

        if partial.is_file():
            partial.unlink()
        partial.mkdir(exist_ok=True)
        value = make(partial)
        (partial / DIGEST).write_text(folder_digest(partial, skip=DIGEST))
        os.replace(partial, folder)  # in one step: an entry is whole or absent
        return value, False


@contextlib.contextmanager
def _cache_lock(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of a cache entry, with a note if another process has it."""
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


def cache_dir() -> Path:
    """Where parsed data, indexes and weights are kept: `GENREC_CACHE`, or the user's cache folder."""
    if given := os.environ.get("GENREC_CACHE"):
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("genrec_bench"))
