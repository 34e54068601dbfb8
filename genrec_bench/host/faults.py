"""Blames a component for what goes wrong in its code.

Whatever a component breaks ends as one `ComponentFault` that names it, its distribution and the check; the host and all
other components go on. Knows no component by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from genrec_bench.core.files import disk_trouble
from genrec_bench.errors import (
    CodeClash,
    ComponentFault,
    GenrecError,
    InvalidRanking,
    OutOfMemory,
    lacks_memory,
    message_of,
)
from genrec_bench.host.registry import ComponentInfo
from genrec_bench.host.sealing import OpenedHeldOut, component_code

BREAKS_A_CONTRACT = (CodeClash, InvalidRanking)  # raised where a component's own work is at fault
LESS_MEMORY = "use a smaller --profile or backbone.batch_size, fewer --beams, less data, or a larger machine"
READS_HELD_OUT = "training data only"  # the check that a component breaks by opening the data


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
    """Run a component's code: its crashes become faults of `check`, and sealed files stay shut.

    Errors that tell a person what to do (missing data, wrong options) pass as they are. A full disk and a path without
    permission are nobody's fault: OutputError.
    """
    try:
        with component_code():
            yield
    except OpenedHeldOut as error:
        raise fault(info, READS_HELD_OUT, str(error)) from error
    except BREAKS_A_CONTRACT as error:
        raise fault(info, check, str(error)) from error
    except (GenrecError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit, and whatever else a component derives from BaseException
        if stopped := _interruption(error):
            raise stopped from error
        if disk := disk_trouble(error):
            if disk.facts["path"] is None:
                raise  # whoever knows the folders says which
            raise disk from error
        if lacks_memory(error):
            raise OutOfMemory(
                f"out of memory in {info.kind} {info.name!r} ({check}): {LESS_MEMORY}", part=info.kind
            ) from error

        message = message_of(error) or "no message"
        raise fault(info, check, f"it raised {type(error).__name__}: {message}") from error


def _interruption(error: BaseException) -> KeyboardInterrupt | None:
    """The interruption that `error` hides: torch raises an error of its own when a signal arrives while it writes weights."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, KeyboardInterrupt):
        seen = seen.__cause__ or seen.__context__
    return seen
