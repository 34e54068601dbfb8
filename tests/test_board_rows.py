"""What a row of a board promises to show, in README.md, index.html and table.csv; and boards with many rows."""

from __future__ import annotations

import csv
import io
import itertools
import re
from typing import Any

import pytest
from example_records import RANKS, baseline_spec, finished, generator_spec

from genrec_bench.leaderboard.renderers.data import board_csv as table
from genrec_bench.leaderboard.renderers.html import page
from genrec_bench.leaderboard.renderers.markdown import readme
from genrec_bench.leaderboard.renderers.scatter import (
    BOTTOM,
    FEW,
    HEIGHT,
    LETTER,
    TOP,
    WIDTH,
    scatter,
)
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
    """A board of so many rows, the later ones slower and no better."""
    records = [baseline()]
    for number in range(count):
        speed = {**finished().throughput, "users_per_second": 100.0 - number / 10}
        records.append(baseline(f"model-{number}", throughput=speed))
    return standings(records, "mask")


def test_a_few_rows_are_all_labelled_in_the_plot_and_of_many_those_that_no_other_beats() -> None:
    names = re.compile(r"<text [^>]*>(model-\d+|item-counts)</text>")
    assert len(names.findall(scatter(many(FEW - 1)))) == FEW
    crowded = many(70)
    assert set(names.findall(scatter(crowded))) == {"item-counts"}  # the fastest of rows that are equally good
    assert scatter(crowded).count("<title>") == 71
    assert "point at a mark to see its name" in page([crowded])


@pytest.mark.parametrize("name", ["m", "a-model-with-a-name-of-forty-letters-long"])
def test_labels_stay_inside_the_plot_and_cover_no_other(name) -> None:
    speeds = [{**finished().throughput, "users_per_second": 10.0 ** (number % 4)} for number in range(FEW - 1)]
    drawn = scatter(
        standings([baseline(), *(baseline(f"{name}-{i}", throughput=speed) for i, speed in enumerate(speeds))], "mask")
    )
    labels = re.findall(
        r'<text x="([\d.-]+)" y="([\d.]+)" text-anchor="(start|end)">([^<]+)</text></a>', drawn.replace("\n", "")
    )
    assert len(labels) == FEW
    boxes = []
    for x, y, anchor, text in labels:
        left = float(x) - (len(text) * LETTER if anchor == "end" else 0)
        boxes.append((left, left + len(text) * LETTER, float(y)))
    assert all(left >= 0 and right <= WIDTH and TOP <= y < HEIGHT - BOTTOM for left, right, y in boxes)
    for (left, right, y), (other_left, other_right, other_y) in itertools.combinations(boxes, 2):
        assert right <= other_left or other_right <= left or abs(y - other_y) >= 11.9  # rounded to tenths


def test_the_readme_of_many_rows_has_a_line_for_each_in_either_table() -> None:
    text = readme([many(70)])
    assert text.count("| model-") == 140 and text.count("<details>") == text.count("</details>") == 1
    header = next(line for line in text.splitlines() if line.startswith("| system"))
    assert "ndcg@10" in header and "ndcg@5 " not in header
