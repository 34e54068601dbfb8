"""The record of one run: what happened, as plain data with stable keys (schema 1, `schemas/record-1.json`).

Tables, intervals and comparisons are computed from records only. A record is written atomically.
"""

from __future__ import annotations

import functools
import hashlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from genrec_bench.core.files import expand_home, has_ended, read_text, write_json
from genrec_bench.core.frames import data_frame
from genrec_bench.errors import RecordError
from genrec_bench.protocol.consistency import contradictions
from genrec_bench.protocol.constants import SELECTION
from genrec_bench.protocol.ranks import read_ranks
from genrec_bench.runs.spec import LISTS, baseline_name

if TYPE_CHECKING:
    import pandas as pd
    from jsonschema_rs import Validator

SCHEMA = 1
RECORD_FILE = "record.json"
RESCORED = "re-scored"  # the tier of lists made elsewhere and scored here


@dataclass(frozen=True, repr=False)
class RunRecord:
    """One run. `status` is `running`, `finished` or `failed` (then `reason` says why).

    `metrics.mask["ndcg@10"]`, `validity.hallucination_rate`, `throughput.users_per_second`, `ranks.mask` (the rank of
    every case's target, 0 = absent, or the name of a sidecar `.npy` file beside the record) and so on: the published
    JSON Schema (`RunRecord.json_schema()`) lists every key with its meaning.
    """

    spec: Mapping[str, Any]
    spec_id: str
    system_id: str
    status: str
    reason: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    validity: Mapping[str, Any] = field(default_factory=dict)
    throughput: Mapping[str, Any] = field(default_factory=dict)
    ranks: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    index: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    memory: Mapping[str, Any] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    components: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    process: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)  # options by part that are not the usual ones
    stored: Mapping[str, str] = field(default_factory=dict)  # SHA-256 by file of the run folder
    warnings: list[str] = field(default_factory=list)
    test_scored: int | None = None  # how many times the test part was scored for this spec in its folder
    tier: str | None = None  # `re-scored`, or None if the system ran here
    digest: str | None = None  # of everything else: reveals numbers edited by hand
    schema: int = SCHEMA

    @property
    def system(self) -> str:
        """What ran, for tables: `sci / t5-small (scratch) / trie`, or the baseline's name."""
        if baseline := baseline_name(self.spec):
            return baseline
        variant = self.parameters.get("variant")
        named = {"backbone": f"{self.spec.get('backbone')} ({variant})"} if variant else {}
        return " / ".join(str(named.get(part, self.spec.get(part))) for part in ("indexer", "backbone", "decoder"))

    def __repr__(self) -> str:
        place = f"{self.spec.get('dataset')}, {self.spec.get('task')}, seed {self.spec.get('seed')}"
        scored = self.metrics.get(self.policies[0]) or {}
        score = f": {SELECTION} {scored[SELECTION]:.4f}" if SELECTION in scored else ""
        return f"<run {self.spec_id}, {self.system}, {place}, {self.status}{score}>"

    def to_pandas(self) -> pd.DataFrame:
        """The scores, one row per history policy. NeedsMissing without pandas."""
        facts = {"system": self.system, "dataset": self.spec.get("dataset"), "task": self.spec.get("task")}
        rows = [facts | {"seed": self.spec.get("seed"), "policy": name, **self.metrics[name]} for name in self.metrics]
        return data_frame({key: [row.get(key) for row in rows] for key in rows[0]} if rows else {})

    def sealed(self) -> RunRecord:
        """The same record, with the digest of its present content."""
        return replace(self, digest=self._digest())

    @property
    def intact(self) -> bool:
        """Whether the digest holds: the record is as it was written. Without a digest, nobody can tell."""
        return self.digest == self._digest()

    def _digest(self) -> str:
        """SHA-256 of everything but the digest. Leaves out empty values, so that later versions may add keys."""
        values = {
            key: value for key, value in self.to_dict().items() if key != "digest" and value not in (None, {}, [])
        }
        return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def policies(self) -> tuple[str, ...]:
        """The history policies of its lists: both, or only `mask` if lists made elsewhere left out seen items."""
        made_elsewhere = self.spec.get("baseline") == LISTS
        masked = made_elsewhere and self.spec.get("options", {}).get("baseline", {}).get("policy") == "mask"
        return ("mask",) if masked else ("mask", "keep")

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `from_dict` reads it back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"schema": values.pop("schema"), **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], path: Path | None = None) -> RunRecord:
        """From plain data. RecordError for another schema or for unknown or missing keys."""
        if not isinstance(values, Mapping) or values.get("schema") != SCHEMA:
            schema = values.get("schema") if isinstance(values, Mapping) else None
            raise RecordError(
                f"{path or 'record'}: schema {schema!r}, this version reads {SCHEMA}", path=path, schema=schema
            )

        known = {f.name for f in fields(cls)}
        required = {"spec", "spec_id", "system_id", "status"}
        wrong = sorted(set(values) - known) or sorted(required - set(values))
        if wrong:
            raise RecordError(f"{path or 'record'}: unknown or missing keys: {', '.join(wrong)}", path=path)

        plain = {"schema", "spec_id", "system_id", "status", "reason", "warnings", "test_scored", "tier", "digest"}
        flat = sorted(key for key, value in values.items() if key not in plain and not isinstance(value, Mapping))
        if flat:
            raise RecordError(f"{path or 'record'}: not an object: {', '.join(flat)}", path=path)
        return cls(**values)

    @classmethod
    def read(cls, folder: Path | str) -> RunRecord:
        """Read `folder/record.json`, or that file itself.

        RecordError if it is missing or unreadable, or names the key that does not fit the published schema.
        """
        folder = Path(expand_home(folder))
        path = folder / RECORD_FILE if folder.is_dir() else folder
        try:
            values = json.loads(read_text(path), parse_constant=_refuse_constant, parse_int=_of_64_bits)
            json.dumps(values, ensure_ascii=False).encode()  # a lone surrogate is in no Unicode text
        except FileNotFoundError:
            why = "is this a run folder?" if folder.is_dir() else "there is no such folder; check the path"
            raise RecordError(f"no record at {path}: {why}", path=path) from None
        except (OSError, ValueError, RecursionError) as error:
            raise RecordError(f"{path} is not a readable record: {error}", path=path) from None

        record = cls.from_dict(values, path)
        check_schema(values, path)
        if record.status == "running" and _is_gone(record.process):
            return replace(record, status="failed", reason="its process ended without a word")
        return record

    def write(self, folder: Path) -> None:
        """Replace `folder/record.json` atomically, and add the digest."""
        write_json(folder / RECORD_FILE, self.sealed().to_dict())

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """The published JSON Schema of records."""
        text = resources.files("genrec_bench").joinpath(f"schemas/record-{SCHEMA}.json").read_text(encoding="utf-8")
        return cast(dict[str, Any], json.loads(text))


def check_schema(values: Mapping[str, Any], path: Path) -> None:
    """RecordError that names the key of a record that does not fit the published schema."""
    if why := _complaint(_validator(), values):
        raise RecordError(f"{path}: {why}. The record was edited or is of another version: run it again", path=path)


def misfit(section: Mapping[str, Any], name: str) -> str:
    """Which key of a record's section does not fit the published schema, and why; empty if all do."""
    from jsonschema_rs import validator_for

    return _complaint(validator_for(RunRecord.json_schema()["properties"][name]), section)


@functools.cache
def _validator() -> Validator:
    from jsonschema_rs import validator_for

    return validator_for(RunRecord.json_schema())


def _complaint(validator: Validator, values: Mapping[str, Any]) -> str:
    """The shallowest key that does not fit, and why; empty if all fit."""
    error = min(validator.iter_errors(values), key=lambda error: len(error.instance_path), default=None)
    if error is None:
        return ""
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    return f"{key.removeprefix('.') or '$'}: {error.message[:200]}"


def _of_64_bits(digits: str) -> int:
    """The whole number, or ValueError: arrays hold no larger one."""
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise ValueError(f"the number {digits[:24]}{'...' if len(digits) > 24 else ''} has more than 64 bits")
    return int(digits)


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _is_gone(process: Mapping[str, Any]) -> bool:
    """Whether a recorded process ran on this machine and has ended; if nobody can tell, it counts as alive."""
    pid = process.get("pid")
    return process.get("host") == socket.gethostname() and isinstance(pid, int) and has_ended(pid)


def contradictions_of(record: RunRecord, folder: Path | None = None) -> list[str]:
    """The contradictions in a finished record, each with its policy. `folder` holds its ranks, if the record does not."""
    sentences = []
    for policy in record.policies:
        ranks = record.ranks.get(policy)
        if folder is not None:
            try:
                ranks = read_ranks(ranks, folder)
            except RecordError as error:
                return [str(error)]

        in_policy = contradictions(
            record.metrics.get(policy, {}),
            None if isinstance(ranks, str) else ranks or (),
            record.data.get("test_cases"),
            record.data.get("mask_ceiling") if policy == "mask" else None,
        )
        sentences += [f"policy {policy}: {sentence}" for sentence in in_policy]
    return sentences
