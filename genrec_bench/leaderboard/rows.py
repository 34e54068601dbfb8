"""Records to boards: one board per data set, task and protocol, one row per system. Knows nothing of how they look."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.curves import passes
from genrec_bench.leaderboard.facts import (
    all_converged,
    hardware_of,
    is_deterministic,
    name_of,
    normalisation,
    parameters,
    patience,
    train_seconds,
)
from genrec_bench.leaderboard.known_issues import Issue
from genrec_bench.leaderboard.records import check_possible
from genrec_bench.protocol.constants import KS, LEVEL, SELECTION
from genrec_bench.runs.record import RESCORED, RunRecord
from genrec_bench.runs.spec import distinguishing_options

METRICS = tuple(f"{name}@{k}" for name in ("hit", "ndcg", "mrr") for k in KS)
BOARD_BEAMS = 2 * max(KS)  # narrower beams are not the ranking (protocol P13)
REFERENCE = "item-counts"  # untrained counting, which every board must have (protocol P14)
FLOORS = ("popularity", REFERENCE)  # what counts and trains nothing
CANARY = "id-canary"  # a probe for leaks, which nothing is compared with
KINDS = ("floor", "baseline", "generator")  # rows are compared with the best of each (protocol P18)
RANKED_SEEDS = 5  # rows with fewer are shown, but not ranked (protocol P17)
RUN = "run"  # the tier of what `genrec run` made once, from a spec that anybody can run again
REPRODUCED = "reproduced"  # the tier of what was run twice, the second time inside the interval of its seeds


@dataclass(frozen=True)
class Against:
    """A row's ndcg@10 relative to a comparator's, and whether the difference is more than chance.

    `p` is the p-value after Holm's correction; None where a seeded system of the two has one seed, so that nobody can tell.
    """

    distance: float
    p: float | None

    @property
    def separable(self) -> bool | None:
        """Whether the difference is more than chance, at the 5 % level."""
        return None if self.p is None else self.p <= LEVEL


@dataclass(frozen=True)
class Row:
    """One system on one board: means over its seeds, `sd` (n - 1) where there are several; None = not measured.

    The fields from `standing` on are what `standings` adds to a published board. `columns` says what a table shows.
    """

    system: str
    options: str  # those that tell it from other rows of its name
    system_id: str
    policy: str
    size: str
    runs: tuple[RunRecord, ...]  # by seed
    seeds: int
    beams: int | None
    metrics: Mapping[str, float | None]
    sd: Mapping[str, float | None]
    hallucination_rate: float | None
    fill: float | None  # fill@10
    users_per_second: float | None
    parameters: float | None
    run_seconds: tuple[float | None, ...]  # of each run's training
    train_seconds: float | None
    passes: float | None  # over the training targets
    patience: int | None  # validations without a better one that end training
    converged: str | None  # yes | no; None: nobody can say
    hardware: str | None
    tier: str
    normalisation: str | None = None  # alphabet | children; None for baselines
    hardware_class: int | None = None  # the number of `hardware` on its board, from 1

    trials: int | None = None  # of tuning, in the board's ledger
    standing: str | None = None  # best | tied | ranked | unranked
    rank: int | None = None  # among the ranked rows; those that are tied share the first
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    against: Mapping[str, Against] = field(default_factory=dict)  # by kind: the best floor, baseline and generator
    issues: Mapping[int, Issue] = field(default_factory=dict)  # known ones of some run, by their number on the board

    @property
    def kind(self) -> str | None:
        """floor, baseline or generator; None for lists made elsewhere, whose maker nobody here knows, and for the canary."""
        if self.tier == RESCORED or self.system == CANARY:
            return None
        if self.runs[0].spec.get("baseline") is None:
            return "generator"
        return "floor" if self.system in FLOORS else "baseline"

    @property
    def score(self) -> float:
        """Its mean ndcg@10, by which a board is sorted."""
        return self.metrics[SELECTION] or 0.0

    @property
    def seeded(self) -> bool:
        """Whether the seed moves it: not what counts, or is solved in closed form, and not lists made elsewhere."""
        return self.tier != RESCORED and not all(map(is_deterministic, self.runs))

    @property
    def model(self) -> str:
        """What decoders of one model share."""
        spec = self.runs[0].spec
        options = {part: values for part, values in spec.get("options", {}).items() if part != "decoder"}
        parts = {key: value for key, value in spec.items() if key not in ("decoder", "beams", "seed", "options")}
        return json.dumps([parts, options], sort_keys=True)

    @property
    def full_name(self) -> str:
        """The system and the options that tell it from others: `item-knn baseline.shrink=50`."""
        return f"{self.system} {self.options}".strip()

    @property
    def short_options(self) -> str:
        """The options without the parts' names: `neighbours=200, shrink=50`."""
        return re.sub(r"\b\w+\.(?=\w+=)", "", self.options).replace(" ", ", ")

    @property
    def short_name(self) -> str:
        """The system and these: `item-knn (neighbours=200, shrink=50)`."""
        return f"{self.system} ({self.short_options})" if self.options else self.system


@dataclass(frozen=True)
class Board:
    """All comparable rows, best first, and what they have in common."""

    dataset: str
    task: str
    protocol: str
    policy: str
    data: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    rows: tuple[Row, ...]
    refused: tuple[str, ...] = ()  # one sentence per run that the protocol keeps off boards
    warnings: tuple[str, ...] = ()  # from the records of the rows

    @property
    def name(self) -> str:
        """What it compares, in words."""
        return f"{self.dataset}, {self.task} task, {self.protocol}"

    @property
    def title(self) -> str:
        """The same with the history policy."""
        return f"{self.name}, policy {self.policy}"

    @property
    def hardware_classes(self) -> list[str]:
        """The hardware of its rows, in order of appearance."""
        return list(dict.fromkeys(row.hardware for row in self.rows if row.hardware))


def boards(records: Iterable[RunRecord], policy: str = "mask") -> list[Board]:
    """Boards of all finished runs, one per data set (with its options), task and protocol.

    RecordError for an impossible row, or for runs on different data in one board.
    """
    groups: dict[tuple[str, str, str], list[RunRecord]] = {}
    finished = [record for record in records if record.status == "finished"]
    labels = dataset_labels(finished)
    for record in finished:
        check_possible(record)
        key = (labels[dataset_key(record)], str(record.spec.get("task")), str(record.spec.get("protocol")))
        groups.setdefault(key, []).append(record)
    return [_board(*key, policy, groups[key]) for key in sorted(groups)]


def dataset_key(record: RunRecord) -> tuple[str, str]:
    """A data set's name and its options, as text."""
    options = record.spec.get("options", {}).get("dataset", {})
    return str(record.spec.get("dataset")), json.dumps(options, sort_keys=True)


def dataset_labels(records: Iterable[RunRecord]) -> dict[tuple[str, str], str]:
    """What to call each data set: its name, and where several share it, the options in which they differ."""
    keys = {dataset_key(record) for record in records}
    labels = {}
    for name, text in keys:
        options = json.loads(text)
        namesakes = [json.loads(other_text) for other, other_text in keys if other == name]
        telling = sorted(key for key in options if len({json.dumps(namesake.get(key)) for namesake in namesakes}) > 1)
        values = ", ".join(f"{key}={options[key]}" for key in telling)
        labels[name, text] = f"{name} ({values})" if telling else name
    return labels


def _board(dataset: str, task: str, protocol: str, policy: str, records: Sequence[RunRecord]) -> Board:
    _check_same_data(f"{dataset} / {task} / {protocol}", records)

    systems: dict[str, list[RunRecord]] = {}
    refused = []
    for record in records:
        beams = record.spec.get("beams")
        if beams is not None and beams < BOARD_BEAMS:
            refused.append(f"{name_of(record)} has {beams} beams, a board needs {BOARD_BEAMS}")
        elif policy not in record.policies:
            refused.append(f"{name_of(record)} has no lists of policy {policy}")
        else:
            systems.setdefault(record.system_id, []).append(record)

    options = distinguishing_options([runs[0].spec for runs in systems.values()])
    seconds = train_seconds(records)
    rows = [row_of(runs, policy, seconds, text) for runs, text in zip(systems.values(), options, strict=True)]
    rows.sort(key=lambda row: (-row.score, row.system, row.options))

    first = records[0]
    fingerprints = {key: first.fingerprints[key] for key in ("data", "split") if key in first.fingerprints}
    warnings = dict.fromkeys(warning for runs in systems.values() for run in runs for warning in run.warnings)
    board = Board(
        dataset, task, protocol, policy, first.data, fingerprints, tuple(rows), tuple(refused), tuple(warnings)
    )
    return replace(board, rows=_numbered(board))


def _numbered(board: Board) -> tuple[Row, ...]:
    """The board's rows with the numbers of their hardware classes."""
    numbers = {hardware: number for number, hardware in enumerate(board.hardware_classes, 1)}
    return tuple(replace(row, hardware_class=numbers.get(row.hardware or "")) for row in board.rows)


def _check_same_data(board: str, records: Sequence[RunRecord]) -> None:
    first = records[0]
    for other in records[1:]:
        for key in ("data", "split"):
            a, b = first.fingerprints.get(key), other.fingerprints.get(key)
            if a != b:
                raise RecordError(
                    f"{board}: {name_of(first)} and {name_of(other)} ran on different data ({key} {str(a)[:12]} and "
                    f"{str(b)[:12]}), so they cannot share a table: give their records separately",
                    path=None,
                )


def row_of(runs: Sequence[RunRecord], policy: str, seconds: Mapping[str, float | None], options: str = "") -> Row:
    """The row of one system's runs under one history policy; `seconds` of each run's training, by `spec_id`."""
    first = runs[0]
    by_seed = sorted(runs, key=lambda run: (int(run.spec.get("seed", 0)), run.spec_id))
    size = (first.spec.get("profile"), first.parameters.get("size"))
    scores = {key: [(run.metrics.get(policy) or {}).get(key) for run in runs] for key in METRICS}
    validity = [run.validity if policy == "mask" else {} for run in runs]  # records hold that of masked lists only

    hardware = sorted({hardware for run in runs if (hardware := hardware_of(run))})
    one_class = len(hardware) < 2  # speeds on different hardware have no mean

    return Row(
        system=first.system,
        options=options,
        system_id=first.system_id,
        policy=policy,
        size=" ".join(str(part) for part in size if part),
        runs=tuple(by_seed),
        seeds=len({run.spec.get("seed") for run in runs}),
        beams=first.spec.get("beams"),
        metrics={key: _mean(values) for key, values in scores.items()},
        sd={key: _deviation(values) for key, values in scores.items()},
        hallucination_rate=_mean(rates.get("hallucination_rate") for rates in validity),
        fill=_mean(rates.get("fill@10") for rates in validity),
        users_per_second=_mean(run.throughput.get("users_per_second") for run in runs) if one_class else None,
        parameters=_mean(parameters(run) for run in runs),
        run_seconds=tuple(seconds[run.spec_id] for run in by_seed),
        train_seconds=_mean(seconds[run.spec_id] for run in runs) if one_class else None,
        passes=_mean(passes(run) for run in runs),
        patience=patience(first),
        converged=all_converged(runs),
        hardware="; ".join(hardware) or None,
        tier=tier_of(runs),
        normalisation=normalisation(first),
    )


def tier_of(runs: Iterable[RunRecord]) -> str:
    """A row's tier before anybody runs it again: *re-scored* if one of its lists was made elsewhere, else *run*."""
    return RESCORED if any(run.tier == RESCORED for run in runs) else RUN


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean, or None as soon as one value was not measured."""
    values = list(values)
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _deviation(values: Sequence[float | None]) -> float | None:
    """The standard deviation (n - 1); None for a single value, or if one was not measured."""
    known = [value for value in values if value is not None]
    return statistics.stdev(known) if len(values) > 1 and len(known) == len(values) else None
