"""Checks of baselines: their ranked lists keep the contract and depend only on the training part and the seed.

How a baseline scores items is its own business; how well, that of the leaderboard.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries, TrainView
from genrec_bench.host.contracts import Baseline, BaselineContext
from genrec_bench.testing.held_out import near_held_out
from genrec_bench.testing.indexers import shown, view_digest
from genrec_bench.testing.kit import (
    Breach,
    Subject,
    check,
    expect,
    folder,
    without_global_randomness,
)
from genrec_bench.testing.planted_data import Planted, tiny_views

TASKS = {"direct", "sequential"}
TOLERANCE = 1e-4


def fitted(subject: Subject, train: TrainView | None = None, seed: int = 0) -> Baseline:
    """A fresh, fitted baseline. As in a run, its validation asks it for lists."""
    baseline: Baseline = subject.make()
    data = subject.data
    sample = data.split.queries(data.split.validation).take(np.arange(8))

    def validate() -> float:
        if train is None:
            baseline.rank(sample, k=10, exclude=sample.history)
        return 0.5

    with folder() as here:
        ctx = BaselineContext(seed, task=subject.task, folder=here / "baseline", validate=validate)
        baseline.fit(shown(subject, data.train if train is None else train), ctx)
    return baseline


def kept(subject: Subject) -> Baseline:
    """A fitted baseline, shared by the checks that only query it."""
    baseline: Baseline = subject.once("fitted", lambda: fitted(subject))
    return baseline


@check("baseline", essential=True)
def lists_keep_to_the_contract(subject: Subject) -> None:
    """Every query gets one list of at most `k` known items, without repeats or rising scores; short lists stay short."""
    baseline, queries = kept(subject), subject.data.queries
    for k in (1, 10, 50):
        check_lists(baseline.rank(queries, k=k), queries, k, subject.data.split.n_items)


def check_lists(ranking: Any, queries: Queries, k: int, n_items: int) -> None:
    """Breach unless this is a Ranking for these queries."""
    expect(
        isinstance(ranking, Ranking),
        f"rank gave {type(ranking).__name__}",
        "Return genrec_bench.core.rankings.Ranking.",
    )

    expect(len(ranking) == len(queries), f"{len(ranking)} lists for {len(queries)} queries", "Give one list per query.")
    expect(ranking.depth == k, f"depth is {ranking.depth} where k was {k}", "Pass k as the ranking's depth.")

    highest = int(ranking.items.max(initial=-1))
    expect(
        highest < n_items,
        f"item {highest} is listed, but the catalogue has {n_items}",
        "Items are numbers below n_items.",
    )
    expect(
        int(ranking.items.min(initial=-1)) >= -1,
        f"item {int(ranking.items.min(initial=-1))} is listed",
        "An empty place is -1, at the end of a list.",
    )


@check("baseline")
def excluded_items_are_not_listed(subject: Subject) -> None:
    """No item of `exclude` is listed; if everything is excluded, the list is empty."""
    baseline, queries, n_items = kept(subject), subject.data.queries, subject.data.split.n_items
    for exclude in (queries.history, Ragged.of([list(range(n_items))] * len(queries))):
        ranking = baseline.rank(queries, k=20, exclude=exclude)
        check_lists(ranking, queries, 20, n_items)
        for query, (row, items) in enumerate(zip(exclude, ranking.items.tolist(), strict=True)):
            wrong = sorted(set(row.tolist()) & set(items))
            expect(
                not wrong,
                f"query {query} excludes {len(row)} items, but its list holds {wrong[:5]} of them",
                "Leave out the items of `exclude`, and leave the rest of a short list empty.",
            )


@check("baseline")
def a_batch_is_invisible(subject: Subject) -> None:
    """A query gets the same list alone as in a batch."""
    baseline, queries = kept(subject), subject.data.queries
    together = baseline.rank(queries, k=10, exclude=queries.history)
    for query in (0, len(queries) // 2, len(queries) - 1):
        one = queries.take(np.array([query]))
        alone = baseline.rank(one, k=10, exclude=one.history)
        expect(
            same(together, alone, query),
            f"query {query} of {len(queries)} got another list than alone",
            "Rank every query on its own.",
        )


def same(one: Ranking, other: Ranking, row: int | None = None) -> bool:
    """Whether two rankings agree; with `row`, whether that row of the first equals the only row of the second."""
    rows = slice(None) if row is None else slice(row, row + 1)
    width = max(one.items.shape[1], other.items.shape[1])

    def wide(values: Any, fill: float) -> Any:
        return np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=fill)

    items, other_items = wide(one.items[rows], -1), wide(other.items, -1)
    scores = np.where(items >= 0, wide(one.scores[rows], -np.inf), 0)
    other_scores = np.where(items >= 0, wide(other.scores, -np.inf), 0)
    close = bool(np.allclose(scores, other_scores, rtol=TOLERANCE, atol=TOLERANCE))
    return close and np.array_equal(items, other_items)


@check("baseline")
def the_same_seed_gives_the_same_lists(subject: Subject) -> None:
    """Equal input and equal `ctx.seed` give equal lists."""
    first, again = (fitted(subject, seed=3).rank(subject.data.queries, k=20) for _ in range(2))
    expect(
        same(first, again),
        "two fits with seed 3 rank differently",
        "Draw everything random from ctx.rng or a generator seeded by ctx.seed.",
    )


@check("baseline")
def global_randomness_is_left_alone(subject: Subject) -> None:
    """Fitting and ranking neither draw from nor seed the global generators of random, NumPy and torch."""
    queries = subject.data.queries
    without_global_randomness(lambda: fitted(subject).rank(queries, k=5), "fitting and ranking")


@check("baseline")
def the_input_is_left_alone(subject: Subject) -> None:
    """Fitting and ranking change none of their input arrays."""
    view, queries = subject.data.train, subject.data.queries
    before = view_digest(view), queries.user.tobytes(), queries.history.values.tobytes()
    fitted(subject, view).rank(queries, k=5, exclude=queries.history)
    after = view_digest(view), queries.user.tobytes(), queries.history.values.tobytes()
    expect(before == after, "an input array was changed", "Copy an array before changing it.")


@check("baseline")
def held_out_events_cannot_reach_it(subject: Subject) -> None:
    """The baseline opens no data file, and its lists do not change with the held-out interactions on disk and in memory."""
    queries = subject.data.split.queries(subject.data.split.validation)
    first, second = (
        _rank_near_held_out(subject, data, queries) for data in (subject.data, subject.data.other_held_out())
    )
    expect(
        same(first, second),
        "other held-out interactions gave other lists",
        "Learn from `train` alone: read no data file, and nothing behind the arrays you are given.",
    )


def _rank_near_held_out(subject: Subject, data: Planted, queries: Queries) -> Ranking:
    with near_held_out(subject, data):
        baseline = fitted(subject, data.train)
        return baseline.rank(queries, k=20)


@check("baseline")
def tiny_data_is_ranked(subject: Subject) -> None:
    """Ranking works for one user and one item, for a user without history, and for lists longer than the catalogue."""
    for what, view in tiny_views().items():
        try:
            baseline = fitted(subject, view)
            queries = Queries(np.arange(view.n_users, dtype=np.int32), Ragged.empty(view.n_users))
            check_lists(baseline.rank(queries, k=10), queries, 10, view.n_items)
        except Breach as breach:
            raise Breach(f"with {what}: {breach.seen}", breach.remedy) from breach
        except Exception as error:
            seen = f"with {what} it raised {type(error).__name__}: {str(error).rstrip('.')}"
            raise Breach(seen, "Bound sizes by what there is.") from error


@check("baseline")
def its_tasks_are_known(subject: Subject) -> None:
    """`tasks` names the tasks that it supports: `direct`, `sequential` or both."""
    tasks = subject.make().tasks
    expect(
        isinstance(tasks, tuple) and tasks and set(tasks) <= TASKS,
        f"tasks is {tasks!r}",
        'Use a tuple of "direct" and "sequential".',
    )
