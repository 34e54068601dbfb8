"""Suites: every combination runs once, finished ones are skipped, failed ones do not stop the rest."""

import pytest
from click.testing import CliRunner

from genrec_bench.baselines.popularity import Popularity
from genrec_bench.cli.main import cli
from genrec_bench.errors import ConfigError, UnknownComponent, UsageError
from genrec_bench.runs import run as runner
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
        ("[grid\n", UsageError, "TOML"),
    ],
)
def test_a_bad_suite_is_refused_before_its_first_run(suite_file, text, error, message):
    with pytest.raises(error, match=message) as caught:
        read_suite(suite_file(text))
    assert "suite.toml" in str(caught.value)


def test_a_suite_goes_on_after_a_failure_and_skips_what_has_finished(suite_file, tmp_path, monkeypatch):
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    single = '[[runs]]\nbaseline = "popularity"\n[[runs]]\nbaseline = "popularity"\ntask = "sequential"\n'
    command = ["suite", str(suite_file(ALL, single)), "--out", str(tmp_path / "runs")]
    rank, calls = Popularity.rank, []

    def fails_first(self, queries, k, exclude=None):
        calls.append(len(queries))
        return 1 / 0 if len(calls) == 1 else rank(self, queries, k=k, exclude=exclude)

    monkeypatch.setattr(Popularity, "rank", fails_first)
    first = CliRunner().invoke(cli, command)
    assert first.exit_code == 1
    assert "1/2" in first.stderr
    assert "ZeroDivisionError" in first.stderr
    assert "1 of 2 runs failed" in first.stderr
    assert "sequential" in first.stdout
    monkeypatch.setattr(Popularity, "rank", rank)
    fits = []
    fit = Popularity.fit
    monkeypatch.setattr(Popularity, "fit", lambda self, *rest: (fits.append(1), fit(self, *rest))[1])
    second = CliRunner().invoke(cli, command)
    assert second.exit_code == 0, second.stderr
    assert len(fits) == 1  # only what had failed
    assert [line.rpartition(": ")[2].partition(" (")[0] for line in second.stderr.splitlines()] == [
        "finished",
        "already finished, not run again",
    ]


def test_a_dry_run_lists_and_runs_nothing(suite_file, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "load_inputs", lambda *_, **__: 1 / 0)
    done = CliRunner().invoke(cli, ["suite", str(suite_file(ALL, GRID)), "--dry-run", "--out", str(tmp_path / "no")])
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 8
    assert not (tmp_path / "no").exists()
