"""Small records for tests of whatever reads records. Not a test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genrec_bench.protocol.constants import PROTOCOL
from genrec_bench.protocol.scores import from_ranks
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.spec import PARTS, Options, ResolvedSpec

RANKS = (1, 3, 0, 12, 2, 0, 0, 1, 7, 0)


def generator_spec(seed: int = 0, options: Options | None = None, **changes: Any) -> ResolvedSpec:
    """A small spec; `options` are those of the parts that are given, the other parts have none."""
    spec = ResolvedSpec(
        dataset="ml-100k",
        task="direct",
        protocol=PROTOCOL,
        seed=seed,
        options={part: (options or {"backbone": {"layers": 2}}).get(part, {}) for part in PARTS[:-1]},
        indexer="sci",
        backbone="lightlm",
        decoder="trie",
        profile="tiny",
        beams=50,
    )
    return replace(spec, **changes)


def baseline_spec(**changes: Any) -> ResolvedSpec:
    options = {"dataset": {}, "baseline": {}}
    spec = ResolvedSpec("ml-100k", "direct", PROTOCOL, 0, options, baseline="popularity")
    return replace(spec, **changes)


def finished(spec: ResolvedSpec | None = None, ranks: Sequence[int] = RANKS, **changes: Any) -> RunRecord:
    """A whole record as a run of a generator leaves it; `changes` replace sections."""
    spec = spec or generator_spec()
    values: dict[str, Any] = {
        "metrics": {policy: {**from_ranks(ranks), "tie_gap": 0.0} for policy in ("mask", "keep")},
        "validity": {
            "hallucination_rate": 0.125,
            "duplicate_rate": 0.0,
            "seen_rate": 0.0,
            "emitted": 400,
            "fill@5": 1.0,
            "fill@10": 0.9,
            "fill@20": 0.8,
            "certified@10": 0.7,
            "dropped": {"non_items": 50, "duplicates": 0, "seen": 0},
        },
        "throughput": {
            "users_per_second": 123.4,
            "latency_ms_p50": 10.0,
            "latency_ms_p95": 20.0,
            "batch_size": 64,
            "beams": 50,
            "precision": "fp32",
            "threads": 2,
            "device": "cpu",
            "warmup_batches": 1,
        },
        "ranks": {"mask": list(ranks), "keep": list(ranks)},
        "data": {
            "name": spec.dataset,
            "users": len(ranks),
            "items": 40,
            "interactions": 200,
            "tie_users": 6,
            "mask_ceiling": 0.9,
            "test_cases": len(ranks),
            "validation_cases": len(ranks),
            "dropped": {"users_below_3": 1},
        },
        "index": {
            "n_tokens": 30,
            "width": 3,
            "user_width": 3,
            "collision_rate": 0.0,
            "token_scope": "level",
            "info": {},
        },
        "training": {
            "epochs": 3,
            "best_epoch": 2,
            "history": [{"epoch": 1, "loss": 2.0, "ndcg@10": 0.1}],
            "examples_per_epoch": 180,
            "resumed_from": 0,
            "precision": "fp32",
            "validation_users": 10,
            "cached": False,
        },
        "parameters": {"embedding": 1000, "other": 234, "total": 1234, "size": "2+2x64/16"},
        "memory": {"peak_host_mb": 321.0, "peak_device_mb": None},
        "phases": {"load": 0.1, "fit": 12.5, "decode": 1.0},
        "fingerprints": {
            "data": "d" * 64,
            "split": "5" * 64,
            "index": "1" * 64,
            "weights": "3" * 64,
            "lists": "4" * 64,
        },
        "components": {
            "indexer": {"name": "sci", "distribution": "genrec-bench", "version": "0.1.0", "code": "c" * 64}
        },
        "environment": {
            "python": "3.12.1",
            "platform": "Linux x86_64",
            "cpu": "Some CPU",
            "cores": 2,
            "threads": 2,
            "gpu": None,
            "packages": {"numpy": "2.0.0"},
            "time": "2025-01-01T00:00:00+00:00",
        },
        "process": {"pid": 1, "host": "here"},
    }
    spec_dict = json.loads(json.dumps(spec.to_dict()))
    return RunRecord(spec_dict, spec.spec_id, spec.system_id, "finished", **{**values, **changes})


def baseline(ranks: Sequence[int] = RANKS, **changes: Any) -> RunRecord:
    """A record as a run of a baseline leaves it: nothing about codes, training and hallucination."""
    validity = {
        "hallucination_rate": None,
        "duplicate_rate": None,
        "seen_rate": 0.0,
        "emitted": 500,
        "fill@5": 1.0,
        "fill@10": 1.0,
        "fill@20": 1.0,
        "certified@10": None,
        "dropped": {"non_items": None, "duplicates": None, "seen": 0},
    }
    empty: dict[str, Any] = {"index": {}, "training": {}, "parameters": {}, "validity": validity}
    return finished(baseline_spec(), ranks, **{**empty, **changes})


def failed(spec: ResolvedSpec | None = None) -> RunRecord:
    """A record of a run that was interrupted early."""
    spec = spec or generator_spec(seed=9)
    return RunRecord(spec.to_dict(), spec.spec_id, spec.system_id, "failed", reason="interrupted")


def edit(folder: Path, *keys: str, value: Any, sealed: bool = True) -> None:
    """Change one number of `folder/record.json`, and its digest with it, unless that is left as it was."""
    path = folder / "record.json"
    values = inner = json.loads(path.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(values))
    if sealed:
        RunRecord(**values).write(path.parent)
