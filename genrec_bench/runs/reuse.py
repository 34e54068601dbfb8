"""Whether a finished run may be returned instead of running again: same data, same files, consistent numbers."""

from __future__ import annotations

from pathlib import Path

from genrec_bench.core.hashing import digest
from genrec_bench.core.progress import Progress
from genrec_bench.errors import RecordError
from genrec_bench.runs.folders import damaged_files
from genrec_bench.runs.inputs import Inputs
from genrec_bench.runs.plan import Plan
from genrec_bench.runs.record import RunRecord, contradictions_of


def still_holds(earlier: RunRecord, inputs: Inputs, folder: Path, progress: Progress) -> bool:
    """Whether an earlier run has finished and its data is unchanged; notes to `progress` what else has changed.

    RecordError if the record's numbers contradict its ranks: they are neither shown nor replaced unasked.
    """
    if earlier.status != "finished":
        return False
    if earlier.fingerprints.get("data") != inputs.data.fingerprint():
        progress.note(f"the data has changed since the run in {folder}: running again")
        return False
    if earlier.fingerprints.get("files", "") != files_read(inputs.plan):
        progress.note(f"a file that a component reads has changed since the run in {folder}: running again")
        return False

    if contradictions := contradictions_of(earlier, folder):
        raise RecordError(
            f"the finished run in {folder} contradicts itself, so its record was edited or damaged: "
            f"{'; '.join(contradictions)}. `genrec verify {folder}` shows what differs, --force runs it again",
            path=folder,
        )
    if not earlier.intact:
        raise RecordError(
            f"the record in {folder} is not what the run wrote: its digest does not hold. It was edited, or an earlier "
            "version wrote it; --force runs it again",
            path=folder,
        )

    if damages := damaged_files(earlier, folder):
        raise RecordError(
            f"files of the finished run in {folder} are not what it stored: {'; '.join(damages)}. Put them back, or run it "
            "again with --force",
            path=folder,
        )

    code_then = {part: facts.get("code") for part, facts in earlier.components.items()}
    code_now = {part: facts["code"] for part, facts in inputs.plan.describe_components().items()}
    if code_then != code_now:
        progress.note(f"other versions of the components made {folder}: --force runs it again")
    return True


def files_read(plan: Plan) -> str:
    """The fingerprint of the files, other than the data set, that components read; empty if there are none.

    The data set is left out: it has a fingerprint of its own, and its files may be sealed by now.
    """
    fingerprints = {name: part.fingerprint for name, part in plan.parts.items() if name != "dataset"}
    of_files = {name: fingerprint for name, fingerprint in fingerprints.items() if fingerprint}
    return digest(*of_files.items()) if of_files else ""
