"""Baselines of a board under other orders of equal timestamps: measured, kept, shown, and never a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from example_records import baseline_spec, finished

from genrec_bench import RunSpec
from genrec_bench.cli.main import cli
from genrec_bench.leaderboard.publish import add, build
from genrec_bench.leaderboard.tie_orders import FILE, SEEDS
from genrec_bench.runs import run as runner

BOARD = Path("boards", "loo-full-1", "direct", "file")
BASELINES = ("popularity", "item-counts")


def genrec(*words: object):
    return CliRunner().invoke(cli, ["leaderboard", *map(str, words)])


def events(days: int) -> str:
    """Forty users with six interactions each, on so many days: fewer days, more ties."""
    rng = np.random.default_rng(5)
    rows = [
        f"u{user},i{item},{place * days // 6}"
        for user in range(40)
        for place, item in enumerate(rng.choice(30, 6, replace=False))
    ]
    return "\n".join(["who,what,day", *rows]) + "\n"


def fill(days: int) -> None:
    """A board of two baselines, run on data in the current folder."""
    Path("events.csv").write_text(events(days))
    columns = {"user_column": "who", "item_column": "what", "time_column": "day"}
    settings = {"path": "events.csv", "format": "csv", **columns}
    for name in BASELINES:
        asked = {f"dataset.{key}": value for key, value in settings.items()}
        runner.run(RunSpec(dataset="file", task="direct", baseline=name, set=asked), out="runs")
    add([Path("runs")], Path("boards"), pytest.fail, check=False)


@pytest.fixture
def board(tmp_path, monkeypatch) -> Iterator[Path]:
    """A board on data whose events tie, measured and built."""
    monkeypatch.chdir(tmp_path)
    fill(days=2)
    assert genrec("ties", "boards").exit_code == 0
    assert genrec("build", "boards").exit_code == 0
    return BOARD


def measured_of(board: Path) -> dict:
    return json.loads((board / FILE).read_text())


def test_the_first_order_is_the_boards_own_and_the_others_are_other_splits(board) -> None:
    measured = measured_of(board)
    records = [json.loads(file.read_text()) for file in (board / "records").iterdir()]
    assert measured["tie_seeds"] == list(SEEDS) == [0, 1, 2, 3, 4]
    assert measured["splits"][0] == records[0]["fingerprints"]["split"] and len(set(measured["splits"])) == 5
    assert measured["moved"][0] == 0 < min(measured["moved"][1:])
    for baseline in measured["baselines"]:
        (record,) = (record for record in records if record["system_id"] == baseline["system_id"])
        for policy, scores in baseline["ndcg@10"].items():
            assert scores[0] == record["metrics"][policy]["ndcg@10"] and len(scores) == 5


def test_other_orders_are_no_rows_and_leave_no_records(board) -> None:
    assert len(list((board / "records").iterdir())) == len(BASELINES)
    assert (board / "table.csv").read_text().count("popularity") == 2  # one row per history policy
    assert len(list(Path("runs").iterdir())) == len(BASELINES)


def test_a_board_shows_the_table_with_its_range(board) -> None:
    (baseline,) = (entry for entry in measured_of(board)["baselines"] if entry["system"] == "popularity")
    scores = baseline["ndcg@10"]["mask"]
    cells = [*(f"{score:.4f}" for score in scores), f"{min(scores):.4f} to {max(scores):.4f}"]
    assert f"| popularity | {' | '.join(cells)} |" in (board / "README.md").read_text()
    html = (board / "index.html").read_text()
    assert f"<td>popularity</td>{''.join(f'<td>{cell}</td>' for cell in cells)}" in html
    assert html.count("<h2>Baselines under other tie orders</h2>") == 2


def test_a_board_is_built_without_the_data(board) -> None:
    before = (board / "README.md").read_bytes()
    Path("events.csv").unlink()
    build(Path("boards"), pytest.fail)
    assert (board / "README.md").read_bytes() == before


def test_a_board_that_nobody_measured_says_so(board) -> None:
    (board / FILE).unlink()
    build(Path("boards"), pytest.fail)
    assert "Nobody has measured baselines under other tie orders yet" in (board / "README.md").read_text()


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("fingerprints", "data"), "0" * 64, "is of other data, another split or another task"),
        (("splits",), ["0" * 64] * 5, "is of other data, another split or another task"),
        (("task",), "sequential", "is of other data, another split or another task"),
        (("baselines", 0, "system_id"), "f" * 16, "has no such row on the board"),
        (("baselines", 0, "ndcg@10", "mask"), [0.5] * 5, "says 0.500000 for popularity under tie seed 0"),
        (("baselines", 0, "ndcg@10", "mask"), [0.5] * 4, "is not what `genrec leaderboard ties` writes"),
        (("baselines", 0, "ndcg@10"), {}, "is not what `genrec leaderboard ties` writes"),
        (("tie_seeds",), [1, 0, 2, 3, 4], "is not what `genrec leaderboard ties` writes"),
        (("moved",), ["a"] * 5, "is not what `genrec leaderboard ties` writes"),
        (("baselines",), 3, "is not what `genrec leaderboard ties` writes"),
    ],
)
def test_tie_orders_of_something_else_are_left_out_and_named(board, keys, value, said) -> None:
    values = inner = measured_of(board)
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (board / FILE).write_text(json.dumps(values))
    done = genrec("build", "boards")
    assert done.exit_code == 1 and said in done.stderr and len(done.stderr.strip().splitlines()) == 1
    text = (board / "README.md").read_text()
    assert "under other tie orders\n" not in text and f"Not shown: {FILE}" in text


def test_other_data_than_the_boards_is_not_measured(board) -> None:
    Path("events.csv").write_text(events(days=3))
    done = genrec("ties", "boards")
    assert done.exit_code == 1 and "the data here is not what its records were made from" in done.stderr


def test_a_baseline_that_does_not_reproduce_its_row_is_not_measured(board, monkeypatch) -> None:
    from genrec_bench.baselines.popularity import Popularity

    rank = Popularity.rank
    monkeypatch.setattr(Popularity, "rank", lambda self, queries, **how: rank(self, queries, **{**how, "k": 3}))
    done = genrec("ties", "boards")
    assert done.exit_code == 1 and "popularity does not reproduce its row on the board" in done.stderr


def test_data_whose_events_never_tie_has_one_order_and_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(days=6)
    done = genrec("ties", "boards")
    assert done.exit_code == 2 and "no two interactions of a user tie" in done.stderr and not (BOARD / FILE).exists()
    build(Path("boards"), pytest.fail)
    assert "No two interactions of a user tie" in (BOARD / "README.md").read_text()


def test_a_board_without_such_a_baseline_cannot_be_measured(tmp_path) -> None:
    finished(baseline_spec(baseline="bpr"), parameters={}).write(tmp_path / "run")
    add([tmp_path / "run"], tmp_path / "boards", pytest.fail, check=False)
    done = genrec("ties", tmp_path / "boards")
    assert done.exit_code == 2 and "it has no row of popularity" in done.stderr
