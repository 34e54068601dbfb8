"""Keeps components away from the files that hold validation and test interactions.

An audit hook sees every file that Python opens; what other languages open, it does not. A hook cannot be removed, so
`watch` installs it only where the process is ours: in the command line's runs, in worker processes and in the
conformance kit. In anybody else's process everything here does nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")

CODE_FILES = (".py", ".pyc", ".so", ".pyi")  # opened while data is read, because modules are imported then
SYSTEM_FOLDERS = ("/proc/", "/sys/", "/dev/", "/etc/")

_watching = False
_opened: set[str] | None = None  # real paths, while somebody asks
_sealed: frozenset[str] = frozenset()
_component_runs = False
_violations: list[OpenedHeldOut] = []


class OpenedHeldOut(Exception):
    """A component opened a sealed file; the message names it."""


def watch() -> None:
    """Watch the files that this process opens, from now until it ends."""
    global _watching
    if not _watching:
        sys.addaudithook(_see)
        _watching = True


def _see(event: str, args: Any) -> None:
    if event != "open" or (_opened is None and not (_sealed and _component_runs)):
        return
    if not isinstance(args[0], str | bytes | os.PathLike):
        return

    path = os.path.realpath(os.fsdecode(args[0]))
    if _opened is not None:
        _opened.add(path)

    in_sealed_folder = any(path.startswith(sealed) for sealed in _sealed if sealed.endswith(os.sep))
    if _component_runs and (path in _sealed or in_sealed_folder):
        _violations.append(OpenedHeldOut(f"it opened {path}, which holds validation and test events"))
        raise _violations[-1]


def opened_by(call: Callable[[], T]) -> tuple[T, frozenset[str]]:
    """What `call` returns, and the real paths of the data files that Python opened meanwhile (none if nobody watches)."""
    global _opened
    before, _opened = _opened, set()
    try:
        result, paths = call(), _opened
    finally:
        _opened = before

    data_files = (path for path in paths if not path.endswith(CODE_FILES) and ".dist-info/" not in path)
    return result, frozenset(path for path in data_files if not path.startswith(SYSTEM_FOLDERS))


@contextmanager
def sealed(files: frozenset[str]) -> Iterator[None]:
    """No component may open `files` inside; a path that ends with a separator seals all below that folder."""
    global _sealed
    before, _sealed = _sealed, files
    try:
        yield
    finally:
        _sealed = before


@contextmanager
def same_folder() -> Iterator[None]:
    """Foreign code runs inside. It may change the working folder; afterwards relative paths mean what they meant before."""
    try:
        before = os.getcwd()
    except OSError:  # somebody removed it
        yield
        return

    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(before)


@contextmanager
def component_code() -> Iterator[None]:
    """A component's code runs inside. OpenedHeldOut if it opened a sealed file, also if it caught that error itself."""
    global _component_runs
    before, _component_runs = _component_runs, True
    violations_before = len(_violations)
    try:
        with same_folder():
            yield
        if len(_violations) > violations_before:  # the component caught the error, or another thread of it got it
            raise _violations[-1]
    finally:
        _component_runs = before
