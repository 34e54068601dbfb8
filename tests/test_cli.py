"""The command line: one line per error, the right exit code, results on stdout and nothing else there."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import click
import example_records
import numpy as np
import pytest
from click.testing import CliRunner

import genrec_bench.runs
from genrec_bench.cli import terminal
from genrec_bench.cli.main import Terminated, cli, explain
from genrec_bench.core.events import Interactions
from genrec_bench.core.rankings import Ranking
from genrec_bench.errors import ConfigError, DataError
from genrec_bench.protocol.scores import from_ranks
from genrec_bench.protocol.split import leave_one_out
from genrec_bench.runs import inputs as run_inputs
from genrec_bench.runs.lists import LISTS_FILE, write_lists
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.spec import ResolvedSpec, RunSpec
from genrec_bench.runs.verify import Comparison, VerifyReport

RANKS, FLOOR = (1, 3, 0, 12, 2, 0, 0, 1, 7, 0), (0, 3, 0, 12, 2, 0, 0, 9, 7, 0)
SYSTEM = ["sci", "/", "lightlm", "/", "trie"]
HEAVY = ("torch", "scipy", "pandas", "pyarrow", "sklearn")


def genrec(*words: object):
    return CliRunner().invoke(cli, [str(word) for word in words])


def shown(ranks: Sequence[int]) -> list[str]:
    """What a table prints of a row with these ranks."""
    scores = from_ranks(ranks)
    return [f"{scores[f'{name}@{k}']:.4f}" for k in (5, 10, 20) for name in ("hit", "ndcg")]


@pytest.fixture
def runner(monkeypatch):
    """A runner that runs nothing: it keeps what it was asked and answers with a small finished record."""
    asked: list[tuple[RunSpec, dict]] = []

    def run(spec: RunSpec, **how) -> RunRecord:
        asked.append((spec, how))
        if stub.fails_on and stub.fails_on in (spec.baseline or ""):
            raise DataError(f"the {stub.fails_on} run\nfound garbled data in line 3", path=None)
        trained = spec.baseline is None
        filled = {"decoder": "trie", "profile": "quick", "beams": 50} if trained else {}
        filled["task"] = spec.task or "direct"
        if not trained:
            filled["baseline"] = spec.baseline.removeprefix("genrec-bench:")
        parts = ("dataset", "indexer", "backbone", "decoder") if trained else ("dataset", "baseline")
        filled["options"] = {part: spec.options.get(part, {}) for part in parts}
        resolved = ResolvedSpec.from_dict({**spec.to_dict(), **filled})
        facts = {
            "throughput": {"users_per_second": 812.4, "device": "cpu", "threads": 2, "batch_size": 64, "beams": 50},
            "warnings": stub.warnings,
            "training": {},
        }
        if not trained:
            made = {
                "baseline": {
                    "name": resolved.baseline,
                    "distribution": "genrec-bench",
                    "version": "1",
                    "code": "c" * 64,
                }
            }
            return example_records.finished(resolved, FLOOR, validity={}, parameters={}, components=made, **facts)
        rates = {"hallucination_rate": 0.031, "fill@10": 0.5}
        size = {"total": 1234567, "size": "6+6x64/16"}
        return example_records.finished(resolved, RANKS, validity=rates, parameters=size, **facts)

    stub = SimpleNamespace(run=run, asked=asked, fails_on=None, warnings=[])
    monkeypatch.setitem(sys.modules, "genrec_bench.runs.run", stub)
    monkeypatch.setattr(genrec_bench.runs, "run", stub)
    return stub


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--datset", "x"], "'--dataset'"),
        (["rnu"], "No such command 'rnu'"),
        (["run"], "no indexer given"),
        (["run", "--indexer", "sci"], "no backbone given"),
        (["run", "--baseline", "popularity", "--beams", "50"], "a baseline has no beams"),
        (["run", "--baseline", "popularity", "--indexer", "sci"], "a baseline has no indexer"),
        (["run", "--indexer", "sci", "--backbone", "lightlm", "--task", "both"], "no task 'both'"),
        (["run", "--baseline", "popularity", "--seed", "one"], "'one' is not a valid integer"),
        (["run", "--baseline", "popularity", "--set", "epochs"], "write part.key=value"),
        (["run", "--baseline", "popularity", "--set", "epochs=3"], "write part.key=value"),
        (["run", "--baseline", "popularity", "--set", "datset.path=x"], "Did you mean 'dataset'?"),
        (["run", "--baseline", "popularity", "--spec", "absent.toml"], "no spec file absent.toml"),
        (["leaderboard"], "Missing argument"),
        (["plugins", "--kind", "optimiser"], "'optimiser' is not one of"),
        (["recommend", "somewhere"], "Missing option '--user'"),
        (["recommend", "somewhere", "--user", "1", "-k", "0"], "0 is not in the range"),
        (["data", "info", "ml-100k", "--set", "x"], "e.g. --set dataset.min_interactions=5"),
        (["run", "--baseline", "pop"], "no baseline named 'pop'. Did you mean 'popularity'?"),
        (["plugins", "show", "popularit"], "Did you mean 'popularity'?"),
        (
            ["run", "--indexer", "sci", "--backbone", "lightlm", "--set", "indexer.variant=jont"],
            "expected one of joint, separate, items, users. Did you mean 'joint'?",
        ),
        (["data", "info", "ml-1k"], "no dataset named 'ml-1k'. Did you mean 'ml-100k'?"),
    ],
)
def test_a_wrong_request_is_one_line_on_stderr_and_exit_code_2(words, said):
    done = genrec(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["recommend", "absent", "--user", "1"], ["verify", "absent"]])
def test_a_run_folder_that_is_not_there_is_one_line_and_exit_code_1(words):
    done = genrec(*words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("RecordError: no record at absent") and done.stderr.count("\n") == 1


def test_an_error_of_many_lines_is_printed_on_one(runner):
    runner.fails_on = "popularity"
    done = genrec("run", "--baseline", "popularity")
    assert done.exit_code == 1
    assert done.stderr == "DataError: the popularity run found garbled data in line 3\n"


@pytest.mark.parametrize("words", [["--debug", "run"], ["run", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(words):
    done = genrec(*words)
    assert done.exit_code == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("UsageError: no indexer given")


def test_a_bug_is_one_line_that_says_how_to_see_more(runner, monkeypatch):
    monkeypatch.setattr(runner, "run", lambda *words, **more: {}["gone"])
    done = genrec("run", "--baseline", "popularity")
    assert done.exit_code == 1
    assert done.stderr == "unexpected KeyError: 'gone'; run with --debug for the traceback\n"


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_an_interruption_is_one_line_and_the_code_of_its_signal(runner, monkeypatch, error, code):
    def interrupted(*words, **more):
        raise error

    monkeypatch.setattr(runner, "run", interrupted)
    done = genrec("run", "--baseline", "popularity")
    assert done.exit_code == code
    assert done.stderr.strip().startswith("Interrupted: ") and "Traceback" not in done.stderr


def test_without_a_command_the_help_is_shown():
    done = genrec()
    assert done.exit_code == 0 and "leaderboard" in done.stdout


def test_every_option_of_run_reaches_the_runner(runner):
    words = "--dataset toys --task sequential --indexer sci --backbone lightlm --decoder filter --profile tiny --seed 3"
    more = "--beams 40 --set backbone.epochs=2 --set dataset.path=a=b --out o --data-dir d --device cpu --force --json"
    assert genrec("run", *words.split(), *more.split()).exit_code == 0
    ((spec, how),) = runner.asked
    assert spec == RunSpec(
        dataset="toys",
        task="sequential",
        indexer="sci",
        backbone="lightlm",
        decoder="filter",
        profile="tiny",
        seed=3,
        beams=40,
        set={"backbone.epochs": "2", "dataset.path": "a=b"},
    )
    assert (how["out"], how["data_dir"], how["device"], how["force"]) == (Path("o"), Path("d"), "cpu", True)


def test_the_command_line_overrides_the_spec_file_option_by_option(runner, tmp_path):
    (tmp_path / "s.toml").write_text(
        'indexer = "random"\nseed = 5\nbeams = 60\n[set]\n"backbone.epochs" = 9\n[options.backbone]\nlayers = 1\n'
    )
    words = ["--backbone", "lightlm", "--seed", "6", "--set", "backbone.epochs=2", "--json"]
    assert genrec("run", "--spec", tmp_path / "s.toml", *words).exit_code == 0
    ((spec, _),) = runner.asked
    assert (spec.indexer, spec.backbone, spec.seed, spec.beams) == ("random", "lightlm", 6, 60)
    assert spec.options == {"backbone": {"layers": 1, "epochs": "2"}}


def test_json_prints_the_whole_record_and_nothing_else(runner):
    done = genrec("run", "--indexer", "sci", "--backbone", "lightlm", "--json")
    record = RunRecord.from_dict(json.loads(done.stdout))
    assert record.metrics["mask"]["ndcg@10"] == from_ranks(RANKS)["ndcg@10"]
    assert len(runner.asked) == 1


def test_what_a_record_warns_of_is_printed_below_the_tables(runner):
    runner.warnings = ["the ids tell what comes next"]
    done = genrec("run", "--baseline", "popularity")
    assert "warning: the ids tell what comes next\n" in done.stdout
    assert done.stdout.index("users/s") < done.stdout.index("warning:")


def test_untrained_counting_is_printed_under_a_system_on_the_same_data_task_and_protocol(runner):
    words = ["--task", "sequential", "--set", "dataset.path=x", "--out", "o"]
    done = genrec("run", "--indexer", "sci", "--backbone", "lightlm", *words)
    (_, _), (floor, how) = runner.asked
    assert floor == RunSpec(task="sequential", baseline="genrec-bench:item-counts", set={"dataset.path": "x"})
    assert how["out"] == Path("o")
    rows = [line.split() for line in done.stdout.splitlines()]
    (ours,) = [row for row in rows if row[:6] == [*SYSTEM, "hidden"]]
    (theirs,) = [row for row in rows if row[:2] == ["item-counts", "hidden"]]
    apart = from_ranks(RANKS)["ndcg@10"] / from_ranks(FLOOR)["ndcg@10"] - 1
    assert ours[6:] == [*shown(RANKS), f"{apart:+.0%}", "(one", "seed)"] and theirs[2:] == shown(FLOOR)
    assert f"No test can tell sci / lightlm / trie from item-counts ({apart:+.0%} in ndcg@10)" in done.stdout


def test_a_distance_that_may_be_chance_is_marked(runner):
    done = genrec("run", "--baseline", "ease")
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("ease") and "hidden" in line]
    assert row.endswith("+0% (n.s.)") and "ease cannot be told from item-counts" in done.stdout


def test_speed_comes_with_its_conditions_and_the_unmeasured_prints_as_a_dash(runner):
    out = genrec("run", "--indexer", "sci", "--backbone", "lightlm").stdout
    assert "sci / lightlm / trie: cpu, 2 threads, batches of 64 users, 50 beams" in out
    facts = {line.split()[0]: line.split()[-2:] for line in out.splitlines() if line.strip()}
    dash = "\N{EN DASH}"
    assert (facts["halluc."], facts["users/s"]) == (["3.10%", dash], ["812", "812"])
    assert "quick 6+6x64/16" in out and "1,234,567" in out and "run folder: runs/" in out


@pytest.mark.parametrize("floor", ["popularity", "item-counts"])
def test_a_floor_is_run_alone(runner, floor):
    assert genrec("run", "--baseline", floor).exit_code == 0
    assert len(runner.asked) == 1


def test_a_floor_that_fails_does_not_take_the_result_with_it(runner):
    runner.fails_on = "item-counts"
    done = genrec("run", "--indexer", "sci", "--backbone", "lightlm")
    assert done.exit_code == 0 and shown(RANKS)[0] in done.stdout
    assert "no row of untrained counting: DataError" in done.stderr


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_table_of_a_run_is_folded_by_a_screen(runner, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(terminal, "PIPED_WIDTH", width)
    done = genrec("run", "--indexer", "sci", "--backbone", "lightlm")
    (head,) = [line for line in done.stdout.splitlines() if line.startswith("system ")]
    assert len(head) <= width and "ndcg@10" in head and "vs item-counts" in head
    rows = [line for line in done.stdout.splitlines() if "hidden" in line and "lists" not in line]
    assert len(rows) == 2 and rows[0].startswith("sci / lightlm / trie") and "(one seed)" in rows[0]


def test_lines_of_a_piped_table_are_never_folded(runner):
    out = genrec("run", "--indexer", "a-rather-long-name-of-an-indexer-plugin", "--backbone", "another-long-one" * 5)
    assert f"{'another-long-one' * 5} / trie" in out.stdout


def test_plugins_as_json_is_a_list_with_kind_name_owner_version_description_and_status():
    rows = json.loads(genrec("plugins", "--kind", "decoder", "--json").stdout)
    (trie,) = [row for row in rows if row["name"] == "trie" and row["distribution"] == "genrec-bench"]
    assert {"kind", "name", "distribution", "version", "description", "status"} <= set(trie)
    assert trie["version"] == genrec_bench.__version__ and trie["status"] == "ok" and trie["description"]
    assert {row["kind"] for row in rows} == {"decoder"}


def test_plugins_and_data_show_a_row_for_everything_installed():
    assert "lightlm" in genrec("plugins").stdout
    assert {"ml-100k", "beauty", "file"} <= set(genrec("data").stdout.split())


def test_plugins_show_lists_every_option_with_type_default_and_meaning():
    facts = json.loads(genrec("plugins", "show", "sci", "--json").stdout)
    options = {option["name"]: option for option in facts["options"]}
    assert options["variant"]["type"] == "joint | separate | items | users"
    assert (options["clusters"]["default"], options["clusters"]["meaning"]) == ("50", "clusters per split")
    shown = genrec("plugins", "show", "lightlm").stdout
    assert "backbone.d_ff" in shown and "profile quick/sequential" in shown
    path = next(line for line in genrec("plugins", "show", "file").stdout.splitlines() if "dataset.path" in line)
    assert "must be given" in path


def test_plugins_show_of_an_unknown_or_ambiguous_name_is_one_line():
    done = genrec("plugins", "show", "lightl")
    assert done.exit_code == 2 and "Did you mean 'lightlm'" in done.stderr and done.stderr.count("\n") == 1


def test_data_as_json_is_a_list():
    assert {"ml-100k", "file"} <= {row["name"] for row in json.loads(genrec("data", "--json").stdout)}


@pytest.mark.parametrize("words", [["data"], ["plugins"], ["plugins", "show", "sci"]])
def test_an_ascii_terminal_is_no_error(words):
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "genrec_bench", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=ascii_only)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A finished run of two users over four titled films, and the data set it belongs to."""
    rows = np.array([[0, 0], [0, 1], [0, 2], [0, 3], [1, 3], [1, 1], [1, 0]], np.int32)
    films = np.array(["Alien [1979]", "Brazil", "Casablanca", "Dune"])
    data = Interactions(rows[:, 0], rows[:, 1], None, np.array(["u7", "u8"]), np.array(list("abcd")), item_titles=films)
    split = leave_one_out(data)
    monkeypatch.setattr(run_inputs, "load_data", lambda spec, **how: (data, split))
    record = example_records.baseline()
    dataclasses.replace(record, fingerprints={**record.fingerprints, "data": data.fingerprint()}).write(tmp_path)
    lists = Ranking(np.array([[3, -1], [2, 0]], np.int32), np.array([[0.5, -np.inf], [2, 1]], np.float32), 2)
    write_lists(tmp_path / LISTS_FILE, {"mask": lists}, data.user_ids[split.test.user], data.item_ids)
    return tmp_path


def test_recommend_shows_what_the_user_had_and_what_is_recommended_with_titles(finished):
    lines = genrec("recommend", finished, "--user", "u8").stdout.splitlines()
    words = [line.split() for line in lines]
    assert words.index(["d", "Dune"]) < words.index(["b", "Brazil"])
    assert words.index(["1", "c", "Casablanca", "2.000"]) < words.index(["2", "a", "Alien", "[1979]", "1.000"])
    assert not any("popularity had" in line for line in lines)


def test_recommend_never_shows_the_held_out_item_as_history(finished):
    shown = genrec("recommend", finished, "--user", "u7").stdout.partition("recommends")[0]
    assert "Casablanca" in shown and "Dune" not in shown and "has 3 items" in shown


def test_recommend_takes_as_many_as_asked(finished):
    out = genrec("recommend", finished, "--user", "u8", "-k", 1).stdout
    assert "Casablanca" in out and "Alien" not in out


def test_recommend_says_where_the_list_ends_and_speaks_json(finished):
    assert "ends after 2" in genrec("recommend", finished, "--user", "u8", "-k", 5).stdout
    answer = json.loads(genrec("recommend", finished, "--user", "u8", "--json").stdout)
    assert [row["title"] for row in answer["recommended"]] == ["Casablanca", "Alien [1979]"]
    assert (answer["seen"], [row["item"] for row in answer["last"]]) == (2, ["d", "b"])


def test_recommend_to_an_unknown_user_is_one_line(finished):
    done = genrec("recommend", finished, "--user", "nobody")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "'nobody'" in done.stderr and done.stderr.count("\n") == 1


def test_a_record_of_wrong_types_is_one_line_that_names_the_key(finished):
    example_records.edit(finished, "metrics", "mask", "ndcg@10", value="much")
    for words in (["recommend", finished, "--user", "u8"], ["verify", finished], ["leaderboard", finished]):
        done = genrec(*words)
        assert done.exit_code == 1 and done.stderr.startswith("RecordError: ") and done.stderr.count("\n") == 1
        assert "metrics.mask" in done.stderr and "record.json" in done.stderr


def test_recommend_from_an_unfinished_run_says_so(finished):
    example_records.failed().write(finished)
    done = genrec("recommend", finished, "--user", "u8")
    assert done.exit_code == 1 and "this run is failed" in done.stderr


@pytest.mark.parametrize(("holds", "code", "said"), [(True, 0, "x: verified"), (False, 1, "x: NOT verified")])
def test_verify_ends_with_1_if_anything_differs(monkeypatch, holds, code, said):
    comparisons = (Comparison("split", True), Comparison("metrics.mask", holds, "ndcg@10 is 0.2"))
    report = VerifyReport(Path("x"), "0" * 16, comparisons)
    monkeypatch.setattr("genrec_bench.runs.verify.verify", lambda run, **how: report)
    done = genrec("verify", "x")
    assert done.exit_code == code and said in done.stdout
    assert json.loads(genrec("verify", "x", "--json").stdout)["ok"] is holds


def test_leaderboard_prints_what_is_asked_of_the_records(tmp_path):
    example_records.baseline().write(tmp_path / "one")
    for form in ("table", "md", "csv", "json"):
        done = genrec("leaderboard", tmp_path, "--format", form)
        assert done.exit_code == 0 and "popularity" in done.stdout
    assert json.loads(done.stdout)["tables"]


def test_a_leaderboard_names_what_it_refuses_and_shows_the_rest(tmp_path):
    example_records.baseline().write(tmp_path / "sound")
    for name, keys, value in (("newer", ["schema"], 2), ("edited", ["metrics", "mask", "ndcg@10"], 0.99)):
        example_records.finished().write(tmp_path / name)
        example_records.edit(tmp_path / name, *keys, value=value)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "record.json").write_text("{")
    done = genrec("leaderboard", tmp_path)
    assert done.exit_code == 0 and "popularity" in done.stdout and "lightlm" not in done.stdout
    damaged, edited, newer = done.stderr.splitlines()
    assert "damaged" in damaged and "sci / lightlm / trie" in edited and "schema 2" in newer
    (tmp_path / "sound" / "record.json").unlink()
    done = genrec("leaderboard", tmp_path)
    assert (done.exit_code, done.stdout) == (1, "") and len(done.stderr.splitlines()) == 3


def test_a_leaderboard_of_nothing_is_one_line(tmp_path):
    done = genrec("leaderboard", tmp_path / "absent")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "absent" in done.stderr and done.stderr.count("\n") == 1


def test_a_reader_who_leaves_early_is_no_error():
    words = [sys.executable, "-m", "genrec_bench", "plugins", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["plugins"], ["plugins", "--json"], ["--help"]])
def test_a_full_disk_behind_stdout_is_one_plain_line(words):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "genrec_bench", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert (
        done.stderr.startswith("OutputError: cannot write the output: No space left") and done.stderr.count("\n") == 1
    )


def test_a_closed_stdout_is_no_error():
    done = subprocess.run(f"{sys.executable} -m genrec_bench data >&-", shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_while_the_commands_are_imported_is_one_line_and_exit_code_130():
    code = (
        "import sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'genrec_bench.cli.main': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        "from genrec_bench.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr.startswith("Interrupted: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", ["--help", "plugins --json", "leaderboard --help", "run --help", "data"])
def test_light_commands_import_nothing_heavy(words):
    code = (
        "import sys; from genrec_bench.cli.main import cli\n"
        f"try: cli.main({words.split()!r})\n"
        f"except SystemExit as end: print(end.code, [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "0 []"


def test_help_imports_no_command_and_neither_numpy_nor_rich():
    code = (
        "import sys; from genrec_bench.cli.main import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: print([name for name in ('numpy', 'rich', 'genrec_bench.cli.run', 'genrec_speed') "
        "if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n" and "leaderboard" in done.stdout


def test_every_command_and_option_has_a_line_of_help():
    def walk(command: click.Command):
        yield command
        if isinstance(command, click.Group):
            ctx = click.Context(command)
            for name in command.list_commands(ctx):
                yield from walk(command.get_command(ctx, name))

    commands = list(walk(cli))
    assert {"run", "info", "add"} <= {command.name for command in commands}
    for command in commands:
        assert command.help
        for option in command.params:
            assert not isinstance(option, click.Option) or option.help, f"{command.name} {option.name}"


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "genrec_bench", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"genrec, version {genrec_bench.__version__}\n"


def test_an_error_that_repeats_a_long_value_is_cut_and_keeps_its_ends():
    assert explain(click.Abort(), resumes=True)[0].endswith("the same command resumes")
    assert explain(click.Abort())[0].endswith("the same command starts again")
    line, code = explain(ConfigError(f"backbone.epochs = {'9' * 5_000}: give a smaller one"))
    assert code == 2 and len(line) < 2_000
    assert line.startswith("ConfigError: backbone.epochs = 999") and line.endswith("999: give a smaller one")
