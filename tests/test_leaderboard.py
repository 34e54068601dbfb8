"""Tables from records: what shares a row, what shares a table, and what never gets in."""

from __future__ import annotations

import csv
import io
import json
import re
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_records import RANKS, baseline, baseline_spec, edit, failed, finished, generator_spec

from genrec_bench.core.files import write_json
from genrec_bench.errors import RecordError, UsageError
from genrec_bench.leaderboard import columns
from genrec_bench.leaderboard.records import collect, unfinished
from genrec_bench.leaderboard.renderers import render
from genrec_bench.protocol.ranks import ranks_digest
from genrec_bench.protocol.scores import from_ranks

BOARDS_GUIDE = Path(__file__).resolve().parents[1] / "docs" / "boards.md"
WORSE = (9, 3, 0, 12, 4, 0, 0, 2, 7, 0)


def rows(records, **options) -> list[dict]:
    tables = json.loads(render(records, "json", **options))["tables"]
    return [row for table in tables for row in table["rows"]]


def test_rows_are_sorted_by_ndcg_at_10() -> None:
    assert [row["system"] for row in rows([finished(ranks=WORSE), baseline()])] == [
        "popularity",
        "sci / lightlm / trie",
    ]
    assert [row["system"] for row in rows([finished(), baseline(WORSE)])] == ["sci / lightlm / trie", "popularity"]


def test_seeds_of_one_system_share_a_row() -> None:
    (row,) = rows([finished(generator_spec(0)), finished(generator_spec(1), WORSE)])
    both = [from_ranks(ranks)["ndcg@10"] for ranks in (RANKS, WORSE)]
    assert row["seeds"] == 2
    assert row["ndcg@10"] == pytest.approx(statistics.fmean(both))
    assert row["ndcg@10_sd"] == pytest.approx(statistics.stdev(both))


def test_other_options_are_another_row() -> None:
    other = generator_spec(options={"backbone": {"layers": 3}})
    assert len(rows([finished(), finished(other)])) == 2


def test_rows_of_one_name_are_told_apart_by_the_options_in_which_they_differ() -> None:
    specs = [
        generator_spec(options={"indexer": {"variant": variant, "clusters": 50}, "backbone": {"layers": layers}})
        for variant, layers in (("joint", 2), ("separate", 2), ("joint", 3))
    ]
    other = generator_spec(indexer="random", options={"indexer": {}, "backbone": {"layers": 2}})
    records = [finished(spec) for spec in (*specs, other)]
    telling = {row["options"] for row in rows([*records, baseline()])}
    assert telling == {
        "indexer.variant=joint backbone.layers=2",
        "indexer.variant=separate backbone.layers=2",
        "indexer.variant=joint backbone.layers=3",
        "backbone.layers=2",
        "",
    }
    for form in ("table", "md", "csv"):
        assert "indexer.variant=separate" in render(records, form)


def test_options_that_come_with_a_profile_tell_nothing_that_the_profile_does_not() -> None:
    small, large = (
        generator_spec(profile=profile, options={"backbone": {"layers": layers}})
        for profile, layers in (("tiny", 1), ("quick", 3))
    )
    assert [row["options"] for row in rows([finished(small), finished(large)])] == ["", ""]


def test_a_board_whose_names_suffice_has_no_column_of_options() -> None:
    assert "options" not in render([finished(), baseline()], "md")


def test_rates_are_percentages_where_people_read_them() -> None:
    line = next(line for line in render([finished()], "md").splitlines() if "sci" in line)
    assert "| 12.50% | 90.0% | alphabet | 123 |" in line
    assert rows([finished()])[0]["hallucination_rate"] == 0.125


def test_every_data_set_and_task_has_a_table_of_its_own() -> None:
    records = [finished(), finished(generator_spec(task="sequential")), finished(generator_spec(dataset="toys"))]
    text = render(records, "md")
    titles = [line for line in text.splitlines() if line.startswith("###")]
    assert titles == [
        "### ml-100k, direct task, loo-full/1, policy mask",
        "### ml-100k, sequential task, loo-full/1, policy mask",
        "### toys, direct task, loo-full/1, policy mask",
    ]


def test_what_nobody_measured_is_a_dash_in_tables_and_empty_in_data() -> None:
    line = next(line for line in render([baseline()], "md").splitlines() if "popularity" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[9] == "–"  # noqa: RUF001
    assert "0.0000" not in cells[9:12]
    (row,) = csv.DictReader(io.StringIO(render([baseline()], "csv")))
    assert row["hallucination_rate"] == row["parameters"] == ""
    assert rows([baseline()])[0]["hallucination_rate"] is None


def test_training_that_came_from_the_cache_was_not_timed() -> None:
    training = {**finished().training, "cached": True}
    assert rows([finished()])[0]["train_seconds"] == 12.5
    assert rows([finished(training=training)])[0]["train_seconds"] is None


def test_speeds_of_different_hardware_are_never_averaged() -> None:
    elsewhere = {**finished().environment, "cpu": "Other CPU"}
    (row,) = rows([finished(), finished(generator_spec(1), environment=elsewhere)])
    assert row["users_per_second"] is None
    assert "Some CPU" in row["hardware"] and "Other CPU" in row["hardware"]


def test_numbers_come_with_their_conditions() -> None:
    text = render([finished(), baseline()], "table")
    for said in (
        "Some CPU, Linux x86_64, 2 threads, batch 64, fp32",
        "Beams: 50",
        "more than 0.9000",
        "60%",
        "fewer than 5 seeds",
    ):
        assert said in text
    assert "\x1b" not in text


def test_policy_keep_shows_other_numbers() -> None:
    worse = {"mask": finished().metrics["mask"], "keep": {**from_ranks(WORSE), "tie_gap": 0.0}}
    record = replace(finished(metrics=worse), ranks={"mask": list(RANKS), "keep": list(WORSE)})
    assert rows([record], policy="keep")[0]["ndcg@10"] == from_ranks(WORSE)["ndcg@10"]


def test_a_cell_cannot_break_a_markdown_table_or_colour_a_terminal() -> None:
    record = finished(generator_spec(indexer="a|[red]b"))
    header, line = (line for line in render([record], "md").splitlines() if "system" in line or "lightlm" in line)
    assert line.replace("\\|", "").count("|") == header.count("|")
    assert "[red]b" in render([record], "table")


def test_unfinished_runs_are_counted_and_said() -> None:
    records = [finished(), failed()]
    assert unfinished(records) == "1 run not shown: 1 failed"
    assert "1 run not shown: 1 failed" in render(records, "table")
    assert json.loads(render(records, "json"))["notes"] == ["1 run not shown: 1 failed"]


def test_what_a_record_warns_of_stands_below_its_table_once() -> None:
    records = [finished(generator_spec(seed), warnings=["the ids tell what comes next"]) for seed in (0, 1)]
    for form in ("table", "md"):
        assert render(records, form).count("Warning: the ids tell what comes next.") == 1
    (table,) = json.loads(render(records, "json"))["tables"]
    assert table["warnings"] == ["the ids tell what comes next"]
    assert "Warning" not in render([finished()], "md")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("ndcg@10", 0.99, "above hit@10"), ("hit@5", 0.89, "above hit@10"), ("ndcg@20", 0.35, "that its ranks give")],
)
def test_an_impossible_row_is_refused_by_name(key: str, value: float, said: str) -> None:
    metrics = {policy: dict(values) for policy, values in finished().metrics.items()}
    metrics["mask"][key] = value
    with pytest.raises(RecordError, match=f"impossible row sci / lightlm / trie .*{said}"):
        render([finished(metrics=metrics)])


def test_a_hit_rate_above_the_ceiling_is_refused() -> None:
    with pytest.raises(RecordError, match=r"above the reachable ceiling 0\.3000"):
        render([finished(data={**finished().data, "mask_ceiling": 0.3})])


def test_a_wrong_number_of_ranks_is_refused() -> None:
    with pytest.raises(RecordError, match="10 ranks for 11 test cases"):
        render([finished(data={**finished().data, "test_cases": 11})])


def test_runs_on_different_data_never_share_a_table() -> None:
    other = finished(generator_spec(1), fingerprints={**finished().fingerprints, "split": "6" * 64})
    with pytest.raises(RecordError, match=r"seed 0.*seed 1.*different data \(split 555555555555 and 666666666666\)"):
        render([finished(), other])


def test_one_data_set_with_other_options_has_a_board_of_its_own() -> None:
    filtered = generator_spec(options={"dataset": {"min_rating": 4.0}})
    plain = generator_spec(options={"dataset": {"min_rating": None}})
    text = render([finished(plain), finished(filtered)], "md")
    assert "ml-100k (min_rating=4.0)" in text
    assert "ml-100k (min_rating=None)" in text


def test_a_beam_too_narrow_for_a_board_is_left_out_and_said() -> None:
    narrow = finished(generator_spec(beams=20))
    assert [row["system"] for row in rows([narrow, baseline()])] == ["popularity"]
    assert "has 20 beams, a board needs 40" in render([narrow, baseline()])


def test_an_unknown_format_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Did you mean 'table'"):
        render([], "tabel")


def test_no_runs_at_all_is_said() -> None:
    assert render([], "table") == "no runs\n"


def test_runs_are_found_as_folders_files_and_folders_of_folders(tmp_path) -> None:
    finished().write(tmp_path / "runs" / "a")
    baseline().write(tmp_path / "runs" / "b")
    assert len(collect([tmp_path / "runs"])) == 2
    assert len(collect([tmp_path / "runs" / "a", tmp_path / "runs" / "b" / "record.json", tmp_path / "runs"])) == 2


def test_a_copy_counts_once_and_a_contradiction_not_at_all(tmp_path) -> None:
    finished().write(tmp_path / "a")
    finished().write(tmp_path / "b")
    assert len(collect([tmp_path])) == 1
    edit(tmp_path / "b", "metrics", "mask", "tie_gap", value=0.2)
    with pytest.raises(RecordError, match=r"a/record\.json and .*b/record\.json are records of one run"):
        collect([tmp_path])


def test_ranks_in_a_file_beside_the_record_are_read(tmp_path) -> None:
    for policy in ("mask", "keep"):
        np.save(tmp_path / f"{policy}.npy", np.array(RANKS))
    record = finished()
    beside = {**record.fingerprints, "ranks": ranks_digest(record.ranks)}
    replace(record, ranks={"mask": "mask.npy", "keep": "keep.npy"}, fingerprints=beside).write(tmp_path)
    assert collect([tmp_path])[0].ranks["mask"] == list(RANKS)
    np.save(tmp_path / "mask.npy", np.array(RANKS)[::-1])  # the same metrics, of other users
    with pytest.raises(RecordError, match="it was edited"):
        collect([tmp_path])


@pytest.mark.parametrize("name", ["empty", "missing", "garbled", "flat"])
def test_what_is_no_run_is_named(tmp_path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "garbled").mkdir()
    (tmp_path / "garbled" / "record.json").write_text("{")
    finished().write(tmp_path / "flat")
    edit(tmp_path / "flat", "metrics", value=[], sealed=False)
    with pytest.raises(RecordError, match=name):
        collect([tmp_path / name])


def test_reading_records_needs_no_heavy_library() -> None:
    code = (
        "import sys; from genrec_bench.leaderboard.renderers import render; render([]);"
        "print([name for name in ('torch', 'scipy', 'pandas', 'pyarrow', 'sklearn', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("width", [60, 80, 120, 1000])
def test_a_table_fits_its_terminal_and_names_what_it_leaves_out(width: int) -> None:
    text = render([finished(), baseline()], "table", width=width)
    lines = text.splitlines()
    table = lines[: next(at for at, line in enumerate(lines) if line.startswith("Data:"))]
    assert max(map(len, table)) <= width
    header = next(line for line in lines if "system" in line)
    assert "ndcg@10" in header
    assert ("No room for" in text) == (width < 1000)
    assert all((name in header) != (name in text.partition("No room for")[2]) for name in ("size", "train s", "hit@5"))


def test_machines_read_mrr_too_and_either_policy() -> None:
    (row,) = csv.DictReader(io.StringIO(render([baseline()], "csv", "keep")))
    assert row["policy"] == "keep"
    assert float(row["mrr@10"]) == baseline().metrics["keep"]["mrr@10"]


@pytest.mark.skipif(not BOARDS_GUIDE.is_file(), reason="not a checkout: no docs/ beside tests/")
def test_the_guide_lists_every_column() -> None:
    others = ("hit@", "mrr@", "ndcg@5", "ndcg@20")  # the guide lists ndcg@10 for all metrics
    listed = [line for line in BOARDS_GUIDE.read_text().splitlines() if line.startswith("| ") and line.count("|") == 4]
    defined = [
        f"| {column.title} | `{column.key}` | {column.meaning} |"
        for column in columns.COLUMNS.values()
        if not column.key.startswith(others)
    ]
    assert listed[listed.index(defined[0]) :][: len(defined)] == defined


def test_every_table_chooses_from_the_columns_and_no_column_is_left_over() -> None:
    tables = (
        columns.TABLE,
        columns.BOARD,
        columns.PAGE,
        columns.EXCERPT,
        columns.NOTEBOOK,
        *columns.ACCURACY,
        columns.VALIDITY_AND_SPEED,
    )
    shown = {key for table in (*tables, columns.BOARD_DATA) for key in table}
    assert {key for key in columns.COLUMNS if not key.startswith("mrr")} == {
        key for key in shown if not key.startswith("mrr")
    }
    assert all(len(set(table)) == len(table) for table in tables) and sorted(columns.NARROW) == sorted(columns.TABLE)


def test_a_table_for_a_paper_is_latex_of_which_no_character_is_a_command(tmp_path) -> None:
    made = {"baseline": {"name": "a_b", "distribution": "x", "version": "1", "code": "c" * 64}}
    odd = finished(baseline_spec(baseline="a_b & 50% #1 {x} ~^\\input"), parameters={}, components=made)
    text = render([odd, finished()], "latex")
    head, *_ = text.splitlines()
    assert head == r"\begin{tabular}{lrrrrrrr}"
    assert r"a\_b \& 50\% \#1 \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{}input & 1" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(body) == 3 and all(len(re.split(r"(?<!\\)&", line)) == len(head.split("{")[2]) - 1 for line in body)
    assert f"{finished().metrics['mask']['ndcg@10']:.4f}" in text and "% Data: " in text


def test_a_board_is_read_like_a_folder_of_runs(tmp_path) -> None:
    record = finished().sealed()
    (tmp_path / "board" / "records").mkdir(parents=True)
    write_json(tmp_path / "board" / "records" / f"{record.spec_id}.json", record.to_dict())
    assert [found.spec_id for found in collect([tmp_path / "board"])] == [record.spec_id]
