"""Each model, trained by RecBole itself on a planted data set, and what a run of one leaves in its record."""

from importlib.metadata import distribution

import numpy as np
import pytest
from genrec_baselines import models

from genrec_bench import RunRecord, RunSpec, run
from genrec_bench.api import BaselineContext, NeedsMissing, Queries, Ragged, score
from genrec_bench.testing import Subject

POINTS = distribution("genrec-baselines").entry_points.select(group="genrec_bench.baselines")
SHORT = "MAX_ITEM_LIST_LENGTH=10"


def validation_of(baseline, data):
    """What a run gives a baseline to validate with."""
    queries, targets = data.split.queries(data.split.validation), data.split.validation.target
    return lambda: float(score(baseline.rank(queries, k=50, exclude=queries.history), targets)[0]["ndcg@10"])


def test_a_run_is_recorded_with_its_training_its_parameters_and_the_patches(planted_file, tmp_path):
    spec = RunSpec(dataset="file", baseline="bpr", set={**planted_file, "baseline.epochs": 2})
    record = run(spec, out=tmp_path, device="cpu")
    training = RunRecord.read(tmp_path / record.spec_id).training
    assert (training["epochs"], training["ended_by"], training["converged"]) == (2, "epochs", False)
    assert [set(row) for row in training["history"]] == [{"epoch", "loss", "seconds", "ndcg@10"}] * 2
    assert training["examples_per_epoch"] == record.data["interactions"] - 2 * record.data["users"]
    recbole = training["recbole"]
    assert recbole["packages"]["recbole"] == "1.2.1" and recbole["settings"]["epochs"] == 2
    assert "torch.load(weights_only=False)" in recbole["patches"]
    assert recbole["source"] == "RecBole 1.2.1 defaults; given: epochs"
    assert record.validity["fill@20"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_each_model_trains_and_ranks_every_item(make, data, point):
    extra = {"s3rec": f"{SHORT},pretrain_epochs=1"}.get(point.name, SHORT)
    model = make(point.load(), epochs=1, extra=extra)
    model.fit(data.train, BaselineContext(validate=validation_of(model, data)))
    everything = model.rank(data.queries, k=100)
    assert (np.sort(everything.items, axis=1) == np.arange(data.split.n_items)).all()  # also those without interactions
    assert model.facts()["history"][0].keys() >= {"epoch", "loss", "ndcg@10"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "least"), [(models.SASRec, 0.9), (models.GRU4Rec, 0.9), (models.ItemKNN, 0.6), (models.EASE, 0.6)]
)
def test_a_planted_pattern_is_found(make, data, cls, least):
    options = {"extra": SHORT} if cls.tasks == ("direct",) else {"epochs": 60, "learning_rate": 0.01, "extra": SHORT}
    model = make(cls, train_batch_size=128, **options)
    model.fit(data.train, BaselineContext(validate=validation_of(model, data)))
    metrics, _ = score(model.rank(data.queries, k=10, exclude=data.queries.history), data.split.test.target)
    assert metrics["hit@5"] > least


@pytest.mark.slow
def test_popularity_is_the_cores(make, data, ctx):
    theirs, ours = make(models.Pop), Subject.of("baseline", "popularity").make()
    theirs.fit(data.train, ctx)
    ours.fit(data.train, ctx)
    assert (theirs.rank(data.queries, k=20).items == ours.rank(data.queries, k=20).items).all()
    assert theirs.facts()["ended_by"] == "closed form" and theirs.facts()["converged"]


@pytest.mark.slow
def test_without_a_history_a_sequential_model_says_nothing(make, data, ctx):
    model = make(models.GRU4Rec, epochs=1, extra=SHORT)
    model.fit(data.train, ctx)
    ranking = model.rank(Queries(np.array([0, 1], np.int32), Ragged.of([[], [3]])), k=5)
    assert (ranking.items[0] == -1).all() and (ranking.items[1] >= 0).all()


@pytest.mark.slow
def test_the_best_epoch_by_the_hosts_validation_is_kept(make, data):
    scores = iter([0.1, 0.5, 0.2, 0.3])
    model = make(models.BPR, epochs=100, stopping_step=1)
    model.fit(data.train, BaselineContext(validate=lambda: next(scores)))
    facts = model.facts()
    assert (facts["epochs"], facts["best_epoch"], facts["ended_by"]) == (4, 2, "early stop")
    assert facts["converged"] is True


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "ended_by"), [(3600, "early stop"), (1e-3, "time limit")])
def test_an_epoch_that_the_time_limit_cut_is_no_early_stop(make, data, limit, ended_by):
    at_once = "stopping_step=-1"  # the first validation already counts as one without progress
    model = make(models.BPR, epochs=1, train_batch_size=8, time_limit=limit, extra=at_once)
    model.fit(data.train, BaselineContext(validate=lambda: 0.1))
    facts = model.facts()
    assert (facts["ended_by"], facts["converged"]) == (ended_by, ended_by == "early stop")


def test_item_vectors_are_those_that_the_model_ranks_by(make, data, ctx):
    model = make(models.SASRec, epochs=2, embedding_size=8, extra=SHORT)
    model.fit(data.train, ctx)
    vectors = model.item_vectors()
    assert vectors.shape == (data.split.n_items, 8)

    # SASRec's score is the product of a history's state and the item's vector: a state of eight numbers explains all scores.
    lists = model.rank(data.queries, k=data.split.n_items)
    scores = np.zeros((len(lists), data.split.n_items))
    np.put_along_axis(scores, lists.items, lists.scores, axis=1)
    states = np.linalg.lstsq(vectors, scores.T)[0]
    np.testing.assert_allclose(vectors @ states, scores.T, atol=1e-5)
    assert np.ptp(scores) > 1e-3


def test_a_model_without_item_vectors_says_so(make):
    with pytest.raises(NeedsMissing, match="BPR learns no item vectors"):
        make(models.BPR).item_vectors()
