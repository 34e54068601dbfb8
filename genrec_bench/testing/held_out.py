"""Puts files with held-out interactions within a component's reach, and watches whether it opens them.

As in a run, the watch sees the files that Python opens in this process. Other readers show only in a component's results,
which the checks compare.
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
def near_held_out(subject: Subject, data: Planted) -> Iterator[Path]:
    """The files of `data`, with all interactions, in a folder that is meanwhile the working folder and GENREC_DATA.

    Breach if the component opens one of them inside, even if it makes no use of it: a run refuses that.
    """
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
            raise Breach(seen, "Learn only from your input: a run stops a component that opens the data.") from None


@contextmanager
def surroundings(data: Planted) -> Iterator[Path]:
    """The folder alone, without a watch."""
    before = Path.cwd()
    with folder() as here, mock.patch.dict(os.environ, {"GENREC_DATA": str(here), "GENREC_CACHE": str(here / "cache")}):
        data.write(here)
        os.chdir(here)
        try:
            yield here
        finally:
            os.chdir(before)
