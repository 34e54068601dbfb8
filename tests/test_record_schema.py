"""The published JSON Schema: what runs write fits it, what nobody should write does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from example_records import baseline, failed, finished, generator_spec

from genrec_bench.errors import RecordError
from genrec_bench.runs.record import RunRecord, misfit
from genrec_bench.runs.spec import ResolvedSpec

SCHEMA = RunRecord.json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def complaints(record: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(record)]


LEADERBOARDS = Path(__file__).resolve().parents[1] / "leaderboards"


def properties(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every named property below `schema`, descriptions or not; conditions are left out."""
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}", inner
        yield from properties(inner, f"{path}.{name}")
        yield from properties(inner.get("items", {}), f"{path}.{name}[]")


def test_it_is_a_valid_schema_itself() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("record", [finished(), baseline(), failed()], ids=["generator", "baseline", "failed"])
def test_records_of_every_kind_fit(record: RunRecord) -> None:
    assert complaints(record.to_dict()) == []


def test_a_record_survives_being_written_and_read(tmp_path) -> None:
    finished().write(tmp_path)
    assert RunRecord.read(tmp_path) == finished().sealed()


def test_a_record_may_warn_and_one_from_before_there_were_warnings_is_read(tmp_path) -> None:
    warned = replace(finished(), warnings=["the ids tell what comes next"])
    assert complaints(warned.to_dict()) == []
    old = warned.to_dict()
    del old["warnings"]
    assert complaints(old) == []
    assert RunRecord.from_dict(old) == finished()


def test_a_running_record_fits() -> None:
    spec = generator_spec()
    assert complaints(RunRecord(spec.to_dict(), spec.spec_id, spec.system_id, "running").to_dict()) == []


def test_ranks_may_lie_in_a_file_beside_the_record() -> None:
    assert complaints(finished().to_dict() | {"ranks": {"mask": "mask.npy", "keep": "keep.npy"}}) == []
    assert complaints(finished().to_dict() | {"ranks": {"mask": "../mask.npy", "keep": "keep.npy"}})


def test_it_names_every_key_of_a_record_and_of_a_spec() -> None:
    assert set(SCHEMA["properties"]) == {f.name for f in fields(RunRecord)}
    assert set(SCHEMA["properties"]["spec"]["properties"]) == {f.name for f in fields(ResolvedSpec)}


def test_every_key_is_described() -> None:
    named = dict(properties(SCHEMA)) | dict(properties(SCHEMA["$defs"]["metrics"], ".metrics"))
    assert [name for name, inner in named.items() if not inner.get("description")] == []
    assert len(named) > 90


def training_of_a_recbole_model() -> dict[str, Any]:
    """What the worker of genrec-baselines tells."""
    row = {"epoch": 1, "loss": 0.69, "seconds": 1.5, "ndcg@10": 0.02}
    around = {"model": "BPR", "source": "defaults", "settings": {"epochs": 1, "tuned": None}, "patches": ["x"]}
    return {
        "epochs": 1,
        "best_epoch": 1,
        "history": [row],
        "examples_per_epoch": 9,
        "precision": "fp32",
        "seconds": 2.5,
        "converged": False,
        "ended_by": "epochs",
        "parameters": {"embedding": 64, "other": 0},
        "recbole": {**around, "python": "3.12.1", "packages": {"recbole": "1.2.1"}, "peak_host_mb": 800.5},
    }


def test_what_a_baseline_says_of_its_training_fits_and_so_do_keys_of_its_own() -> None:
    training = training_of_a_recbole_model()
    assert complaints({**baseline().to_dict(), "training": training}) == []
    own = {**training, "mood": "good", "recbole": {**training["recbole"], "more": 1}, "history": [{"gain": 3}]}
    assert complaints({**baseline().to_dict(), "training": own}) == []


def test_every_key_of_a_recbole_models_training_is_documented() -> None:
    named = {name for name, _ in properties(SCHEMA["properties"]["training"])}
    training = training_of_a_recbole_model()
    told = {f".{key}" for key in training} | {f".recbole.{key}" for key in training["recbole"]}
    assert told | {f".history[].{key}" for key in training["history"][0]} <= named


@pytest.mark.parametrize(
    "change",
    [{"converged": "yes"}, {"ended_by": 3}, {"history": [{"epoch": "one"}]}, {"recbole": {"patches": "none"}}],
    ids=lambda change: next(iter(change)),
)
def test_a_key_of_training_means_what_the_schema_says(change: dict[str, Any]) -> None:
    assert complaints({**baseline().to_dict(), "training": {**training_of_a_recbole_model(), **change}})
    assert misfit(change, "training").startswith(next(iter(change)))


def test_every_committed_record_fits() -> None:
    found = sorted(LEADERBOARDS.rglob("records/*.json"))
    assert found
    assert {path.name: complaints(json.loads(path.read_text())) for path in found} == {path.name: [] for path in found}


@pytest.mark.parametrize(
    "change",
    [
        {"mood": "good"},
        {"status": "done"},
        {"schema": 2},
        {"metrics": {}},
        {"metrics": {**finished().metrics, "mask": {**finished().metrics["mask"], "ndcg@10": 1.5}}},
        {"metrics": {**finished().metrics, "mask": {**finished().metrics["mask"], "ndgc@10": 0.5}}},
        {"validity": {**finished().validity, "hallucination_rate": 12.5}},
        {"ranks": {"mask": [1, -1], "keep": [1]}},
        {"phases": {"fit": "long"}},
        {"spec_id": "abc"},
        {"warnings": "beware"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_nobody_should_write_does_not_fit(change: dict[str, Any]) -> None:
    assert complaints({**finished().to_dict(), **change})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"seed": 0', f'"seed": {2**64}', "more than 64 bits"),
        ('"seed": 0', f'"seed": {"9" * 5000}', "more than 64 bits"),
        ('"platform": "', '"platform": "\\ud800', "surrogates"),
        ('"platform": "', '"\\udfff": "', "surrogates"),
        ('"seed": 0', f'"seed": {"[" * 100_000}', "recursion"),
    ],
)
def test_what_no_record_can_hold_is_one_line(tmp_path, old, new, said) -> None:
    finished().write(tmp_path)
    text = (tmp_path / "record.json").read_text()
    assert old in text
    (tmp_path / "record.json").write_text(text.replace(old, new, 1))
    with pytest.raises(RecordError, match=said) as caught:
        RunRecord.read(tmp_path)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def test_a_failure_without_a_reason_does_not_fit() -> None:
    assert complaints({**failed().to_dict(), "reason": None})
