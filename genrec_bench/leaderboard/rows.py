"""Records to boards: one board per data set, task and protocol, one row per system. Knows nothing of how they look."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.records import check_possible, name_of
from genrec_bench.leaderboard.training import all_converged, parameters, train_seconds
from genrec_bench.protocol.constants import KS, SELECTION
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.spec import telling_options

METRICS = tuple(f"{name}@{k}" for name in ("hit", "ndcg", "mrr") for k in KS)
BOARD_BEAMS = 2 * max(KS)  # narrower beams are not the ranking (protocol P13)
RANKED_SEEDS = 5  # fewer are shown, but not ranked (protocol P17)


@dataclass(frozen=True)
class Row:
    """One system on one board: means over its seeds, `sd` (n - 1) where there is more than one; None = not measured."""

    system: str
    options: str  # those in which rows of equal names differ
    system_id: str
    size: str
    seeds: int
    beams: int | None
    metrics: Mapping[str, float]
    sd: Mapping[str, float | None]
    hallucination_rate: float | None
    fill: float | None  # fill@10
    users_per_second: float | None
    parameters: float | None
    train_seconds: float | None
    converged: str | None  # yes | no | schedule
    hardware: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data with flat keys: `ndcg@10`, `ndcg@10_sd`, `fill@10`, ..."""
        values = dict(vars(self))
        metrics, sd = values.pop("metrics"), values.pop("sd")
        first = {key: values.pop(key) for key in ("system", "options", "system_id", "size", "seeds", "beams")}
        scores = {name: each for key in METRICS for name, each in ((key, metrics[key]), (f"{key}_sd", sd[key]))}
        rates = {"hallucination_rate": values.pop("hallucination_rate"), "fill@10": values.pop("fill")}
        return {**first, **scores, **rates, **values}


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
    warnings: tuple[str, ...] = ()  # what the records of the rows warn of

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for `--format json`."""
        return {
            **vars(self),
            "rows": [row.to_dict() for row in self.rows],
            "refused": list(self.refused),
            "warnings": list(self.warnings),
        }


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
        others = [json.loads(other) for same, other in keys if same == name]
        odd = sorted(key for key in options if len({json.dumps(other.get(key)) for other in others}) > 1)
        labels[name, text] = f"{name} ({', '.join(f'{key}={options[key]}' for key in odd)})" if odd else name
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
    options = telling_options([runs[0].spec for runs in systems.values()])
    seconds = train_seconds(records)
    rows = sorted(
        (_row(runs, policy, told, seconds) for runs, told in zip(systems.values(), options, strict=True)),
        key=lambda row: (-row.metrics[SELECTION], row.system, row.options),
    )
    first = records[0]
    prints = {key: first.fingerprints[key] for key in ("data", "split") if key in first.fingerprints}
    shown = [warning for runs in systems.values() for run in runs for warning in run.warnings]
    warnings = tuple(dict.fromkeys(shown))
    return Board(dataset, task, protocol, policy, first.data, prints, tuple(rows), tuple(refused), warnings)


def _check_same_data(board: str, records: Sequence[RunRecord]) -> None:
    first = records[0]
    for other in records[1:]:
        for key in ("data", "split"):
            a, b = first.fingerprints.get(key), other.fingerprints.get(key)
            if a != b:
                raise RecordError(
                    f"{board}: {name_of(first)} and {name_of(other)} ran on different data ({key} {str(a)[:12]} and "
                    f"{str(b)[:12]}): such rows never share a table; give their records separately",
                    path=None,
                )


def _row(runs: Sequence[RunRecord], policy: str, options: str, seconds: Mapping[str, float | None]) -> Row:
    first = runs[0]
    told = [run.metrics[policy] for run in runs]
    validity = [run.validity if policy == "mask" else {} for run in runs]  # a record tells it of its masked lists alone
    devices = sorted({hardware for run in runs if (hardware := hardware_of(run))})
    return Row(
        system=first.system,
        options=options,
        system_id=first.system_id,
        size=" ".join(str(part) for part in (first.spec.get("profile"), first.parameters.get("size")) if part),
        seeds=len({run.spec.get("seed") for run in runs}),
        beams=first.spec.get("beams"),
        metrics={key: statistics.fmean(metrics[key] for metrics in told) for key in METRICS},
        sd={key: statistics.stdev(metrics[key] for metrics in told) if len(told) > 1 else None for key in METRICS},
        hallucination_rate=_mean(each.get("hallucination_rate") for each in validity),
        fill=_mean(each.get("fill@10") for each in validity),
        users_per_second=_mean(run.throughput.get("users_per_second") for run in runs) if len(devices) < 2 else None,
        parameters=_mean(parameters(run) for run in runs),
        train_seconds=_mean(seconds[run.spec_id] for run in runs) if len(devices) < 2 else None,
        converged=all_converged(runs),
        hardware="; ".join(devices) or None,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean, or None as soon as one value was not measured."""
    values = list(values)
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def hardware_of(record: RunRecord) -> str | None:
    """What speed depends on, in words: the machine, threads, batch and precision; and the precision it was trained in.

    Processors of one name may differ, as their instructions are not in it: so the operating system's release is named too.
    """
    if record.tier:
        return None  # the machine that scored the lists is not the one that made them
    environment, throughput = record.environment, record.throughput
    device = str(throughput.get("device") or "cpu")
    name = environment.get("cpu") if device.startswith("cpu") else environment.get("gpu")
    threads = throughput.get("threads") or environment.get("threads")
    system = str(environment.get("platform") or "").split("-with-")[0]
    parts = [name or (device if throughput else None), system]
    if device.startswith("cpu") and threads:
        parts.append(f"{threads} thread{'s' if threads > 1 else ''}")
    parts += [f"batch {throughput['batch_size']}"] if throughput.get("batch_size") else []
    parts += [str(throughput["precision"])] if throughput.get("precision") else []
    trained = record.training.get("precision")
    parts += [f"trained in {trained}"] if trained and throughput.get("precision") else []
    return ", ".join(part for part in parts if part) or None
