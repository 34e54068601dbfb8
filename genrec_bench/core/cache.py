"""The cache: where it is, and entries that one process makes while the others wait."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from genrec_bench.core.files import expand_home, folder_digest, remove, write_text
from genrec_bench.core.progress import Progress
from genrec_bench.errors import OutputError

T = TypeVar("T")
DIGEST = ".digest"  # the file that holds the digest of an entry's content


def cached(
    folder: Path, make: Callable[[Path], T], read: Callable[[Path], T], *, fresh: bool, progress: Progress
) -> tuple[T, bool]:
    """The cached value, read from `folder` or made there; and whether it was read.

    `make` gets a partial folder, which may hold the remains of an interrupted attempt, and leaves there what `read`
    reads later. An entry that is damaged is made again, with a note; `fresh` makes it again in any case. The old entry
    stays until the new one is complete.
    """
    partial, old = (folder.with_name(folder.name + ending) for ending in (".partial", ".old"))
    with _cache_lock(folder, progress):
        remove(old)  # a killed process left it
        if fresh or partial.is_file():
            remove(partial)

        if not os.path.lexists(folder) and _is_complete(partial):
            os.replace(partial, folder)  # a process was killed just before it did this
        if not fresh and os.path.lexists(folder):
            try:
                return _checked(folder, read), True
            except Exception as error:  # readers of damaged files raise anything
                progress.note(f"the cache {folder} cannot be used ({error}): making it again")

        partial.mkdir(exist_ok=True)
        for left_over in partial.rglob(".*.partial"):
            remove(left_over)
        value = make(partial)
        write_text(partial / DIGEST, folder_digest(partial, skip=DIGEST))

        if os.path.lexists(folder):
            os.replace(folder, old)
        os.replace(partial, folder)  # in one step: an entry is whole or absent
        remove(old)
        return value, False


def _checked(folder: Path, read: Callable[[Path], T]) -> T:
    """What `read` reads from an entry whose content is as it was written. ValueError if it is not."""
    if not _is_complete(folder):
        raise ValueError("its content has changed")
    return read(folder)


def _is_complete(folder: Path) -> bool:
    """Whether an entry's content is what was written there, to the last byte."""
    file = folder / DIGEST
    return file.is_file() and folder_digest(folder, skip=DIGEST) == file.read_text(encoding="utf-8", errors="replace")


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
        return Path(expand_home(given))
    import platformdirs

    return Path(platformdirs.user_cache_dir("genrec_bench"))
