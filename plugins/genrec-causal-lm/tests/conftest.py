"""Shared by the tests: a cache of their own, tiny checkpoints on disk, and a planted data set."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: no test waits for a network

import numpy as np
import pytest
import torch
import transformers
from causal_fakes import WORDS
from tokenizers import Tokenizer, models, pre_tokenizers

SMALL = {
    "llama": transformers.LlamaConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, bos_token_id=1, eos_token_id=None, initializer_range=0.3, tie_word_embeddings=False,
    ),
    "gpt2": transformers.GPT2Config(
        vocab_size=40, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=None,
        initializer_range=0.3,
    ),
    "bloom": transformers.BloomConfig(
        vocab_size=40, hidden_size=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=None, initializer_range=0.3
    ),
    "mistral": transformers.MistralConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, sliding_window=8, bos_token_id=1, eos_token_id=None, initializer_range=0.3,
    ),
    "mamba": transformers.MambaConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=1, state_size=4, bos_token_id=1, eos_token_id=None
    ),
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Nothing of the person's cache is read or changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Makes a folder with a tiny random checkpoint of an architecture and a word-level tokenizer."""
    made = {}

    def make(name: str) -> str:
        if name not in made:
            folder = tmp_path_factory.mktemp("checkpoints") / f"tiny-{name}"
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = transformers.AutoModelForCausalLM.from_config(SMALL[name])
            model.save_pretrained(folder)
            level = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
            level.pre_tokenizer = pre_tokenizers.Whitespace()
            transformers.PreTrainedTokenizerFast(
                tokenizer_object=level, unk_token="[UNK]", bos_token="<s>"
            ).save_pretrained(folder)
            made[name] = str(folder)
        return made[name]

    return make


@pytest.fixture
def planted_file(tmp_path) -> Path:
    """A sequence file in which every user walks through the items of one group in a fixed cycle."""
    rng = np.random.default_rng(0)
    lines = []
    for user in range(60):
        group, start = user % 4, int(rng.integers(12))
        lines.append(" ".join([f"u{user}", *(f"g{group}i{(start + step) % 12}" for step in range(9))]))
    path = tmp_path / "planted.txt"
    path.write_text("\n".join(lines) + "\n")
    return path
