"""Held-out events within a component's reach: files that hold them all around it, and a watch over who opens them.

Knows where they lie and that nobody may look; what a component computes is compared by the checks. The watch sees what
Python opens in this process, as a run's does; what other readers open shows only in what is computed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from genrec_bench.errors import ComponentFault
from genrec_bench.host.faults import READS_HELD_OUT, held_to
from genrec_bench.host.registry import ComponentInfo
from genrec_bench.host.sealing import sealed, watch
from genrec_bench.testing.kit import Breach, Subject, folder
from genrec_bench.testing.planted_data import Planted


@contextmanager
def beside(subject: Subject, data: Planted) -> Iterator[Path]:
    """A folder that holds the data's files with all events: the working folder, and GENREC_DATA, for as long. Breach if
    the component opens one of them inside, also if it makes nothing of it: a run refuses that."""
    info = ComponentInfo(subject.kind, subject.name, subject.distribution or "?", "", "", ())
    watch()
    with surroundings(data) as here:
        files = frozenset(os.path.realpath(path) for path in here.iterdir())
        try:
            with sealed(files), held_to(info, "held-out data"):
                yield here
        except ComponentFault as fault:
            if fault.facts.get("check") != READS_HELD_OUT:
                raise (fault.__cause__ or fault) from None
            seen = str(fault).partition(": ")[2].replace(f"{os.path.realpath(here)}{os.sep}", "")
            raise Breach(
                seen, "Learn from what you are given alone: a run stops a component that opens the data."
            ) from None


@contextmanager
def surroundings(data: Planted) -> Iterator[Path]:
    """The folder alone, with nobody watching."""
    before = Path.cwd()
    with folder() as here, mock.patch.dict(os.environ, {"GENREC_DATA": str(here), "GENREC_CACHE": str(here / "cache")}):
        data.write(here)
        os.chdir(here)
        try:
            yield here
        finally:
            os.chdir(before)
