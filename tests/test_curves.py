"""Curves and pace of trainings: passes over the data, not epochs; and only what records tell."""

from __future__ import annotations

import re
from typing import Any

import pytest
from example_records import baseline_spec, finished, generator_spec

from genrec_bench.cli.curves import bars, training_lines
from genrec_bench.leaderboard.curves import Pace, pace, passes, passes_per_epoch
from genrec_bench.leaderboard.renderers.html import page
from genrec_bench.leaderboard.standings import standings
from genrec_bench.runs.record import RunRecord

SCORES = (0.01, 0.04, 0.03, 0.02)
DATA = {**finished().data, "users": 10, "interactions": 200}  # 180 training targets, 170 in the sequential task


def trained(seed: int = 0, task: str = "sequential", scores: tuple[float, ...] = SCORES, **training: Any) -> RunRecord:
    history = [
        {"epoch": epoch, "loss": 3.0 - epoch / 2, "seconds": 2.0, "validation": score}
        for epoch, score in enumerate(scores, 1)
    ]
    told = {"epochs": len(scores), "best_epoch": 2, "history": history, "targets_per_epoch": 85, "ended_by": "epochs"}
    spec = generator_spec(seed, task=task, options={"backbone": {"epochs": 4, "patience": 0}})
    return finished(spec, training={**told, "cached": False, **training}, data=DATA)


def model(**training: Any) -> RunRecord:
    history = [{"epoch": epoch, "loss": 1.0, "seconds": 3.0, "ndcg@10": 0.1 * epoch} for epoch in (1, 2, 3)]
    told = {"epochs": 3, "best_epoch": 3, "history": history, "examples_per_epoch": 170, "ended_by": "epochs"}
    spec = baseline_spec(baseline="sasrec", task="sequential")
    return finished(spec, training={**told, "converged": False, **training}, parameters={}, index={}, data=DATA)


def test_a_pass_is_every_training_target_once() -> None:
    assert passes_per_epoch(trained()) == 0.5  # 85 of 200 - 3 x 10
    assert passes_per_epoch(trained(task="direct", targets_per_epoch=90)) == 0.5  # of 200 - 2 x 10
    assert passes(trained()) == 2.0
    assert passes_per_epoch(model()) == 1.0


def test_older_records_tell_their_passes_only_where_an_example_was_a_target() -> None:
    old = trained(examples_per_epoch=17)
    del old.training["targets_per_epoch"]  # type: ignore[attr-defined]
    assert passes_per_epoch(old) == 0.1
    direct = trained(task="direct", examples_per_epoch=10)
    del direct.training["targets_per_epoch"]  # type: ignore[attr-defined]
    assert passes_per_epoch(direct) is None
    assert passes_per_epoch(trained(targets_per_epoch=0, examples_per_epoch=17)) is None


def test_the_pace_is_that_of_training_steps_alone() -> None:
    assert pace(trained()) == Pace(42.5, 900.0)  # 85 targets, half a pass, in 2 seconds
    assert pace(trained(history=[], seconds=10.0)) == Pace(34.0, 720.0)  # four epochs
    assert pace(trained(history=[])) == Pace(None, None)


def test_a_baselines_pace_leaves_out_an_epoch_that_its_time_limit_cut() -> None:
    assert pace(model()) == Pace(170 / 3, 1200.0)
    history = [*model().training["history"][:2], {"epoch": 3, "loss": 1.0, "seconds": 0.1, "ndcg@10": 0.1}]
    assert pace(model(history=history, ended_by="time limit")) == Pace(170 / 3, 1200.0)
    assert pace(model(ended_by="closed form")) == Pace(None, None)


def test_bars_reach_from_the_lowest_to_the_highest() -> None:
    assert bars([0.0, 1.0, 7.0, 3.0]) == "▁▂█▄"
    assert bars([2.0, 2.0]) == "▁▁"
    assert bars([float(value) for value in range(100)]) == bars([2 * at + 0.5 for at in range(50)])  # means of two


def test_a_terminal_shows_the_curves_and_the_pace() -> None:
    assert training_lines(trained()) == [
        "validation ndcg@10  ▁█▆▃  0.0100 to 0.0200, best 0.0400 after epoch 2 of 4",
        "loss                █▆▃▁  2.500 to 1.000",
        "sci / lightlm / trie: 42 targets/s, 900 passes/h, 2 passes over the data, ended by its last epoch, after the best one",
    ]
    assert training_lines(model())[0] == "validation ndcg@10  ▁▄█  0.1000 to 0.3000, best 0.3000 after epoch 3 of 3"
    assert training_lines(finished(baseline_spec(), training={})) == []


def section(html: str, system: str) -> str:
    (found,) = (
        part
        for part in re.findall(r"<details .*?</details>", html, re.DOTALL)
        if re.search(rf"<summary>.*{re.escape(system)}</summary>", part)
    )
    return found


def test_a_rows_section_draws_a_line_for_each_seed() -> None:
    records = [
        trained(),
        trained(1, scores=(0.02, 0.05)),
        model(),
        finished(baseline_spec(task="sequential"), data=DATA),
    ]
    html = page([standings(records, "mask")])
    drawn = section(html, "sci / lightlm / trie")
    lines = re.findall(r'<polyline points="(.*?)"', drawn)
    assert [len(line.split()) for line in lines] == [4, 2] and drawn.count("stroke-dasharray") == 1
    assert "seed 0: best 0.0400 after epoch 2 of 4" in drawn and "Lines: seed 0 solid, seed 1 dashed." in drawn
    assert "<td>2</td><td>42</td><td>900</td>" in drawn  # passes, targets/s, passes/h

    # the second point: one of two passes, 0.04 of an axis to 0.05
    x, y = map(float, lines[0].split()[1].split(","))
    assert (x, y) == pytest.approx((56 + (560 - 56 - 16) / 2, 200 - 0.8 * (200 - 28)), abs=0.1)
    assert ">pass</text>" in drawn and "seed 0: best 0.3000" in section(html, "sasrec")
    assert "<polyline" not in section(html, "popularity")


def test_where_nobody_knows_passes_the_curve_is_by_epoch() -> None:
    html = page([standings([trained(targets_per_epoch=0)], "mask")])
    assert ">epoch</text>" in html and ">pass</text>" not in html
