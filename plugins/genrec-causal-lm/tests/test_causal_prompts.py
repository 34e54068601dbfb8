"""Prompts: codes as they are, words around them, words numbered above the code tokens."""

import numpy as np
import pytest
from causal_fakes import WORDS, small_index
from genrec_causal_lm.backbone import CausalConfig, CausalLM

from genrec_bench.api import CodeTable, ConfigError, Index, NeedsMissing, Queries, Ragged, UsageError

QUERIES = Queries(np.array([1, 0, 1], np.int32), Ragged.of([[2, 0], [], [4, 3, 1]]))


def rows(sources, values):
    return [values[sources.offsets[i] : sources.offsets[i + 1]].tolist() for i in range(len(sources))]


def spelled(sources):
    """The prompts as people read them: code tokens as numbers, words from the checkpoint's vocabulary."""
    return [" ".join(WORDS[t - 7] if t >= 7 else str(t) for t in row) for row in rows(sources, sources.tokens)]


def test_from_scratch_the_prompt_is_codes_alone():
    backbone = CausalLM(CausalConfig(history=2))
    shown = backbone.template("sequential", small_index()).render(QUERIES)
    assert rows(shown, shown.tokens) == [[1, 0, 2], [], [4, 2, 0, 3]]
    assert rows(shown, shown.levels) == [[0, 0, 1], [], [0, 1, 0, 1]]
    assert rows(shown, shown.words) == [[1, 2, 2], [], [1, 1, 2, 2]]
    own = backbone.template("direct", small_index()).render(QUERIES)
    assert rows(own, own.tokens) == [[6, 2], [5], [6, 2]]


def test_a_text_checkpoint_reads_words_around_the_codes(checkpoint):
    backbone = CausalLM(CausalConfig(model=checkpoint("llama")))
    shown = backbone.template("sequential", small_index()).render(QUERIES)
    assert spelled(shown) == [
        "Purchase history : 1 , 0 2 . Next item :",
        "Purchase history : . Next item :",
        "Purchase history : 4 3 , 4 2 , 0 3 . Next item :",
    ]
    assert rows(shown, shown.levels)[0] == [-1, -1, -1, 0, -1, 0, 1, -1, -1, -1, -1]
    assert rows(shown, shown.words)[0] == [1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10]
    own = backbone.template("direct", small_index()).render(QUERIES)
    assert spelled(own)[0] == "User 6 2 . Next item :"


def test_a_checkpoint_may_be_shown_codes_alone(checkpoint):
    backbone = CausalLM(CausalConfig(model=checkpoint("llama"), prompt="ids"))
    shown = backbone.template("sequential", small_index()).render(QUERIES)
    assert rows(shown, shown.tokens)[0] == [1, 0, 2]


def renamed(folder, tmp_path, change):
    """A copy of a checkpoint's folder, with the names of its weights changed."""
    import shutil

    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    save_file({change(name): value for name, value in weights.items()}, copy / "model.safetensors", {"format": "pt"})
    return str(copy)


def test_a_wrapped_checkpoint_loses_its_prefix_and_a_foreign_one_is_refused(checkpoint, tmp_path):
    import torch
    from genrec_causal_lm.network import from_checkpoint

    notes = []
    wrapped = renamed(checkpoint("llama"), tmp_path, "module.{}".format)
    found, expected = from_checkpoint(wrapped, notes.append), from_checkpoint(checkpoint("llama"), notes.append)
    pairs = zip(found.parameters(), expected.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs) and len(notes) == 1

    foreign = renamed(checkpoint("llama"), tmp_path / "foreign", "net.{}".format)
    with pytest.raises(UsageError, match="weights are missing") as caught:
        from_checkpoint(foreign, notes.append)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_without_a_tokenizer_says_so(checkpoint, tmp_path):
    import transformers

    transformers.AutoModelForCausalLM.from_pretrained(checkpoint("llama")).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"no tokenizer could be loaded.*prompt=ids") as caught:
        CausalLM(CausalConfig(model=str(tmp_path))).template("direct", small_index())
    assert "\n" not in str(caught.value)


def test_the_direct_task_needs_user_codes():
    items = Index(CodeTable(np.array([[0], [1]], np.int32)), None, 2)
    with pytest.raises(NeedsMissing, match="user by a code"):
        CausalLM().template("direct", items)
