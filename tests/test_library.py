"""What people call in notebooks: comparisons, boards, ledgers, splits and data frames."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from example_records import RANKS, baseline_spec, failed, finished, generator_spec

import genrec_bench
from genrec_bench import RunRecord, RunSpec, compare, load_board, load_dataset, load_ledger, run, split
from genrec_bench.core.events import Interactions
from genrec_bench.core.rankings import Ranking
from genrec_bench.errors import DataError, NeedsMissing, RecordError, UsageError
from genrec_bench.leaderboard.columns import NOT_MEASURED
from genrec_bench.leaderboard.comparison import compare as compare_two
from genrec_bench.leaderboard.publish import add
from genrec_bench.protocol.split import split_data
from genrec_bench.protocol.statistics import holm
from genrec_bench.tuning.ledger import line_of

MANY = 5
BETTER = (1, 1, 3, 2, 2, 0, 4, 1, 5, 0)
CLOSE = (1, 3, 0, 12, 3, 0, 0, 1, 7, 0)


def counted(ranks: Sequence[int], name: str = "item-counts") -> RunRecord:
    made = {"baseline": {"name": name, "distribution": "genrec-bench", "version": "1", "code": "c" * 64}}
    return finished(baseline_spec(baseline=name), ranks * MANY, parameters={}, components=made)


def seeds() -> list[RunRecord]:
    return [finished(generator_spec(seed), ranks * MANY) for seed, ranks in enumerate((RANKS, CLOSE, (2, *RANKS[1:])))]


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    rows = [f"u{user},i{(user + 2 * step) % 9},{60 * step}" for user in range(12) for step in range(6)]
    (tmp_path / "clicks.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    return tmp_path / "clicks.csv"


# compare --------------------------------------------------------------------------------------------------------------


def test_all_systems_are_compared_with_the_first_as_each_pair_would_be() -> None:
    floor, better, model = counted(CLOSE), counted(BETTER, "ease"), seeds()
    found = compare([floor, better, model])
    assert [row.system for row in found.rows] == ["item-counts", "ease", "sci / lightlm / trie"]
    pairs = [compare_two([better], [floor]), compare_two(model, [floor])]
    assert [pair.difference for pair in found.pairs] == [pair.difference for pair in pairs]
    assert list(found.p) == holm([pair.difference.p for pair in pairs if pair.difference])
    assert found.verdicts == [pair.verdict for pair in pairs]


def test_records_of_one_system_are_its_seeds_and_a_record_counts_once() -> None:
    one, two, three = seeds()
    apart, together = compare([counted(RANKS), one, two, three, one]), compare([counted(RANKS), [three, two, one]])
    assert [row.seeds for row in apart.rows] == [1, 3]
    assert apart.rows[1].metrics == together.rows[1].metrics


def test_one_seed_has_a_row_and_no_p() -> None:
    found = compare([counted(RANKS), seeds()[0]])
    assert found.p == (None,) and "No test can tell" in found.verdicts[0]
    assert np.isnan(found.to_pandas()["difference"][1]) and f"<td>{NOT_MEASURED}</td>" in found._repr_html_()


def test_texts_name_runs_and_rows_of_boards(tmp_path: Path) -> None:
    for record in (*seeds(), counted(BETTER)):
        record.sealed().write(tmp_path / "runs" / record.spec_id)
    add([tmp_path / "runs"], tmp_path / "boards", pytest.fail, check=False)
    board = tmp_path / "boards" / "loo-full-1" / "direct" / "ml-100k"
    by_id = compare([counted(BETTER).spec_id[:8], seeds()[0].system_id[:8]], out=tmp_path / "runs")
    by_row = compare([f"{board}:item-counts", f"{board}:sci / lightlm / trie"])
    pd.testing.assert_frame_equal(by_id.to_pandas(), by_row.to_pandas())
    by_path = compare([str(tmp_path / "runs" / counted(BETTER).spec_id), seeds()[0]])
    assert by_path.rows[0].metrics == by_id.rows[0].metrics


def test_the_frame_holds_the_numbers_of_the_rows() -> None:
    found = compare([counted(CLOSE), counted(BETTER, "ease")])
    frame = found.to_pandas().set_index("system")
    assert frame.loc["ease", "ndcg@10"] == counted(BETTER).metrics["mask"]["ndcg@10"]
    assert frame.loc["ease", "ndcg@10_low"] < frame.loc["ease", "ndcg@10"] < frame.loc["ease", "ndcg@10_high"]
    apart = frame.loc["ease", "ndcg@10"] - frame.loc["item-counts", "ndcg@10"]
    assert frame.loc["ease", "difference"] == pytest.approx(apart) and frame.loc["ease", "p"] == found.p[0]
    assert list(frame["kind"]) == ["floor", "baseline"]


def test_a_plot_shows_every_system_at_its_score() -> None:
    mpl.use("Agg")
    found = compare([counted(CLOSE), counted(BETTER, "ease")])
    axes = found.plot("hit@5")
    assert [text.get_text() for text in axes.get_yticklabels()] == ["item-counts", "ease"]
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [row.metrics["hit@5"] for row in found.rows]
    with pytest.raises(UsageError, match="no interval of 'mrr@10': draw one of hit@5"):
        found.plot("mrr@10")


@pytest.mark.parametrize(
    ("systems", "error", "message"),
    [
        ([counted(RANKS)], UsageError, "needs two systems, and these are 1"),
        ([], UsageError, "these are 0"),
        ([counted(RANKS), failed()], RecordError, "the run failed"),
        ([counted(RANKS), "nowhere"], RecordError, "no path nowhere"),
        ([counted(RANKS), finished(generator_spec(task="sequential"))], RecordError, "has task"),
        ([counted(RANKS), finished(fingerprints={"data": "e" * 64})], RecordError, "on different data"),
    ],
)
def test_what_cannot_be_compared_is_refused(systems, error, message, tmp_path) -> None:
    with pytest.raises(error, match=message):
        compare(systems, out=tmp_path)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(UsageError, match="policy 'both'"):
        compare([counted(RANKS), counted(BETTER, "ease")], policy="both")


def test_names_are_texts_in_html() -> None:
    made = {"baseline": {"name": "<b>", "distribution": "x", "version": "1", "code": "c" * 64}}
    odd = finished(baseline_spec(baseline="<b>"), RANKS, parameters={}, components=made)
    html = compare([finished(baseline_spec(), RANKS, parameters={}), odd])._repr_html_()
    assert "<b>" not in html and "&lt;b&gt;" in html


# boards, ledgers, splits, frames --------------------------------------------------------------------------------------


def test_a_board_is_a_frame_of_its_table(tmp_path: Path) -> None:
    for record in (*seeds(), counted(BETTER)):
        record.sealed().write(tmp_path / "runs" / record.spec_id)
    add([tmp_path / "runs"], tmp_path / "boards", pytest.fail, check=False)
    folder = tmp_path / "boards" / "loo-full-1" / "direct" / "ml-100k"
    board = load_board(str(folder))
    assert board.headline.startswith("The only generator is behind untrained counting")
    frame = board.to_pandas()
    assert list(frame["system"]) == ["item-counts", "sci / lightlm / trie"]
    assert frame["ndcg@10"][0] == counted(BETTER).metrics["mask"]["ndcg@10"] and frame["seeds"][1] == 3
    assert "item-counts" in repr(board) and len(repr(board)) < 200 and "<table>" in board._repr_html_()
    assert any("seeds" in sentence for sentence in board.conditions)

    next((folder / "records").iterdir()).write_text("{}")
    with pytest.warns(UserWarning, match="left out"):
        assert len(load_board(folder).rows) < 3
    with pytest.raises(RecordError, match="no board in"):
        load_board(tmp_path)
    with pytest.raises(UsageError, match="only mask, keep"):
        load_board(folder, policy="both")


def test_a_ledger_is_a_frame_of_its_trials(tmp_path: Path) -> None:
    facts = {"search": "a1", "dataset": "d", "task": "direct", "status": "finished", "seconds": 1.0}
    trials = [
        {**facts, "system": "ease", "trial": 0, "params": {"baseline.l2": 3.0}, "validation_ndcg@10": 0.1},
        {**facts, "system": "bpr", "trial": 0, "params": {"baseline.dim": 8}, "validation_ndcg@10": 0.2},
    ]
    (tmp_path / "ledger.jsonl").write_text("".join(map(line_of, trials)))
    ledger = load_ledger(tmp_path / "ledger.jsonl")
    frame = ledger.to_pandas()
    assert list(frame["validation_ndcg@10"]) == [0.1, 0.2] and frame["baseline.l2"][0] == 3.0
    assert len(ledger) == 2 and repr(ledger) == "<ledger: 2 trials of bpr, ease>" and "ease" in ledger._repr_html_()
    with pytest.raises(RecordError, match="no trials in"):
        load_ledger(tmp_path / "none.jsonl")


def test_a_split_has_the_protocols_cases_by_external_id(clicks: Path) -> None:
    parts = split(str(clicks))
    data, protocols = split_data(load_dataset(str(clicks)))
    for part, cases in ((parts.test, protocols.test), (parts.validation, protocols.validation)):
        wanted = set(zip(data.user_ids[cases.user], data.item_ids[cases.target], strict=True))
        frame = part.to_pandas()
        assert set(zip(frame["user"], frame["item"], strict=True)) == wanted
    frame = parts.to_pandas()
    assert frame["part"].value_counts().to_dict() == {"train": 48, "validation": 12, "test": 12}
    assert (frame[frame["part"] == "train"].groupby("user")["time"].max() == 180).all()
    assert repr(parts) == "<loo-full/1: train 48, validation 12, test 12 interactions>"


def test_data_that_cannot_be_split_say_why(tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    path.write_text("user,item,time\n" + "".join(f"u{user},i{step},{step}\n" for user in range(3) for step in range(3)))
    data = load_dataset(str(path))
    keep = np.arange(len(data)) != len(data) - 1
    short = Interactions(data.user[keep], data.item[keep], data.time[keep], data.user_ids, data.item_ids)
    with pytest.raises(DataError, match="fewer than 3 interactions"):
        split(short)


def test_records_and_rankings_are_frames_and_short_texts(clicks: Path, tmp_path: Path) -> None:
    record = run(RunSpec(dataset=str(clicks), baseline="popularity"), out=str(tmp_path / "runs"))
    frame = RunRecord.read(str(tmp_path / "runs" / record.spec_id)).to_pandas()
    assert list(frame["policy"]) == ["mask", "keep"] and frame["ndcg@10"][0] == record.metrics["mask"]["ndcg@10"]
    assert len(repr(record)) < 120 and "popularity" in repr(record)

    ranking = Ranking(np.array([[4, 2], [1, -1]], np.int32), np.array([[2, 1], [3, -np.inf]], np.float32), 2)
    assert ranking.to_pandas().to_numpy().tolist() == [[0, 1, 4, 2], [0, 2, 2, 1], [1, 1, 1, 3]]
    assert len(repr(ranking)) < 80


def test_a_frame_without_pandas_says_what_to_install(monkeypatch) -> None:
    found = compare([counted(RANKS), counted(BETTER, "ease")])
    without("pandas", monkeypatch)
    with pytest.raises(NeedsMissing, match=r"needs pandas: pip install 'genrec-bench\[notebook\]'"):
        found.to_pandas()


def test_a_plot_without_matplotlib_says_what_to_install(monkeypatch) -> None:
    found = compare([counted(RANKS), counted(BETTER, "ease")])
    without("matplotlib", monkeypatch)
    with pytest.raises(NeedsMissing, match="a plot needs matplotlib"):
        found.plot()
    assert "<table>" in found._repr_html_()  # a notebook without pandas and Matplotlib still shows it


def test_importing_all_public_names_loads_neither_torch_nor_pandas() -> None:
    names = ", ".join(name for name in genrec_bench.__all__)
    code = f"from genrec_bench import {names}; import sys; assert not {{'torch', 'pandas', 'matplotlib'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(dir(genrec_bench)) >= {"compare", "load_board", "load_dataset", "load_ledger", "run", "split", "RunSpec"}
