"""Checkpoints: what is read from a Hugging Face folder computes what transformers computes, and misfits are refused."""

import numpy as np
import pytest
import torch
from fakes import index_of, sources
from small_runs import spec_for

from genrec_bench.backbones import hf_t5
from genrec_bench.backbones.lightlm import LightLM, LightLMConfig
from genrec_bench.backbones.p5 import P5, P5Config
from genrec_bench.backbones.t5_small import T5Small
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.sequences import Queries, Sources
from genrec_bench.decoders.trie import TrieDecoder
from genrec_bench.errors import ConfigError, UsageError
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import START
from genrec_bench.runs import run as runner

transformers = pytest.importorskip("transformers")
SIZES = {"layers": 2, "d_model": 32, "heads": 4, "d_ff": 48}
CODES, PIECES, WIDTH = 12, 40, 3


def checkpoint(folder, **changes):
    """A randomly initialised T5 with a word-level tokenizer, saved as Hugging Face saves."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    options = {"vocab_size": PIECES, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
               "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}  # fmt: skip
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**{**options, **changes}))
    for bias in (model.encoder, model.decoder):  # large biases, so that a wrong bucket shows
        bias.block[0].layer[0].SelfAttention.relative_attention_bias.weight.data.normal_(std=2.0)
    model.save_pretrained(folder)
    words = ["<pad>", "</s>", "<unk>", "recommend", "to", "user", "after", ":", "the", "?"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("t5"))


def started(folder, cls=T5Small, n_tokens=CODES, **changes):
    """A backbone as it is before its first training step."""
    backbone = cls(
        make_config(cls.Config, {**SIZES, "init": "pretrained", "model": str(folder), **changes}, "backbone")
    )
    backbone.ready()
    backbone.begin(n_tokens, seed=3)
    return backbone


def twin(folder, ours):
    """transformers' model with our code rows behind its pieces."""
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(folder).eval()
    theirs.resize_token_embeddings(PIECES + CODES, mean_resizing=False)
    theirs.shared.weight.data[PIECES:] = ours.net.embedding.weight.data[1 : 1 + CODES]
    return theirs


def item_codes(seed=0, n=30):
    """An index of `n` random codes of WIDTH tokens each."""
    rng = np.random.default_rng(seed)
    codes = np.unique(rng.integers(0, CODES, (n, WIDTH)).astype(np.int32), axis=0)
    return Index(CodeTable(codes), CodeTable(np.arange(6, dtype=np.int32)[:, None]), CODES)


def theirs_ids(tokens):
    """Our source tokens as ids of the twin: code tokens behind the pieces."""
    return [token + PIECES if token < CODES else token - CODES for token in tokens]


@torch.no_grad()
@pytest.mark.parametrize("epsilon", [1e-6, 1e-2])
def test_logits_of_a_loaded_checkpoint_equal_those_of_transformers(tmp_path, epsilon):
    folder = checkpoint(tmp_path, layer_norm_epsilon=epsilon)
    ours = started(folder, score_vocab="full")
    theirs = twin(folder, ours)
    batch = ours.template("sequential", item_codes()).render(Queries(np.zeros(1, np.int32), Ragged.of([[0, 3, 2]])))
    logits, state = first_step(ours, batch)
    ids = torch.tensor([theirs_ids(batch.tokens.tolist())])
    assert ids[0, -1] == 1  # </s> closes the prompt
    for given in ([0], [0, PIECES + 5], [0, PIECES + 5, PIECES + 2]):
        golden = theirs(input_ids=ids, decoder_input_ids=torch.tensor([given])).logits[0, -1]
        golden = torch.cat([golden[PIECES:], golden[:PIECES]])  # codes first, as ours
        torch.testing.assert_close(logits[0, 0], golden, rtol=1e-4, atol=1e-4)
        token = {1: 5, 2: 2}.get(len(given))
        if token is not None:
            hidden, state = ours.advance(state, torch.tensor([[token]]), torch.tensor([[0]]))
            logits = ours.logits(hidden)


def first_step(backbone, batch):
    zero = torch.zeros(len(batch), 1, dtype=torch.long)
    hidden, state = backbone.advance(backbone.start(batch), zero + START, zero)
    return backbone.logits(hidden), state


@torch.no_grad()
def test_the_output_alphabet_is_the_code_tokens_unless_asked_otherwise(folder):
    for scope, columns in (("codes", CODES), ("full", CODES + PIECES)):
        backbone = started(folder, score_vocab=scope)
        logits, _ = first_step(backbone, sources([1, 2]))
        assert logits.shape == (2, 1, columns) and backbone.extra_columns == columns - CODES


@torch.no_grad()
def test_beam_search_over_a_full_vocabulary_equals_that_of_transformers(folder):
    ours, index = started(folder, score_vocab="full"), item_codes()
    theirs = twin(folder, ours)
    histories = Ragged.of([[0, 1], [5, 6, 7], [9]])
    batch = ours.template("sequential", index).render(Queries(np.arange(3, dtype=np.int32), histories))
    found = TrieDecoder().generate(ours, batch, index, beams=8)
    successors = {}
    for code in index.items.codes.tolist():
        for place in range(WIDTH):
            successors.setdefault(tuple(code[:place]), set()).add(code[place] + PIECES)
    for row in range(3):
        ids = torch.tensor([theirs_ids(batch.tokens[batch.offsets[row] : batch.offsets[row + 1]].tolist())])
        out = theirs.generate(
            input_ids=ids, num_beams=8, num_return_sequences=8, max_new_tokens=WIDTH, do_sample=False, length_penalty=0.0,
            eos_token_id=None, early_stopping=False, output_scores=True, return_dict_in_generate=True,
            prefix_allowed_tokens_fn=lambda _, prefix: sorted(successors[tuple(t - PIECES for t in prefix[1:].tolist())]),
        )  # fmt: skip
        assert (out.sequences[:, 1:] - PIECES).tolist() == found.tokens[row].tolist()
        np.testing.assert_allclose(out.sequences_scores.numpy(), found.scores[row], atol=1e-4)


def test_lightlm_takes_everything_but_the_feed_forward_from_the_checkpoint(folder):
    ours = started(folder, LightLM, init="t5-small", d_ff=4)
    weights = hf_t5.read_weights(str(folder), print)
    own = ours.net.state_dict()
    for name, value in weights.items():
        if name == "embedding.weight":
            assert torch.equal(own[name][1 + CODES :], value)
        elif ".wi." in name or ".wo." in name:
            assert own[name].shape != value.shape
        else:
            assert torch.equal(own[name], value), name
    assert ours.variant() == f"from {folder.name}"


def test_code_tokens_start_inside_the_cloud_of_the_pieces(folder):
    backbone = started(folder, n_tokens=5000)
    rows = backbone.net.embedding.weight.detach()
    codes, pieces = rows[1:5001], rows[5001:]
    torch.testing.assert_close(codes.mean(0), pieces.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(codes.std(0), pieces.std(0), atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feed_forward_proj": "gated-gelu"}, "T5 1.1 / Flan"),
        ({"tie_word_embeddings": False}, "relu feed-forward and an untied or unscaled output"),
        ({"num_decoder_layers": 3}, "2 encoder and 3 decoder layers"),
        ({"vocab_size": 5}, "tokenizer has 10 pieces and the checkpoint .* embeddings of 5"),
        ({"d_model": 64}, "other sizes than this profile: add --set backbone.d_model=64"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_line(tmp_path, changes, message):
    with pytest.raises((UsageError, ConfigError), match=message) as caught:
        started(checkpoint(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("damage", "message"), [("cut", "cannot be fetched"), ("gone", "holds no weights")])
def test_broken_weights_are_told_in_one_line(tmp_path, damage, message):
    weights = checkpoint(tmp_path) / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    else:
        weights.unlink()
    with pytest.raises(UsageError, match=message) as caught:
        started(tmp_path)
    assert "\n" not in str(caught.value)


LAST = "decoder.final_layer_norm.weight"


def rewritten(folder, change):
    """The checkpoint's folder with `change` made to the names and weights of its file."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_the_prefix_of_a_wrapped_model_is_taken_off_with_a_note(tmp_path, folder, prefix):
    notes = []
    rewritten(checkpoint(tmp_path), lambda weights: {prefix + name: value for name, value in weights.items()})
    weights, expected = hf_t5.read_weights(str(tmp_path), notes.append), hf_t5.read_weights(str(folder), print)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert len(notes) == 1 and "saved from a wrapped model" in notes[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda weights: {name: value for name, value in weights.items() if "decoder.block.1" not in name},
            r"13 of the network's weights are missing \(decoder.block.1",
        ),
        (lambda weights: {**weights, "adapter.weight": torch.ones(2)}, r"have no place in it \(adapter.weight\)"),
        (
            lambda weights: {**weights, LAST: weights[LAST] + torch.nan},
            rf"checkpoint .* holds NaN or .* 1 weights \({LAST}\)",
        ),
        (lambda weights: {**weights, LAST: weights[LAST] / 0}, "holds NaN or infinity in 1 weights"),
        (lambda weights: {f"net.{name}": value for name, value in weights.items()}, "weights are missing .* no place"),
    ],
)
def test_a_checkpoint_with_other_weights_than_the_networks_is_refused(tmp_path, change, message):
    rewritten(checkpoint(tmp_path), change)
    with pytest.raises(UsageError, match=message) as caught:
        started(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_git_lfs_pointer_is_called_one(tmp_path):
    (checkpoint(tmp_path) / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    )
    with pytest.raises(UsageError, match=r"model.safetensors is a Git LFS pointer, .*git lfs pull"):
        started(tmp_path)


def test_another_architecture_is_refused(tmp_path):
    transformers.GPT2Config(n_layer=1, n_embd=8, n_head=1).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="is a gpt2, not a T5"):
        started(tmp_path)


def test_a_checkpoint_that_is_not_there_says_how_to_go_on(tmp_path):
    with pytest.raises(UsageError, match=r"cannot be fetched .*--set backbone.model=FOLDER, .*init=scratch") as caught:
        started(tmp_path / "nothing")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_in_the_home_folder_is_found(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    here, there = started(folder), started(f"~/{folder.name}", tokenizer=f"~/{folder.name}")
    assert there.fingerprint() and there.variant() == here.variant()
    assert all(map(torch.equal, there.net.state_dict().values(), here.net.state_dict().values()))


def test_a_missing_checkpoint_stops_a_run_before_its_data_is_read(tmp_path):
    wrong = {"backbone.init": "pretrained", "backbone.model": str(tmp_path / "nothing"), "backbone.d_model": 32}
    spec = spec_for(tmp_path / "no-data.txt", backbone="t5-small", set=wrong)
    with pytest.raises(UsageError, match="cannot be fetched"):
        runner.resolve(spec)


@pytest.mark.parametrize("task", ["direct", "sequential"])
@pytest.mark.parametrize(
    ("backbone", "init"), [("t5-small", "pretrained"), ("p5", "pretrained"), ("lightlm", "t5-small")]
)
def test_a_run_from_a_checkpoint_with_t5s_own_tokenizer(go, tmp_path, data_dir, backbone, init, task):
    place = tmp_path / "tiny-t5"
    place.mkdir()
    checkpoint(place, vocab_size=32_128)
    (place / "tokenizer.json").unlink()
    options = {"model": str(place), "tokenizer": str(data_dir / "t5-tokenizer"), "init": init, "epochs": 1, **SIZES}
    if backbone == "lightlm":
        options["d_ff"] = 4
    record = go(backbone=backbone, task=task, set={f"backbone.{key}": value for key, value in options.items()})
    assert record.parameters["variant"].endswith("tiny-t5") and "tiny-t5) / trie" in record.system
    assert record.parameters["embedding"] > 32_128 * 32
    assert record.validity["hallucination_rate"] == 0


def test_prompts_are_written_in_the_pieces_of_the_tokenizer(data_dir):
    tokenizer = hf_t5.read_tokenizer(str(data_dir / "t5-tokenizer"))
    words = hf_t5.Pieces(tokenizer, 32_128)
    prompt = "Which item would user like to buy ?"
    pieces = [piece for word in prompt.split() for piece in words.encode(word)]
    assert [*pieces, *words.end] == tokenizer.encode(prompt)


def test_saved_weights_come_back_without_the_checkpoint(folder, tmp_path):
    ours = started(folder, P5, word_embedding=True)
    ours.save(tmp_path / "saved")
    again = P5(P5Config(**SIZES))
    again.load(tmp_path / "saved")
    batch = sources([1, 2, 3])
    assert torch.equal(first_step(ours, batch)[0], first_step(again, batch)[0])


def test_a_backbone_from_scratch_needs_nothing(monkeypatch):
    monkeypatch.setattr(hf_t5, "_transformers", lambda: pytest.fail("transformers was asked for"))
    for cls, config in ((T5Small, None), (P5, None), (LightLM, LightLMConfig())):
        backbone = cls(config if config is not None else cls.Config())
        backbone.ready()
        template = backbone.template("direct", Index(index_of([[0]]).items, CodeTable(np.zeros((1, 1), np.int32)), 1))
        assert isinstance(template.render(Queries(np.zeros(1, np.int32), Ragged.empty(1))), Sources)
        assert backbone.variant() == ("" if cls is LightLM else "scratch")
