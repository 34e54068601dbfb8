"""Sequences against rows, `depth` against TIGER's T5, path against level tokens: equal work first, then a time."""

from types import SimpleNamespace

import numpy as np
import pytest
from genrec_speed import scopes, sequences, train
from genrec_speed.agreement import ListsDiffer
from genrec_speed.goals import GOALS
from genrec_speed.ours import OurLoop

from genrec_bench.core.progress import Quiet

TINY = {"layers": 1, "d_model": 16, "heads": 2, "d_ff": 8}
HISTORIES = sequences.planted_histories(12)
TREE = scopes.Tree(300, (4, 4), "13a")


def test_planted_histories_have_beautys_lengths_and_a_tree_with_a_leaf_for_each_item():
    many = sequences.planted_histories(3000)
    lengths = many.train.sequences.lengths
    assert lengths.min() == 3 and 6.7 < lengths.mean() < 7.3
    assert len(np.unique(many.labels, axis=0)) == sequences.ITEMS == 12_000
    path, level = many.index("path"), many.index("level")
    assert path.n_tokens == 32 + 32 * 32 + 12_000 and level.n_tokens == 32 + 64 + 64
    clusters = many.labels[many.train.sequences.values, 0]
    assert (
        np.minimum.reduceat(clusters, many.train.sequences.offsets[:-1]) == clusters[many.train.sequences.offsets[:-1]]
    ).all()


@pytest.mark.parametrize("name", ["lightlm", "depth"])
def test_sequences_have_the_gradient_of_rows(name):
    form = sequences.SEQUENCES if name == "lightlm" else {}
    difference = sequences.require_equal_gradients(name, HISTORIES, **form, **TINY)
    assert 0 < difference < sequences.TOLERANCE


def test_the_gradient_is_compared_parameter_by_parameter(monkeypatch):
    true, calls = sequences.gradients, []

    def other(form):
        calls.append(form)
        grads = true(form)
        if len(calls) == 2:
            grads["encoder_bias.weight"] = 1.001 * grads["encoder_bias.weight"]
        return grads

    monkeypatch.setattr(sequences, "gradients", other)
    monkeypatch.setattr(sequences, "interleaved", lambda *_, **__: pytest.fail("timed"))
    with pytest.raises(
        sequences.GradientsDiffer, match=r"encoder_bias.weight on sequences differs .* no time is printed"
    ):
        sequences.measure("depth", HISTORIES, 5, rounds=1, **TINY)


def test_rows_of_a_network_that_sees_the_future_have_another_gradient():
    with pytest.raises(ValueError, match="any other encoder would see the targets"):
        sequences.require_equal_gradients("depth", HISTORIES, encoder="bidirectional", **TINY)


def test_lightlm_is_compared_with_its_own_rows_and_with_the_papers_form(monkeypatch):
    monkeypatch.setattr(sequences, "resolve_precision", lambda *_: "fp32")
    same, _, before, _ = rows = sequences.measure("lightlm", HISTORIES, 5, rounds=1, **TINY)
    assert [row.goal for row in rows] == ["12a", None, "12b", None]
    assert same.case == before.case == "lightlm on sequences, histories of Beauty's lengths, fp32"
    assert "same network" in same.against and "bidirectional" in before.against
    assert 0 < same.details["gradients differ by"] < sequences.TOLERANCE
    assert same.value == pytest.approx(same.details["targets/s"] / same.details["targets/s, usual"])


def test_a_pass_on_sequences_needs_less_arithmetic_than_a_pass_on_rows(monkeypatch):
    monkeypatch.setattr(sequences, "resolve_precision", lambda *_: "fp32")
    _, profile = sequences.measure("depth", HISTORIES, 5, rounds=1, **TINY)
    assert 0 < profile.details["GFLOP/target"] < profile.details["GFLOP/target, theirs"]


def test_all_forms_learn_every_target():
    forms = [
        sequences.Form.of("lightlm", HISTORIES, "cpu", **TINY, **more)
        for more in ({}, sequences.SEQUENCES, {**sequences.SEQUENCES, "trains_on": "rows"})
    ]
    targets = int((HISTORIES.train.sequences.lengths - 1).sum())
    assert [len(form.examples.targets) for form in forms] == [targets] * 3
    assert [len(form.examples) for form in forms] == [targets, len(HISTORIES.train.sequences), targets]
    assert [form.backbone.normalisation for form in forms] == ["alphabet", "children", "children"]


def test_depth_is_compared_with_tigers_t5(monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr(sequences, "resolve_precision", lambda *_: "fp32")
    (row,) = sequences.against_tiger(HISTORIES, rounds=1, batch=2, **TINY)
    assert row.goal == "12c" and row.value == pytest.approx(row.details["targets/s"] / row.details["targets/s, usual"])
    assert row.details["targets a step, usual"] == 2


def test_tigers_rows_are_all_prefixes_padded_to_80_tokens():
    pytest.importorskip("transformers")
    loop = sequences.TigerLoop(HISTORIES.train, batch_size=3)
    values, offsets = HISTORIES.train.sequences.values, HISTORIES.train.sequences.offsets
    assert len(loop.ends) == len(values) - len(HISTORIES.train.sequences)

    ids, mask, labels = loop.batch(np.array([1, len(loop.ends) - 1]))
    assert ids.shape == mask.shape == (2, 80) and labels.shape == (2, 4)
    last = values[offsets[-2] :]
    assert ids[0, :8].tolist() == loop.codes[values[:2]].ravel().tolist() and not ids[0, 8:].any()
    assert labels.tolist() == loop.codes[[values[2], last[-1]]].tolist()
    assert mask.sum(1).tolist() == [8, 4 * min(20, len(last) - 1)] and ((ids > 0) == (mask > 0)).all()
    assert loop.codes.max() <= 1024 and loop.model.config.vocab_size == 1026
    assert sum(p.numel() for p in loop.model.parameters()) > 4e6  # TIGER's size, not a toy's

    loop.rng = SimpleNamespace(choice=lambda *_: np.arange(3))  # the same batch each time
    losses = [float(loop.step()) for _ in range(12)]
    assert np.isfinite(losses).all() and losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("name", ["lightlm", "depth"])
def test_path_tokens_with_the_rows_of_level_tokens_find_the_same_lists(name):
    row = scopes.measure(name, TREE, rounds=1, users=3, **TINY)
    assert row.goal == "13a" and row.details["same lists %"] == 100
    assert row.details["tokens"] == 4 + 16 + 300 and row.details["tokens, usual"] < 100
    assert row.value == pytest.approx(row.details["users/s, usual"] / row.details["users/s"])


def test_path_tokens_with_other_rows_get_no_time(monkeypatch):
    monkeypatch.setattr(scopes.Side, "take_weights", lambda *_: None)
    monkeypatch.setattr(scopes, "interleaved", lambda *_, **__: pytest.fail("timed"))
    with pytest.raises(ListsDiffer, match="no time is printed"):
        scopes.measure("depth", TREE, rounds=1, users=3, **TINY)


def test_the_trees_have_as_many_items_as_the_goals_say():
    assert [(tree.items, tree.goal) for tree in scopes.TREES] == [(12_000, "13a"), (1_000_000, "13b")]
    labels = scopes.TREES[0].labels()
    assert len(np.unique(labels, axis=0)) == 12_000
    counts = np.unique(labels[:, :2], axis=0, return_counts=True)[1]
    assert len(counts) == 1024 and counts.max() <= scopes.LEAF


def test_every_goal_of_sequences_and_scopes_has_its_rows():
    numbers = {goal.number: goal for goal in GOALS}
    assert [numbers[number].bound for number in ("12a", "12b", "12c", "13a", "13b")] == [8, 8, 40, 1, 1.3]


def test_the_folder_with_beauty_reaches_the_comparison(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(train, "planted_cases", lambda _: train_cases())
    monkeypatch.setattr(train, "measure", lambda *_: [])
    monkeypatch.setattr(train, "operators_of_a_step", lambda *_: None)
    monkeypatch.setattr(sequences, "rows", lambda *given: seen.append(given) or [])
    train.run("small", Quiet(), data_dir=tmp_path)
    assert seen[0][0] == "small" and seen[0][-1] == tmp_path


def train_cases():
    return [train.Case("none", None)]


def test_a_loop_on_sequences_learns():
    form = sequences.Form.of("depth", HISTORIES, "cpu", **TINY)
    loop = form.loop(50, "fp32")
    assert isinstance(loop, OurLoop)
    losses = [float(loop.step(np.arange(len(HISTORIES.train.sequences)))) for _ in range(30)]
    assert losses[-1] < losses[0]
