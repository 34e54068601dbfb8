"""Tuning: the same pre-declared budget of trials for baselines and generators, on validation only (protocol P6, P15).

Every trial, failed ones too, becomes a line of the ledger. No trial is pruned and no search ends early. What is suggested
depends on the seed, the trial's number and the trials before it, so a search that was interrupted goes on as it would have.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec_bench.contracts import Progress, Quiet
from genrec_bench.environment import environment, pick_device
from genrec_bench.errors import NeedsMissing, OutputError, RecordError, UsageError
from genrec_bench.folders import check_writable
from genrec_bench.guards import sealed
from genrec_bench.loading import load_hiding
from genrec_bench.protocol import SELECTION
from genrec_bench.reuse import components
from genrec_bench.runner import Run, resolve, validate
from genrec_bench.search_space import Choice, Range, Space, space_of
from genrec_bench.spec import RunSpec
from genrec_bench.types import digest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

LEDGER_FILE = "ledger.jsonl"
SCORE = f"validation_{SELECTION}"
Trial = dict[str, Any]  # a line of the ledger


def system_spec(system: str, settings: Mapping[str, Any] | None = None, **asked: Any) -> RunSpec:
    """The resolved spec of `system`, a baseline's name or `indexer/backbone`; `settings` are options that stay fixed."""
    indexer, slash, backbone = (part.strip() for part in system.partition("/"))
    if (slash and not (indexer and backbone)) or "/" in backbone:
        raise UsageError(f"system {system!r}: write a baseline's name, or indexer/backbone such as sci/lightlm")
    named = {"indexer": indexer, "backbone": backbone} if slash else {"baseline": indexer}
    return resolve(RunSpec(**named, **{key: value for key, value in asked.items() if value is not None}, set=settings))


def tune(
    spec: RunSpec,
    trials: int,
    *,
    space: Iterable[str] = (),
    fixed: Collection[str] = (),
    ledger: Path | str = LEDGER_FILE,
    device: str = "auto",
    data_dir: Path | None = None,
    progress: Progress | None = None,
) -> list[Trial]:
    """Search `trials` settings of a resolved spec's options and return all trials of this search, in their order.

    `space` are lines as `search_space` reads them, instead of what the components declare, of which the options `fixed`
    are left as they are. The spec's seed moves the sampler and
    the training. Trials of the same search that the ledger holds are not run again, and count. The test part is never
    scored. A trial that fails is recorded with its reason, counts, and the search goes on.
    """
    optuna = _optuna()
    if trials < 1:
        raise UsageError(f"--trials {trials}: a search needs at least one")
    progress, ledger = progress or Quiet(), Path(ledger)
    device = "cpu" if spec.baseline is not None and device == "auto" else pick_device(device)
    varied = space_of(spec, space, fixed)
    check_writable(ledger.parent, "choose another --ledger")
    data, split, hidden = load_hiding(spec, data_dir=data_dir, progress=progress)
    facts = {
        "system": spec.baseline or f"{spec.indexer}/{spec.backbone}",
        "dataset": spec.dataset,
        "task": spec.task,
        "protocol": spec.protocol,
        "data": data.fingerprint(),
        "seed": spec.seed,
        "space": {key: str(each) for key, each in varied.items()},
        "fixed": fixed_options(spec, varied),
        **({"profile": spec.profile} if spec.profile else {}),
    }
    search = digest(json.dumps(facts, sort_keys=True))[:16]
    versions = _versions(spec, device)
    done = [line for line in read_ledger(ledger) if line.get("search") == search][:trials]
    if any(line.get("versions") != versions for line in done):
        progress.note(f"some trials in {ledger} were made with other versions or code; they count as they are")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
    distributions = {key: _distribution(each) for key, each in varied.items()}
    for line in done:
        try:
            study.add_trial(_told(line, varied, distributions))
        except (KeyError, ValueError) as error:
            raise RecordError(
                f"{ledger}: trial {line.get('trial')} of search {search} has parameters outside its space ({error}): its "
                "line was edited; remove it",
                path=ledger,
            ) from None
    with progress.phase("tuning", trials, "trials") as tick:
        tick(len(done), _best_note(done))
        for number in range(len(done), trials):
            study.sampler = optuna.samplers.TPESampler(seed=int(digest(spec.seed, number)[:8], 16))
            asked = study.ask(distributions)
            params = {key: _value(varied[key], asked.params[key]) for key in varied}
            began = time.perf_counter()
            with sealed(hidden):
                outcome = _run_trial(spec, params, data, split, device, progress)
            line = {
                "search": search,
                **facts,
                "trial": number,
                "params": params,
                **outcome,
                "seconds": round(time.perf_counter() - began, 3),
                "versions": versions,
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            _append(ledger, line)
            done.append(line)
            failed = optuna.trial.TrialState.FAIL if line["status"] == "failed" else None
            study.tell(asked, line[SCORE], state=failed)
            tick(1, _best_note(done))
    return done


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise NeedsMissing(
            'tuning needs optuna, which is not installed: pip install "genrec-bench[tune]"', needs="optuna"
        ) from None
    return optuna


def _run_trial(
    spec: RunSpec,
    params: Mapping[str, Any],
    data: Any,
    split: Any,
    device: str,
    progress: Progress,
) -> dict[str, Any]:
    """The validation score of one setting, or why there is none."""
    try:
        with tempfile.TemporaryDirectory(prefix="genrec-tune-") as folder:
            this = Run(with_params(spec, params), Path(folder), data, split, device, False, progress)
            score = validate(this)
        fit = this.found.get("training", {})
        spared = {"cached": bool(fit.get("cached")), "resumed_from": fit.get("resumed_from", 0)}  # not in `seconds`
        return {"status": "finished", "reason": None, SCORE: score, **spared}
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        progress.note(f"a trial failed, the search goes on: {reason}")
        return {"status": "failed", "reason": reason, SCORE: None, "cached": False, "resumed_from": 0}


def with_params(spec: RunSpec, params: Mapping[str, Any]) -> RunSpec:
    """The resolved spec with some options changed."""
    options = {part: dict(values) for part, values in spec.options.items()}
    for key, value in params.items():
        part, _, option = key.partition(".")
        options[part][option] = value
    return resolve(spec.with_(options=options, resolved=False))


def fixed_options(spec: RunSpec, varied: Space) -> dict[str, Any]:
    """The options of everything but the decoder that a search leaves as they are, by `part.option`."""
    flat = {f"{part}.{key}": each for part, values in spec.options.items() for key, each in values.items()}
    return {key: each for key, each in flat.items() if key not in varied and not key.startswith("decoder.")}


def _versions(spec: RunSpec, device: str) -> dict[str, Any]:
    told = environment(device)
    packages = {name: version for name, version in told["packages"].items() if version}
    code = {part: str(facts["code"])[:16] for part, facts in components(spec).items() if part != "decoder"}
    return {"python": told["python"], **packages, "optuna": _optuna().__version__, "device": device, "code": code}


def read_ledger(path: Path) -> list[Trial]:
    """All trials of a ledger, none if there is no file. RecordError names the line that is no trial."""
    if not path.exists():
        return []
    trials = []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is no readable ledger: {error}", path=path) from None
    for number, text in enumerate(lines, 1):
        try:
            trial = json.loads(text)
            assert isinstance(trial["params"], dict) and trial["status"] in ("finished", "failed")
            assert trial["status"] == "failed" or 0 <= trial[SCORE] <= 1
        except (ValueError, KeyError, TypeError, AssertionError):
            raise RecordError(f"{path}, line {number}: no trial of a ledger; remove that line", path=path) from None
        trials.append(trial)
    return trials


def _append(path: Path, trial: Trial) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(trial, allow_nan=False) + "\n")
    except OSError as error:
        raise OutputError(f"cannot write to {path}: {error.strerror}; choose another --ledger", path=path) from None


def best_first(trials: Iterable[Trial]) -> list[Trial]:
    """The finished trials, the best first; equal ones in their order."""
    return sorted((t for t in trials if t["status"] == "finished"), key=lambda t: (-t[SCORE], t["trial"]))


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


def _told(line: Trial, varied: Space, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
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
