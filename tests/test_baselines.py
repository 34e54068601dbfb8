"""What holds for every built-in baseline: held-out events stay out, and the published numbers come out."""

from __future__ import annotations

import numpy as np
import pytest

from genrec_bench import RunSpec
from genrec_bench.core.sequences import TrainView
from genrec_bench.host import registry
from genrec_bench.host.contracts import BaselineContext
from genrec_bench.protocol.split import split_data, train_view
from genrec_bench.runs import run as runner
from genrec_bench.testing import planted
from genrec_bench.testing.planted_data import planted_interactions

BASELINES = ("ease", "id-canary", "item-counts", "item-knn", "popularity")


def lists(name, data, queries, task, **how):
    baseline = registry.load("baseline", name)()
    baseline.fit(data.train, BaselineContext(task=task))
    return baseline.rank(queries, k=20, **how)


def equal(one, other) -> bool:
    return np.array_equal(one.items, other.items) and np.array_equal(one.scores, other.scores)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("task", ["direct", "sequential"])
def test_poisoned_held_out_events_give_the_same_model(name, task) -> None:
    data, poisoned = planted(), planted().other_held_out()
    asked = data.split.queries(data.split.validation)
    assert equal(lists(name, data, asked, task), lists(name, poisoned, asked, task))


@pytest.mark.parametrize("name", BASELINES)
def test_the_validation_item_is_not_looked_at_in_the_direct_task(name) -> None:
    data, poisoned = planted(), planted().other_held_out()
    assert equal(lists(name, data, data.queries, "direct"), lists(name, poisoned, poisoned.queries, "direct"))


@pytest.mark.parametrize("name", sorted({*BASELINES} - {"popularity"}))
def test_the_validation_item_is_part_of_the_history_in_the_sequential_task(name) -> None:
    data, poisoned = planted(), planted().other_held_out()
    assert not equal(
        lists(name, data, data.queries, "sequential"), lists(name, poisoned, poisoned.queries, "sequential")
    )


@pytest.mark.parametrize("name", BASELINES)
def test_more_users_than_are_scored_at_once_get_the_same_lists(name, monkeypatch) -> None:
    from genrec_bench.baselines import lists as shared

    data = planted()
    whole = lists(name, data, data.queries, "sequential", exclude=data.queries.history)
    monkeypatch.setattr(shared, "USERS_AT_ONCE", 7)
    assert equal(whole, lists(name, data, data.queries, "sequential", exclude=data.queries.history))


@pytest.mark.parametrize("name", BASELINES)
def test_no_queries_get_no_lists(name) -> None:
    data = planted()
    assert len(lists(name, data, data.queries.take(np.zeros(0, np.int64)), "sequential")) == 0


def test_a_run_tells_a_baseline_its_task_and_shows_it_the_ids_it_needs(go, monkeypatch) -> None:
    from genrec_bench.baselines.popularity import Popularity

    seen: list[tuple[TrainView, BaselineContext]] = []
    honest = Popularity.fit

    def fit(self, train, ctx):
        seen.append((train, ctx))
        honest(self, train, ctx)

    monkeypatch.setattr(Popularity, "fit", fit)
    go(baseline="popularity", task="sequential")
    monkeypatch.setattr(Popularity, "needs", frozenset({"item_ids"}))
    go(baseline="popularity", task="direct")
    (plain, first), (shown, second) = seen
    assert (first.task, second.task) == ("sequential", "direct")
    assert plain.item_ids is None and plain.user_ids is None
    assert shown.user_ids is None and len(shown.item_ids) == shown.n_items


def test_a_component_may_need_something_because_of_its_options(planted_file, monkeypatch) -> None:
    from small_runs import spec_for

    from genrec_bench.baselines.id_canary import IdCanary
    from genrec_bench.errors import NeedsMissing

    honest = IdCanary.__init__

    def choosy(self, config=None):
        honest(self, config)
        self.needs = frozenset({"images"})

    monkeypatch.setattr(IdCanary, "__init__", choosy)
    with pytest.raises(NeedsMissing, match="baseline 'id-canary' needs images"):
        runner.resolve(spec_for(planted_file, baseline="id-canary"))


def test_a_baseline_of_one_task_is_run_on_that_task(monkeypatch) -> None:
    from genrec_bench.baselines.popularity import Popularity
    from genrec_bench.errors import UsageError

    assert runner.resolve(RunSpec(baseline="popularity")).spec.task == "direct"
    monkeypatch.setattr(Popularity, "tasks", ("sequential",))
    assert runner.resolve(RunSpec(baseline="popularity")).spec.task == "sequential"
    with pytest.raises(UsageError, match="supports the task sequential only: use --task sequential"):
        runner.resolve(RunSpec(baseline="popularity", task="direct"))


def test_external_ids_are_not_in_the_view_of_who_does_not_need_them() -> None:
    data, split = split_data(planted_interactions())
    assert train_view(data, split, registry.load("baseline", "id-canary")().needs).item_ids is None


def measured(dataset, baseline, data_dir, out, **options):
    spec = RunSpec(dataset=dataset, baseline=baseline, task="sequential", set=options)
    return runner.run(spec, out=out, data_dir=data_dir)


@pytest.mark.parametrize(("dataset", "hit", "ndcg"), [("beauty", 0.0727, 0.0466), ("toys", 0.0840, 0.0558)])
def test_untrained_counts_reach_their_published_numbers(data_dir, tmp_path, dataset, hit, ndcg) -> None:
    scores = measured(dataset, "item-counts", data_dir, tmp_path).metrics["mask"]
    assert scores["hit@10"] == pytest.approx(hit, abs=0.002)
    assert scores["ndcg@10"] == pytest.approx(ndcg, abs=0.002)


def test_raw_ids_of_beauty_leak_and_the_run_warns(data_dir, tmp_path) -> None:
    record = measured("beauty", "id-canary", data_dir, tmp_path, **{"baseline.ids": "raw"})
    assert record.metrics["mask"]["hit@5"] == pytest.approx(0.055, abs=0.002)
    assert len(record.warnings) == 1


def test_shuffled_numbers_of_beauty_leak_nothing(data_dir, tmp_path) -> None:
    record = measured("beauty", "id-canary", data_dir, tmp_path)
    assert record.metrics["mask"]["hit@5"] < 0.005
    assert record.warnings == []
