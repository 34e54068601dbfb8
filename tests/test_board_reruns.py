"""A row is reproduced once its second runs, recorded, lie where the spread of its seeds lets expect them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from example_records import RANKS, finished, generator_spec

from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.publish import add, build
from genrec_bench.runs.record import RunRecord

MANY = 5
CLOSE = (1, 3, 0, 12, 3, 0, 0, 1, 7, 0)  # one target a place further down
FAR = (0,) * 10


def run(ranks: Sequence[int], seed: int = 0, time: str = "2025-01-01T00:00:00+00:00") -> RunRecord:
    record = finished(generator_spec(seed), ranks * MANY)
    return replace(record, environment={**record.environment, "time": time})


def put(folder: Path, *records: RunRecord) -> list[Path]:
    for number, record in enumerate(records):
        record.sealed().write(folder / str(number))
    return [folder / str(number) for number in range(len(records))]


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    first = put(tmp_path / "first", run(RANKS, 0), run(CLOSE, 1), run((2, *RANKS[1:]), 2))
    add(first, tmp_path / "boards", pytest.fail, check=False)
    return tmp_path / "boards"


def again(boards: Path, ranks: Sequence[int], time: str = "2025-02-02T00:00:00+00:00") -> str:
    second = put(boards.parent / "second", run(ranks, 0, time))
    (file,) = add(second, boards, pytest.fail, check=False, again=True)
    assert file.parent.name == "reruns"
    (board,) = build(boards, pytest.fail)
    return (board / "README.md").read_text()


def tier(page: str) -> str:
    (line,) = (
        line
        for line in page.splitlines()
        if (line.startswith("| sci / lightlm / trie") and "reproduced" in line) or line.endswith("| run |")
    )
    return line.split("|")[-2].strip()


def test_what_ran_once_is_a_run(boards: Path) -> None:
    (board,) = build(boards, pytest.fail)
    assert tier((board / "README.md").read_text()) == "run"


@pytest.mark.parametrize("ranks", [RANKS, CLOSE])
def test_a_second_run_inside_the_interval_of_the_seeds_reproduces_a_row(boards: Path, ranks: Sequence[int]) -> None:
    page = again(boards, ranks)
    assert tier(page) == "reproduced" and "outside that interval: " not in page


def test_a_second_run_outside_it_is_named(boards: Path) -> None:
    page = again(boards, FAR)
    assert tier(page) == "run"
    assert "Run a second time, outside that interval: sci / lightlm / trie, seed 0." in page


def test_a_run_is_not_its_own_second_and_nothing_is_run_twice_before_once(boards: Path, tmp_path: Path) -> None:
    refused: list[RecordError] = []
    own = put(tmp_path / "own", run(RANKS, 0))
    other = put(tmp_path / "other", run(RANKS, 7))
    assert add([*own, *other], boards, refused.append, check=False, again=True) == []
    assert "is the very run that is on the board" in str(refused[0])
    assert "is not on a board" in str(refused[1])


def test_other_numbers_are_no_first_run(boards: Path, tmp_path: Path) -> None:
    refused: list[RecordError] = []
    add(put(tmp_path / "more", run(FAR, 0, "2026-01-01T00:00:00+00:00")), boards, refused.append, check=False)
    assert "add it with --again" in str(refused[0])
