"""What each setting of a study carries: differences between runs that are equal in all else, with intervals.

A study is a set of finished runs on one data set and task that vary some settings: a part's component, or an option. Two
runs make a pair for a setting if they have the same seed and all other settings equal. Knows records, no files and no tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import numpy.typing as npt

from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.rows import dataset_key
from genrec_bench.protocol.statistics import interval_of_differences
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.spec import GENERATOR_PARTS

Settings = dict[
    str, str
]  # of one run: a part's component (`indexer`), or an option that varies (`indexer.token_scope`)


@dataclass(frozen=True)
class Effect:
    """How a metric changes when `setting` goes from `before` to `after`.

    `companions` are settings that never change without it. `beside` are the others, None for the mean over all of them. `low` and `high` are the 95 % interval of
    `difference` by a two-level bootstrap over seeds and users; it covers users only if there is one seed. `level` is the
    metric before.
    """

    setting: str
    companions: tuple[str, ...]
    before: str
    after: str
    beside: str | None
    seeds: int
    level: float
    difference: float
    low: float
    high: float


def effects(records: Sequence[RunRecord], metric: str = "ndcg@10", policy: str = "mask") -> list[Effect]:
    """The effects of all settings that vary, the mean of each first, then one by one.

    RecordError if the records are of several data sets, tasks or protocols, or no two of them make a pair.
    """
    runs = [record for record in records if record.status == "finished" and record.spec.get("baseline") is None]
    if len({(dataset_key(run), run.spec["task"], run.spec["protocol"]) for run in runs}) > 1:
        raise RecordError("the runs are of several data sets, tasks or protocols: give those of one")

    settings = varying_settings(runs)
    groups = [_led(names, settings) for names in _moving_together(settings)]
    followers = {name for _, companions in groups for name in companions}
    settings = [{name: value for name, value in own.items() if name not in followers} for own in settings]

    found = []
    for leaders, companions in groups:
        found += _effects_of(leaders, companions, runs, settings, metric, policy)
    if not found:
        raise RecordError(
            "no two finished runs of generators are equal in all but one setting: a study varies one at a time, as the "
            "grid of a suite does"
        )
    return found


def varying_settings(runs: Sequence[RunRecord]) -> list[Settings]:
    """Per run its components, where they differ, and those options that differ among runs of one component."""
    values: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        for name, value in _options(run):
            values.setdefault((_component(run, name), name), set()).add(value)
    varying = {name for (_, name), seen in values.items() if len(seen) > 1}
    parts = [part for part in GENERATOR_PARTS if len({run.spec[part] for run in runs}) > 1]

    return [
        {part: run.spec[part] for part in parts} | {name: value for name, value in _options(run) if name in varying}
        for run in runs
    ]


def _options(run: RunRecord) -> Iterator[tuple[str, str]]:
    for part in GENERATOR_PARTS:
        for key, value in run.spec["options"].get(part, {}).items():
            yield f"{part}.{key}", value if isinstance(value, str) else json.dumps(value)


def _component(run: RunRecord, option: str) -> str:
    return str(run.spec[option.partition(".")[0]])


def _moving_together(settings: Sequence[Settings]) -> list[tuple[str, ...]]:
    """The settings that vary; those of one part that never change without each other count as one."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name in dict.fromkeys(name for values in settings for name in values):
        column = [values.get(name) for values in settings]
        pattern = tuple(column.index(value) for value in column)
        groups.setdefault((name.partition(".")[0], pattern), []).append(name)
    return [tuple(names) for names in groups.values()]


def _led(names: tuple[str, ...], settings: Sequence[Settings]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Settings that move together, as those that name the choice and the others that follow it.

    A word names a choice better than the numbers that go with it; without exactly one such setting, all of them do.
    """
    worded = [name for name in names if not any(_is_number(own[name]) for own in settings if name in own)]
    if len(worded) != 1:
        return names, ()
    return tuple(worded), tuple(name for name in names if name not in worded)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _effects_of(
    names: tuple[str, ...],
    companions: tuple[str, ...],
    runs: Sequence[RunRecord],
    settings: Sequence[Settings],
    metric: str,
    policy: str,
) -> list[Effect]:
    """The effects of the settings `names`, between any two values that they have."""
    values = sorted({_value(names, own) for own in settings if names[0] in own})
    found = []
    for before, after in combinations(values, 2):
        pairs: dict[str, dict[int, tuple[Any, Any]]] = {}
        for beside, seed, one, other in _pairs(names, runs, settings, before, after):
            pairs.setdefault(beside, {})[seed] = (_gains(one, metric, policy), _gains(other, metric, policy))
        if not pairs:
            continue

        shared = sorted(set.intersection(*(set(by_seed) for by_seed in pairs.values())))
        told: list[tuple[str | None, list[Any]]] = [(beside, [by_seed]) for beside, by_seed in sorted(pairs.items())]
        if len(pairs) > 1 and shared:
            told = [(None, list(pairs.values())), *told]
        for others, contexts in told:
            seeds = shared if others is None else sorted(contexts[0])
            rows = [[context[seed] for seed in seeds] for context in contexts]
            gains = np.array(rows, np.float64)
            found.append(_effect(names, companions, before, after, others, gains))
    return found


def _pairs(
    names: tuple[str, ...], runs: Sequence[RunRecord], settings: Sequence[Settings], before: str, after: str
) -> Iterator[tuple[str, int, RunRecord, RunRecord]]:
    """Runs that differ in `names` alone, with the other settings as text and the seed.

    Two components of a part need not have the same options: those that one of them lacks may have any value.
    """
    sides = [
        [(run, own) for run, own in zip(runs, settings, strict=True) if _value(names, own) == value]
        for value in (before, after)
    ]
    part = names[0] if names[0] in GENERATOR_PARTS else None

    for (one, mine), (other, theirs) in product(*sides):
        if one.spec["seed"] != other.spec["seed"]:
            continue

        keys = [name for name in {**mine, **theirs} if name not in names]
        loose = {name for name in keys if part and name.startswith(f"{part}.") and (name in mine) != (name in theirs)}
        if all(mine.get(name) == theirs.get(name) for name in keys if name not in loose):
            beside = ", ".join(f"{_short(name, keys)}={mine.get(name, theirs.get(name))}" for name in keys)
            yield beside, one.spec["seed"], one, other


def _short(name: str, names: Sequence[str]) -> str:
    """An option without its part, if no other of `names` is called so."""
    short = name.rpartition(".")[2]
    return short if sum(other.rpartition(".")[2] == short for other in names) == 1 else name


def _value(names: tuple[str, ...], settings: Settings) -> str:
    return ", ".join(settings.get(name, "none") for name in names)


def _gains(run: RunRecord, metric: str, policy: str) -> npt.NDArray[np.float64]:
    """What each user adds to the metric."""
    name, _, k = metric.partition("@")
    ranks = np.asarray(run.ranks[policy], np.int64)
    hit = (ranks > 0) & (ranks <= int(k))
    return np.where(hit, 1.0 if name == "hit" else 1 / np.log2(np.maximum(ranks, 1) + 1), 0.0)


def _effect(
    names: tuple[str, ...],
    companions: tuple[str, ...],
    before: str,
    after: str,
    beside: str | None,
    gains: npt.NDArray[np.float64],
) -> Effect:
    """The effect of `gains` (contexts, seeds, before and after, users)."""
    per_seed = (gains[:, :, 1] - gains[:, :, 0]).mean(axis=0)
    low, high = interval_of_differences(per_seed)
    setting, level = " + ".join(names), float(gains[:, :, 0].mean())
    return Effect(setting, companions, before, after, beside, len(per_seed), level, float(per_seed.mean()), low, high)


HEADER = ("setting", "change", "beside", "seeds", "before", "difference", "95 % interval")


def notes(found: Sequence[Effect]) -> list[str]:
    """What a reader of the table has to know: which settings changed together."""
    together = {effect.setting: effect.companions for effect in found if effect.companions}
    return [f"{setting} changed together with {', '.join(others)}" for setting, others in together.items()]


def cells(effect: Effect) -> list[str]:
    """An effect as the cells of a table, below `HEADER`."""
    return [
        effect.setting,
        f"{effect.before} to {effect.after}",
        "mean over all below" if effect.beside is None else effect.beside or "nothing else varies",
        str(effect.seeds),
        f"{effect.level:.4f}",
        f"{effect.difference:+.4f}",
        f"{effect.low:+.4f} to {effect.high:+.4f}",
    ]
