"""Finds run records on disk and refuses those that no honest run can have written. Knows nothing of how tables look."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from genrec_bench.core.hashing import digest
from genrec_bench.errors import RecordError
from genrec_bench.protocol.ranks import ranks_digest, read_ranks
from genrec_bench.runs.record import RECORD_FILE, RunRecord, contradictions_of

PLACE = re.compile(r"(?<![\w.)])(?:~?/(?:[\w.@+-]+/)+[\w.@+-]*|[A-Za-z]:\\\w)")  # a path of somebody's machine
Refuse = Callable[[RecordError], None]


def collect(paths: Iterable[Path | str], refuse: Refuse | None = None) -> list[RunRecord]:
    """The records under `paths`: run folders, record files, or folders of run folders; unfinished runs included.

    Ranks in a sidecar file are read into the record. A run found twice (a copy with the same numbers) counts once.
    RecordError names the file that cannot be read or is impossible, and the path without any run; with `refuse`, it is
    handed there and the others are read. RecordError in any case for two records of one run that disagree.
    """
    read = []
    for path in _all_files(paths, refuse):
        with _refusing(refuse):
            read.append((path, _read(path)))
    found: dict[str, tuple[Path, RunRecord]] = {}
    for path, record in read:
        first, earlier = found.get(record.spec_id, (path, record))
        if earlier.status == record.status == "finished" and _numbers(earlier) != _numbers(record):
            raise RecordError(
                f"{first} and {path} are records of one run ({record.spec_id}) with different numbers: give one of them",
                path=path,
            )
        if record.status == "finished" or record.spec_id not in found:
            found[record.spec_id] = (path, record)
    return [record for _, record in found.values()]


def _all_files(paths: Iterable[Path | str], refuse: Refuse | None) -> list[Path]:
    files: dict[Path, None] = {}
    for given in paths:
        with _refusing(refuse):
            files |= dict.fromkeys(file.resolve() for file in _files(Path(given)))
    return list(files)


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
    record = whole = RunRecord.read(path)
    if record.status == "finished":
        ranks = {str(policy): read_ranks(record.ranks.get(policy), path.parent) for policy in record.policies}
        record = replace(record, ranks=ranks)
        check_possible(record)
        check_intact(whole, path)
    return record


def unfinished(records: Iterable[RunRecord]) -> str:
    """One line on the runs that no table shows: `2 runs not shown: 1 failed, 1 running`; empty if there are none."""
    counts = Counter(record.status for record in records if record.status != "finished")
    total, parts = sum(counts.values()), ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"{total} run{'s' if total > 1 else ''} not shown: {parts}" if total else ""


def check_intact(record: RunRecord, path: Path) -> None:
    """RecordError naming the row if its record, or its ranks in files beside it, are not what the run wrote."""
    whole = record.intact
    if whole and any(isinstance(told, str) for told in record.ranks.values()):
        ranks = {policy: read_ranks(told, path.parent) for policy, told in record.ranks.items()}
        whole = record.fingerprints.get("ranks") == ranks_digest(ranks)
    if not whole:
        raise RecordError(
            f"{name_of(record)}: {path.name} is not what the run wrote, as its digest does not hold: it was edited, or is of an "
            "earlier version. Remove it or run it again with --force",
            path=path,
        )


def check_possible(record: RunRecord) -> None:
    """RecordError naming the row if its numbers contradict each other, its ranks, or the ceiling (protocol P22)."""
    if found := contradictions_of(record):
        raise RecordError(
            f"impossible row {name_of(record)}, {'; '.join(found)}. Its record was edited or its scorer is wrong: remove "
            "it or run it again",
            path=None,
        )


def name_of(record: RunRecord) -> str:
    """A run in words: its system, seed and id."""
    return f"{record.system} (seed {record.spec.get('seed', 0)}, run {record.spec_id})"


def code_of(record: RunRecord) -> str:
    """Which code of its components a run ran on: eight digits that are equal where all of it was."""
    told = {part: found.get("code") for part, found in record.components.items() if part != "dataset"}
    return digest(json.dumps(told, sort_keys=True))[:8]


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not (path / RECORD_FILE).exists():
        inside = sorted(path.glob(f"*/{RECORD_FILE}"))
        if not inside:
            raise RecordError(f"no run in {path}: expected {RECORD_FILE}, or folders that hold one", path=path)
        yield from inside
    else:
        yield path / RECORD_FILE if path.is_dir() else path


def _numbers(record: RunRecord) -> str:
    """What two records of one run must agree on."""
    return json.dumps([record.metrics, record.ranks], sort_keys=True)


def places(value: Any) -> Iterator[str]:
    """All texts in plain data that name a file or folder of a machine."""
    if isinstance(value, str):
        if PLACE.search(value):
            yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from places(inner)
    elif isinstance(value, list) and not (value and isinstance(value[0], int)):
        for inner in value:
            yield from places(inner)
