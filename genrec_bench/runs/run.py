"""The life of one run: resolve, load, index, train, decode, score, record.

`run(spec)` is what `genrec run` does. Cheap failures come before data is read, and nothing is written before that. Knows
components by their contracts only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from genrec_bench.core.arrays import Int32
from genrec_bench.core.cache import cache_dir
from genrec_bench.core.files import check_writable, disk_trouble, expand_home, write_whole
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.errors import DataError, GenrecError, RunFailed, lacks_memory
from genrec_bench.host.faults import LESS_MEMORY
from genrec_bench.host.sealing import sealed
from genrec_bench.protocol import scores
from genrec_bench.protocol.ranks import ranks_digest
from genrec_bench.runs import lists
from genrec_bench.runs.baseline import run_baseline, validate_baseline
from genrec_bench.runs.environment import cpu_instead_of, environment, peak_memory, pick_device, reset_peak_memory
from genrec_bench.runs.folders import attempt, digests, keeps, locked, open_run_folder, run_folder, this_process, tidy
from genrec_bench.runs.inputs import Inputs, Loaded, data_warnings, describe_data, load_inputs
from genrec_bench.runs.outcome import Outcome
from genrec_bench.runs.plan import BaselineParts, GeneratorParts, Plan, resolve
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.reuse import files_read, still_holds
from genrec_bench.runs.spec import ResolvedSpec, RunSpec

INLINE_RANKS = 50_000  # the ranks of more cases go to .npy files beside the record


def run(
    spec: RunSpec | ResolvedSpec,
    *,
    out: Path | str = "runs",
    device: str = "auto",
    force: bool = False,
    data_dir: Path | str | None = None,
    progress: Progress | None = None,
    loaded: Loaded | None = None,
) -> RunRecord:
    """Train, decode and score one system, and return its record; the folder `out/<spec_id>` keeps everything.

    A finished run of the same resolved spec is returned unchanged, unless `force`, which makes everything anew (index
    and weights too). An interrupted training resumes. Raises a GenrecError of one line; a run that fails, or is interrupted
    (KeyboardInterrupt), after its folder was opened leaves a `failed` record there. `loaded` is the data set where its files
    are hidden from this process.

    >>> record = run(RunSpec(baseline="popularity"))  # doctest: +SKIP
    >>> record.metrics["mask"].get("ndcg@10")  # doctest: +SKIP
    """
    progress = progress or Quiet()
    with progress.phase("starting"):
        plan = resolve(spec, offers=loaded.offers if loaded else None)
        device = device_of(plan, device, progress)

    # Fail before data is read if the results could not be written.
    folder = run_folder(Path(expand_home(out)), plan.spec)
    earlier = open_run_folder(folder, plan.spec, force=force, progress=progress)
    if force or earlier is None or earlier.status != "finished":
        check_writable(folder, "choose another --out")
        if plan.spec.baseline is None:
            check_writable(cache_dir(), "set GENREC_CACHE to another folder")

    with progress.phase("reading data"):
        inputs = load_inputs(plan, loaded=loaded, data_dir=data_dir, device=device, fresh=force, progress=progress)

    if not force and earlier is not None and still_holds(earlier, inputs, folder, progress):
        tidy(folder)
        return earlier
    check_examples(plan.spec, inputs)

    with locked(folder):
        # Another process may have finished the run while this one read data.
        earlier = open_run_folder(folder, plan.spec, force=force)
        if not force and earlier is not None and still_holds(earlier, inputs, folder, Quiet()):
            return earlier

        with attempt(folder, plan.spec, keep=keeps(folder, earlier)) as workspace:
            reset_peak_memory(device)
            with sealed(inputs.held_out):
                return _attempt(inputs, workspace, test_scored=1 + times_scored(earlier))


def device_of(plan: Plan, asked: str, progress: Progress) -> str:
    """The device that a plan runs on: for `auto`, a GPU if there is one and the system can use it.

    A baseline that cannot use a GPU runs on the CPU in any case, with a note to `progress` and without importing torch.
    DeviceMissing if this machine does not have the device.
    """
    system = plan.system
    if isinstance(system, GeneratorParts) or (isinstance(system, BaselineParts) and system.baseline.component.uses_gpu):
        return pick_device(asked)
    if asked not in ("auto", cpu_instead_of(asked)):
        progress.note(f"baseline {plan.spec.baseline!r} can use the CPU only: --device {asked} is ignored")
    return "cpu"


def validate(inputs: Inputs, folder: Path) -> tuple[float, dict[str, Any]]:
    """Train as a run does; return the validation score (ndcg@10, seen items hidden) and how training went.

    This is all that tuning may see. A baseline keeps its files in `folder`.
    """
    check_examples(inputs.spec, inputs)
    system = inputs.plan.system
    if isinstance(system, BaselineParts):
        return validate_baseline(inputs, system, folder)

    from genrec_bench.runs.generator import validate_generator  # here: baselines need no torch

    assert isinstance(system, GeneratorParts)
    return validate_generator(inputs, system)


def check_examples(spec: ResolvedSpec, inputs: Inputs) -> None:
    """DataError if a generator would have nothing to learn from: `sequential` needs two training items of one user."""
    longest = int(inputs.split.train_end.max())
    if spec.baseline is None and spec.task == "sequential" and longest < 2:
        raise DataError(
            "no training examples: no user has more than one training item, and the task sequential learns steps from "
            "one item to the next; use --task direct, or data with longer histories",
            path=None,
        )


def times_scored(earlier: RunRecord | None) -> int:
    """How many times the test part was scored for the spec of an earlier record, if there is one that finished."""
    if earlier is None or earlier.status != "finished":
        return 0
    return earlier.test_scored or 1


def _attempt(inputs: Inputs, folder: Path, test_scored: int) -> RunRecord:
    """Run the system and write its record, finished or failed."""
    phases = {"data": inputs.loading}
    try:
        outcome = _run_system(inputs, folder)
        return finish(inputs, outcome, folder, phases, test_scored)
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        reason = "interrupted" if interrupted else f"{type(error).__name__}: {error}"
        with suppress(OSError, TypeError, ValueError):  # a full disk must not hide the error itself
            _record(inputs, "failed", phases, reason=reason).write(folder)

        if isinstance(error, GenrecError) or not isinstance(error, Exception):
            raise
        if disk := disk_trouble(error, folder, cache_dir()):
            raise disk from error
        advice = LESS_MEMORY if lacks_memory(error) else "see --debug for the traceback"
        raise RunFailed(f"{reason}; {advice} (run folder {folder})", reason=reason, folder=folder) from error


def _run_system(inputs: Inputs, folder: Path) -> Outcome:
    system = inputs.plan.system
    if isinstance(system, BaselineParts):
        return run_baseline(inputs, system, folder)

    from genrec_bench.runs.generator import run_generator  # here: baselines need no torch

    assert isinstance(system, GeneratorParts)
    return run_generator(inputs, system, folder)


def finish(inputs: Inputs, outcome: Outcome, folder: Path, phases: Mapping[str, float], test_scored: int) -> RunRecord:
    """Score the ranked lists of a run, write them beside the record, and write the record.

    With this, the test part was scored `test_scored` times for this spec.
    """
    cases = inputs.split.test
    began = time.perf_counter()
    scored = {policy: scores.score(ranking, cases.target) for policy, ranking in outcome.rankings.items()}
    users = inputs.data.user_ids[cases.user]
    lists_digest = lists.write_lists(folder / lists.LISTS_FILE, outcome.rankings, users, inputs.data.item_ids)
    scoring = time.perf_counter() - began

    ranks = {policy: ranks for policy, (_, ranks) in scored.items()}
    fingerprints = {**outcome.fingerprints, "lists": lists_digest}
    if len(cases) > INLINE_RANKS:
        fingerprints["ranks"] = ranks_digest(ranks)

    stored_ranks = {policy: _store_ranks(folder, policy, values) for policy, values in ranks.items()}
    record = _record(
        inputs,
        "finished",
        {**phases, **outcome.phases, "score": scoring},
        fingerprints=fingerprints,
        metrics={policy: metrics for policy, (metrics, _) in scored.items()},
        ranks=stored_ranks,
        stored=digests(folder),
        validity=outcome.validity,
        throughput=outcome.throughput,
        index=outcome.index,
        training=outcome.training,
        parameters=outcome.parameters,
        warnings=[*data_warnings(inputs.data, inputs.split), *outcome.warnings],
        test_scored=test_scored,
        tier=outcome.tier,
    ).sealed()
    record.write(folder)
    return record


def _store_ranks(folder: Path, policy: str, ranks: Int32) -> list[int] | str:
    """The ranks, or the name of a sidecar file for them if there are many."""
    if len(ranks) <= INLINE_RANKS:
        return [int(rank) for rank in ranks]
    name = f"ranks.{policy}.npy"
    write_whole(folder / name, lambda file: np.save(file, ranks, allow_pickle=False))
    return name


def _record(
    inputs: Inputs,
    status: str,
    phases: Mapping[str, float],
    *,
    fingerprints: Mapping[str, str] | None = None,
    **sections: Any,
) -> RunRecord:
    spec, data, split = inputs.spec, inputs.data, inputs.split
    of_data = {"data": data.fingerprint(), "split": split.fingerprint}
    if status == "finished" and (of_files := files_read(inputs.plan)):
        of_data["files"] = of_files

    return RunRecord(
        spec=spec.to_dict(),
        changed=inputs.plan.changed,
        spec_id=spec.spec_id,
        system_id=spec.system_id,
        status=status,
        data=describe_data(spec.dataset, data, split),
        phases={name: round(seconds, 4) for name, seconds in phases.items()},
        fingerprints={**of_data, **(fingerprints or {})},
        components=inputs.plan.describe_components(),
        environment=environment(inputs.device),
        memory=peak_memory(inputs.device),
        process=this_process(),
        **sections,
    )
