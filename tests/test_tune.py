"""Tuning: seeded, on validation only, every trial in the ledger, interrupted searches go on."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner

from genrec_bench import RunSpec
from genrec_bench.baselines.item_knn import ItemKNN
from genrec_bench.cli.main import cli
from genrec_bench.core.progress import Quiet
from genrec_bench.errors import (
    ConfigError,
    NeedsMissing,
    RecordError,
    UsageError,
)
from genrec_bench.host import registry
from genrec_bench.host.config import make_config
from genrec_bench.host.sealing import opened_by
from genrec_bench.runs.plan import resolve
from genrec_bench.tuning import search as tune
from genrec_bench.tuning.ledger import (
    SCORE,
    append,
    best_first,
    line_of,
    read_ledger,
    searching,
    trials_of,
)
from genrec_bench.tuning.search import plan_of
from genrec_bench.tuning.space import Choice, Range, space_of

pytest.importorskip("optuna")
KNN = ("baseline.neighbours=1:20", "baseline.shrink=0,1,10")
TINY = {"backbone.epochs": 1, "backbone.layers": 1, "backbone.d_model": 16, "backbone.heads": 2}


@pytest.fixture
def spec(planted_file, tmp_path, monkeypatch):
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))

    def resolved(system="item-knn", **asked):
        where = {"dataset.path": str(planted_file), "dataset.format": "sequence"}
        fixed = TINY if "/" in system else {}
        return plan_of(system, {**where, **fixed}, dataset="file", **{"task": "sequential", **asked})

    return resolved


@pytest.fixture
def search(tmp_path):
    """A search in the test's own ledger."""

    def searched(spec, trials, space=KNN, name="ledger.jsonl"):
        return tune.tune(spec, trials, space=space, ledger=tmp_path / name)

    return searched


def told(trials):
    """What two searches of the same seed agree on."""
    return [(trial["trial"], trial["params"], trial["status"], trial[SCORE]) for trial in trials]


def test_every_trial_is_a_line_with_its_conditions(spec, search, tmp_path):
    found = search(spec(), 3)
    assert read_ledger(tmp_path / "ledger.jsonl") == found
    for number, trial in enumerate(found):
        assert trial["trial"] == number
        assert (trial["system"], trial["dataset"], trial["task"]) == ("item-knn", "file", "sequential")
        assert (trial["protocol"], trial["seed"]) == ("loo-full/1", 0)
        assert set(trial["params"]) == {"baseline.neighbours", "baseline.shrink"}
        assert 0 <= trial[SCORE] <= 1
        assert trial["seconds"] >= 0
        assert trial["versions"]["optuna"]
        assert len(trial["data"]) == 64


def test_a_baseline_and_a_generator_are_searched_alike(spec, search):
    assert len(search(spec(), 2)) == 2
    space = ("backbone.learning_rate=1e-3:1e-2:log", "backbone.dropout=0,0.1")
    found = search(spec("random/lightlm", profile="tiny"), 2, space)
    assert [trial["status"] for trial in found] == ["finished", "finished"]
    assert found[0]["system"] == "random/lightlm"
    assert found[0]["profile"] == "tiny"


def test_the_same_seed_gives_the_same_trials_and_another_seed_others(spec, search):
    first = search(spec(), 12, name="a.jsonl")
    assert told(search(spec(), 12, name="b.jsonl")) == told(first)
    other = search(spec(seed=1), 12, name="c.jsonl")
    assert [trial["params"] for trial in other] != [trial["params"] for trial in first]


@pytest.mark.parametrize("system", ["item-knn", "random/lightlm"])
def test_other_test_targets_give_the_same_trials(spec, search, planted_file, system):
    space, asked = (KNN, {}) if system == "item-knn" else (("backbone.dropout=0,0.1",), {"profile": "tiny"})
    first = search(spec(system, **asked), 3, space, name="a.jsonl")
    lines = [line.split() for line in opened_by(planted_file.read_text)[0].splitlines()]  # as the host reads
    targets = [line[-1] for line in lines]
    rotated = [[*line[:-1], targets[at - 1]] for at, line in enumerate(lines)]
    planted_file.write_text("\n".join(map(" ".join, rotated)) + "\n")
    poisoned = search(spec(system, **asked), 3, space, name="b.jsonl")
    assert poisoned[0]["data"] != first[0]["data"]
    assert told(poisoned) == told(first)


def test_a_search_goes_on_where_it_stopped_as_if_it_had_not(spec, search, monkeypatch):
    whole = search(spec(), 13, name="whole.jsonl")
    search(spec(), 11)
    fits, fit = [], ItemKNN.fit
    monkeypatch.setattr(ItemKNN, "fit", lambda self, *rest: (fits.append(1), fit(self, *rest))[1])
    assert told(search(spec(), 13)) == told(whole)
    assert len(fits) == 2


def test_other_searches_in_the_ledger_are_left_alone(spec, search, tmp_path):
    first = search(spec(), 2)
    other = search(spec(task="direct"), 2)
    assert read_ledger(tmp_path / "ledger.jsonl") == first + other


def test_a_trial_that_is_missing_is_run_again_under_its_number(spec, search, tmp_path):
    whole = search(spec(), 13)
    ledger = tmp_path / "ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(lines[:4] + lines[5:]))
    assert told(search(spec(), 13)) == told(whole)
    assert len(read_ledger(ledger)) == 13


def test_a_trial_that_stands_there_twice_is_refused(spec, search, tmp_path):
    search(spec(), 2)
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text(ledger.read_text() + ledger.read_text().splitlines()[1] + "\n")
    with pytest.raises(RecordError, match=r"trial 1 of search .* twice"):
        search(spec(), 3)


@pytest.fixture
def start(tmp_path, planted_file):
    """Starts `genrec tune item-knn` in a process of its own, with the test's ledger."""
    started = []

    def starts(trials, *more):
        words = ["tune", "item-knn", "--dataset", "file", "--task", "sequential", "--trials", str(trials)]
        words += ["--set", f"dataset.path={planted_file}", "--set", "dataset.format=sequence", "--out", str(tmp_path)]
        environment = {**os.environ, "GENREC_CACHE": str(tmp_path / "cache")}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "genrec_bench", *words, *more],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )
        return started[-1]

    yield starts
    for process in started:
        process.kill()
        process.communicate()


def test_processes_that_share_a_ledger_number_every_trial_once(start, tmp_path):
    together = [start(5), start(8), start(6, "--seed", "1")]
    assert [process.wait() for process in together] == [0, 0, 0], [process.stderr.read() for process in together]
    ledger = tmp_path / "ledger.jsonl"
    of_seed = {seed: [t["trial"] for t in read_ledger(ledger) if t["seed"] == seed] for seed in (0, 1)}
    assert of_seed == {0: list(range(8)), 1: list(range(6))}
    assert all(text.endswith("}") for text in ledger.read_text().splitlines())
    alone = start(8, "--ledger", str(tmp_path / "alone.jsonl"))
    assert alone.wait() == 0
    shared = sorted((t for t in read_ledger(ledger) if t["seed"] == 0), key=lambda t: t["trial"])
    assert told(shared) == told(read_ledger(tmp_path / "alone.jsonl"))


def test_a_search_that_another_process_runs_is_waited_for(start, spec, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    assert start(1).wait() == 0
    (first,) = read_ledger(ledger)
    with searching(ledger, first["search"], Quiet()):
        other = start(2)
        assert any("waiting for it" in line for line in other.stderr)
        append(ledger, {**first, "trial": 1})  # by the process that holds the search
    assert other.wait() == 0
    assert [trial["trial"] for trial in read_ledger(ledger)] == [0, 1]


WRITER = """
import sys
from pathlib import Path
from genrec_bench.tuning.ledger import SCORE, append
for number in range(40):
    append(Path(sys.argv[1]), {"trial": number, "params": {"x": "y" * 20_000}, "status": "finished", SCORE: 0.5})
"""


def test_lines_of_several_processes_never_mix(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(ledger)]) for _ in range(3)]
    while any(writer.poll() is None for writer in writers):
        trials_of(ledger, "another search")  # never half a line
    assert sorted(trial["trial"] for trial in read_ledger(ledger)) == sorted(3 * list(range(40)))


TRIAL = {"search": "s", "trial": 0, "params": {}, "status": "failed"}


def test_a_missing_last_newline_never_joins_two_trials(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text(line_of(TRIAL).rstrip())
    append(ledger, {**TRIAL, "trial": 1})
    assert [trial["trial"] for trial in read_ledger(ledger)] == [0, 1]
    assert sorted(path.name for path in tmp_path.glob("l*")) == ["ledger.jsonl"]


@pytest.mark.parametrize("half", [b"{", b'{"search": "s", "tri', "ü".encode()[:1], b"[" * 100_000])
def test_half_a_line_does_not_count_and_is_kept_beside_the_ledger(tmp_path, half):
    class Notes(Quiet):
        said = ""

        def note(self, message):
            Notes.said += message

    ledger = tmp_path / "ledger.jsonl"
    ledger.write_bytes(line_of(TRIAL).encode() + half)
    with pytest.raises(RecordError, match="half a trial"):
        read_ledger(ledger)  # a board counts nothing that it cannot read
    assert len(trials_of(ledger, "s", Notes())) == 1
    assert "half a trial" in Notes.said and "half-lines" in Notes.said

    append(ledger, {**TRIAL, "trial": 1})
    assert [trial["trial"] for trial in read_ledger(ledger)] == [0, 1]
    assert (tmp_path / "ledger.jsonl.half-lines").read_bytes() == half + b"\n"


def test_a_failed_trial_is_recorded_and_the_search_goes_on(spec, search, monkeypatch):
    calls, fit = [], ItemKNN.fit

    def second_fails(self, *rest):
        calls.append(1)
        return 1 / 0 if len(calls) == 2 else fit(self, *rest)

    monkeypatch.setattr(ItemKNN, "fit", second_fails)
    found = search(spec(), 4)
    assert [trial["status"] for trial in found] == ["finished", "failed", "finished", "finished"]
    assert "ZeroDivisionError" in found[1]["reason"]
    assert found[1][SCORE] is None
    assert len(best_first(found)) == 3
    assert told(search(spec(), 4)) == told(found)
    assert len(calls) == 4


def test_a_setting_that_cannot_be_is_a_failed_trial(spec, search):
    found = search(spec("random/lightlm", profile="tiny"), 2, ("backbone.epochs=-1:0",))
    assert [trial["status"] for trial in found] == ["failed", "failed"]
    assert "must be above 0" in found[0]["reason"]


def test_a_damaged_ledger_is_refused_by_its_line(spec, search, tmp_path):
    search(spec(), 1)
    ledger = tmp_path / "ledger.jsonl"
    whole = ledger.read_text()
    ledger.write_text(whole + '{"half": \n')
    with pytest.raises(RecordError, match=r"ledger\.jsonl, line 2"):
        search(spec(), 2)
    (trial,) = search(spec(), 1, name="other.jsonl")
    (tmp_path / "other.jsonl").write_text(line_of({**trial, "params": {**trial["params"], "baseline.shrink": 7.5}}))
    with pytest.raises(RecordError, match="outside its space"):
        search(spec(), 2, name="other.jsonl")


@pytest.mark.parametrize("change", [('"trial": 0', '"trial": 1'), ('": 0.', '": 1.'), ('"digest"', '"digesu"')])
def test_a_trial_of_which_a_character_has_changed_is_no_trial(tmp_path, change):
    ledger = tmp_path / "ledger.jsonl"
    append(ledger, {**TRIAL, "status": "finished", SCORE: 0.25})
    ledger.write_text(ledger.read_text().replace(*change, 1))
    with pytest.raises(RecordError, match="line 1: not a trial, or not as it was written"):
        read_ledger(ledger)


def test_lines_and_files_give_ranges_and_choices(spec, tmp_path):
    file = tmp_path / "space.toml"
    file.write_text('[backbone]\nlearning_rate = "1e-4:1e-2:log"\nlayers = [1, 2]\n')
    space = space_of(spec("random/lightlm", profile="tiny"), [str(file), "backbone.epochs=1:5", "backbone.layers=2,4"])
    assert space["backbone.learning_rate"] == Range(1e-4, 1e-2, log=True)
    assert space["backbone.epochs"] == Range(1, 5, whole=True)
    assert space["backbone.layers"] == Choice((2, 4))
    assert len(space) == 3  # nothing else, whatever the component declares


def test_what_is_set_is_not_varied(spec):
    assert set(space_of(spec(), fixed=["baseline.shrink"])) == {"baseline.neighbours"}
    with pytest.raises(ConfigError, match="drop one of the two"):
        space_of(spec(), ["baseline.shrink=0:1"], fixed=["baseline.shrink"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("shrink", "write part.option="),
        ("=1:2", "write part.option="),
        ("baseline.shrink=", "write part.option="),
        ("baseline.shrnk=0:1", "Did you mean 'shrink'"),
        ("backbone.epochs=1:3", "only baseline can be tuned here"),
        ("dataset.path=a,b", "only baseline can be tuned here"),
        ("baseline.shrink=5:1", "from a smaller to a larger"),
        ("baseline.shrink=0:1:log", "starts above 0"),
        ("baseline.shrink=0:1:lin", "expected LOW:HIGH"),
        ("baseline.shrink=3", "one value is set with --set"),
        ("baseline.shrink=1,1", "occurs twice"),
        ("baseline.shrink=a,b", "expected a finite number"),
        ("baseline.neighbours=1:2.5", "expected a whole number"),
    ],
)
def test_a_bad_space_is_refused_before_the_first_trial(spec, line, message):
    with pytest.raises(ConfigError, match=message):
        space_of(spec(), [line])


def test_a_system_without_a_space_asks_for_one(spec):
    with pytest.raises(UsageError, match="say what with --space"):
        space_of(spec("id-canary"))


def test_a_system_without_options_has_nothing_to_tune(spec):
    with pytest.raises(UsageError, match="popularity has no options"):
        space_of(spec("popularity"))


@pytest.mark.parametrize("backbone", ["lightlm", "t5-small", "p5"])
def test_a_generator_varies_its_codes_and_its_network(spec, backbone):
    space = space_of(spec(f"sci/{backbone}", profile="tiny"))
    assert {"indexer.clusters", "indexer.leaf_size", "indexer.balance", "backbone.learning_rate"} <= set(space)


def test_every_setting_of_a_declared_space_is_one_that_the_component_takes():
    for kind in ("indexer", "backbone", "baseline"):
        for info in registry.list_components(kind):
            cls = registry.load(kind, info.name)
            for varied in corners(cls.search_space) if cls.search_space else ():
                make_config(cls.Config, varied, kind)


def corners(declared):
    """The lowest and the highest of every range, or each choice, all against all."""
    ends = [list(each[:2]) if isinstance(each, tuple) else each for each in declared.values()]
    for values in itertools.product(*ends):
        yield dict(zip(declared, values, strict=True))


def test_a_components_page_says_what_is_varied():
    shown = CliRunner().invoke(cli, ["plugins", "show", "sci"]).stdout
    assert "genrec tune varies: indexer.clusters=5:100:log" in shown
    told = json.loads(CliRunner().invoke(cli, ["plugins", "show", "item-counts", "--json"]).stdout)
    assert told["search_space"]["recency"].startswith("1.0 | 1.0,0.5 | ")
    assert "tune" not in CliRunner().invoke(cli, ["plugins", "show", "popularity"]).stdout


@pytest.mark.parametrize("system", ["sci/", "/lightlm", "a/b/c"])
def test_a_system_is_a_baseline_or_an_indexer_and_a_backbone(system):
    with pytest.raises(UsageError, match="indexer/backbone"):
        plan_of(system)


@pytest.mark.parametrize("kind", ["indexer", "backbone", "baseline"])
def test_every_declared_space_can_be_read(kind, spec):
    for info in registry.list_components(kind):
        cls = registry.load(kind, info.name)
        if not cls.search_space:
            continue
        names = {"indexer": "random", "backbone": "lightlm", "profile": "tiny"} if kind != "baseline" else {}
        plan = resolve(RunSpec(dataset="ml-100k", **{**names, kind: info.name}))
        space = space_of(plan)
        assert {f"{kind}.{option}" for option in cls.search_space} <= set(space), info.name


def test_without_optuna_one_line_says_what_to_install(spec, search, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(NeedsMissing, match=r'pip install "genrec-bench\[tune\]"'):
        search(spec(), 1)


def test_the_command_ranks_the_trials_and_says_what_to_set(tmp_path, planted_file, monkeypatch):
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    words = ["tune", "item-knn", "--dataset", "file", "--task", "sequential", "--trials", "3", "--out", str(tmp_path)]
    words += ["--set", f"dataset.path={planted_file}", "--set", "dataset.format=sequence"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.stderr
    (best, *_) = best_first(read_ledger(tmp_path / "ledger.jsonl"))
    (run,) = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("to run the best")]
    assert f"--set baseline.neighbours={best['params']['baseline.neighbours']}" in run
    assert CliRunner().invoke(cli, [*shlex.split(run)[1:], "--out", str(tmp_path / "runs")]).exit_code == 0
    again = CliRunner().invoke(cli, [*words, "--json"])
    assert json.loads(again.stdout) == read_ledger(tmp_path / "ledger.jsonl")


def test_a_search_in_which_nothing_finished_fails(tmp_path, planted_file, monkeypatch):
    monkeypatch.setattr(ItemKNN, "fit", lambda self, *rest: 1 / 0)
    words = ["tune", "item-knn", "--dataset", "file", "--task", "sequential", "--trials", "2", "--out", str(tmp_path)]
    words += ["--set", f"dataset.path={planted_file}", "--set", "dataset.format=sequence"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert "no trial finished" in done.stderr
    assert "to run the best" not in done.stdout
