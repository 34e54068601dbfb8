"""The registry of known issues beside the boards (protocol P23): `known-issues.toml` marks affected rows, and no more.

An issue never removes, moves or changes a row. People write the entries, each with a link; nothing here judges whether
one is true. An entry that cannot be read stops the build: skipping it would unmark rows in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from genrec_bench.errors import RecordError, did_you_mean
from genrec_bench.leaderboard.records import read_entries
from genrec_bench.runs.record import RunRecord

FILE = "known-issues.toml"
KEYS = ("id", "what", "link", "since", "until", "rows")
NAMES = ("dataset", "task", "profile", "indexer", "backbone", "decoder", "baseline")  # compared with a run's spec
CONDITIONS = (*NAMES, "options", "versions")
ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Issue:
    """One known issue. `rows` are conditions, all of which a run must meet; a list means any of its values."""

    id: str
    what: str
    link: str
    rows: Mapping[str, Any]
    since: date | None = None  # the first day of affected runs
    until: date | None = None  # the last one

    def affects(self, record: RunRecord) -> bool:
        """Whether a run has this issue."""
        return self._on_its_days(record) and all(
            _meets(record, condition, wanted) for condition, wanted in self.rows.items()
        )

    def _on_its_days(self, record: RunRecord) -> bool:
        if self.since is None and self.until is None:
            return True
        try:
            day = date.fromisoformat(str(record.environment.get("time"))[:10])
        except ValueError:
            return True  # a run without a date may have it
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)


def _meets(record: RunRecord, condition: str, wanted: Any) -> bool:
    """Whether a run meets one condition of an issue."""
    if condition == "options":
        return all(_among(_option(record.spec, name), value) for name, value in wanted.items())
    if condition == "versions":
        used = _versions(record)
        return all(
            any(_among(version, value) for version in used.get(package, ())) for package, value in wanted.items()
        )
    return _among(record.spec.get(condition), wanted)


def _among(value: Any, wanted: Any) -> bool:
    """Whether a value is the wanted one, or one of several."""
    return value is not None and (value in wanted if isinstance(wanted, list) else value == wanted)


def _option(spec: Mapping[str, Any], name: str) -> Any:
    part, _, key = name.partition(".")
    return spec.get("options", {}).get(part, {}).get(key)


def _versions(record: RunRecord) -> dict[str, set[str]]:
    """The versions that a run used, by distribution: of its components, of libraries, and of what a baseline ran in a
    process of its own."""
    pairs = [(part.get("distribution"), part.get("version")) for part in record.components.values()]
    pairs += record.environment.get("packages", {}).items()
    for facts in record.training.values():
        if isinstance(facts, Mapping) and isinstance(facts.get("packages"), Mapping):
            pairs += facts["packages"].items()

    versions: dict[str, set[str]] = {}
    for name, version in pairs:
        if name and version:
            versions.setdefault(str(name), set()).add(str(version))
    return versions


def affecting(issues: Sequence[Issue], records: Sequence[RunRecord]) -> tuple[Issue, ...]:
    """The issues that some of `records` have, in the registry's order."""
    return tuple(issue for issue in issues if any(map(issue.affects, records)))


def read(root: Path) -> tuple[Issue, ...]:
    """The issues in `root/known-issues.toml`, in its order; none without the file. RecordError names the bad entry."""
    path = root / FILE
    issues = tuple(_issue(entry, number, path) for number, entry in enumerate(read_entries(path, "issue"), 1))

    ids = [issue.id for issue in issues]
    for name in ids:
        if ids.count(name) > 1:
            raise RecordError(f"{FILE}: two issues are called {name!r}; rename one", path=path)
    return issues


def _issue(entry: Any, number: int, path: Path) -> Issue:
    """An entry of the registry as an issue. RecordError says what is wrong with it."""
    name = entry.get("id") if isinstance(entry, Mapping) else None

    def refuse(reason: str) -> RecordError:
        return RecordError(f"{FILE}, issue {name or number}: {reason}", path=path)

    if not isinstance(entry, Mapping):
        raise refuse("write it as [[issue]]")
    for key in entry:
        if key not in KEYS:
            raise refuse(f"no key {key!r}.{did_you_mean(key, KEYS)} Keys: {', '.join(KEYS)}")
    for key in ("id", "what", "link"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise refuse(f"{key} is missing, or not a text")
    if not ID.fullmatch(entry["id"]):
        raise refuse("write an id in small letters, digits and hyphens")

    rows = entry.get("rows")
    if not isinstance(rows, Mapping) or not rows:
        raise refuse("rows must say which rows it affects: give at least one condition")
    for condition, wanted in rows.items():
        _check_condition(condition, wanted, refuse)

    for key in ("since", "until"):
        if key in entry and type(entry[key]) is not date:
            raise refuse(f"{key} is a day without quotes, such as 2026-11-24")
    since, until = entry.get("since"), entry.get("until")
    if since and until and until < since:
        raise refuse("until is before since")
    return Issue(entry["id"], entry["what"].strip(), entry["link"].strip(), rows, since, until)


def _check_condition(key: str, wanted: Any, refuse: Callable[[str], RecordError]) -> None:
    if key not in CONDITIONS:
        known = ", ".join(CONDITIONS)
        raise refuse(f"rows has no condition {key!r}.{did_you_mean(key, CONDITIONS)} Known: {known}")
    if key in NAMES:
        if not _is_text_or_texts(wanted):
            raise refuse(f"rows.{key} is a name, or a list of names")
    elif not isinstance(wanted, Mapping) or not wanted:
        raise refuse(f"rows.{key} is a table")
    elif key == "versions" and not all(map(_is_text_or_texts, wanted.values())):
        raise refuse("rows.versions gives a version, or a list of versions, per package")
    elif key == "options" and not all("." in name for name in wanted):
        raise refuse('rows.options has quoted keys, as --set does: "backbone.init" = "scratch"')


def _is_text_or_texts(value: Any) -> bool:
    texts = value if isinstance(value, list) else [value]
    return bool(texts) and all(isinstance(text, str) for text in texts)
