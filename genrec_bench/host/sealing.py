"""Keeps components away from the files that hold validation and test interactions.

An audit hook sees every file that Python opens, on any thread, from the first import of a component on. What other languages
open (a native reader of Parquet, a subprocess, ctypes), it does not see. A hook cannot be removed, so `watch` installs it only
where the process is ours: in the command line's runs, in worker processes and in the conformance kit. In anybody else's
process everything here does nothing.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from genrec_bench.errors import GenrecError

T = TypeVar("T")
File = tuple[int, int]  # device and number of a file, the same for all its names

CODE_FILES = (".py", ".pyc", ".so", ".pyi")  # opened while data is read, because modules are imported then
SYSTEM_FOLDERS = ("/proc/", "/sys/", "/dev/", "/etc/", "/usr/share/zoneinfo/")
TIME_ZONES = "/tzdata/zoneinfo/"  # in a package: opened while times are read, without events
WRITES = os.O_WRONLY | os.O_RDWR

_watching = False
_read_earlier: set[str] = set()  # real paths of data files that were read while nothing was sealed, but not by the host
_sealed: frozenset[str] = frozenset()
_sealed_files: frozenset[File] = frozenset()  # the same files, under whatever name
_violations: list[OpenedHeldOut] = []


class _Reading(threading.local):
    """What this thread reads for the host; None while it does not."""

    opened: set[str] | None = None


_reading = _Reading()


class OpenedHeldOut(GenrecError):
    """Something but the host read a file with held-out events; the message names it."""


def watch() -> None:
    """Watch the files that this process opens, from now until it ends. What was read before is forgotten."""
    global _watching
    _read_earlier.clear()
    if not _watching:
        sys.addaudithook(_see)
        threading.excepthook = _without_violations(threading.excepthook)
        _watching = True


def _without_violations(report: Callable[[Any], Any]) -> Callable[[Any], None]:
    """A report on exceptions of threads that leaves out a violation: the run ends with it, in one line."""

    def reported(args: Any) -> None:
        if not isinstance(args.exc_value, OpenedHeldOut):
            report(args)

    return reported


def _see(event: str, args: Any) -> None:
    if event != "open" or not isinstance(args[0], str | bytes | os.PathLike):
        return

    name = os.fsdecode(args[0])
    path = os.path.realpath(name)
    if args[1] is None and not os.path.isabs(name) and not os.path.exists(path):
        path = _below_a_folder(name, path)
    if path.endswith(CODE_FILES) and _file(path) not in _sealed_files:
        return
    if _reading.opened is not None:
        _reading.opened.add(path)
    elif _is_sealed(path, _sealed) or (_sealed_files and _file(path) in _sealed_files):
        _violations.append(OpenedHeldOut(f"it opened {path}, which holds validation and test events"))
        raise _violations[-1]
    elif not (args[2] or 0) & WRITES and not path.startswith(SYSTEM_FOLDERS):
        _read_earlier.add(path)


def _below_a_folder(name: str, path: str) -> str:
    """The sealed file that `os.open(name, dir_fd=...)` may mean, which tells a hook nothing of its folder; else `path`."""
    return next((file for file in _sealed if file.endswith(f"{os.sep}{name}")), path)


def _is_sealed(path: str, sealed: frozenset[str]) -> bool:
    return path in sealed or any(path.startswith(folder) for folder in sealed if folder.endswith(os.sep))


def _file(path: str) -> File | None:
    """What a path names; None if nothing is there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _files(sealed: frozenset[str]) -> frozenset[File]:
    """The sealed files, and those in sealed folders."""
    paths = set(sealed)
    for folder in (path for path in sealed if path.endswith(os.sep)):
        paths |= {os.path.join(where, name) for where, _, names in os.walk(folder) for name in names}
    return frozenset(file for path in paths if (file := _file(path)) is not None)


def opened_by(call: Callable[[], T]) -> tuple[T, frozenset[str]]:
    """What `call` returns, and the real paths of the data files that it opened on this thread (none if nobody watches)."""
    before, _reading.opened = _reading.opened, set()
    try:
        result, paths = call(), _reading.opened
    finally:
        _reading.opened = before
    if before is not None:
        before |= paths

    data_files = (path for path in paths if ".dist-info/" not in path and TIME_ZONES not in path)
    return result, frozenset(path for path in data_files if not path.startswith(SYSTEM_FOLDERS))


@contextmanager
def sealed(files: frozenset[str]) -> Iterator[None]:
    """Nobody may open `files` inside, on any thread; a path that ends with a separator seals all below that folder.

    OpenedHeldOut if something but the host read one of them before, or opened one inside and caught the error.
    """
    global _sealed, _sealed_files
    numbers = _files(files) if _watching else frozenset()
    early = sorted(path for path in _read_earlier if _is_sealed(path, files) or _file(path) in numbers)
    if early:
        _read_earlier.difference_update(early)
        raise OpenedHeldOut(
            f"{early[0]} holds validation and test events, and a component read it before the run did (at import or in "
            "ready()): components learn from the training part only"
        )

    before, _sealed, known = (_sealed, _sealed_files), files, len(_violations)
    _sealed_files = numbers
    try:
        yield
        _raise_since(known)
    finally:
        _sealed, _sealed_files = before


@contextmanager
def same_folder() -> Iterator[None]:
    """Foreign code runs inside. It may change the working folder and the standard streams; afterwards both are as before."""
    streams = sys.stdout, sys.stderr
    try:
        before = os.getcwd()
    except OSError:  # somebody removed it
        before = ""

    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        with suppress(OSError):
            os.chdir(before)


@contextmanager
def component_code() -> Iterator[None]:
    """A component's code runs inside. OpenedHeldOut if it opened a sealed file, also if it caught that error itself."""
    known = len(_violations)
    with same_folder():
        yield
    _raise_since(known)


def _raise_since(known: int) -> None:
    """Raise the latest violation if there are more than `known`: a component, or another thread of it, caught the error."""
    if len(_violations) > known:
        raise _violations[-1]
