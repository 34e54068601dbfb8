"""Suites: every combination runs once, finished ones are skipped, failed ones do not stop the rest."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from installing import distribution

from genrec_bench.cli.main import cli
from genrec_bench.errors import ConfigError, UnknownComponent, UsageError
from genrec_bench.runs import run as runner
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.suite import read_suite

ALL = """
[all]
dataset = "file"
profile = "tiny"
[all.set]
dataset.path = "{path}"
dataset.format = "sequence"
backbone.epochs = 1
"""
GRID = """
[grid]
indexer = ["random", "sequential"]
backbone = ["lightlm"]
decoder = ["trie", "filter"]
task = ["direct", "sequential"]
"""
POPULARITY = """
[[runs]]
baseline = "popularity"
"""


@pytest.fixture
def suite_file(tmp_path, planted_file):
    def write(*parts):
        path = tmp_path / "suite.toml"
        path.write_text("".join(parts).replace("{path}", str(planted_file)))
        return path

    return write


def test_a_grid_asks_for_every_combination_and_single_runs_once(suite_file):
    specs = [run.resolved for run in read_suite(suite_file(ALL, GRID, POPULARITY, POPULARITY))]
    assert len(specs) == 2 * 2 * 2 + 1
    assert {spec.options["backbone"]["epochs"] for spec in specs if spec.backbone} == {1}
    assert [spec.system for spec in specs if spec.baseline] == ["popularity"]


def test_several_grids_add_up(suite_file):
    two = GRID.replace("[grid]", "[[grid]]") + '[[grid]]\nbaseline = ["popularity"]\ntask = ["direct", "sequential"]\n'
    assert len(read_suite(suite_file(ALL, two))) == 8 + 2


def test_a_grid_varies_options_and_names_them(suite_file, tmp_path):
    one = '[grid]\nindexer = ["random"]\nbackbone = ["lightlm"]\n'
    path = suite_file(ALL, one, 'set."backbone.epochs" = [1, 2]\nset.backbone.layers = [1, 2]\n')
    assert sorted(
        (run.resolved.options["backbone"]["epochs"], run.resolved.options["backbone"]["layers"])
        for run in read_suite(path)
    ) == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]
    shown = CliRunner().invoke(cli, ["suite", str(path), "--dry-run"]).stdout
    assert len({line.partition("(")[2] for line in shown.splitlines()}) == 4
    assert "(backbone.epochs=2 backbone.layers=1)" in shown or "(backbone.layers=1 backbone.epochs=2)" in shown


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", UsageError, "asks for no run"),
        ("[grids]\n", ConfigError, "Did you mean 'grid'"),
        ('[grid]\nindexer = "sci"\n', ConfigError, "a list"),
        ('[grid]\nset."backbone.epochs" = 3\n', ConfigError, r"grid\.set\.backbone\.epochs = 3: expected a list"),
        ('[grid]\nindexr = ["sci"]\n', ConfigError, "Did you mean 'indexer'"),
        ('[[runs]]\nbaseline = "popularty"\n', UnknownComponent, "popularity"),
        ("grid = 3\n", ConfigError, "expected a table"),
        ('[all]\nprofle = "tiny"\n[[runs]]\nbaseline = "popularity"\n', ConfigError, "Did you mean 'profile'"),
        ('[[all]]\nseed = 1\n[[all]]\nseeed = 2\n[[runs]]\nbaseline = "popularity"\n', ConfigError, "one \\[all\\]"),
        (
            '[all]\nset."bakbone.epochs" = 1\n[[runs]]\nbaseline = "popularity"\n',
            ConfigError,
            "Did you mean 'backbone'",
        ),
        ('[[runs]]\nbaseline = "popularity"\nset."backbone.epochs" = 1\n', ConfigError, "backbone"),
        (
            '[[runs]]\nbaseline = "item-knn"\nset."baselin.neighbours" = 1\n',
            ConfigError,
            "no part named 'baselin'. Did you mean 'baseline'",
        ),
        ('[[runs]]\nbaseline = "popularity"\nsed = 1\n', ConfigError, "Did you mean 'seed'"),
        ("[grid\n", UsageError, "TOML"),
    ],
)
def test_a_bad_suite_is_refused_before_its_first_run(suite_file, text, error, message):
    with pytest.raises(error, match=message) as caught:
        read_suite(suite_file(text))
    assert "suite.toml" in str(caught.value)


BASELINE = """
from genrec_bench.api import Baseline
from genrec_bench.baselines.popularity import Popularity

class X(Popularity):
    "A baseline."
"""
NASTY = {  # a baseline's name, and the code of its module
    "leaves": "import os\nos._exit(3)\n",
    "exits": "raise SystemExit('no licence')\n",
    "annotated": BASELINE + """
    from dataclasses import dataclass
    @dataclass(frozen=True)
    class Config:
        a: "Nope" = 1
""",
    "perfect": BASELINE + """
    def fit(self, train, ctx):
        from genrec_bench.protocol import scores, split
        scores.score = lambda ranking, targets: 1 / 0
        return super().fit(train, ctx)
""",
    "interrupts": "raise KeyboardInterrupt\n",
    "forgets": BASELINE + "\nimport sys\nsys.path.clear()\n",
    "lingers": BASELINE + """
    def fit(self, train, ctx):
        import threading, time
        threading.Thread(target=time.sleep, args=(1000,)).start()
        return super().fit(train, ctx)
""",
}  # fmt: skip


@pytest.fixture
def suite(suite_file, tmp_path, monkeypatch):
    """Runs a suite of baselines, with the nasty ones installed."""
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    for name, code in NASTY.items():
        distribution(tmp_path / "site", name, {"baselines": name}, code)

    def run(names, *words):
        path = suite_file(ALL, *(f'[[runs]]\nbaseline = "{name}"\n' for name in names))
        return CliRunner().invoke(cli, ["suite", str(path), "--out", str(tmp_path / "runs"), *words])

    return run


def test_a_suite_goes_on_whatever_a_component_does_to_its_process(suite):
    names = ["leaves", "exits", "annotated", "perfect", "lingers", "popularity"]
    done = suite(names, "--jobs", "3", "--json")
    assert done.exit_code == 1, done.stderr
    outcomes = {row["name"].rpartition(": ")[2]: row for row in json.loads(done.stdout)}
    assert [*outcomes] == names
    assert {name for name, row in outcomes.items() if row["error"] is None} == {"lingers", "popularity"}
    assert "exit code 3" in outcomes["leaves"]["error"]
    assert "no licence" in outcomes["exits"]["error"]
    assert "'Nope'" in outcomes["annotated"]["error"]
    assert outcomes["lingers"]["metrics"] == outcomes["popularity"]["metrics"]
    assert "4 of 6 runs failed" in done.stderr, done.stderr

    again = suite(["popularity", "item-counts"])
    assert again.exit_code == 0, again.stderr
    assert [line.rpartition(": ")[2].partition(" (")[0] for line in again.stderr.splitlines()] == [
        "already finished, not run again",
        "finished",
    ]
    assert "item-counts" in again.stdout


def test_what_one_component_does_at_import_refuses_no_other_run(suite):
    done = suite(["interrupts", "forgets", "popularity"], "--json")
    outcomes = {row["name"].rpartition(": ")[2]: row["error"] for row in json.loads(done.stdout)}
    assert outcomes["popularity"] is None, done.stderr
    assert outcomes["interrupts"] and "\n" not in outcomes["interrupts"]


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_suite_stops_when_told_and_every_run_says_so(suite_file, tmp_path, number):
    endless = (
        BASELINE
        + """
    def fit(self, train, ctx):
        import pathlib, time
        ctx.folder.mkdir(parents=True)
        (ctx.folder / "began").touch()
        time.sleep(1000)
"""
    )
    distribution(tmp_path / "site", "endless", {"baselines": "endless"}, endless)
    path = suite_file(ALL, *(f'[[runs]]\nbaseline = "endless"\nseed = {seed}\n' for seed in range(3)))
    out = tmp_path / "runs"
    child = subprocess.Popen(
        [sys.executable, "-m", "genrec_bench", "suite", str(path), "--out", str(out), "--jobs", "2"],
        env={**os.environ, "GENREC_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path / "site")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while len(list(out.glob("*/baseline/began"))) < 2:
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.1)

    child.send_signal(number)
    said = child.communicate(timeout=120)[1]
    assert child.returncode == 128 + number
    assert "Interrupted: " in said and "Traceback" not in said
    records = [RunRecord.read(file.parent) for file in out.glob("*/record.json")]
    assert [(record.status, record.reason) for record in records] == [("failed", "interrupted")] * 2


def test_a_dry_run_lists_and_runs_nothing(suite_file, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "load_inputs", lambda *_, **__: 1 / 0)
    done = CliRunner().invoke(cli, ["suite", str(suite_file(ALL, GRID)), "--dry-run", "--out", str(tmp_path / "no")])
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 8
    assert not (tmp_path / "no").exists()
