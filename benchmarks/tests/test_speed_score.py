"""The score benchmark: the loops and ranx agree with us, and if they did not, no time would be printed."""

import sys

import numpy as np
import pytest
from genrec_speed import score

from genrec_bench.core.progress import Quiet
from genrec_bench.core.rankings import Ranking
from genrec_bench.errors import GenrecError, NeedsMissing
from genrec_bench.protocol.ranks import target_ranks
from genrec_bench.protocol.scores import from_ranks
from genrec_bench.protocol.validity import ranking_from, validity

LINES = [
    ("Python loop", "9"),
    ("Python loop over places, as OpenP5's", "9"),
    ("Python loop", None),
    ("ranx", None),
]


def test_the_loop_keeps_the_protocols_rule_for_ties():
    rng = np.random.default_rng(0)
    items = np.array([rng.permutation(30)[:20] for _ in range(200)], np.int32)
    scores = -np.sort(rng.integers(5, size=items.shape)).astype(np.float32)
    items[:50, 15:], scores[:50, 15:] = -1, -np.inf
    lists, targets = Ranking(items, scores, 20), rng.integers(30, size=200).astype(np.int32)
    metrics = score.metrics_by_loop(items.tolist(), scores.tolist(), targets.tolist())
    assert metrics == pytest.approx(from_ranks(target_ranks(lists, targets)), abs=1e-12)


def test_the_loop_over_hypotheses_counts_as_we_do():
    emitted, history, _ = score.example(300)
    emitted.items[:, 7] = emitted.items[:, 3]  # repeats
    loop = score.validity_by_loop(emitted.items.tolist(), [row.tolist() for row in history])
    ours = validity(emitted, history)
    assert loop == pytest.approx({name: ours[name] for name in loop}) and loop["duplicate_rate"] > 0


def test_a_third_of_the_example_is_found_somewhere():
    emitted, _, targets = score.example(3000)
    ranks = target_ranks(ranking_from(emitted, depth=score.DEPTH), targets)
    assert np.mean(ranks > 0) == pytest.approx(1 / 3, abs=0.03)


def test_the_small_grid_carries_the_goal_and_agrees_with_ranx(monkeypatch):
    monkeypatch.setitem(score.USERS, "small", (200,))
    rows = score.run("small", Quiet(), rounds=1).rows
    assert [(row.against, row.goal) for row in rows] == LINES
    assert all(row.details["largest difference"] <= 1e-9 for row in rows)


def test_no_time_is_printed_if_the_numbers_differ(monkeypatch):
    emitted, _, targets = score.example(50)
    monkeypatch.setattr(score, "metrics_by_loop", lambda *lists: dict.fromkeys(from_ranks([1]), 2.0))
    with pytest.raises(GenrecError, match="differ by"):
        score.against_loop(ranking_from(emitted, depth=score.DEPTH), targets, rounds=1)


def test_without_ranx_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ranx", None)
    with pytest.raises(NeedsMissing, match=r"\./benchmarks\[peers\]"):
        score.run("small", Quiet())
