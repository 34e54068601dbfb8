"""Titles through a sentence encoder: a tiny one with random weights, made here; nothing is fetched."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from genrec_semantic.content import encode
from genrec_semantic.options import ContentConfig
from genrec_semantic.rq_kmeans import ResidualKmeans, ResidualKmeansConfig
from semantic_data import WORDS, films

from genrec_bench.api import IndexerContext, NeedsMissing, UsageError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a SentenceTransformer: one layer of BERT, a word-level tokenizer, mean pooling."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *" ".join(WORDS).split()]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bert = BertModel(
            BertConfig(
                vocab_size=len(words),
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=16,
                max_position_embeddings=32,
            )
        )
    bert.save_pretrained(folder / "bert")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    encoder = sentence_transformers.SentenceTransformer(str(folder / "bert"), device="cpu")  # adds mean pooling
    encoder.save(str(folder / "whole"))
    return str(folder / "whole")


def test_equal_titles_get_equal_vectors_and_a_blank_one_none(model):
    view, _ = films(per_topic=5)
    titles = view.item_titles.copy()
    titles[[0, 7]], titles[3] = "rocket violin", "  "
    content = encode(films(per_topic=5, item_titles=titles)[0], ContentConfig(model=model), IndexerContext())
    assert content.vectors.shape == (20, 16) and np.array_equal(content.vectors[0], content.vectors[7])
    assert not np.allclose(content.vectors[0], content.vectors[1], atol=1e-3)
    assert content.facts["without_content"] == 1 and content.facts["fields"] == "titles"
    assert content.facts["model"] == model


@pytest.mark.parametrize("lacking", ["pooler", "attention"])
def test_a_model_without_all_its_weights_is_refused_unless_nothing_uses_them(model, tmp_path, lacking):
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(model, tmp_path / "copy")
    file = next(copy.rglob("model.safetensors"))
    kept = {name: value for name, value in load_file(file).items() if lacking not in name}
    save_file(kept, file, {"format": "pt"})

    view, _ = films(per_topic=5)
    if lacking == "pooler":  # vectors are the mean of the tokens'
        whole, partial = (encode(view, ContentConfig(model=str(m)), IndexerContext()).vectors for m in (model, copy))
        assert np.array_equal(whole, partial)
    else:
        with pytest.raises(UsageError, match="weights are missing"):
            encode(view, ContentConfig(model=str(copy)), IndexerContext())


def test_codes_come_from_a_local_model_and_change_with_its_weights(model):
    view, _ = films(per_topic=5)
    indexer = ResidualKmeans(ResidualKmeansConfig(model=model, codebook_size=4))
    first, again = indexer.build(view, IndexerContext()), indexer.build(view, IndexerContext())
    assert first.fingerprint == again.fingerprint
    assert first.info["content"]["versions"]["sentence-transformers"]
    assert len(indexer.fingerprint()) == 64


def test_a_model_in_the_home_folder_is_found(model, monkeypatch):
    monkeypatch.setenv("HOME", str(Path(model).parent))
    view, there = films(per_topic=5)[0], ContentConfig(model="~/whole")
    assert there.fingerprint() == ContentConfig(model=model).fingerprint()
    ours, theirs = (encode(view, config, IndexerContext()) for config in (there, ContentConfig(model=model)))
    assert np.array_equal(ours.vectors, theirs.vectors)


def test_a_set_without_titles_is_told_so():
    view, _ = films(item_titles=None)
    with pytest.raises(NeedsMissing, match=r"reads item titles, .* use encoder=tfidf for attributes"):
        encode(view, ContentConfig(model="some/model"), IndexerContext())


def test_a_model_that_cannot_be_fetched_is_one_line(monkeypatch):
    sentence_transformers = pytest.importorskip("sentence_transformers")

    def offline(name, **options):
        raise OSError(f"We couldn't connect to the hub\nto load {name}")

    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", offline)
    with pytest.raises(
        UsageError, match="'some/model' is not a folder here and cannot be downloaded: give the folder"
    ) as caught:
        encode(films()[0], ContentConfig(model="some/model"), IndexerContext())
    assert "\n" not in str(caught.value) and isinstance(caught.value.__cause__, OSError)


def test_a_folder_that_holds_no_model_is_one_line(tmp_path):
    pytest.importorskip("sentence_transformers")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read: give the folder of a SentenceTransformer"):
        encode(films()[0], ContentConfig(model=str(tmp_path)), IndexerContext())


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(NeedsMissing, match=r"pip install 'genrec-semantic\[text\]', or use encoder=tfidf"):
        encode(films()[0], ContentConfig(model="some/model"), IndexerContext())
