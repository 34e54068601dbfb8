"""Whether a finished run may be returned instead of running again: same data, same files, numbers that hold together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genrec_bench.core.events import Interactions
from genrec_bench.core.hashing import digest
from genrec_bench.core.progress import Progress
from genrec_bench.errors import RecordError
from genrec_bench.host import registry
from genrec_bench.runs.loading import fingerprint
from genrec_bench.runs.record import RunRecord, contradictions_of
from genrec_bench.runs.spec import LISTS, PARTS, RunSpec


def still_holds(earlier: RunRecord, spec: RunSpec, data: Interactions, folder: Path, progress: Progress) -> bool:
    """Whether a run of this spec is finished and its data is still the same; says what else has changed since.

    RecordError if the record's numbers contradict its ranks: nobody should be shown them, nor lose them unasked.
    """
    if earlier.status != "finished":
        return False
    if earlier.fingerprints.get("data") != data.fingerprint():
        progress.note(f"the data has changed since the run in {folder}: running again")
        return False
    if earlier.fingerprints.get("files", "") != files_read(spec):
        progress.note(f"a file that a component reads has changed since the run in {folder}: running again")
        return False
    if odd := contradictions_of(earlier, folder):
        raise RecordError(
            f"the finished run in {folder} contradicts itself, so its record was edited or damaged: {'; '.join(odd)}. "
            f"`genrec verify {folder}` shows what differs, --force runs it again",
            path=folder,
        )
    if not earlier.intact:
        raise RecordError(
            f"the record in {folder} is not what the run wrote, as its digest does not hold: it was edited, or is of an earlier "
            "version; --force runs it again",
            path=folder,
        )
    if {part: facts.get("code") for part, facts in earlier.components.items()} != _codes(spec):
        progress.note(f"{folder} was made by another version of its components: --force makes it anew")
    return True


def files_read(spec: RunSpec) -> str:
    """The fingerprint of the files that components read besides the data set; empty if they read none. The data set has a
    fingerprint of its own, and is not even made here: this is asked while its files are sealed."""
    found = {part: fingerprint(spec, part) for part in parts_of(spec) if part != "dataset"}
    read = {part: print_ for part, print_ in found.items() if print_}
    return digest(*read.items()) if read else ""


def _codes(spec: RunSpec) -> dict[str, str]:
    return {part: facts["code"] for part, facts in components(spec).items()}


def parts_of(spec: RunSpec) -> list[str]:
    """The parts that a component plays: lists made elsewhere are none."""
    return [part for part in PARTS if getattr(spec, part) not in (None, LISTS)]


def components(spec: RunSpec) -> dict[str, Any]:
    """Who supplied each component: name, distribution, version, and a digest of the code."""
    found = {}
    for part in parts_of(spec):
        info = registry.find(part, getattr(spec, part))
        found[part] = {
            "name": info.name,
            "distribution": info.distribution,
            "version": info.version,
            "code": registry.code_digest(info),
        }
    return found
