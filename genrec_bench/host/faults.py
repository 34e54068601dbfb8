"""What components do and hand back, checked at the door.

Whatever a component breaks ends as one `ComponentFault` that names it, its distribution and the check; the host and all
other components go on. Knows the contracts, never a component by name.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from genrec_bench.errors import (
    CodeClash,
    ComponentFault,
    GenrecError,
    InvalidRanking,
    OutOfMemory,
    lacks_memory,
)
from genrec_bench.host.registry import ComponentInfo

if TYPE_CHECKING:
    pass

T = TypeVar("T")

BREAKS_A_CONTRACT = (CodeClash, InvalidRanking)  # raised where a component's own work is at fault
LESS_MEMORY = "use a smaller --profile or backbone.batch_size, fewer --beams, less data, or a larger machine"
NO_DATA_FILES = (".py", ".pyc", ".so", ".pyi")  # opened while data is read, because modules are imported then
READS_HELD_OUT = "training data only"  # the check that a component breaks by opening the data
NO_DATA_PLACES = ("/proc/", "/sys/", "/dev/", "/etc/")


def fault(info: ComponentInfo, check: str, why: str) -> ComponentFault:
    """The error for a component that broke `check`."""
    return ComponentFault(
        f"{info.kind} {info.name!r} ({info.distribution} {info.version}) broke the check {check!r}: {why}",
        kind=info.kind,
        name=info.name,
        distribution=info.distribution,
        check=check,
    )


@contextmanager
def held_to(info: ComponentInfo, check: str) -> Iterator[None]:
    """Run a component's code: its crashes become faults of `check`, and while a run is sealed it may not open the data's
    files. Errors that tell a person what to do (missing data, wrong options) pass as they are."""
    global _inside
    before, _inside = _inside, (info, check)
    seen = len(_violations)
    try:
        yield
    except BREAKS_A_CONTRACT as error:
        raise fault(info, check, str(error)) from error
    except GenrecError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # a full disk is nobody's fault
        if lacks_memory(error):
            raise OutOfMemory(
                f"out of memory in {info.kind} {info.name!r} ({check}): {LESS_MEMORY}", part=info.kind
            ) from error
        said = " ".join(str(error).split()) or "without a word"
        raise fault(info, check, f"it raised {type(error).__name__}: {said}") from error
    else:
        if len(_violations) > seen:  # the component caught the error, or another thread of it got it
            raise _violations[-1]
    finally:
        _inside = before


# An audit hook sees every file that Python opens (what other languages open, it does not). It cannot be removed, so there
# is one, and it looks only when asked to.
_opened: set[str] | None = None
_sealed: frozenset[str] = frozenset()
_inside: tuple[ComponentInfo, str] | None = None
_violations: list[GenrecError] = []
_hooked = False


def _watch(event: str, args: Any) -> None:
    if event != "open" or (_opened is None and not (_sealed and _inside)):
        return
    if not isinstance(args[0], str | bytes | os.PathLike):
        return
    path = os.path.realpath(os.fsdecode(args[0]))
    if _opened is not None:
        _opened.add(path)
    if _inside is not None and (path in _sealed or any(path.startswith(p) for p in _sealed if p.endswith(os.sep))):
        why = f"it opened {path}, which holds validation and test events"
        _violations.append(fault(_inside[0], READS_HELD_OUT, why))
        raise _violations[-1]


def _hook() -> None:
    global _hooked
    if not _hooked:
        sys.addaudithook(_watch)
        _hooked = True


def opened_by(call: Callable[[], T]) -> tuple[T, frozenset[str]]:
    """What `call` returns, and the real paths of the data files that Python opened meanwhile."""
    global _opened
    _hook()
    before, _opened = _opened, set()
    try:
        result, seen = call(), _opened
    finally:
        _opened = before
    kept = (path for path in seen if not path.endswith(NO_DATA_FILES) and ".dist-info/" not in path)
    return result, frozenset(path for path in kept if not path.startswith(NO_DATA_PLACES))


@contextmanager
def sealed(files: frozenset[str]) -> Iterator[None]:
    """No component may open `files` inside; one that ends with a separator stands for all below that folder."""
    global _sealed
    _hook()
    before, _sealed = _sealed, files
    try:
        yield
    finally:
        _sealed = before
