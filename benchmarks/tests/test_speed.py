"""Benchmarks: rounds are fair, goals can fail, results survive JSON, and a report shows what was not measured."""

import json
import subprocess
import sys
from itertools import count
from pathlib import Path
from subprocess import CalledProcessError

import pytest
from click.testing import CliRunner
from genrec_speed import startup
from genrec_speed.cli import NAMES, show
from genrec_speed.goals import GOALS
from genrec_speed.report import (
    BEGIN,
    END,
    goals_table,
    put_into,
    read_results,
    report,
)
from genrec_speed.results import Result, Row, conditions
from genrec_speed.timing import interleaved

from genrec_bench.cli import terminal
from genrec_bench.cli.main import cli
from genrec_bench.core.progress import Quiet
from genrec_bench.errors import UsageError

RESULTS = Path(__file__).resolve().parents[1] / "results"
DOCUMENT = RESULTS.parents[1] / "docs" / "performance.md"


def test_sides_take_turns_after_their_warm_up_and_ratios_are_per_round():
    ran = []
    ticks = count()
    times = iter([0, 4, 4, 5, 5, 11, 11, 14])  # 4 against 1, then 6 against 3
    sides = {"slow": lambda: ran.append("slow"), "fast": lambda: ran.append("fast")}
    timings = interleaved(sides, rounds=2, warmups=1, synchronise=lambda: next(ticks), clock=lambda: next(times))
    assert ran == ["slow", "fast"] * 3
    assert timings.seconds == {"slow": (4, 6), "fast": (1, 3)}
    assert timings.ratio("slow", "fast") == (3.0, 2.0, 4.0)
    assert next(ticks) == 8


def test_a_goal_is_reached_when_every_row_of_it_keeps_the_bound():
    six = next(goal for goal in GOALS if goal.number == "1a")
    rows = [Row("a", "HF", 7.0, "x", goal="1a"), Row("b", "HF", 5.9, "x", goal="1a")]
    assert six.reached(rows[:1]) is True and six.reached(rows) is False and six.reached([]) is None


def test_goals_are_numbered_once_and_measured_by_a_benchmark_that_exists():
    assert len({goal.number for goal in GOALS}) == len(GOALS)
    assert {goal.benchmark for goal in GOALS} <= set(NAMES)


@pytest.fixture
def result():
    row = Row("16 users", "HF", 7.25, "x", 6.5, 8.0, goal="1a", details={"ours s": 0.5, "lists": 16})
    return Result("decode", "small", (row,), conditions(beams=20))


def test_a_result_survives_json(result, tmp_path):
    (tmp_path / "decode.json").write_text(json.dumps(result.to_dict()))
    assert read_results(tmp_path) == [result]


def test_a_file_that_is_not_a_result_is_named(tmp_path):
    (tmp_path / "other.json").write_text('{"rows": []}')
    with pytest.raises(UsageError, match=r"other\.json is not a result"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": [{"value": "3"}]},
        {"rows": [{"value": None}]},
        {"rows": [{"value": float("nan")}]},
        {"rows": [{"low": "3"}]},
        {"rows": [{"unit": 3}]},
        {"rows": [{"details": None}]},
        {"conditions": None},
        {"conditions": {"packages": None}},
        {"benchmark": None},
    ],
)
def test_a_result_of_other_types_is_named(result, tmp_path, change):
    data = result.to_dict()
    rows = [{**data["rows"][0], **row} for row in change.get("rows", data["rows"])]
    (tmp_path / "odd.json").write_text(json.dumps({**data, **change, "rows": rows}))
    with pytest.raises(UsageError, match=r"odd\.json is not a result"):
        read_results(tmp_path)


def test_a_folder_that_is_called_like_a_result_is_named(tmp_path):
    (tmp_path / "y.json").mkdir()
    with pytest.raises(UsageError, match=r"y\.json is not a result"):
        read_results(tmp_path)


def test_a_folder_without_results_makes_no_report(tmp_path):
    with pytest.raises(UsageError, match="has no results"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["startup", "--out", "{tmp}/file/x.json"], "choose another --out"),
        (["startup", "--out", "{tmp}/nowhere"], "No such file or directory; choose another --out"),
        (["startup", "--results", "{tmp}"], "options of `genrec bench report`"),
        (["report", "--results", "{tmp}", "--json"], "measures nothing"),
        (["report", "--results", "{tmp}", "--grid", "full"], "measures nothing"),
        (["report"], "needs --results"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_measured(words, said, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "not" / "there")
    monkeypatch.setattr(startup, "run", lambda *_: pytest.fail("it was measured"))
    done = CliRunner().invoke(cli, ["bench", *(word.format(tmp=tmp_path) for word in words)])
    assert done.exit_code and said in " ".join(done.stderr.split())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_result_that_cannot_be_written_is_printed(result, monkeypatch):
    monkeypatch.setattr(startup, "run", lambda *_: result)
    done = CliRunner().invoke(cli, ["bench", "startup", "--out", "/dev/full"])
    assert "7.25x" in done.stdout and done.exit_code
    assert done.stderr.splitlines() == [
        "OutputError: cannot write /dev/full: No space left on device; the result is printed above"
    ]


def test_a_document_that_is_not_text_is_named_and_left_alone(result, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.json").write_text(json.dumps(result.to_dict()))
    page = tmp_path / "page.md"
    page.write_bytes(b"\xff\xfe")
    done = CliRunner().invoke(cli, ["bench", "report", "--results", str(tmp_path / "results"), "--into", str(page)])
    assert done.exit_code and f"{page} is not UTF-8 text" in "".join(done.stderr.splitlines())
    assert page.read_bytes() == b"\xff\xfe"


def test_a_screen_gets_a_table_that_fits_and_a_file_gets_markdown(result, monkeypatch, capsys):
    monkeypatch.setattr(startup, "run", lambda *_: result)
    assert CliRunner().invoke(cli, ["bench", "startup"]).stdout.startswith("### `genrec bench decode")
    monkeypatch.setattr(terminal, "PIPED_WIDTH", 100)
    show(result)
    lines = capsys.readouterr().out.splitlines()
    head = next(line for line in lines if "against" in line)
    assert max(map(len, lines[: lines.index(head) + 3])) <= 100 and "1a: ≥ 6x yes" in "".join(lines)


def test_the_report_prints_measurements_beside_their_goals_and_a_dash_for_the_rest(result):
    lines = goals_table(result.rows).splitlines()
    assert lines[2].endswith("| ≥ 6x | 7.25x | yes |") and lines[3].endswith("| ≥ 2.5x | – | – |")  # noqa: RUF001
    text = report([result])
    assert "genrec bench decode --grid small" in text and "beams 20" in text and "6.5 to 8" in text


def test_a_missed_goal_says_so():
    assert "| 5.5x | **no** |" in goals_table([Row("a", "HF", 5.5, "x", goal="1a")])


def test_the_report_replaces_the_text_between_the_markers(result):
    text = put_into(f"before\n{BEGIN}\nold\n{END}\nafter\n", report([result]))
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text and "7.25x" in text
    with pytest.raises(UsageError, match="no place for the report"):
        put_into("nothing", "new")


@pytest.mark.skipif(not DOCUMENT.is_file(), reason="not a clone of genrec_bench: there is no docs/performance.md")
def test_the_document_prints_the_committed_results():
    document = DOCUMENT.read_text(encoding="utf-8")
    assert put_into(document, report(read_results(RESULTS))) == document, (
        "`genrec bench report --into docs/performance.md`"
    )


def test_startup_counts_the_time_of_the_command_alone(monkeypatch):
    monkeypatch.setattr(startup, "ROUNDS", 1)
    rows = startup.run("small", Quiet()).rows
    assert [row.case for row in rows] == list(startup.COMMANDS)
    assert all(row.unit == "CPU s" and 0 < row.value < 60 for row in rows)


def test_a_command_that_fails_has_no_time(tmp_path):
    with pytest.raises(CalledProcessError):
        startup.cpu_seconds(["leaderboard"], tmp_path)


def test_help_lists_both_commands_and_imports_neither_this_nor_torch():
    code = (
        "import sys; from genrec_bench.cli.main import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit: print([name for name in ('torch', 'genrec_speed') if name in sys.modules], file=sys.stderr)"
    )
    for words, line in ((["--help"], "bench  "), (["data", "--help"], "synth  ")):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        assert line in done.stdout and done.stderr == "[]\n"
