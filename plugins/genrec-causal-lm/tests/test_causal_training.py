"""Training: it learns, an interruption changes nothing, LoRA moves what it should, and files give the same logits back."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from causal_fakes import cycle_examples, small_index
from genrec_causal_lm.backbone import CausalConfig, CausalLM
from genrec_causal_lm.network import from_checkpoint
from safetensors.torch import load_file, save_file

from genrec_bench.api import START, BackboneContext, ConfigError, NeedsMissing

TINY = {"layers": 2, "d_model": 32, "heads": 2, "d_ff": 64, "batch_size": 8, "learning_rate": 3e-3, "patience": 0}


def fitted(folder=None, validate=None, examples=None, **options):
    backbone = CausalLM(CausalConfig(**{**TINY, "epochs": 4, **options}))
    report = backbone.fit(examples or cycle_examples(), BackboneContext(seed=3, folder=folder, validate=validate))
    return backbone, report


def weights(backbone):
    return {name: value.detach() for name, value in backbone.net.trained().items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def first_logits(backbone, sources):
    zero = torch.zeros(len(sources), 1, dtype=torch.long)
    return backbone.advance(backbone.start(sources), zero + START, zero)[0]


def accuracy(backbone, examples):
    """Share of sources whose greedily written code is the next item of the cycle."""
    zero = torch.zeros(len(examples), 1, dtype=torch.long)
    logits, state = backbone.advance(backbone.start(examples.sources), zero + START, zero)
    first = logits.argmax(-1)
    logits, _ = backbone.advance(state, first, zero)
    written = torch.cat([first, logits.argmax(-1)], 1).numpy()
    return float((written == examples.targets).all(1).mean())


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_planted_cycle_is_learned_and_an_untrained_network_does_not_know_it(architecture):
    examples = cycle_examples(users=72)
    barely, _ = fitted(examples=examples, architecture=architecture, epochs=1, learning_rate=1e-9)
    trained, report = fitted(examples=examples, architecture=architecture, epochs=40)
    assert accuracy(barely, examples) < 0.4
    assert accuracy(trained, examples) > 0.95
    assert report.history[-1]["loss"] < report.history[0]["loss"] / 3


@pytest.mark.parametrize("layout", ["tree", "rows"])
def test_both_layouts_learn_many_targets_of_a_source(layout):
    examples = cycle_examples(targets=3)
    backbone, report = fitted(examples=examples, layout=layout, epochs=30)
    assert report.examples_per_epoch == (36 if layout == "tree" else 108)
    chances = first_logits(backbone, examples.sources).softmax(-1)[:, 0].numpy()
    shares = np.stack([np.bincount(rows[:, 0], minlength=6) for rows in examples.targets.reshape(36, 3, 2)]) / 3
    assert np.abs(chances - shares).max() < 0.25  # the first token is as likely as its share of the targets


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_resumed_training_ends_like_one_that_was_never_interrupted(tmp_path, averaging):
    options = {"averaging": averaging, "architecture": "gpt2", "dropout": 0.1}
    rising = iter([0.1, 0.2, 0.3, 0.4])
    whole, _ = fitted(tmp_path / "whole", lambda: next(rising), **options)
    few = iter([0.1, 0.2])

    def until_interrupted():
        score = next(few, None)
        if score is None:
            raise KeyboardInterrupt
        return score

    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "cut", until_interrupted, **options)
    rest = iter([0.3, 0.4])
    resumed, report = fitted(tmp_path / "cut", lambda: next(rest), **options)
    assert (report.resumed_from, report.best_epoch, report.epochs) == (2, 4, 4)
    assert same(weights(whole), weights(resumed))


def test_the_best_epochs_weights_are_restored_and_training_stops_early():
    scores = iter([0.1, 0.5, 0.2, 0.3])
    whole, report = fitted(validate=lambda: next(scores), epochs=4)
    assert report.best_epoch == 2
    scores = iter([0.1, 0.5, 0.2])
    stopped, short = fitted(validate=lambda: next(scores), epochs=4, patience=1)
    assert short.epochs == 3
    assert same(weights(whole), weights(stopped))


def test_a_damaged_checkpoint_is_said_and_ignored(tmp_path):
    whole, _ = fitted()
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    again, report = fitted(tmp_path)
    assert report.resumed_from == 0
    assert same(weights(whole), weights(again))


def test_the_host_process_keeps_its_random_numbers():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fitted(epochs=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("options", [{}, {"architecture": "gpt2"}, {"lora_rank": 4}, {"prompt": "ids"}])
def test_saved_weights_load_to_the_same_logits(tmp_path, checkpoint, options):
    if options.keys() & {"lora_rank", "prompt"}:
        options = {**options, "model": checkpoint("llama")}
    backbone, _ = fitted(epochs=1, **options)
    backbone.save(tmp_path)
    other = CausalLM(backbone.config)
    other.load(tmp_path)
    batch = cycle_examples().sources
    assert torch.equal(first_logits(backbone, batch), first_logits(other, batch))
    assert other.parameters_count() == backbone.parameters_count()
    assert other.size() == backbone.size()


def test_sizes_and_variants_say_what_ran(checkpoint):
    small, _ = fitted(epochs=1)
    assert (small.size(), small.variant()) == ("2x32/64", "scratch")
    assert small.parameters_count()["embedding"] == 7 * 32  # six code tokens and the start
    assert CausalLM(CausalConfig(model=checkpoint("gpt2"), lora_rank=8)).variant() == "tiny-gpt2+lora8"


@pytest.mark.parametrize(("name", "targets"), [("llama", ()), ("gpt2", ()), ("llama", ("q_proj", "v_proj"))])
def test_lora_trains_only_adapters_and_the_code_tokens_rows(checkpoint, name, targets):
    pytest.importorskip("peft")
    options = {"model": checkpoint(name), "lora_rank": 4, "lora_targets": targets}
    untouched = CausalLM(CausalConfig(**options))
    untouched.begin(6, seed=3)
    before = {name: value.detach().clone() for name, value in untouched.net.named_parameters()}
    backbone, _ = fitted(epochs=2, **options)
    moved = {n for n, value in backbone.net.named_parameters() if not torch.equal(value, before[n])}
    assert moved and all(
        "lora_" in n or n.endswith(("embed_tokens.weight", "wte.weight", "lm_head.own")) for n in moved
    )
    assert any(n.endswith(("embed_tokens.weight", "wte.weight")) for n in moved)
    assert moved == set(weights(backbone))
    assert all(any(part in n for part in targets) for n in moved if "lora_" in n and targets)
    counted = backbone.parameters_count()
    assert sum(counted.values()) == sum(value.numel() for value in weights(backbone).values())


def test_adapters_on_another_checkpoint_are_refused(tmp_path, checkpoint):
    pytest.importorskip("peft")
    backbone, _ = fitted(epochs=1, model=checkpoint("llama"), lora_rank=4)
    backbone.save(tmp_path)
    facts = json.loads((tmp_path / "network.json").read_text())
    (tmp_path / "network.json").write_text(json.dumps({**facts, "frozen": "0" * 64}))
    with pytest.raises(ConfigError, match="not the checkpoint"):
        CausalLM(backbone.config).load(tmp_path)


def test_without_peft_lora_is_one_line(monkeypatch, checkpoint):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(NeedsMissing, match=r"pip install 'genrec-causal-lm\[lora\]'"):
        fitted(model=checkpoint("llama"), lora_rank=4)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"layers": 0}, "layers"),
        ({"d_model": 30, "heads": 4}, "d_model"),
        ({"d_model": 36, "heads": 4}, "even for llama"),
        ({"dropout": 1.0}, "dropout"),
        ({"epochs": 0}, "epochs"),
        ({"precision": "fp8"}, "precision"),
        ({"lora_rank": 4}, "give model"),
        ({"model": "./no/such/folder"}, "is not a folder"),
    ],
)
def test_impossible_options_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        CausalConfig(**wrong)


@pytest.mark.parametrize("ask", [lambda b: b.template("direct", small_index()), lambda b: b.begin(6)])
def test_a_name_that_cannot_be_fetched_says_what_to_do(ask):
    with pytest.raises(ConfigError, match=r"(?s)'nobody/nothing'.*local folder.*from scratch") as caught:
        ask(CausalLM(CausalConfig(model="nobody/nothing")))
    assert "\n" not in str(caught.value)


def test_targets_of_adapters_that_are_not_there_are_one_line(checkpoint):
    pytest.importorskip("peft")
    with pytest.raises(ConfigError, match=r"lora_targets = nowhere: ") as caught:
        fitted(model=checkpoint("llama"), lora_rank=4, lora_targets=("nowhere",))
    assert "\n" not in str(caught.value)


def test_a_prompt_longer_than_the_network_reads_names_history(checkpoint):
    examples = cycle_examples()
    long = examples.sources.take(np.zeros(1, int))
    tokens = np.zeros(70, np.int32)
    long = type(long)(tokens, tokens, tokens + 1, np.array([0, 70], np.int64))
    examples = replace(examples, sources=long, targets=examples.targets[:1], target_offsets=np.array([0, 1], np.int64))
    with pytest.raises(ConfigError, match=r"reads 64: lower backbone\.history"):
        fitted(examples=examples, model=checkpoint("gpt2"))


def test_bf16_training_runs_and_is_named():
    _, report = fitted(epochs=1, precision="bf16")
    assert report.precision == "bf16"
    assert np.isfinite(report.history[0]["loss"])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_the_weights_of_a_wrapped_model_are_read_with_a_note(tmp_path, checkpoint, prefix):
    folder = shutil.copytree(checkpoint("llama"), tmp_path / "wrapped")
    kept = load_file(folder / "model.safetensors")
    save_file({prefix + name: value for name, value in kept.items()}, folder / "model.safetensors", {"format": "pt"})

    notes = []
    ours, theirs = (from_checkpoint(str(name), notes.append) for name in (folder, checkpoint("llama")))
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))
    assert len(notes) == 1 and "saved from a wrapped model" in notes[0]


def test_a_checkpoint_in_the_home_folder_is_found(checkpoint, monkeypatch):
    folder = Path(checkpoint("llama"))
    monkeypatch.setenv("HOME", str(folder.parent))
    here, there = (CausalLM(CausalConfig(model=name)) for name in (str(folder), f"~/{folder.name}"))
    assert there.fingerprint() == here.fingerprint()
    there.ready()
