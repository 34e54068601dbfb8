"""Scores ranked lists that were made elsewhere, by the scorer of all runs, into a record of the tier *re-scored*.

The run folder looks like any other, and `genrec verify` works on it. How the lists came to be is not known here: the record
names what made them, and claims no training, speed or parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genrec_bench.core.files import check_writable, expand_home
from genrec_bench.core.hashing import digest
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.core.sequences import Queries
from genrec_bench.errors import DataError, OutputError, UsageError
from genrec_bench.host import registry
from genrec_bench.host.contracts import Task
from genrec_bench.protocol import validity
from genrec_bench.protocol.constants import KS, POLICIES, Policy
from genrec_bench.runs.external_codes import ItemCodes, read_given_codes
from genrec_bench.runs.external_lists import GivenLists, read_given, warnings
from genrec_bench.runs.folders import attempt, keeps, locked, open_run_folder, run_folder
from genrec_bench.runs.inputs import load_inputs
from genrec_bench.runs.lists import GENERATIONS_FILE, write_generations
from genrec_bench.runs.outcome import Outcome
from genrec_bench.runs.plan import Plan, resolve_lists
from genrec_bench.runs.record import RESCORED, RunRecord
from genrec_bench.runs.reuse import still_holds
from genrec_bench.runs.run import finish, times_scored
from genrec_bench.runs.spec import dataset_options


def plan_of(
    *,
    name: str,
    dataset: str,
    task: Task,
    policy: Policy = "mask",
    allow_missing: bool = False,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of lists made by `name`. It leaves the file out, so that all seeds of a system share a row.

    UsageError if the name is blank, or if a system of `genrec run` has or could have it.
    """
    name = name.strip()
    if not name or not name.isprintable():
        raise UsageError(f"--name {name!r}: say what made the lists, such as 'SASRec (RecTools)'")

    baselines = {baseline for kind, baseline in registry.KNOWN_ELSEWHERE if kind == "baseline"}
    if name in baselines | {info.name for info in registry.list_components("baseline")}:
        raise UsageError(f"--name {name!r} is a baseline of genrec run: call it '{name} (who made it)'")
    if re.fullmatch(r"\S+ / \S+( \(\w+\))? / \S+", name):
        raise UsageError(f"--name {name!r} reads like a generator of genrec run: call it '{name} (who made it)'")
    if policy not in POLICIES:
        raise UsageError(f"no policy {policy!r}: {' or '.join(POLICIES)}")

    lists = {"name": name, "policy": policy, "allow_missing": allow_missing}
    return resolve_lists(lists, dataset=dataset, task=task, seed=seed, options=dataset_options(settings or {}))


def rescore(
    path: Path,
    plan: Plan,
    *,
    columns: Sequence[str] | None = None,
    item_codes: ItemCodes | None = None,
    out: Path | str = "runs",
    data_dir: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> RunRecord:
    """Score the lists in `path` for `plan` (see `plan_of`) and return the record in `out/<spec_id>`.

    `columns` names the columns of a text file without a header. With `item_codes`, the lists are of codes: the run folder
    keeps them as hypotheses, and the record counts those that are no item's. A file that was scored before is not scored
    again. DataError if the lists do not fit the data; nothing is written then. OutputError if `out` holds other lists of
    that name, unless `force`.
    """
    progress = progress or Quiet()
    for file in (path, item_codes.path) if item_codes else (path,):
        if not file.exists():  # before the data is read, which may take long
            raise DataError(f"{file}: there is no such file; paths count from {Path.cwd()}", path=file)
    spec = plan.spec
    folder, options = run_folder(Path(expand_home(out)), spec), spec.options["baseline"]
    check_writable(folder, "choose another --out")

    inputs = load_inputs(plan, data_dir=data_dir, fresh=force, progress=progress)
    queries = inputs.split.queries(inputs.split.test)
    policy, allow_missing = options["policy"], options["allow_missing"]
    source = digest(path.read_bytes(), *(columns or ()))
    if item_codes is None:
        given = read_given(path, inputs.data, queries, policy, allow_missing, columns)
    else:
        split = inputs.split
        given = read_given_codes(path, item_codes, inputs.data, split, policy, allow_missing, columns, progress.note)
        source = digest(source, item_codes.path.read_bytes(), repr(item_codes.config))
    for note in (given.read_as, *given.warnings):
        progress.note(f"{path}: {note}")

    with locked(folder):
        earlier = open_run_folder(folder, spec, force=force, progress=progress)
        finished = earlier is not None and earlier.status == "finished"
        if earlier is not None and finished and not force:
            if earlier.fingerprints.get("source") != source:
                raise OutputError(
                    f"{folder} holds other lists named {options['name']!r}: give another --name, another --seed, or "
                    "replace them with --force",
                    path=folder,
                )
            if still_holds(earlier, inputs, folder, progress):
                return earlier

        outcome = Outcome(
            rankings=given.rankings,
            validity=_validity(given, queries),
            throughput={"users_per_second": None},
            fingerprints={"source": source},
            warnings=(*warnings(given.lengths, spec.system), *given.warnings),
            tier=RESCORED,
        )
        with attempt(folder, spec, keep=keeps(folder, earlier)) as workspace:
            if given.generations is not None:
                write_generations(workspace / GENERATIONS_FILE, {"mask": given.generations})
            return finish(inputs, outcome, workspace, phases={}, test_scored=1 + times_scored(earlier))


def _validity(given: GivenLists, queries: Queries) -> dict[str, Any]:
    """What the hypotheses are worth, where there are codes; else what the lists are worth."""
    if given.generations is not None:
        return validity.validity(given.generations, queries.history, KS)
    return validity.validity_of_ranking(given.rankings["mask"], queries.history, KS)
