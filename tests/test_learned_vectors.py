"""Item vectors that a baseline learns: of the training part alone, for a fixed number of epochs, in the items' order."""

from typing import ClassVar

import numpy as np
import pytest
from pydantic.dataclasses import dataclass

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import ConfigError, GenrecError, NeedsMissing, UnknownComponent
from genrec_bench.host import registry
from genrec_bench.host.contracts import Baseline, IndexerContext
from genrec_bench.indexers.learned_vectors import check_sasrec, sasrec_vectors
from genrec_bench.testing import Subject

TRAIN = TrainView(Ragged.of([[0, 1, 2], [3, 4], [5, 0]]), 8)  # items 6 and 7 are met by nobody


@dataclass(frozen=True)
class Config:
    epochs: int = 10
    embedding_size: int = 64
    settings: str = "auto"
    time_limit: float = 60.0


class Fake(Baseline):
    """Learns that item `i` lies at an angle of its own, in two groups."""

    Config = Config
    made: ClassVar = []
    cut_short = 0

    def ready(self):
        self.made.append(self)

    def fit(self, train, ctx):
        self.train, self.ctx = train, ctx

    def facts(self):
        epochs = self.config.epochs - self.cut_short
        return {"epochs": epochs, "history": [{"epoch": epochs, "loss": 1.5}], "recbole": {"packages": {"torch": "2"}}}

    def item_vectors(self):
        angle = np.arange(self.train.n_items) % 2 * np.pi + 0.01 * np.arange(self.train.n_items)
        circle = np.zeros((self.train.n_items, self.config.embedding_size))
        circle[:, 0], circle[:, 1] = 3 * np.cos(angle), 3 * np.sin(angle)
        return circle

    def rank(self, queries, *, k, exclude=None):
        raise NotImplementedError


@pytest.fixture
def fake(monkeypatch):
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: Fake if name == "sasrec" else load(kind, name))
    monkeypatch.setattr(Fake, "made", [])
    return Fake


def test_it_learns_from_the_training_part_for_a_fixed_number_of_epochs(fake):
    vectors, facts = sasrec_vectors(TRAIN, 4, 7, IndexerContext(seed=5))
    (model,) = fake.made
    assert model.train is TRAIN
    assert (model.ctx.seed, model.ctx.task, model.ctx.device) == (5, "sequential", "cpu")
    assert model.ctx.validate is None and model.ctx.folder is None
    assert (model.config.epochs, model.config.embedding_size, model.config.settings) == (7, 4, "none")
    assert facts == {"epochs": 7, "loss": 1.5, "versions": {"torch": "2"}}
    assert vectors.dtype == np.float32 and vectors.shape == (8, 4)


def test_vectors_have_length_one_and_items_that_nobody_met_have_none(fake):
    vectors, _ = sasrec_vectors(TRAIN, 4, 7, IndexerContext())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1] * 6 + [0] * 2, rtol=1e-6)
    np.testing.assert_allclose(vectors[3, :2], [np.cos(np.pi + 0.03), np.sin(np.pi + 0.03)], rtol=1e-6)


def test_a_training_that_ended_early_is_refused(fake, monkeypatch):
    monkeypatch.setattr(Fake, "cut_short", 2)
    with pytest.raises(GenrecError, match="sasrec ended after 5 of 7 epochs"):
        sasrec_vectors(TRAIN, 4, 7, IndexerContext())


def test_without_the_distribution_one_line_says_what_to_install(monkeypatch):
    def load(kind, name):
        raise UnknownComponent(f"no {kind} named {name!r}", kind=kind, name=name)

    monkeypatch.setattr(registry, "load", load)
    with pytest.raises(
        NeedsMissing, match=r"need the baseline sasrec\. It comes with genrec-baselines: .* pip install ./baselines"
    ):
        check_sasrec()


def test_a_baseline_that_learns_no_vectors_says_so():
    with pytest.raises(NeedsMissing, match="Popularity learns no item vectors"):
        Subject.of("baseline", "popularity").make().item_vectors()


def test_the_tree_is_grown_over_them(fake):
    options = {"vectors": "sasrec", "dimensions": 2, "sasrec_epochs": 3, "clusters": 2, "leaf_size": 4}
    indexer = Subject.of("indexer", "kmeans-tree", options).make()
    index = indexer.build(TRAIN, IndexerContext())
    first = index.items.codes[:, 0]
    assert len(set(first[[0, 2, 4]])) == len(set(first[[1, 3, 5]])) == 1 and first[0] != first[1]
    assert first[6] == first[7] and first[6] not in first[:6]
    assert index.info["vectors"] == "sasrec" and index.info["sasrec"]["epochs"] == 3
    assert index.info["items_without_vector"] == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dimensions": 5}, "dimensions = 5: sasrec has 2 heads, which must divide it"),
        ({"window": 3}, "window = 3 is for co-occurrence, and vectors=sasrec makes no use of it"),
        ({"sasrec_epochs": 0}, "sasrec_epochs = 0: must be above 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        Subject.of("indexer", "kmeans-tree", {"vectors": "sasrec", **options}).make()
