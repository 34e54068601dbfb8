"""The ledger of tuning trials beside a board: what it holds is checked, counted and said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from example_records import baseline_spec, finished

from genrec_bench.cli.main import cli
from genrec_bench.leaderboard.publish import add, build
from genrec_bench.tuning.ledger import LEDGER_FILE as FILE
from genrec_bench.tuning.ledger import line_of

BOARD = Path("loo-full-1", "direct", "ml-100k")


@pytest.fixture
def root(tmp_path) -> Path:
    """A folder with a board of a generator, with two decoders, and a baseline."""
    from example_records import generator_spec

    records = [finished(), finished(generator_spec(decoder="filter"))]
    records.append(finished(baseline_spec(baseline="item-knn"), parameters={}))
    for record in records:
        record.write(tmp_path / "runs" / record.spec_id)
    add([tmp_path / "runs"], tmp_path / "boards", pytest.fail, check=False)
    return tmp_path / "boards"


def trials(count: int, system: str = "item-knn", search: str = "a1", **changes: Any) -> list[dict[str, Any]]:
    """Trials as `genrec tune` writes them; the last one failed."""
    facts = {"dataset": "ml-100k", "task": "direct", "protocol": "loo-full/1", "data": "d" * 64, "params": {"x.y": 1}}
    lines = [
        {"search": search, "system": system, **facts, "trial": number, "status": "finished", "validation_ndcg@10": 0.1}
        for number in range(count)
    ]
    lines[-1] |= {"status": "failed", "validation_ndcg@10": None}
    return [{**trial, **changes} for trial in lines]


def write(folder: Path, lines: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text("".join(map(line_of, lines)))
    return folder / FILE


def readme(root: Path) -> str:
    (folder,) = build(root, pytest.fail)
    return (folder / "README.md").read_text()


def genrec(*words: object):
    return CliRunner().invoke(cli, ["leaderboard", *map(str, words)])


def test_a_board_without_a_ledger_says_that_nobody_was_tuned(root) -> None:
    text = readme(root)
    assert "nobody spent trials of `genrec tune` on this board" in text and "own default settings" in text


def test_a_board_states_the_trials_of_each_system_and_who_had_none(root) -> None:
    write(root / BOARD, trials(5))
    text = readme(root)
    assert "in ledger.jsonl: item-knn 5 (1 failed); not the same for every system." in text
    assert "Without trials, at their own defaults: sci/lightlm." in text
    assert "nobody spent trials" not in text


def test_the_same_budget_for_all_is_said_and_searches_of_one_system_add_up(root) -> None:
    write(root / BOARD, trials(4) + trials(2, "sci/lightlm", "b2") + trials(2, "sci/lightlm", "c3"))
    text = readme(root)
    assert "item-knn 4 (1 failed), sci/lightlm 4 (2 failed); the same for every system." in text
    assert "Without trials" not in text


def test_rows_whose_options_no_ledger_explains_are_named(root, tmp_path) -> None:
    for shrink in (50, 7):
        options = {"dataset": {}, "baseline": {"shrink": shrink}}
        record = finished(baseline_spec(baseline="ease", options=options), parameters={})
        record.write(tmp_path / "tuned" / record.spec_id)
    add([tmp_path / "tuned"], root, pytest.fail, check=False)
    said = "No ledger here says how the options of these rows were chosen: ease (shrink=50), ease (shrink=7)."
    assert said in readme(root)
    write(root / BOARD, trials(4, "ease"))
    assert said not in readme(root)


def test_lists_made_elsewhere_have_an_unknown_budget(tmp_path) -> None:
    options = {"dataset": {}, "baseline": {"name": "Theirs", "policy": "keep", "allow_missing": False}}
    record = replace(finished(baseline_spec(baseline="lists", options=options), parameters={}), tier="re-scored")
    record.write(tmp_path / "run")
    add([tmp_path / "run"], tmp_path / "boards", pytest.fail, check=False)
    assert "It is unknown how these were tuned: Theirs." in readme(tmp_path / "boards")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (trials(3, dataset="toys"), "ledger.jsonl, line 1: a trial of another board (dataset toys, not ml-100k)"),
        (trials(3, task="sequential"), "a trial of another board (task sequential, not direct)"),
        (trials(3, data="e" * 64), "a trial of another board (data eeeeeeeeeeee, not dddddddddddd)"),
        (trials(3)[1:], "trial 0 of search a1 is missing"),
        (trials(3) + trials(1), "trial 0 of search a1 is there twice"),
        (trials(3, status="skipped"), "line 1: not a trial"),
        (trials(3, system=None), "line 1: not a trial of `genrec tune`"),
        (trials(3, fixed={"dataset.path": "/home/me/data.csv"}), "names a path that exists on its machine only"),
    ],
)
def test_a_ledger_that_does_not_hold_is_left_out_and_named(root, lines, said) -> None:
    write(root / BOARD, lines)
    done = genrec("build", root)
    assert done.exit_code == 1 and said in done.stderr and len(done.stderr.strip().splitlines()) == 1
    text = (root / BOARD / "README.md").read_text()
    assert "Tuning, in trials" not in text and said in text and str(root) not in text


def test_trials_are_added_to_the_boards_they_belong_to_and_once(root, tmp_path) -> None:
    file = write(tmp_path / "tuned", trials(3))
    done = genrec("add", "--ledger", file, "--to", root)
    assert done.exit_code == 0 and done.stdout.strip() == str(root / BOARD / FILE)
    again = write(
        tmp_path / "tuned", trials(3, seconds=9.0, time="later", versions="others", cached=True)
    )  # with the same outcomes
    assert genrec("add", "--ledger", again, "--to", root).exit_code == 0
    assert (root / BOARD / FILE).read_text() == "".join(map(line_of, trials(3)))
    write(tmp_path / "tuned", trials(2) + trials(2, "sci/lightlm", "b2"))
    again = genrec("add", "--ledger", file, "--to", root)
    assert again.exit_code == 1 and "there twice" in again.stderr + str(again.exception)  # trial 1 has two outcomes
    write(tmp_path / "tuned", trials(3) + trials(2, "sci/lightlm", "b2"))
    assert genrec("add", "--ledger", file, "--to", root).exit_code == 0
    assert len((root / BOARD / FILE).read_text().splitlines()) == 5


@pytest.mark.parametrize("lines", [trials(2) + trials(2, search="b2", dataset="toys"), trials(2, task="sequential")])
def test_trials_without_a_board_are_not_added(root, tmp_path, lines) -> None:
    done = genrec("add", "--ledger", write(tmp_path / "tuned", lines), "--to", root)
    assert done.exit_code == 1 and "2 trials belong to no board there" in done.stderr + str(done.exception)
    assert not (root / BOARD / FILE).exists()


def test_adding_nothing_is_a_usage_error_and_no_ledger_an_error(root, tmp_path) -> None:
    assert genrec("add", "--to", root).exit_code == 2
    done = genrec("add", "--ledger", tmp_path / "absent.jsonl", "--to", root)
    assert done.exit_code == 1 and "no ledger at" in done.stderr + str(done.exception)


@pytest.mark.usefixtures("own_cache")
def test_what_tuning_appends_is_a_ledger_that_a_board_takes(tmp_path, monkeypatch, planted_file) -> None:
    pytest.importorskip("optuna")
    from genrec_bench.runs import run as runner
    from genrec_bench.tuning import search as tune

    monkeypatch.chdir(planted_file.parent)
    where = {"dataset.path": planted_file.name, "dataset.format": "sequence"}
    plan = tune.plan_of("item-knn", where, dataset="file", task="direct")
    tune.tune(plan, 2, ledger=tmp_path / "runs" / FILE)
    runner.run(plan.spec, out=tmp_path / "runs")
    boards = tmp_path / "boards"
    assert genrec("add", tmp_path / "runs", "--to", boards, "--ledger", tmp_path / "runs" / FILE).exit_code == 0
    assert "item-knn 2; the same for every system." in readme(boards)
