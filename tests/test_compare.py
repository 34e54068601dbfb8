"""`genrec compare`, `show` and `runs`: what a person means by a run, and what a test says of two systems."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from example_records import RANKS, baseline_spec, failed, finished, generator_spec

from genrec_bench.cli.main import cli
from genrec_bench.leaderboard.publish import add
from genrec_bench.runs.record import RunRecord

MANY = 5
BETTER = (1, 1, 3, 2, 2, 0, 4, 1, 5, 0)
CLOSE = (1, 3, 0, 12, 3, 0, 0, 1, 7, 0)


def genrec(*words: object) -> Any:
    return CliRunner().invoke(cli, [str(word) for word in words])


def generator(ranks: Sequence[int], seed: int = 0, **changes: Any) -> RunRecord:
    return finished(generator_spec(seed), ranks * MANY, **changes)


def counted(ranks: Sequence[int], name: str = "item-counts") -> RunRecord:
    made = {"baseline": {"name": name, "distribution": "genrec-bench", "version": "1", "code": "c" * 64}}
    return finished(baseline_spec(baseline=name), ranks * MANY, parameters={}, components=made)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Three seeds of a generator, a floor, and a run that failed."""
    seeds = (RANKS, CLOSE, (2, *RANKS[1:]))
    for record in (*(generator(ranks, seed) for seed, ranks in enumerate(seeds)), counted(BETTER), failed()):
        record.sealed().write(tmp_path / "runs" / record.spec_id)
    return tmp_path / "runs"


def compared(*words: object) -> dict[str, Any]:
    done = genrec("compare", *words, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_all_seeds_of_a_system_are_compared_by_its_id_and_a_verdict_says_by_how_much(out: Path) -> None:
    system, floor = generator(RANKS).system_id, counted(BETTER)
    found = compared(system[:6], out / floor.spec_id, "--out", out)
    assert found["systems"] == ["sci / lightlm / trie", "item-counts"]
    assert found["condition"]["seeds"] == ["3*", "1"]
    assert "is behind item-counts by more than chance" in found["verdict"]
    low, high = found["difference"]["interval"]
    assert low < found["difference"]["ndcg@10"] < high < 0
    other_way = compared(out / floor.spec_id, system[:6], "--out", out)
    assert "item-counts is ahead of" in other_way["verdict"]
    assert other_way["difference"]["p"] == pytest.approx(found["difference"]["p"])


def test_one_seed_of_what_a_seed_moves_settles_nothing(out: Path) -> None:
    found = compared(out / generator(RANKS).spec_id, out / counted(BETTER).spec_id)
    assert found["difference"] is None
    assert "No test can tell" in found["verdict"] and "which has one seed" in found["verdict"]


def test_a_row_of_a_board_is_named_by_its_folder_and_its_system(out: Path, tmp_path: Path) -> None:
    add([out], tmp_path / "boards", lambda error: None, check=False)
    board = tmp_path / "boards" / "loo-full-1" / "direct" / "ml-100k"
    found = compared(f"{board}:sci / lightlm / trie", f"{board}:item-counts")
    assert found["systems"] == ["sci / lightlm / trie", "item-counts"]
    done = genrec("compare", f"{board}:item-count", f"{board}:item-counts")
    assert done.exit_code == 1 and "has no row 'item-count'. Did you mean 'item-counts'?" in done.output


@pytest.mark.parametrize(
    ("ranks", "said"),
    [(RANKS, "Reproduced"), (CLOSE, "Reproduced"), ((0,) * 10, "Not reproduced: seed 0 of the second lies outside")],
)
def test_a_second_run_elsewhere_counts_as_reproduced_inside_the_interval_of_the_seeds(
    out: Path, tmp_path: Path, ranks: Sequence[int], said: str
) -> None:
    first = generator(ranks)
    again = replace(first, environment={**first.environment, "time": "2026-02-02T00:00:00+00:00"})
    again.sealed().write(tmp_path / "elsewhere")
    assert compared(first.system_id, tmp_path / "elsewhere", "--out", out)["again"].startswith(said)


def test_runs_that_cannot_be_compared_are_refused_in_one_line(out: Path, tmp_path: Path) -> None:
    elsewhere = generator(RANKS, fingerprints={**generator(RANKS).fingerprints, "data": "e" * 64})
    elsewhere.sealed().write(tmp_path / "data")
    finished(generator_spec(task="sequential")).sealed().write(tmp_path / "task")
    own = out / generator(RANKS).spec_id
    for other, why in (
        (tmp_path / "data", "ran on different data (data)"),
        (tmp_path / "task", "has task direct"),
        (out, "holds runs of several systems (item-counts, sci / lightlm / trie)"),
        ("nothing", "no path nothing"),
        (out / failed().spec_id, "1 run not shown: 1 failed"),
    ):
        done = genrec("compare", own, other, "--out", out)
        assert done.exit_code == 1 and why in done.output and len(done.output.strip().splitlines()) == 1, done.output


def test_runs_are_listed_and_filtered(out: Path) -> None:
    every = json.loads(genrec("runs", out, "--json").stdout)
    assert len(every) == 5 and {line["status"] for line in every} == {"finished", "failed"}
    (floor,) = json.loads(genrec("runs", out, "--system", "counts", "--json").stdout)
    assert floor["id"] == counted(BETTER).spec_id
    listed = genrec("runs", out, "--status", "failed").stdout
    assert failed().spec_id in listed and floor["id"] not in listed


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    done = genrec("runs", tmp_path / "nowhere")
    assert done.exit_code == 1 and "there is no such folder" in done.output


def test_one_run_is_shown_with_its_command_and_phases(out: Path) -> None:
    shown = genrec("show", counted(BETTER).spec_id[:6], "--out", out).stdout
    assert "genrec run" in shown and "--baseline item-counts" in shown and "phase" in shown
    assert (
        json.loads(genrec("show", out / counted(BETTER).spec_id, "--json").stdout)["spec_id"] == counted(BETTER).spec_id
    )
