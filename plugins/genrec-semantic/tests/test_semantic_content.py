"""TF-IDF vectors of titles and attributes: what is read, what is said where it is not there."""

from dataclasses import dataclass

import numpy as np
import pytest
from genrec_semantic.content import encode, features_tfidf, truncated
from genrec_semantic.opq import ProductQuantiser
from genrec_semantic.options import ContentConfig
from genrec_semantic.rq_kmeans import ResidualKmeans
from genrec_semantic.tree import SemanticTree
from scipy import sparse
from semantic_data import films, loyal, purity

from genrec_bench.api import Baseline, ConfigError, IndexerContext, NeedsMissing, Ragged, UnknownComponent
from genrec_bench.testing import Subject


def content(view, **options):
    return encode(view, ContentConfig(**options), IndexerContext())


@pytest.mark.parametrize("fields", ["titles", "features", "both", "auto"])
def test_items_of_one_topic_are_nearer_than_items_of_two(fields):
    view, topic = films()
    vectors = content(view, fields=fields, dimensions=8).vectors
    alike = vectors @ vectors.T
    same = topic[:, None] == topic
    assert alike[same].mean() > alike[~same].mean() + 0.5


def test_auto_reads_what_the_set_has_and_says_so():
    assert content(films()[0]).facts["fields"] == "titles+features"
    assert content(films(item_titles=None)[0]).facts["fields"] == "features"
    assert content(films(item_features=None)[0]).facts["fields"] == "titles"


def test_fields_that_are_not_there_are_named():
    view, _ = films(item_features=None)
    with pytest.raises(NeedsMissing, match="fields=both needs item features, which this data set does not have"):
        content(view, fields="both")


def test_a_catalogue_whose_items_say_nothing_is_refused():
    view, _ = films(per_topic=1, item_titles=np.array(["", "-", "", "?"]), item_features=None)
    with pytest.raises(NeedsMissing, match="no item has any content"):
        content(view)


def test_an_attribute_that_an_item_has_twice_counts_once():
    view, _ = films(per_topic=1, item_features=Ragged.of([[0, 0, 1], [0, 1], [2], []]))
    rows = features_tfidf(view).toarray()
    assert np.allclose(rows[0], rows[1]) and not rows[3].any()


def test_vectors_have_length_one_unless_asked_otherwise():
    view, _ = films()
    assert np.allclose(np.linalg.norm(content(view).vectors, axis=1), 1, atol=1e-6)
    assert np.linalg.norm(content(view, normalise=False, dimensions=2).vectors, axis=1).min() < 0.99


def test_the_sparse_and_the_dense_svd_agree():
    rng = np.random.default_rng(0)
    dense = rng.random((40, 30)) * (rng.random((40, 30)) < 0.3)
    few, kept = truncated(sparse.csr_array(dense), 5)
    every, all_kept = truncated(sparse.csr_array(dense), 30)
    assert np.allclose(few, every[:, :5], atol=1e-5)
    assert kept < all_kept == pytest.approx(1)


def test_what_it_is_given_is_left_alone():
    view, _ = films(per_topic=1, item_features=Ragged.of([[2, 0, 2, 1], [1, 0], [2, 2], [3]]))
    before = view.item_features.values.copy(), view.item_features.offsets.copy()
    first, again = content(view), content(view)
    assert np.array_equal(before[0], view.item_features.values)
    assert np.array_equal(before[1], view.item_features.offsets)
    assert np.array_equal(first.vectors, again.vectors)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"encoder": "array"}, "encoder=array needs array="),
        ({"encoder": "sentence-transformers"}, "encoder=sentence-transformers needs model="),
        ({"encoder": "tfidf", "model": "some/model"}, "model is for encoder=sentence-transformers"),
        ({"array": "vectors.csv"}, "expected a file that ends in .npz"),
        ({"array": "nowhere/vectors.npz"}, "no such file"),
        ({"encoder": "cooccurrence", "fields": "titles"}, "encoder=cooccurrence reads neither titles nor features"),
        ({"encoder": "cooccurrence", "array": "a.npz"}, "array is for encoder=array, and the encoder is cooccurrence"),
        ({"model": "some/model", "fields": "both"}, "a sentence encoder reads titles only"),
        ({"model": "m", "array": "a.npz"}, "model is for encoder=sentence-transformers, and the encoder is array"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        Subject.of("indexer", "rq-kmeans", options).make()


@dataclass(frozen=True)
class SasrecConfig:
    epochs: int = 1
    embedding_size: int = 64
    settings: str = "auto"
    time_limit: float = 60.0


class FakeSasrec(Baseline):
    """Learns the topic of a film as its vector."""

    Config = SasrecConfig

    def fit(self, train, ctx):
        self.n_items = train.n_items

    def facts(self):
        return {"epochs": self.config.epochs, "history": [{"epoch": self.config.epochs, "loss": 0.5}]}

    def item_vectors(self):
        return np.eye(self.config.embedding_size)[np.arange(self.n_items) % 4]

    def rank(self, queries, *, k, exclude=None):
        raise NotImplementedError


def test_vectors_of_sasrec_are_read_by_every_quantiser(monkeypatch):
    monkeypatch.setattr("genrec_bench.host.registry.load", lambda kind, name: FakeSasrec)
    view, topic = loyal()
    options = {"encoder": "sasrec", "dimensions": 8, "sasrec_epochs": 3}
    sizes = {
        ResidualKmeans: {"codebook_size": 4},
        SemanticTree: {"clusters": 4},
        ProductQuantiser: {"digits": 4, "codebook_size": 4},
    }
    for cls, more in sizes.items():
        index = Subject.of("indexer", cls, {**options, **more}).make().build(view, IndexerContext())
        assert index.info["events_used"] == 200 * 6
        content = index.info["content"]
        assert (content["encoder"], content["epochs"], content["loss"], content["dimensions"]) == ("sasrec", 3, 0.5, 8)
        assert content["identical_content"] == 1.0 and index.info["collisions"]["distinct_codes"] == 4
        assert purity(index.items.codes[:, 0], topic) > (0.4 if cls is ProductQuantiser else 0.99)


def test_without_genrec_baselines_sasrec_is_refused_in_one_line(monkeypatch):
    def load(kind, name):
        raise UnknownComponent("no baseline named 'sasrec'", kind=kind, name=name)

    indexer = Subject.of("indexer", "opq", {"encoder": "sasrec"}).make()
    monkeypatch.setattr("genrec_bench.host.registry.load", load)
    with pytest.raises(NeedsMissing, match=r"need the baseline sasrec\. It comes with genrec-baselines"):
        indexer.ready()


def test_sasrec_has_an_even_number_of_dimensions():
    with pytest.raises(ConfigError, match="dimensions = 7: sasrec has 2 heads"):
        Subject.of("indexer", "rq-kmeans", {"encoder": "sasrec", "dimensions": 7}).make()
