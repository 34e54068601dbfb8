"""Tuning: the same pre-declared budget of trials for baselines and generators, on validation only (protocol P6, P15).

Every trial, failed or not, becomes a line of the ledger. No trial is pruned, and no search ends early. A suggestion depends on
the seed, the trial's number and the trials before it, so an interrupted search continues as if nothing had happened.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec_bench.core.cache import cache_dir
from genrec_bench.core.files import check_writable, disk_trouble, expand_home, scratch_folder
from genrec_bench.core.hashing import digest
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.errors import NeedsMissing, OutputError, RecordError, UsageError
from genrec_bench.host.sealing import sealed
from genrec_bench.runs.environment import environment
from genrec_bench.runs.inputs import Inputs, load_inputs
from genrec_bench.runs.plan import Plan, resolve
from genrec_bench.runs.run import device_of, validate
from genrec_bench.runs.spec import ResolvedSpec, RunSpec
from genrec_bench.tuning.ledger import (
    LEDGER_FILE,
    SCORE,
    Trial,
    append,
    best_first,
    searching,
    trials_of,
)
from genrec_bench.tuning.ledger import read_ledger as read_ledger
from genrec_bench.tuning.space import (
    Choice,
    Range,
    Space,
    space_of,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

TRAINING_FACTS = ("epochs", "best_epoch", "converged", "ended_by")  # copied from a trial's training, if there


def plan_of(system: str, settings: Mapping[str, Any] | None = None, **asked: Any) -> Plan:
    """The plan of `system`, which is a baseline's name or `indexer/backbone`. `settings` are options that stay fixed."""
    name, slash, backbone = (part.strip() for part in system.partition("/"))
    if (slash and not (name and backbone)) or "/" in backbone:
        raise UsageError(f"system {system!r}: write a baseline's name, or indexer/backbone such as sci/lightlm")
    fields = {key: value for key, value in asked.items() if value is not None}
    if slash:
        return resolve(RunSpec(indexer=name, backbone=backbone, **fields, set=settings))
    return resolve(RunSpec(baseline=name, **fields, set=settings))


def tune(
    plan: Plan,
    trials: int,
    *,
    space: Iterable[str] = (),
    fixed: Collection[str] = (),
    ledger: Path | str = LEDGER_FILE,
    device: str = "auto",
    data_dir: Path | None = None,
    progress: Progress | None = None,
) -> list[Trial]:
    """Try `trials` settings of a plan's options, and return all trials of this search in order.

    The components declare what to vary, unless `space` holds lines as `space_of` reads them. The options `fixed` are never
    varied. The spec's seed drives the sampler and the training. Trials of the same search in the ledger count and are not
    run again. A trial that fails is recorded with its reason, counts, and does not end the search. If another process runs
    the same search, this one waits for it, and its trials count too. The test part is never scored.
    """
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if trials < 1:
        raise UsageError(f"--trials {trials}: a search needs at least one trial")
    progress, ledger = progress or Quiet(), Path(expand_home(ledger))
    device = device_of(plan, device, progress)
    varied = space_of(plan, space, fixed)
    check_writable(ledger.parent, "choose another --ledger")

    inputs = load_inputs(plan, data_dir=data_dir, device=device, progress=progress)
    facts = search_facts(plan.spec, varied, inputs.data.fingerprint())
    search = digest(json.dumps(facts, sort_keys=True))[:16]
    versions = _versions(plan, device)

    with searching(ledger, search, progress):
        trials_done = {
            number: trial for number, trial in trials_of(ledger, search, progress).items() if number < trials
        }
        if any(trial.get("versions") != versions for trial in trials_done.values()):
            progress.note(f"other versions or code made some trials in {ledger}; they count all the same")
        _check_trials(ledger, search, trials_done.values(), varied)

        with progress.phase("tuning", trials, "trials") as tick:
            tick(len(trials_done), earlier=True)
            for number in sorted(set(range(trials)) - set(trials_done)):
                earlier = [trials_done[done] for done in sorted(trials_done) if done < number]
                params = suggestion(varied, earlier, int(digest(plan.spec.seed, number)[:8], 16))

                began = time.perf_counter()
                outcome = _run_trial(inputs, params)
                trials_done[number] = {
                    "search": search,
                    **facts,
                    "trial": number,
                    "params": params,
                    **outcome,
                    "seconds": round(time.perf_counter() - began, 3),
                    "versions": versions,
                    "time": datetime.now(UTC).isoformat(timespec="seconds"),
                }
                append(ledger, trials_done[number])
                tick(1, _best_note(trials_done.values()))

    return [trials_done[number] for number in sorted(trials_done)]


def search_facts(spec: ResolvedSpec, varied: Space, data: str) -> dict[str, Any]:
    """What identifies a search, and goes into each of its lines: trials with the same facts belong together."""
    return {
        "system": spec.baseline or f"{spec.indexer}/{spec.backbone}",
        "dataset": spec.dataset,
        "task": spec.task,
        "protocol": spec.protocol,
        "data": data,
        "seed": spec.seed,
        "space": {key: str(options) for key, options in varied.items()},
        "fixed": fixed_options(spec, varied),
        **({"profile": spec.profile} if spec.profile else {}),
    }


def suggestion(varied: Space, earlier: Iterable[Trial], seed: int) -> dict[str, Any]:
    """The setting to try after the `earlier` trials. Depends only on them, the space and the seed."""
    optuna = _optuna()
    sampler, pruner = optuna.samplers.TPESampler(seed=seed), optuna.pruners.NopPruner()
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)

    distributions = {key: _distribution(options) for key, options in varied.items()}
    for trial in earlier:
        study.add_trial(_as_optuna_trial(trial, varied, distributions))
    suggested = study.ask(distributions)
    return {key: _value(varied[key], suggested.params[key]) for key in varied}


def _check_trials(ledger: Path, search: str, done: Iterable[Trial], varied: Space) -> None:
    distributions = {key: _distribution(options) for key, options in varied.items()}
    for line in done:
        try:
            _as_optuna_trial(line, varied, distributions)
        except (KeyError, ValueError) as error:
            raise RecordError(
                f"{ledger}: trial {line['trial']} of search {search} has parameters outside its space ({error}): its "
                "line was edited; remove it",
                path=ledger,
            ) from None


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise NeedsMissing(
            'tuning needs optuna, which is not installed: pip install "genrec-bench[tune]"', needs="optuna"
        ) from None
    return optuna


def _run_trial(inputs: Inputs, params: Mapping[str, Any]) -> dict[str, Any]:
    """The result of one setting: its validation score, or why it failed. OutputError for a disk that is full."""
    folder = scratch_folder("tune")
    try:
        trial = replace(inputs, plan=with_params(inputs.spec, params))
        with sealed(inputs.held_out):
            score, training = validate(trial, folder)

        reused = {"cached": bool(training.get("cached")), "resumed_from": training.get("resumed_from", 0)}
        facts = {key: training[key] for key in TRAINING_FACTS if key in training}
        return {"status": "finished", "reason": None, SCORE: score, **reused, **facts}

    except OutputError:
        raise  # a full disk is not the setting's fault: no trial, and the search stops
    except Exception as error:
        if disk := disk_trouble(error, folder, cache_dir()):
            raise disk from error
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        inputs.progress.note(f"a trial failed, and the search continues: {reason}")
        return {"status": "failed", "reason": reason, SCORE: None, "cached": False, "resumed_from": 0}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def with_params(spec: ResolvedSpec, params: Mapping[str, Any]) -> Plan:
    """The plan of a resolved spec with some options changed."""
    options = {part: dict(values) for part, values in spec.options.items()}
    for key, value in params.items():
        part, _, option = key.partition(".")
        options[part][option] = value
    return resolve(spec.asked(options=options))


def fixed_options(spec: ResolvedSpec, varied: Space) -> dict[str, Any]:
    """The options that a search does not vary, by `part.option`; those of the decoder play no role and are left out."""
    flat = {f"{part}.{key}": value for part, values in spec.options.items() for key, value in values.items()}
    return {key: value for key, value in flat.items() if key not in varied and not key.startswith("decoder.")}


def _versions(plan: Plan, device: str) -> dict[str, Any]:
    conditions = environment(device)
    packages = {name: version for name, version in conditions["packages"].items() if version}
    code = {part: str(facts["code"])[:16] for part, facts in plan.describe_components().items() if part != "decoder"}
    return {"python": conditions["python"], **packages, "optuna": _optuna().__version__, "device": device, "code": code}


def _best_note(trials: Iterable[Trial]) -> str:
    best = best_first(trials)
    return f"best {best[0][SCORE]:.4f}" if best else ""


def _distribution(options: Range | Choice) -> BaseDistribution:
    """Optuna's distribution. Choices go by number, so that they can be of any type."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(options, Choice):
        return CategoricalDistribution(list(range(len(options.values))))
    if options.whole:
        return IntDistribution(int(options.low), int(options.high), log=options.log)
    return FloatDistribution(options.low, options.high, log=options.log)


def _value(options: Range | Choice, suggested: Any) -> Any:
    return options.values[suggested] if isinstance(options, Choice) else suggested


def _as_optuna_trial(line: Trial, varied: Space, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """Optuna's form of a ledger's trial."""
    from optuna.trial import TrialState, create_trial

    params = {}
    for key, value in line["params"].items():
        options = varied[key]
        params[key] = options.values.index(value) if isinstance(options, Choice) else value

    finished = line["status"] == "finished"
    return create_trial(
        state=TrialState.COMPLETE if finished else TrialState.FAIL,
        value=line[SCORE] if finished else None,
        params=params,
        distributions=dict(distributions),
    )
