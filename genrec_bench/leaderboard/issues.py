"""The registry of known issues beside the boards (protocol P23): `known-issues.toml` marks affected rows, never more.

No row is left out, moved or changed by an issue. An entry that cannot be read stops the build, since a mistyped one would
unmark rows in silence. Nobody is asked whether an issue is true: entries are written by people, with a link.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from genrec_bench.errors import RecordError, did_you_mean
from genrec_bench.runs.record import RunRecord

FILE = "known-issues.toml"
KEYS = ("id", "what", "link", "since", "until", "rows")
NAMES = ("dataset", "task", "profile", "indexer", "backbone", "decoder", "baseline")  # compared with a run's spec
CONDITIONS = (*NAMES, "options", "versions")
ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Issue:
    """One known issue: `rows` are conditions that a run has to meet, all of them; a list means any of its values."""

    id: str
    what: str
    link: str
    rows: Mapping[str, Any]
    since: date | None = None  # the first day of runs that have it
    until: date | None = None  # the last day

    def affects(self, record: RunRecord) -> bool:
        """Whether a run has this issue."""
        asked, versions = record.spec, _versions(record)
        for key, wanted in self.rows.items():
            if key == "options":
                held = all(_among(_option(asked, name), each) for name, each in wanted.items())
            elif key == "versions":
                held = all(any(_among(got, each) for got in versions.get(name, ())) for name, each in wanted.items())
            else:
                held = _among(asked.get(key), wanted)
            if not held:
                return False
        return self._in_time(record)

    def _in_time(self, record: RunRecord) -> bool:
        if self.since is None and self.until is None:
            return True
        try:
            day = date.fromisoformat(str(record.environment.get("time"))[:10])
        except ValueError:
            return True  # a run that does not tell its day may have it
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)


def read(root: Path) -> tuple[Issue, ...]:
    """The issues in `root/known-issues.toml`, in its order; none without the file. RecordError names the bad entry."""
    path = root / FILE
    if not path.exists():
        return ()
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecordError(f"{FILE} is no readable TOML: {error}", path=path) from None
    entries = told.pop("issue", [])
    if told or not isinstance(entries, list):
        raise RecordError(f"{FILE} holds [[issue]] entries and nothing else", path=path)
    issues = tuple(_issue(entry, number, path) for number, entry in enumerate(entries, 1))
    ids = [issue.id for issue in issues]
    for each in ids:
        if ids.count(each) > 1:
            raise RecordError(f"{FILE}: two issues are called {each!r}; give one another id", path=path)
    return issues


def _issue(entry: Any, number: int, path: Path) -> Issue:
    name = entry.get("id") if isinstance(entry, Mapping) else None
    what = f"{FILE}, issue {name or number}"

    def refuse(why: str) -> RecordError:
        return RecordError(f"{what}: {why}", path=path)

    if not isinstance(entry, Mapping):
        raise refuse("write it as [[issue]]")
    for key in entry:
        if key not in KEYS:
            raise refuse(f"no key {key!r}.{did_you_mean(key, KEYS)} Keys: {', '.join(KEYS)}")
    for key in ("id", "what", "link"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise refuse(f"{key} is missing, or no text")
    if not ID.fullmatch(entry["id"]):
        raise refuse("an id is small letters, digits and hyphens")
    rows = entry.get("rows")
    if not isinstance(rows, Mapping) or not rows:
        raise refuse("rows says which rows it affects, and there is no condition")
    for key, wanted in rows.items():
        if key not in CONDITIONS:
            raise refuse(
                f"rows has no condition {key!r}.{did_you_mean(key, CONDITIONS)} Known: {', '.join(CONDITIONS)}"
            )
        _check_condition(key, wanted, refuse)
    for key in ("since", "until"):
        if key in entry and type(entry[key]) is not date:
            raise refuse(f"{key} is a day without quotes, such as 2026-11-24")
    since, until = entry.get("since"), entry.get("until")
    if since and until and until < since:
        raise refuse("until is before since")
    return Issue(entry["id"], entry["what"].strip(), entry["link"].strip(), rows, since, until)


def _check_condition(key: str, wanted: Any, refuse: Any) -> None:
    if key in NAMES:
        if not _texts(wanted):
            raise refuse(f"rows.{key} is a name, or a list of names")
    elif not isinstance(wanted, Mapping) or not wanted:
        raise refuse(f"rows.{key} is a table")
    elif key == "versions" and not all(map(_texts, wanted.values())):
        raise refuse("rows.versions is a version, or a list of versions, by package")
    elif key == "options" and not all("." in name for name in wanted):
        raise refuse('rows.options has quoted keys, as --set does: "backbone.init" = "scratch"')


def _texts(wanted: Any) -> bool:
    """Whether it is a text, or a list of texts."""
    return isinstance(wanted, str) or (bool(wanted) and isinstance(wanted, list) and all(map(_is_text, wanted)))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _among(value: Any, wanted: Any) -> bool:
    """Whether a value is the one wanted, or one of several."""
    return value is not None and (value in wanted if isinstance(wanted, list) else value == wanted)


def _option(spec: Mapping[str, Any], name: str) -> Any:
    part, _, key = name.partition(".")
    return spec.get("options", {}).get(part, {}).get(key)


def _versions(record: RunRecord) -> dict[str, set[str]]:
    """Versions that a run used, by distribution: of its components, of libraries, of what a baseline ran in a process of
    its own."""
    found: dict[str, set[str]] = {}
    told = [(part.get("distribution"), part.get("version")) for part in record.components.values()]
    told += list(record.environment.get("packages", {}).items())
    for facts in record.training.values():
        if isinstance(facts, Mapping) and isinstance(facts.get("packages"), Mapping):
            told += list(facts["packages"].items())
    for name, version in told:
        if name and version:
            found.setdefault(str(name), set()).add(str(version))
    return found


def affecting(issues: Sequence[Issue], records: Sequence[RunRecord]) -> tuple[Issue, ...]:
    """The issues that some of `records` have, in the registry's order."""
    return tuple(issue for issue in issues if any(map(issue.affects, records)))
