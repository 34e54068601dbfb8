"""`genrec bench train`: our loop learns like the usual one from the same examples, with fewer decoder positions."""

import builtins

import numpy as np
import pytest
import torch
from genrec_speed import train

from genrec_bench.backbones.batches import tree_loss
from genrec_bench.backbones.t5 import T5, T5Shape
from genrec_bench.backbones.target_trees import build_trees
from genrec_bench.core.progress import Quiet
from genrec_bench.errors import NeedsMissing

TINY = {"d_model": 32, "layers": 2, "heads": 2, "d_kv": 16, "d_ff": 16}
CASES = train.planted_cases(24)


def network(case):
    torch.manual_seed(0)
    return T5(T5Shape(case.examples.n_tokens + 1, case.examples.n_tokens, dropout=0.0, **TINY))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_loss_curve_equals_the_usual_loops(case):
    pytest.importorskip("transformers")
    ours, usual = train.curves(network(case), case.examples, "fp32")
    assert len(ours) == train.CHECKED and ours[-1] < ours[0]
    np.testing.assert_allclose(ours, usual, rtol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_in_bf16_the_loss_curve_is_within_the_tolerance_of_the_usual_loops_in_fp32(case):
    pytest.importorskip("transformers")
    ours, usual = train.curves(network(case), case.examples, "bf16")
    assert ours != train.curves(network(case), case.examples, "fp32")[0]  # it did run in bf16
    train.require_equal(case, (ours, usual), "bf16")


def test_a_step_is_as_many_operators_whatever_the_size_of_its_batch():
    few, many = (train.planted_cases(count)[0] for count in (40, 64))  # batches of 8 and of 32 after the first
    counts = {train.operators_of_a_step(case, TINY, "cpu").value for case in (few, many)}
    assert len(counts) == 1 and 450 < counts.pop() <= 525  # 517 with torch 2.13: more is a longer step


def test_loops_that_learn_differently_get_no_time(monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr(train, "curves", lambda *_: ([2.0, 1.0], [2.0, 1.1]))
    monkeypatch.setattr(train, "interleaved", lambda *_, **__: pytest.fail("timed"))
    with pytest.raises(train.CurvesDiffer, match="no time is printed"):
        train.measure(CASES[0], TINY)


def test_both_loops_pass_over_every_target_and_the_rows_say_how_fast(monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr(train, "resolve_precision", lambda *_: "fp32")
    row, profile = train.measure(CASES[0], TINY, rounds=1)
    assert row.case == "sequential, histories of Beauty's lengths, fp32" and row.goal == "7a"
    assert {"targets/s", "targets/s, usual", "% padding, usual"} < set(row.details)
    assert row.details["targets a step"] == row.details["targets a step, usual"] == 32
    assert 0 < profile.details["GFLOP/target"] < profile.details["GFLOP/target, theirs"]  # less padding


def test_trees_of_targets_need_a_fraction_of_the_decoder_positions_of_sequences():
    examples = CASES[2].examples
    sequences = examples.targets.size  # one position per token of each target
    trees = build_trees(examples.targets, examples.target_offsets)
    # a root, its one cluster, and at most all groups of it
    assert trees.sizes.max() <= 2 + train.GROUPS and trees.sizes.sum() * 5 < sequences
    assert trees.edge_count.sum() == sequences


def test_without_transformers_the_extra_to_install_is_named(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest, **more):
        if name == "transformers":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(NeedsMissing, match=r"pip install './benchmarks\[peers\]'"):
        train.curves(network(CASES[0]), CASES[0].examples, "fp32")


def test_the_usual_loop_gets_the_number_of_targets_it_is_quicker_with(monkeypatch):
    many = next(case for case in CASES if len(case.examples.targets) > len(case.examples))
    seconds, clock = {32: 1.0, 32 * len(many.examples.targets) // len(many.examples): 0.5}, [0.0]
    monkeypatch.setattr(train.time, "perf_counter", lambda: clock[0])
    chosen = train.quickest_batch(many, lambda size: clock.__setitem__(0, clock[0] + seconds[size]))
    assert chosen == max(seconds)


def test_compiled_training_is_compared_with_the_same_without(monkeypatch):
    monkeypatch.setattr(train, "compiled", lambda note: tree_loss)
    (row,) = train.compare_compiled(CASES[0], TINY, "cpu", Quiet(), rounds=1)
    assert row.goal == "10c" and row.unit == "x" and row.low <= row.value <= row.high
    assert row.case.endswith(", compiled") and set(row.details) == {"targets/s", "targets/s, without"}


def test_a_compiled_loop_that_learns_differently_gets_no_time(monkeypatch):
    monkeypatch.setattr(train, "compiled", lambda note: lambda *batch: 2 * tree_loss(*batch))
    monkeypatch.setattr(train, "interleaved", lambda *_, **__: pytest.fail("timed"))
    with pytest.raises(train.CurvesDiffer, match="no time is printed"):
        train.compare_compiled(CASES[0], TINY, "cpu", Quiet(), rounds=1)


def test_a_device_that_cannot_compile_gives_a_note_and_no_row(monkeypatch):
    def refuses(*_, **__):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuses)
    notes = []
    monkeypatch.setattr(Quiet, "note", lambda self, message: notes.append(message))
    assert train.compare_compiled(CASES[0], TINY, "cpu", Quiet(), rounds=1) == []
    assert len(notes) == 1 and "no compiler here" in notes[0]
