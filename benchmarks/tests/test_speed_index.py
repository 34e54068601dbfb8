"""The index benchmark at small sizes: both sides agree, every goal has its row, and a dead process is one line."""

import numpy as np
import pytest
from genrec_speed import index
from genrec_speed.synth import Plan

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.progress import Quiet
from genrec_bench.errors import GenrecError

SMALL = Plan(users=60, items=40, clusters=4)


def test_the_pair_loop_counts_both_orders_and_no_item_with_itself():
    assert index.pair_loop(Ragged.of([[0, 1, 0], [1, 2]])) == {(0, 1): 2, (1, 0): 2, (1, 2): 1, (2, 1): 1}


def test_no_time_is_printed_if_the_edges_differ(monkeypatch):
    monkeypatch.setattr(index, "pair_loop", lambda sequences: {})
    with pytest.raises(GenrecError, match="count different edges"):
        index.pairs(SMALL)


def test_the_clusterings_agree_with_the_dense_one_and_carry_the_goals():
    rows = index.clusterings(Plan(users=2000, items=600, clusters=6, mean_length=12), rounds=1, clusters=6)
    assert [row.goal for row in rows] == ["8a", "8b", "8a", "8b"]
    assert rows[1].value == pytest.approx(1) and rows[3].value > 0.95
    assert rows[2].details["NMI to planted"] > 0.9


@pytest.mark.parametrize("how", ["items:auto", "items:randomised", "joint:auto"])
def test_a_whole_index_is_measured_in_a_process_of_its_own(how):
    facts = index.in_process("index", SMALL, how)
    assert facts["s"] > 0 and facts["CPU s"] > 0 and facts["GB"] > 0 and 0 <= facts["NMI to planted"] <= 1
    assert facts["method"].startswith("randomised" if "randomised" in how else "spectral")


def test_a_million_items_carry_the_goal_only_without_users():
    alone, beside = (index.million(SMALL, variant) for variant in ("items", "joint"))
    assert [row.goal for row in (*alone, *beside)] == ["8c", "8d", None, None]
    assert "users" in beside[0].case and "users" not in alone[0].case


def test_reading_is_measured_in_bytes_per_interaction_for_both_formats():
    rows = index.readings(SMALL)
    assert [(row.goal, row.case.split(", ")[-1]) for row in rows] == [("8e", "parquet"), ("8f", "csv")]
    assert all(row.unit == "B/interaction" and row.value >= 0 and row.details["GB"] > 0 for row in rows)


def test_a_process_that_dies_is_one_line():
    with pytest.raises(GenrecError, match=r"measuring read ended with exit code 1: .*there is no such file") as caught:
        index.in_process("read", SMALL, "/none.parquet")
    assert "\n" not in str(caught.value)


def test_the_small_grid_measures_every_part_of_the_goal(monkeypatch):
    for name in ("PAIRS", "MILLION"):
        monkeypatch.setattr(index, name, SMALL)
    monkeypatch.setattr(index, "TEN_THOUSAND", Plan(users=500, items=300, clusters=6))
    rows = index.run("small", Quiet()).rows
    assert {row.goal for row in rows} >= {"8a", "8b", "8c", "8d"}
    assert all(np.isfinite(row.value) for row in rows)
