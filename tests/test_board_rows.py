"""What a row of a board promises to show, in README.md, index.html and table.csv; and boards with many rows."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from example_records import RANKS, baseline_spec, finished, generator_spec

from genrec_bench.leaderboard.renderers.chart import FEW, chart
from genrec_bench.leaderboard.renderers.data import board_csv as table
from genrec_bench.leaderboard.renderers.html import page
from genrec_bench.leaderboard.renderers.markdown import readme
from genrec_bench.leaderboard.standings import Standings, standings
from genrec_bench.runs.record import RunRecord

OTHER = (*RANKS[1:], 5)


def baseline(name: str = "item-counts", **changes: Any) -> RunRecord:
    return finished(baseline_spec(baseline=name), OTHER, parameters={}, training={}, **changes)


@pytest.fixture
def board() -> Standings:
    """A board of a generator with two seeds and a baseline with one."""
    return standings([finished(), finished(generator_spec(1), OTHER), baseline()], "mask")


def rows(text: str) -> dict[str, dict[str, str]]:
    """The Markdown tables of a README, by system: the first one's columns and the folded one's."""
    by_system: dict[str, dict[str, str]] = {}
    heads: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| "):
            continue
        if cells[0] == "system":
            heads = cells
        elif not cells[0].startswith(":"):
            by_system.setdefault(cells[0], {}).update(zip(heads, cells, strict=True))
    return by_system


def test_a_row_shows_all_that_it_promises(board) -> None:
    """Profile and size, seeds, mean and spread, hit and ndcg at 5, 10 and 20, hallucination, fill, users/s, parameters,
    training seconds, hardware, distance from the best floor, budget, tier."""
    cells_of = rows(readme([board]))["sci / lightlm / trie"]
    (row,) = (row for row in board.rows if row.system == "sci / lightlm / trie")
    for key in (f"{name}@{k}" for name in ("hit", "ndcg") for k in (5, 10, 20)):
        assert cells_of[key] == f"{row.metrics[key]:.4f} ±{row.sd[key]:.4f}", key
    assert cells_of["vs floor"].lstrip("~") == f"{row.against['floor'].distance:+.0%}"
    shown = {"size": "tiny 2+2x64/16", "seeds": "2*", "halluc.": "12.50%", "fill@10": "90.0%", "users/s": "123"}
    shown |= {
        "params": "1,234",
        "train s": "12.5",
        "on": "[1]",
        "tier": "run",
        "standing": "unranked",
    }
    assert shown.items() <= cells_of.items()
    assert "- [1] Some CPU, Linux x86_64, 2 threads, batch 64, fp32, trained in fp32" in readme([board])


def test_the_page_and_the_table_show_what_the_readme_shows(board) -> None:
    html = page([board])
    (line,) = (line for line in html.splitlines() if line.startswith("<tr") and ">sci / lightlm / trie<" in line)
    for text in rows(readme([board]))["sci / lightlm / trie"].values():
        assert f">{text}<" in line, text
    (row,) = (row for row in csv.DictReader(io.StringIO(table([board]))) if row["system"] == "sci / lightlm / trie")
    assert row["size"] == "tiny 2+2x64/16" and row["seeds"] == "2" and row["tier"] == "run"
    assert row["hardware"] == "Some CPU, Linux x86_64, 2 threads, batch 64, fp32, trained in fp32" and row["vs_floor"]


def test_a_single_seed_is_marked_and_has_no_spread(board) -> None:
    cells_of = rows(readme([board]))["item-counts"]
    assert cells_of["seeds"] == "1*" and "±" not in cells_of["ndcg@10"]
    assert "fewer than 5 seeds: it is shown, not ranked" in readme([board])


def many(count: int) -> Standings:
    """A board of item-counts and so many baselines."""
    return standings([baseline(), *(baseline(f"model-{number}") for number in range(count))], "mask")


def test_the_chart_shows_all_floors_and_the_best_few_of_other_kinds() -> None:
    weak = (0, 0, 9, 0, 0, 0, 0, 0, 0, 0)
    records = [*(run for row in many(70).rows for run in row.runs), finished(baseline_spec(), weak, parameters={})]
    records += [finished(generator_spec(decoder=decoder), OTHER) for decoder in ("trie", "filter")]
    bars = chart(standings(records, "mask")).bars
    assert [bar.row.kind for bar in bars].count("baseline") == FEW
    assert [bar.row.system for bar in bars if bar.row.kind == "floor"] == ["item-counts", "popularity"]
    assert [bar.row.system for bar in bars if bar.row.kind == "generator"] == [
        "sci / lightlm / filter"
    ]  # one of a model
    assert bars[-1].row.system == "popularity"


def test_the_chart_shows_a_baseline_once_and_a_floor_with_all_its_options() -> None:
    def with_option(name: str, value: float, ranks: tuple[int, ...]) -> RunRecord:
        options = {"dataset": {}, "baseline": {"before": value}}
        return finished(baseline_spec(baseline=name, options=options), ranks, parameters={})

    names = [(name, value) for name in ("item-counts", "ease") for value in (0.25, 0.5)]
    board = standings([with_option(name, value, RANKS if value > 0.3 else OTHER) for name, value in names], "mask")
    assert [bar.row.full_name for bar in chart(board).bars] == [
        "ease baseline.before=0.5",
        "item-counts baseline.before=0.5",
        "item-counts baseline.before=0.25",
    ]


def test_every_place_in_the_chart_is_inside_it_and_says_what_the_row_says(board) -> None:
    drawn = chart(board)
    (last,) = (float(text) for at, text in drawn.ticks if at == "100.00")
    for bar in drawn.bars:
        left, width, at = float(bar.left), float(bar.width), float(bar.at)
        assert 0 <= left <= at <= left + width <= 100
        assert at == pytest.approx(100 * bar.row.score / last, abs=0.01)
        assert (bar.low, bar.high) == bar.row.intervals["ndcg@10"]


def test_a_board_on_which_nothing_is_found_has_a_chart_too() -> None:
    assert chart(standings([finished(baseline_spec(), (0,) * 10, parameters={})], "mask")).bars[0].at == "0.00"


def test_the_readme_of_many_rows_has_a_line_for_each_in_either_table() -> None:
    text = readme([many(70)])
    assert text.count("| model-") == 140 and text.count("<details>") == text.count("</details>") == 1
    header = next(line for line in text.splitlines() if line.startswith("| system"))
    assert "ndcg@10" in header and "ndcg@5 " not in header
