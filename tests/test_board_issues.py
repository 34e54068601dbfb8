"""The registry of known issues: affected rows are marked, none is lost, and a bad entry stops the build in one line."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from example_records import baseline_spec, finished, generator_spec

from genrec_bench.cli.main import cli
from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.known_issues import FILE, Issue, read
from genrec_bench.leaderboard.publish import add, build
from genrec_bench.runs.record import RunRecord

ROOT = Path(__file__).resolve().parents[1] / "leaderboards"
ENTRY = '[[issue]]\nid = "slow-sci"\nwhat = "It counts twice"\nlink = "https://example.org/1"\n'


@pytest.fixture
def root(tmp_path) -> Path:
    """A folder with a board of two rows, one of them with two seeds."""
    later = {**finished().environment, "time": "2026-03-01T00:00:00+00:00"}
    records = [finished(), finished(generator_spec(1), environment=later), finished(baseline_spec(), parameters={})]
    for record in records:
        record.write(tmp_path / "runs" / record.spec_id)
    add([tmp_path / "runs"], tmp_path / "boards", pytest.fail, check=False)
    return tmp_path / "boards"


def board(root: Path, issues: str) -> dict[str, str]:
    """The files of the board under a registry."""
    (root / FILE).write_text(issues)
    (folder,) = build(root, pytest.fail)
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def row(text: str, system: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {system}"))


def test_an_affected_row_has_a_footnote_and_every_row_is_still_there(root) -> None:
    plain = board(root, "")
    files = board(root, ENTRY + 'rows = { indexer = "sci" }\n')
    assert row(files["README.md"], "sci / lightlm / trie †1 ")
    assert "†" not in row(files["README.md"], "popularity")
    assert "- †1 Known issue slow-sci: It counts twice (https://example.org/1)." in files["README.md"]
    assert files["README.md"].replace(" †1", "").splitlines()[:8] == plain["README.md"].splitlines()[:8]


def test_the_page_and_the_table_name_the_issue_of_a_row(root) -> None:
    files = board(root, ENTRY + 'rows = { indexer = "sci" }\nsince = 2026-01-01\n')
    assert (
        "<strong>Known issue †1 slow-sci:</strong> It counts twice (https://example.org/1). Seeds: 1.<"
        in (files["index.html"])
    )
    issues = {line["system"]: line["issues"] for line in csv.DictReader(files["table.csv"].splitlines())}
    assert issues["sci / lightlm / trie"] == "slow-sci" and issues["popularity"] == ""


def test_an_issue_that_no_row_has_is_not_printed(root) -> None:
    files = board(root, ENTRY + 'rows = { baseline = "bpr" }\n')
    assert "slow-sci" not in "".join(files.values())


def issue(since: Any = None, until: Any = None, **rows: Any) -> Issue:
    return Issue("one", "what", "link", rows, since, until)


MENDED = {"recbole": {"packages": {"recbole": "1.2.1"}}}
CHANGED = finished(training={**finished().training, **MENDED})


@pytest.mark.parametrize(
    ("rows", "record", "affected"),
    [
        ({"indexer": "sci"}, finished(), True),
        ({"indexer": ["random", "sci"], "task": "direct"}, finished(), True),
        ({"indexer": "sci", "task": "sequential"}, finished(), False),
        ({"baseline": "popularity"}, finished(), False),
        ({"dataset": "ml-100k", "profile": "tiny"}, finished(), True),
        ({"options": {"backbone.layers": 2}}, finished(), True),
        ({"options": {"backbone.layers": [3, 4]}}, finished(), False),
        ({"options": {"baseline.l2": 2}}, finished(), False),
        ({"versions": {"genrec-bench": "0.1.0"}}, finished(), True),
        ({"versions": {"genrec-bench": ["0.0.9"]}}, finished(), False),
        ({"versions": {"numpy": "2.0.0"}}, finished(), True),
        ({"versions": {"recbole": "1.2.1"}}, CHANGED, True),
    ],
)
def test_an_issue_affects_runs_that_meet_all_its_conditions(rows: dict, record: RunRecord, affected: bool) -> None:
    assert issue(**rows).affects(record) == affected


@pytest.mark.parametrize(
    ("since", "until", "affected"),
    [("2025-01-01", None, True), ("2025-01-02", None, False), (None, "2025-01-01", True), (None, "2024-12-31", False)],
)
def test_an_issue_has_a_first_and_a_last_day(since: str | None, until: str | None, affected: bool) -> None:
    from datetime import date

    days = [day and date.fromisoformat(day) for day in (since, until)]
    assert issue(*days, indexer="sci").affects(finished()) == affected


def test_a_run_that_does_not_tell_its_day_may_have_the_issue() -> None:
    from datetime import date

    assert issue(date(2030, 1, 1), indexer="sci").affects(finished(environment={}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[issue", "cannot read known-issues.toml as TOML"),
        ("[issues]\na = 1\n", "may hold only [[issue]] entries"),
        (ENTRY, "issue slow-sci: rows must say which rows it affects"),
        (ENTRY + "rows = {}\n", "give at least one condition"),
        (ENTRY + 'rows = { indexr = "sci" }\n', "no condition 'indexr'. Did you mean 'indexer'?"),
        (ENTRY + 'row = { indexer = "sci" }\n', "no key 'row'. Did you mean 'rows'?"),
        (ENTRY + "rows = { indexer = 3 }\n", "rows.indexer is a name, or a list of names"),
        (ENTRY + "rows = { options = { backbone = { layers = 2 } } }\n", "rows.options has quoted keys"),
        (ENTRY + "rows = { versions = { numpy = 2 } }\n", "rows.versions gives a version"),
        (ENTRY + 'rows = { versions = "2.0" }\n', "rows.versions is a table"),
        (ENTRY + 'rows = { indexer = "sci" }\nsince = "soon"\n', "since is a day without quotes"),
        (ENTRY + 'rows = { indexer = "sci" }\nsince = 2026-02-02\nuntil = 2026-01-01\n', "until is before since"),
        (ENTRY.replace("slow-sci", "Slow SCI") + 'rows = { indexer = "sci" }\n', "write an id in small letters"),
        (ENTRY.replace('what = "It counts twice"', "") + 'rows = { indexer = "sci" }\n', "what is missing"),
        (ENTRY.replace("It counts twice", " ") + 'rows = { indexer = "sci" }\n', "what is missing"),
        (2 * (ENTRY + 'rows = { indexer = "sci" }\n'), "two issues are called 'slow-sci'"),
    ],
)
def test_a_bad_entry_is_refused_in_one_line_and_nothing_is_written(root, text: str, said: str) -> None:
    (root / FILE).write_text(text)
    done = CliRunner().invoke(cli, ["leaderboard", "build", str(root)])
    assert isinstance(done.exception, RecordError) or done.exit_code == 1
    message = done.stderr or str(done.exception)
    assert said in message and len(message.strip().splitlines()) == 1
    assert not list(root.rglob("index.html"))


@pytest.mark.skipif(not ROOT.is_dir(), reason="not a checkout: no leaderboards/ beside tests/")
def test_links_of_committed_issues_lead_somewhere() -> None:
    for known in read(ROOT):
        assert known.link.startswith("https://") or (ROOT.parent / known.link).is_file(), known.id
