"""The life of one run: resolve, load, index, train, decode, score, record.

`run(spec)` is what `genrec run` does. Everything that can fail cheaply fails before data is read, and nothing is written
before the data has been read. Knows components by their contracts only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genrec_bench.core.arrays import Int32
from genrec_bench.core.cache import cache_dir
from genrec_bench.core.events import Interactions
from genrec_bench.core.files import check_writable
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Split
from genrec_bench.errors import (
    DataError,
    GenrecError,
    NeedsMissing,
    RunFailed,
    UsageError,
    did_you_mean,
    lacks_memory,
)
from genrec_bench.host import registry
from genrec_bench.host.config import config_dict, make_config
from genrec_bench.host.contracts import Component
from genrec_bench.host.faults import LESS_MEMORY, held_to, sealed
from genrec_bench.host.registry import ComponentInfo
from genrec_bench.protocol import scores
from genrec_bench.protocol.constants import (
    EXTERNAL_IDS,
    KS,
    PROTOCOL,
    check_protocol,
)
from genrec_bench.protocol.ranks import ranks_digest
from genrec_bench.runs import lists
from genrec_bench.runs.environment import (
    cpu_instead_of,
    environment,
    peak_memory,
    pick_device,
    reset_peak_memory,
)
from genrec_bench.runs.folders import (
    attempt,
    locked,
    open_run_folder,
    run_folder,
    this_process,
)
from genrec_bench.runs.loading import component, describe_data, load_hiding
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.reuse import components, files_read, still_holds
from genrec_bench.runs.spec import DEFAULT_BEAMS, PARTS, RunSpec

DEFAULT_PROFILE, DEFAULT_DECODER = "quick", "trie"
INLINE_RANKS = 50_000  # more cases than this: ranks go to .npy files beside the record


@dataclass
class Run:
    """One run under way: what everything needs to know, and what is found out."""

    spec: RunSpec
    folder: Path
    data: Interactions
    split: Split
    device: str
    force: bool
    progress: Progress
    phases: dict[str, float] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)  # sections of the record
    rankings: dict[str, Ranking] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase, in seconds of wall clock."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - began

    def component(self, part: str) -> Any:
        """The component that plays `part`, with its resolved options."""
        return component(self.spec, part)

    def info(self, part: str) -> ComponentInfo:
        """Who plays `part`, and who supplied it."""
        return registry.find(part, getattr(self.spec, part))

    def held(self, part: str, check: str) -> AbstractContextManager[None]:
        """A component's code runs inside: what goes wrong there is told as its fault, and the data files stay shut."""
        return held_to(self.info(part), check)


def resolve(spec: RunSpec) -> RunSpec:
    """The spec with every default and every option of every component filled in; checks all that needs no data."""
    if spec.resolved:
        return spec
    check_protocol(spec.protocol or PROTOCOL)
    spec = _with_defaults(spec)
    options: dict[str, dict[str, Any]] = {}
    classes: dict[str, type[Component]] = {}
    for part in PARTS:
        name = getattr(spec, part)
        if name is None:
            continue
        classes[part] = cls = registry.load(part, name)
        given = dict(spec.options.get(part, {}))
        if part == "backbone":
            given = {**_profile(cls, name, spec), **given}
        options[part] = config_dict(make_config(cls.Config, given, part))
    dataset = classes["dataset"](make_config(classes["dataset"].Config, options["dataset"], "dataset"))
    resolved = spec.with_(options=options, resolved=True)
    for part in classes:
        missing = component(resolved, part).needs - dataset.offers - EXTERNAL_IDS
        if missing:
            raise NeedsMissing(
                f"{part} {getattr(spec, part)!r} needs {', '.join(sorted(missing))}, which data set {spec.dataset!r} "
                f"does not have: choose another {part}, or another data set",
                needs=missing,
            )
    for part in classes:
        made = component(resolved, part)
        with held_to(registry.find(part, getattr(resolved, part)), "ready"):
            made.ready()
    return resolved


def _with_defaults(spec: RunSpec) -> RunSpec:
    if spec.baseline is None:
        beams = DEFAULT_BEAMS if spec.beams is None else spec.beams
        if beams < max(KS):
            raise UsageError(
                f"--beams {beams} cannot fill lists of {max(KS)}: use at least {max(KS)} (default {DEFAULT_BEAMS})"
            )
        return spec.with_(
            task=spec.task or "direct",
            decoder=spec.decoder or DEFAULT_DECODER,
            profile=spec.profile or DEFAULT_PROFILE,
            beams=beams,
        )
    tasks = registry.load("baseline", spec.baseline).tasks
    task = spec.task or ("direct" if "direct" in tasks else tasks[0])
    if task not in tasks:
        raise UsageError(f"baseline {spec.baseline!r} knows the task {', '.join(tasks)} only: use --task {tasks[0]}")
    return spec.with_(task=task)


def _profile(cls: Any, name: str, spec: RunSpec) -> Mapping[str, Any]:
    known = [profile for profile in cls.profiles if "/" not in profile]
    if spec.profile not in known:
        hint = did_you_mean(str(spec.profile), known)
        raise UsageError(
            f"backbone {name!r} has no profile {spec.profile!r}.{hint} Profiles: {', '.join(known) or 'none'}."
        )
    return cls.profile(spec.profile, spec.task)  # type: ignore[no-any-return]


def run(
    spec: RunSpec,
    *,
    out: Path | str = "runs",
    device: str = "auto",
    force: bool = False,
    data_dir: Path | None = None,
    progress: Progress | None = None,
) -> RunRecord:
    """Take one system the whole way and return its record; the folder `out/<spec_id>` keeps everything.

    A finished run of the same resolved spec is returned as it is, unless `force`, which makes everything anew (index
    and weights too). An interrupted training is resumed. Raises a GenrecError with one clear line; a run that fails
    after its folder was opened leaves a `failed` record there.

    >>> record = run(RunSpec(baseline="popularity"))  # doctest: +SKIP
    >>> record.metrics["mask"]["ndcg@10"]  # doctest: +SKIP
    """
    progress = progress or Quiet()
    spec = resolve(spec)
    device = device_of(spec, device, progress)
    folder = run_folder(Path(out), spec)
    earlier = open_run_folder(folder, spec, force=force, progress=progress)
    if force or earlier is None or earlier.status != "finished":
        check_writable(folder, "choose another --out")
        if spec.baseline is None:
            check_writable(cache_dir(), "set GENREC_CACHE to another folder")
    began = time.perf_counter()
    data, split, hidden = load_hiding(spec, data_dir=data_dir, progress=progress)
    if not force and earlier is not None and still_holds(earlier, spec, data, folder, progress):
        return earlier
    _check_examples(spec, split)
    with locked(folder):
        earlier = open_run_folder(folder, spec, force=force)  # another process may have finished it meanwhile
        if not force and earlier is not None and still_holds(earlier, spec, data, folder, Quiet()):
            return earlier
        finished = earlier is not None and earlier.status == "finished"
        with attempt(folder, spec, keep=finished) as place:
            reset_peak_memory(device)
            this = Run(spec, place, data, split, device, force, progress)
            this.phases["data"] = time.perf_counter() - began
            with sealed(hidden):
                return _live(this)


def device_of(spec: RunSpec, asked: str, progress: Progress) -> str:
    """The device that a run of this spec is on: for `auto` a GPU if there is one and the system can use it.

    A baseline that cannot use one stays on the CPU whatever is asked, and that is said; torch is not imported for it.
    DeviceMissing if the device asked for is not there.
    """
    if spec.baseline is None or registry.load("baseline", spec.baseline).uses_gpu:
        return pick_device(asked)
    if asked not in ("auto", cpu_instead_of(asked)):
        progress.note(f"baseline {spec.baseline!r} can use the CPU only: --device {asked} is passed over")
    return "cpu"


def validate(this: Run) -> float:
    """Learn as a run does, and stop at the validation score (ndcg@10, mask): what tuning goes by, and all it may see."""
    _check_examples(this.spec, this.split)
    if this.spec.baseline is not None:
        from genrec_bench.runs.baseline import validate_baseline

        return validate_baseline(this)
    from genrec_bench.runs.generator import validate_generator

    return validate_generator(this)


def _check_examples(spec: RunSpec, split: Split) -> None:
    """DataError if a generator would have nothing to learn from: `sequential` learns a step from one item to the next."""
    longest = int(split.train_end.max())
    if spec.baseline is None and spec.task == "sequential" and longest < 2:
        raise DataError(
            "no training examples: no user has more than one training item, and the task sequential learns steps from "
            "one item to the next; use --task direct, or data with longer users",
            path=None,
        )


def _live(this: Run) -> RunRecord:
    """Run it, and write what became of it."""
    try:
        if this.spec.baseline is not None:
            from genrec_bench.runs.baseline import run_baseline

            run_baseline(this)
        else:
            from genrec_bench.runs.generator import run_generator

            run_generator(this)
        return finish(this)
    except BaseException as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
        this.found = {key: value for key, value in this.found.items() if key not in ("metrics", "ranks")}
        with suppress(OSError, TypeError, ValueError):  # a full disk, odd facts: the error itself has to be said
            _record(this, "failed", reason).write(this.folder)
        if isinstance(error, GenrecError) or not isinstance(error, Exception | KeyboardInterrupt):
            raise
        again = "the same command starts again" if reason == "interrupted" else "see --debug for the traceback"
        again = LESS_MEMORY if lacks_memory(error) else again
        raise RunFailed(f"{reason}; {again} (run folder {this.folder})", reason=reason, folder=this.folder) from error


def finish(this: Run) -> RunRecord:
    """Score the ranked lists of a run and write its record."""
    _score(this)
    record = _record(this, "finished", None).sealed()
    record.write(this.folder)
    return record


def _score(this: Run) -> None:
    """Metrics and ranks of the ranked lists under both policies; the lists themselves go to `lists.parquet`."""
    cases = this.split.test
    with this.phase("score"):
        metrics, ranks = {}, {}
        for policy in this.rankings:
            metrics[policy], ranks[policy] = scores.score(this.rankings[policy], cases.target)
        users = this.data.user_ids[cases.user]
        stored = lists.write_lists(this.folder / lists.LISTS_FILE, this.rankings, users, this.data.item_ids)
    this.found["metrics"] = metrics
    this.found["ranks"] = {policy: _store_ranks(this.folder, policy, found) for policy, found in ranks.items()}
    beside = {"ranks": ranks_digest(ranks)} if len(cases) > INLINE_RANKS else {}
    this.found["fingerprints"] = {**this.found.get("fingerprints", {}), "lists": stored, **beside}


def _store_ranks(folder: Path, policy: str, ranks: Int32) -> list[int] | str:
    """The ranks themselves, or the name of the sidecar file that holds them when there are many."""
    if len(ranks) <= INLINE_RANKS:
        return [int(rank) for rank in ranks]
    name = f"ranks.{policy}.npy"
    np.save(folder / name, ranks, allow_pickle=False)
    return name


def _record(this: Run, status: str, reason: str | None) -> RunRecord:
    found = dict(this.found)
    fingerprints = {
        "data": this.data.fingerprint(),
        "split": this.split.fingerprint,
        **({"files": files} if status == "finished" and (files := files_read(this.spec)) else {}),
        **found.pop("fingerprints", {}),
    }
    return RunRecord(
        spec=this.spec.to_dict(),
        spec_id=this.spec.spec_id,
        system_id=this.spec.system_id,
        status=status,
        reason=reason,
        data=describe_data(this.spec, this.data, this.split),
        phases={name: round(seconds, 4) for name, seconds in this.phases.items()},
        fingerprints=fingerprints,
        components=components(this.spec),
        environment=environment(this.device),
        memory=peak_memory(this.device),
        process=this_process(),
        **found,
    )
