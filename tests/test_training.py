"""Training: shared decoder positions change nothing, and an interruption changes nothing."""

import numpy as np
import pytest
import torch
from fakes import prefix_free
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec_bench.backbones.batches import batch_loss
from genrec_bench.backbones.lightlm import LightLM, LightLMConfig
from genrec_bench.backbones.target_trees import build_trees, latest_targets
from genrec_bench.backbones.trainer import TrainingConfig, epoch_batches, steps_of
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import CodeTable
from genrec_bench.core.progress import Quiet
from genrec_bench.core.sequences import Examples, Sources
from genrec_bench.host.contracts import START, BackboneContext

TINY = {"layers": 2, "d_model": 32, "heads": 2, "d_ff": 8}


def table(codes):
    width = max(map(len, codes))
    return np.array([code + [-1] * (width - len(code)) for code in codes], np.int32)


def examples_of(codes, chosen, n_tokens=8):
    """One source per entry of `chosen`, a list of item lists; sources of different lengths."""
    sources = Ragged.of([[user % n_tokens] * (1 + user % 3) for user in range(len(chosen))])
    ones = np.ones(len(sources.values), np.int32)
    targets = table(codes)[np.concatenate(chosen)]
    offsets = np.concatenate([[0], np.cumsum([len(items) for items in chosen])]).astype(np.int64)
    sources = Sources(sources.values, ones - 1, ones, sources.offsets)
    return Examples(sources, targets, offsets, n_tokens, CodeTable(table(codes)), Ragged.of(chosen))


@settings(max_examples=25, deadline=None)
@given(prefix_free(most=8, width=4), st.data())
def test_the_loss_over_shared_positions_equals_one_sequence_per_target(codes, data):
    items = st.lists(st.integers(0, len(codes) - 1), min_size=1, max_size=6)  # repeats count twice
    chosen = data.draw(st.lists(items, min_size=1, max_size=4))
    backbone = LightLM(LightLMConfig(**TINY))
    backbone.begin(8)
    shared = examples_of(codes, chosen)
    rows = np.arange(len(chosen))
    loss, tokens = batch_loss(
        backbone.net, shared.sources, build_trees(shared.targets, shared.target_offsets), rows, "cpu"
    )
    plain_loss, plain_tokens = 0.0, 0
    for user, mine in enumerate(chosen):
        for item in mine:
            alone = Examples(
                shared.sources.take(np.array([user])),
                table(codes)[[item]],
                np.array([0, 1], np.int64),
                shared.n_tokens,
                shared.catalogue,
                shared.sequences,
            )
            trees = build_trees(alone.targets, alone.target_offsets)
            assert trees.sizes.tolist() == [len(codes[item])]  # a chain
            one, count = batch_loss(backbone.net, alone.sources, trees, np.array([0]), "cpu")
            plain_loss, plain_tokens = plain_loss + one.item(), plain_tokens + count
    assert tokens == plain_tokens
    assert loss.item() == pytest.approx(plain_loss, rel=1e-4)


def test_the_latest_targets_of_a_source_are_its_last():
    codes = [[item] for item in range(6)]
    kept = latest_targets(examples_of(codes, [[0, 1, 2], [3], [4, 5, 1, 0]]), 2)
    assert kept.targets[:, 0].tolist() == [1, 2, 3, 1, 0]
    assert kept.target_offsets.tolist() == [0, 2, 3, 5]


def test_a_tree_has_one_position_per_prefix_that_goes_on():
    codes = [[0, 3], [0, 4, 1], [0, 4, 2], [1]]
    trees = build_trees(table(codes)[[0, 1, 2, 3, 0]], np.array([0, 5], np.int64))
    assert trees.token.tolist() == [START, 0, 4]
    assert trees.parent.tolist() == [0, 0, 1]
    edges = sorted(zip(trees.edge_node.tolist(), trees.edge_token.tolist(), trees.edge_count.tolist(), strict=True))
    assert edges == [(0, 0, 4), (0, 1, 1), (1, 3, 2), (1, 4, 2), (2, 1, 1), (2, 2, 1)]


@given(st.integers(1, 700), st.integers(1, 40), st.integers(0, 50))
def test_every_example_is_in_one_batch_of_an_epoch(count, batch_size, sampled):
    config = TrainingConfig(batch_size=batch_size, examples_per_epoch=sampled)
    lengths = np.random.default_rng(count).integers(1, 9, count)
    batches = list(epoch_batches(lengths, config, seed=1, epoch=2))
    rows = np.concatenate(batches)
    assert len(set(rows.tolist())) == len(rows) == min(count, sampled or count)
    assert max(map(len, batches)) <= batch_size
    assert len(batches) == -(-len(rows) // batch_size)


@given(st.integers(1, 400), st.integers(1, 40), st.integers(1, 60))
def test_a_padded_batch_keeps_the_token_budget_unless_one_example_alone_breaks_it(count, batch_size, budget):
    config = TrainingConfig(epochs=2, batch_size=batch_size, token_budget=budget)
    lengths = np.random.default_rng(count).integers(1, 30, count)
    epochs = [list(epoch_batches(lengths, config, seed=1, epoch=epoch)) for epoch in (1, 2)]
    for batches in epochs:
        assert sorted(np.concatenate(batches)) == list(range(count))
        assert all(len(rows) == 1 or len(rows) * lengths[rows].max() <= budget for rows in batches)
        assert max(map(len, batches)) <= batch_size
    assert steps_of(lengths, config, seed=1) == list(map(len, epochs))


def test_a_budget_nobody_reaches_changes_no_batch():
    lengths = np.arange(1, 200)
    plain, wide = (TrainingConfig(batch_size=8, token_budget=budget) for budget in (0, 10_000))
    for a, b in zip(epoch_batches(lengths, plain, 0, 1), epoch_batches(lengths, wide, 0, 1), strict=True):
        assert a.tolist() == b.tolist()


def test_a_resumed_training_with_a_token_budget_ends_alike(tmp_path):
    whole, _ = fitted(tmp_path / "whole", validate=iter([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).__next__, token_budget=16)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "cut", stop_after=3, token_budget=16)
    resumed, report = fitted(tmp_path / "cut", validate=iter([0.7, 0.8, 0.9]).__next__, token_budget=16)
    assert report.resumed_from == 3
    assert torch.equal(whole.net.embedding.weight, resumed.net.embedding.weight)


def test_a_loss_that_cannot_be_compiled_is_computed_without_and_told_once(monkeypatch):
    def no_compiler(*_, **__):
        raise RuntimeError("no C++ compiler\nat all")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: no_compiler)
    quiet = Quiet()
    quiet.note = (notes := []).append
    backbones = [LightLM(LightLMConfig(**TINY, epochs=1, compile=compile)) for compile in (False, True)]
    for backbone in backbones:
        backbone.fit(examples_of(CODES, CHOSEN), BackboneContext(progress=quiet))
    assert notes[1:] == ["torch.compile does not work here (no C++ compiler): training goes on without it"]
    assert torch.equal(*(backbone.net.embedding.weight for backbone in backbones))


class BackwardFails(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loss, weight):
        ctx.weight = weight
        return loss.clone()

    @staticmethod
    def backward(ctx, *grads):
        ctx.weight.grad = torch.ones_like(ctx.weight)  # it broke off halfway
        raise RuntimeError("backward: no C++ compiler\nat all")


def test_a_loss_whose_backward_pass_cannot_be_compiled_is_computed_without_too(monkeypatch):
    monkeypatch.setattr(
        torch,
        "compile",
        lambda loss, **_: lambda net, *batch: BackwardFails.apply(loss(net, *batch), net.embedding.weight),
    )
    quiet = Quiet()
    quiet.note = (notes := []).append
    backbones = [LightLM(LightLMConfig(**TINY, epochs=2, compile=compile)) for compile in (False, True)]
    for backbone in backbones:
        backbone.fit(examples_of(CODES, CHOSEN), BackboneContext(progress=quiet))
    assert [note for note in notes if "does not work" in note] == notes[1:] and len(notes) == 2
    assert torch.equal(*(backbone.net.embedding.weight for backbone in backbones))


@pytest.mark.slow
def test_compiled_training_learns_what_plain_training_does():
    quiet = Quiet()
    quiet.note = (notes := []).append
    backbones = [
        LightLM(LightLMConfig(**{**TINY, "dropout": 0.0}, epochs=2, compile=compile)) for compile in (False, True)
    ]
    reports = [backbone.fit(examples_of(CODES, CHOSEN), BackboneContext(progress=quiet)) for backbone in backbones]
    if any("does not work" in note for note in notes):
        pytest.skip(f"nothing compiles here: {notes[-1]}")
    losses = [[row["loss"] for row in report.history] for report in reports]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


CODES = [[a, b] for a in range(3) for b in range(3, 6)]
CHOSEN = [[user % 9, (user * 2) % 9, (user + 1) % 9] for user in range(20)]


def fitted(folder, epochs=6, stop_after=None, validate=None, averaging=0.0, token_budget=0):
    config = LightLMConfig(
        **TINY, epochs=epochs, batch_size=4, patience=0, averaging=averaging, token_budget=token_budget
    )
    scores = iter([0.1, 0.5, 0.2, 0.3, 0.1, 0.4])
    calls = []

    def judge():
        calls.append(1)
        if stop_after is not None and len(calls) > stop_after:
            raise KeyboardInterrupt
        return next(scores)

    backbone = LightLM(config)
    report = backbone.fit(
        examples_of(CODES, CHOSEN), BackboneContext(seed=3, folder=folder, validate=validate or judge)
    )
    return backbone, report


def test_the_best_epochs_weights_are_restored():
    backbone, report = fitted(None)
    assert report.best_epoch == 2
    assert [round(row["validation"], 1) for row in report.history] == [0.1, 0.5, 0.2, 0.3, 0.1, 0.4]
    short = LightLM(LightLMConfig(**TINY, epochs=6, batch_size=4, patience=2))
    scores = iter([0.1, 0.5, 0.2, 0.3])
    stopped = short.fit(examples_of(CODES, CHOSEN), BackboneContext(seed=3, validate=lambda: next(scores)))
    assert stopped.epochs == 4  # two validations without progress
    for name, value in backbone.net.state_dict().items():
        assert torch.equal(value, short.net.state_dict()[name])


def chosen(on_all, **changes):
    """The report and the backbone of a training whose second of six epochs is best on the sample; `on_all` scores all users."""
    backbone = LightLM(LightLMConfig(**TINY, epochs=6, batch_size=4, **changes))
    scores, asked = iter([0.1, 0.5, 0.2, 0.3, 0.1, 0.4]), iter(on_all)
    context = BackboneContext(seed=3, validate=lambda: next(scores), validate_on_all=lambda: next(asked))
    return backbone, backbone.fit(examples_of(CODES, CHOSEN), context)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_all_users_decide_between_the_best_epoch_and_the_last(averaging):
    early, report = chosen([0.2, 0.3], averaging=averaging, patience=0)
    assert report.best_epoch == 2 and report.on_all_users == {"6": 0.2, "2": 0.3}
    late, report = chosen([0.3, 0.2], averaging=averaging, patience=0)
    assert report.best_epoch == 6 and report.on_all_users == {"6": 0.3, "2": 0.2}

    rising = iter([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    last, _ = fitted(None, validate=lambda: next(rising), averaging=averaging)
    best, _ = fitted(None, averaging=averaging)
    for name in last.net.state_dict():
        assert torch.equal(late.net.state_dict()[name], last.net.state_dict()[name])
        assert torch.equal(early.net.state_dict()[name], best.net.state_dict()[name])


def test_a_training_that_stopped_early_has_no_last_epoch_to_choose():
    _, report = chosen([], patience=2)
    assert report.epochs == 4 and report.best_epoch == 2 and not report.on_all_users


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_resumed_training_ends_like_one_that_was_never_interrupted(tmp_path, averaging):
    rising = iter([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    whole, _ = fitted(tmp_path / "whole", validate=lambda: next(rising), averaging=averaging)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "cut", stop_after=3, averaging=averaging)
    rest = iter([0.7, 0.8, 0.9])
    resumed, report = fitted(tmp_path / "cut", validate=lambda: next(rest), averaging=averaging)
    assert report.resumed_from == 3
    assert report.best_epoch == 6
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, resumed.net.state_dict()[name])


def test_averaging_keeps_the_mean_of_the_weights_and_trains_on_alike():
    plain, report = fitted(None, epochs=1)
    mean, averaged = fitted(None, epochs=1, averaging=0.5)
    assert report.history[0]["loss"] == averaged.history[0]["loss"]
    assert not torch.equal(plain.net.embedding.weight, mean.net.embedding.weight)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8, 0.95])
def test_a_checkpoint_with_one_flipped_bit_is_not_used(tmp_path, share):
    whole, _ = fitted(None)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path, stop_after=3)
    content = bytearray((tmp_path / "checkpoint.pt").read_bytes())
    content[int(share * len(content))] ^= 0x40
    (tmp_path / "checkpoint.pt").write_bytes(content)

    again, report = fitted(tmp_path)
    assert report.resumed_from == 0
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[name])


def test_a_damaged_checkpoint_is_said_and_ignored(tmp_path):
    whole, _ = fitted(None)
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    again, report = fitted(tmp_path)
    assert report.resumed_from == 0
    assert torch.equal(whole.net.embedding.weight, again.net.embedding.weight)


def test_saved_weights_load_to_the_same_logits(tmp_path):
    backbone, _ = fitted(None, epochs=2)
    backbone.save(tmp_path)
    other = LightLM(backbone.config)
    other.load(tmp_path)
    batch = examples_of(CODES, CHOSEN).sources
    first = torch.full((20, 1), START), torch.zeros(20, 1, dtype=torch.long)
    ours, theirs = (b.logits(b.advance(b.start(batch), *first)[0]) for b in (backbone, other))
    assert ours.shape == (20, 1, 8)
    assert torch.equal(ours, theirs)


def test_the_host_process_keeps_its_random_numbers():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fitted(None, epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_bf16_training_runs_and_is_named():
    backbone = LightLM(LightLMConfig(**TINY, epochs=1, precision="bf16"))
    report = backbone.fit(examples_of(CODES, CHOSEN), BackboneContext())
    assert report.precision == "bf16"
    assert np.isfinite(report.history[0]["loss"])


@pytest.mark.parametrize(
    "wrong", [{"layers": 0}, {"d_model": 30, "heads": 4}, {"dropout": 1.0}, {"epochs": 0}, {"precision": "fp8"}]
)
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LightLMConfig(**wrong)
