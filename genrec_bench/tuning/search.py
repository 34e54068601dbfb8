"""Tuning: the same pre-declared budget of trials for baselines and generators, on validation only (protocol P6, P15).

Every trial, failed ones too, becomes a line of the ledger. No trial is pruned and no search ends early. What is suggested
depends on the seed, the trial's number and the trials before it, so a search that was interrupted goes on as it would have.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec_bench.core.files import check_writable
from genrec_bench.core.hashing import digest
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.errors import NeedsMissing, RecordError, UsageError
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

TRAINING_FACTS = ("epochs", "best_epoch", "converged", "ended_by")  # of a trial's training, where it says so


def plan_of(system: str, settings: Mapping[str, Any] | None = None, **asked: Any) -> Plan:
    """The plan of `system`, a baseline's name or `indexer/backbone`; `settings` are options that stay fixed."""
    indexer, slash, backbone = (part.strip() for part in system.partition("/"))
    if (slash and not (indexer and backbone)) or "/" in backbone:
        raise UsageError(f"system {system!r}: write a baseline's name, or indexer/backbone such as sci/lightlm")
    names = {"indexer": indexer, "backbone": backbone} if slash else {"baseline": indexer}
    given = {key: value for key, value in asked.items() if value is not None}
    return resolve(RunSpec(**names, **given, set=settings))


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
    """Search `trials` settings of a plan's options and return all trials of this search, in their order.

    `space` are lines as `search_space` reads them, instead of what the components declare, of which the options `fixed`
    are left as they are. The spec's seed moves the sampler and the training. Trials of the same search that the ledger
    holds are not run again, and count. The test part is never scored. A trial that fails is recorded with its reason,
    counts, and the search goes on. Another process that runs the same search is waited for, and its trials count too.
    """
    optuna = _optuna()
    if trials < 1:
        raise UsageError(f"--trials {trials}: a search needs at least one")
    progress, ledger = progress or Quiet(), Path(ledger)
    device = device_of(plan, device, progress)
    varied = space_of(plan, space, fixed)
    check_writable(ledger.parent, "choose another --ledger")

    inputs = load_inputs(plan, data_dir=data_dir, device=device, progress=progress)
    facts = search_facts(plan.spec, varied, inputs.data.fingerprint())
    search = digest(json.dumps(facts, sort_keys=True))[:16]
    versions = _versions(plan, device)
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    with searching(ledger, search, progress):
        trials_done = {number: trial for number, trial in trials_of(ledger, search).items() if number < trials}
        if any(trial.get("versions") != versions for trial in trials_done.values()):
            progress.note(f"some trials in {ledger} were made with other versions or code; they count as they are")
        _check_trials(ledger, search, trials_done.values(), varied)

        with progress.phase("tuning", trials, "trials") as tick:
            tick(len(trials_done), _best_note(trials_done.values()))
            for number in sorted(set(range(trials)) - set(trials_done)):
                before = [trials_done[earlier] for earlier in sorted(trials_done) if earlier < number]
                params = suggestion(varied, before, int(digest(plan.spec.seed, number)[:8], 16))

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
    """What makes a search this one, as each of its lines tells it: trials with the same facts are one search's."""
    return {
        "system": spec.baseline or f"{spec.indexer}/{spec.backbone}",
        "dataset": spec.dataset,
        "task": spec.task,
        "protocol": spec.protocol,
        "data": data,
        "seed": spec.seed,
        "space": {key: str(each) for key, each in varied.items()},
        "fixed": fixed_options(spec, varied),
        **({"profile": spec.profile} if spec.profile else {}),
    }


def suggestion(varied: Space, before: Iterable[Trial], seed: int) -> dict[str, Any]:
    """What to try after the trials `before`: depends on nothing but them, the space and the seed."""
    optuna = _optuna()
    sampler, pruner = optuna.samplers.TPESampler(seed=seed), optuna.pruners.NopPruner()
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    distributions = {key: _distribution(each) for key, each in varied.items()}
    for trial in before:
        study.add_trial(_as_optuna_trial(trial, varied, distributions))
    asked = study.ask(distributions)
    return {key: _value(varied[key], asked.params[key]) for key in varied}


def _check_trials(ledger: Path, search: str, done: Iterable[Trial], varied: Space) -> None:
    distributions = {key: _distribution(each) for key, each in varied.items()}
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
    """The validation score of one setting, or why there is none."""
    try:
        trial = replace(inputs, plan=with_params(inputs.spec, params))
        with tempfile.TemporaryDirectory(prefix="genrec-tune-") as folder, sealed(inputs.held_out):
            score, training = validate(trial, Path(folder))
        reused = {"cached": bool(training.get("cached")), "resumed_from": training.get("resumed_from", 0)}
        facts = {key: training[key] for key in TRAINING_FACTS if key in training}
        return {"status": "finished", "reason": None, SCORE: score, **reused, **facts}
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        inputs.progress.note(f"a trial failed, the search goes on: {reason}")
        return {"status": "failed", "reason": reason, SCORE: None, "cached": False, "resumed_from": 0}


def with_params(spec: ResolvedSpec, params: Mapping[str, Any]) -> Plan:
    """The plan of a resolved spec with some options changed."""
    options = {part: dict(values) for part, values in spec.options.items()}
    for key, value in params.items():
        part, _, option = key.partition(".")
        options[part][option] = value
    return resolve(spec.asked(options=options))


def fixed_options(spec: ResolvedSpec, varied: Space) -> dict[str, Any]:
    """The options of everything but the decoder that a search leaves as they are, by `part.option`."""
    flat = {f"{part}.{key}": each for part, values in spec.options.items() for key, each in values.items()}
    return {key: each for key, each in flat.items() if key not in varied and not key.startswith("decoder.")}


def _versions(plan: Plan, device: str) -> dict[str, Any]:
    told = environment(device)
    packages = {name: version for name, version in told["packages"].items() if version}
    code = {part: str(facts["code"])[:16] for part, facts in plan.describe_components().items() if part != "decoder"}
    return {"python": told["python"], **packages, "optuna": _optuna().__version__, "device": device, "code": code}


def _best_note(trials: Iterable[Trial]) -> str:
    best = best_first(trials)
    return f"best {best[0][SCORE]:.4f}" if best else ""


def _distribution(each: Range | Choice) -> BaseDistribution:
    """For Optuna; choices are handed over by their number, so that they can be anything."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(each, Choice):
        return CategoricalDistribution(list(range(len(each.values))))
    if each.whole:
        return IntDistribution(int(each.low), int(each.high), log=each.log)
    return FloatDistribution(each.low, each.high, log=each.log)


def _value(each: Range | Choice, asked: Any) -> Any:
    return each.values[asked] if isinstance(each, Choice) else asked


def _as_optuna_trial(line: Trial, varied: Space, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """A ledger's trial as Optuna knows it."""
    from optuna.trial import TrialState, create_trial

    params = {}
    for key, value in line["params"].items():
        each = varied[key]
        params[key] = each.values.index(value) if isinstance(each, Choice) else value
    finished = line["status"] == "finished"
    return create_trial(
        state=TrialState.COMPLETE if finished else TrialState.FAIL,
        value=line[SCORE] if finished else None,
        params=params,
        distributions=dict(distributions),
    )
