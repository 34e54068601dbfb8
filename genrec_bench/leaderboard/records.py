"""Finds run records on disk and refuses those that no honest run can have written. Knows nothing of tables."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from genrec_bench.core.files import expand_home, read_text
from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.facts import name_of
from genrec_bench.protocol.ranks import ranks_digest, read_ranks
from genrec_bench.runs.record import RECORD_FILE, RunRecord, contradictions_of

RECORDS = "records"  # the folder of a board that holds its records
MACHINE_PATH = re.compile(r"(?<![\w.)])(?<!:/)(?:~?/(?:[\w.@+-]+/)+[\w.@+-]*|[A-Za-z]:\\\w)")
Refuse = Callable[[RecordError], None]


def collect(paths: Iterable[Path | str], refuse: Refuse | None = None) -> list[RunRecord]:
    """The records under `paths`: run folders, record files, folders of run folders, or boards; unfinished runs included.

    Ranks in a sidecar file are read into the record. A copy of a run with the same numbers counts once.
    RecordError names a file that cannot be read or is impossible, and a path without any run; with `refuse`, the error
    is handed there and reading continues. Two records of one run that disagree always raise RecordError.
    """
    records = []
    for path in _record_files(paths, refuse):
        with _refusing(refuse):
            records.append((path, _read(path)))

    by_run: dict[str, tuple[Path, RunRecord]] = {}
    for path, record in records:
        first, earlier = by_run.get(record.spec_id, (path, record))
        if earlier.status == record.status == "finished" and _numbers(earlier) != _numbers(record):
            raise RecordError(
                f"{first} and {path} are records of one run ({record.spec_id}) with different numbers: give one of them",
                path=path,
            )
        if record.status == "finished" or record.spec_id not in by_run:
            by_run[record.spec_id] = (path, record)
    return [record for _, record in by_run.values()]


def _record_files(paths: Iterable[Path | str], refuse: Refuse | None) -> list[Path]:
    """All record files under `paths`, each once."""
    files: dict[Path, None] = {}
    for path in paths:
        with _refusing(refuse):
            files |= dict.fromkeys(file.resolve() for file in _files(Path(expand_home(path))))
    return list(files)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not (path / RECORD_FILE).exists():
        files = sorted(path.glob(f"*/{RECORD_FILE}")) or sorted(path.glob(f"{RECORDS}/*.json"))
        if not files:
            raise RecordError(f"no run in {path}: expected {RECORD_FILE}, or folders that hold one", path=path)
        yield from files
    else:
        yield path / RECORD_FILE if path.is_dir() else path


@contextmanager
def _refusing(refuse: Refuse | None) -> Iterator[None]:
    """Hand a RecordError to `refuse`, if there is one."""
    try:
        yield
    except RecordError as error:
        if refuse is None:
            raise
        refuse(error)


def _read(path: Path) -> RunRecord:
    record = RunRecord.read(path)
    if record.status != "finished":
        return record
    complete = with_ranks(record, path.parent)
    check_possible(complete)
    check_intact(record, path)
    return complete


def with_ranks(record: RunRecord, folder: Path) -> RunRecord:
    """The record with the ranks of all its policies inside; `folder` holds its sidecar files, if it has any."""
    ranks = {str(policy): read_ranks(record.ranks.get(policy), folder) for policy in record.policies}
    return replace(record, ranks=ranks)


def read_entries(path: Path, key: str) -> list[Any]:
    """The `[[key]]` entries of a TOML file that people keep beside boards; none without the file.

    RecordError if it cannot be read, or holds anything else.
    """
    if not path.exists():
        return []
    try:
        content = tomllib.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"cannot read {path.name} as TOML: {error}", path=path) from None

    entries = content.pop(key, [])
    if content or not isinstance(entries, list):
        raise RecordError(f"{path.name} may hold only [[{key}]] entries", path=path)
    return entries


def unfinished(records: Iterable[RunRecord]) -> str:
    """One line on the runs that no table shows: `2 runs not shown: 1 failed, 1 running`; empty if there are none."""
    counts = Counter(record.status for record in records if record.status != "finished")
    total = sum(counts.values())
    by_status = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"{total} run{'s' if total > 1 else ''} not shown: {by_status}" if total else ""


def check_intact(record: RunRecord, path: Path) -> None:
    """RecordError naming the row if its record, or the ranks in files beside it, are not what the run wrote."""
    intact = record.intact
    if intact and any(isinstance(ranks, str) for ranks in record.ranks.values()):
        ranks = {policy: read_ranks(stored, path.parent) for policy, stored in record.ranks.items()}
        intact = record.fingerprints.get("ranks") == ranks_digest(ranks)
    if not intact:
        raise RecordError(
            f"{name_of(record)}: the digest in {path.name} does not match its contents, so it was edited or comes from an "
            "earlier version. Remove it, or run it again with --force",
            path=path,
        )


def check_possible(record: RunRecord) -> None:
    """RecordError naming the row if its numbers contradict each other, its ranks, or the ceiling (protocol P22)."""
    if contradictions := contradictions_of(record):
        raise RecordError(
            f"impossible row {name_of(record)}, {'; '.join(contradictions)}. Its record was edited or its scorer is wrong: "
            "remove it, or run it again",
            path=None,
        )


def _numbers(record: RunRecord) -> str:
    """What two records of one run must agree on."""
    return json.dumps([record.metrics, record.ranks], sort_keys=True)


def machine_paths(value: Any) -> Iterator[str]:
    """All texts in plain data that name a file or folder of a machine."""
    if isinstance(value, str):
        if MACHINE_PATH.search(value):
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from machine_paths(item)
    elif isinstance(value, list) and not (value and isinstance(value[0], int)):  # lists of ranks are long
        for item in value:
            yield from machine_paths(item)
