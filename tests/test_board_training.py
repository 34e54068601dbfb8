"""Boards on how trainings ended: what did not converge is marked, what nobody can say is not said."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from example_records import baseline_spec, finished, generator_spec

from genrec_bench.leaderboard.conditions import of_rows
from genrec_bench.leaderboard.facts import (
    all_converged,
    converged,
    ending,
    train_seconds,
)
from genrec_bench.leaderboard.renderers import render
from genrec_bench.leaderboard.renderers.data import board_csv as table
from genrec_bench.leaderboard.renderers.html import page
from genrec_bench.leaderboard.renderers.markdown import readme
from genrec_bench.leaderboard.standings import standings
from genrec_bench.runs.record import RunRecord

SECOND_EPOCHS = [{"epoch": epoch, "loss": 1.0, **({} if epoch % 2 else {"validation": 0.1})} for epoch in range(1, 26)]
ORDER = [{"epoch": epoch, "loss": 1.0, "validation": 0.1} for epoch in range(1, 31)]


def model(ended: str, seed: int = 0, name: str = "bpr", **training: Any) -> RunRecord:
    """A baseline that says itself how its training ended."""
    spec = baseline_spec(
        baseline=name, seed=seed, options={"dataset": {}, "baseline": {"time_limit": 3600.0, "epochs": None}}
    )
    trained = {"epochs": 30, "best_epoch": 19, "ended_by": ended, "converged": ended in ("early stop", "closed form")}
    trained |= {"parameters": {"embedding": 900, "other": 100}}
    return finished(spec, training={**trained, **training}, parameters={}, index={})


def generator(ran: int, best: int, epochs: int = 25, patience: int = 8, seed: int = 0, **changes: Any) -> RunRecord:
    """A generator that ran `ran` of at most `epochs` epochs."""
    spec = generator_spec(
        seed,
        options={"dataset": {}, "indexer": {}, "backbone": {"epochs": epochs, "patience": patience, "minutes": 10.0}},
    )
    training = {"epochs": ran, "best_epoch": best, "history": ORDER[:ran], "cached": False}
    return finished(spec, training={**training, **changes.pop("training", {})}, **changes)


@pytest.mark.parametrize(
    ("record", "outcome", "how"),
    [
        (model("early stop"), "yes", "early stop"),
        (model("closed form"), "yes", "closed form"),
        (model("time limit"), "no", "time limit after 3,600 s"),
        (model("epochs"), "no", "its last epoch, no early stop"),
        (generator(12, 4), "yes", "early stop: 8 validations without a better one"),
        (generator(25, 17), "yes", "early stop: 8 validations without a better one"),
        (generator(25, 24), "yes", "its last epoch, after the best one"),
        (generator(25, 25), "no", "its last epoch, the best one"),
        (generator(25, 20, patience=0), "yes", "its last epoch, after the best one"),
        (generator(25, 24, training={"history": SECOND_EPOCHS}), "no", "its last epoch, the best one"),
        (
            generator(25, 22, training={"history": SECOND_EPOCHS}),
            "yes",
            "its last epoch, after the best one",
        ),
        (generator(25, 20, training={"history": []}), None, "its last epoch"),
        (
            generator(25, 25, training={"on_all_users": {"25": 0.3, "20": 0.2}}),
            "yes",
            "its last epoch, after the best one",
        ),
        (generator(12, 4, patience=0), None, None),
        (generator(12, 4, training={"ended_by": ""}), "yes", "early stop: 8 validations without a better one"),
        (
            generator(12, 4, training={"ended_by": "early stop"}),
            "yes",
            "early stop: 8 validations without a better one",
        ),
        (generator(12, 4, training={"ended_by": "time limit"}), "no", "time limit of 10 min"),
        (generator(25, 25, training={"ended_by": "epochs"}), "no", "its last epoch, the best one"),
        (generator(12, 4, training={"ended_by": "hunger"}), None, "hunger"),
        (finished(baseline_spec(), training={}), None, None),
    ],
)
def test_a_record_says_how_its_training_ended_or_nothing(
    record: RunRecord, outcome: str | None, how: str | None
) -> None:
    assert (converged(record), ending(record)) == (outcome, how)


def test_a_row_converged_only_if_every_seed_did() -> None:
    assert all_converged([model("early stop"), model("time limit", 1)]) == "no"
    assert all_converged([model("early stop"), finished(baseline_spec(), training={})]) is None
    assert all_converged([generator(12, 4), generator(25, 20, seed=1)]) == "yes"
    assert all_converged([generator(12, 4), generator(25, 25, seed=1)]) == "no"
    assert all_converged([model("early stop"), model("early stop", 1)]) == "yes"


def test_a_row_that_did_not_converge_is_marked_in_its_standing_and_in_one_note() -> None:
    policies = [standings([model("early stop"), model("time limit", 1), finished(baseline_spec())], "mask")]
    text, html = readme(policies), page(policies)
    line = next(line for line in text.splitlines() if line.startswith("| bpr"))
    other = next(line for line in text.splitlines() if line.startswith("| popularity"))
    assert "| unranked, not converged |" in line and "not converged" not in other
    assert text.count("Not converged:") == html.count("Not converged:") == 1
    assert 'data-value="unranked, not converged"' in html
    assert "<td>time limit after 3,600 s</td>" in html and "<td>early stop</td>" in html


def test_a_machine_reads_what_converged() -> None:
    records = [model("time limit"), model("early stop", name="simplex"), generator(25, 20), finished(baseline_spec())]
    rows = csv.DictReader(io.StringIO(table([standings(records, "mask")])))
    outcomes = {row["system"]: row["converged"] for row in rows if row["seeds"]}
    assert outcomes == {"bpr": "no", "simplex": "yes", "sci / lightlm / trie": "yes", "popularity": ""}


def test_a_generator_is_marked_if_its_last_validation_was_the_best() -> None:
    last, before = (readme([standings([generator(25, best)], "mask")]) for best in (25, 24))
    assert "unranked, not converged" in last and "numbers: sci / lightlm / trie." in last
    assert "unranked, not converged" not in before and "Not converged:" not in before
    assert "its last validation was not the best" in before


def test_a_table_of_runs_names_what_did_not_converge() -> None:
    assert "may change their numbers: bpr." in render([model("time limit")], "md")
    assert "Not converged" not in render([model("early stop")], "md")


def shared(decoder: str, seed: int = 0, cached: bool = True, seconds: float = 0.2, **changes: Any) -> RunRecord:
    """One of several decoders that search with the same weights."""
    spec = generator_spec(seed, decoder=decoder)
    training = {**finished().training, "cached": cached}
    return finished(spec, training=training, phases={"fit": seconds}, **changes)


def test_decoders_that_share_a_training_show_its_seconds() -> None:
    records = [shared("trie", cached=False, seconds=90.0), shared("filter"), shared("exact")]
    assert list(train_seconds(records).values()) == [90.0, 90.0, 90.0]
    assert {row.train_seconds for row in standings(records, "mask").rows} == {90.0}


@pytest.mark.parametrize(
    "other",
    [
        shared("filter", fingerprints={**finished().fingerprints, "weights": "9" * 64}),
        shared("filter", environment={**finished().environment, "cpu": "Other CPU"}),
        shared("filter", fingerprints={"data": "d" * 64, "split": "5" * 64}),
    ],
)
def test_weights_that_no_run_here_trained_on_such_a_machine_have_no_seconds(other: RunRecord) -> None:
    assert train_seconds([shared("trie", cached=False, seconds=90.0), other])[other.spec_id] is None


def test_a_training_that_went_on_from_a_checkpoint_was_not_timed_whole() -> None:
    record = generator(25, 20, training={"resumed_from": 4})
    assert train_seconds([record]) == {record.spec_id: None}


def test_parameters_that_a_baseline_tells_are_shown_but_not_those_of_a_closed_form() -> None:
    rows = standings([model("early stop"), model("closed form", name="itemknn")], "mask").rows
    assert {row.system: row.parameters for row in rows} == {"bpr": 1000.0, "itemknn": None}


def budgets(*records: RunRecord) -> list[str]:
    return [
        sentence for sentence in of_rows(standings(list(records), "mask")) if "row" in sentence or "trained" in sentence
    ]


def test_seeds_of_one_row_that_a_time_limit_gave_different_budgets_are_named() -> None:
    short, long = (
        generator(ran, ran, seed=ran, training={"ended_by": "time limit", "targets_per_epoch": 180}) for ran in (4, 9)
    )
    told = [sentence for sentence in budgets(short, long) if "different budgets" in sentence]
    assert len(told) == 1 and "sci / lightlm / trie (4 to 9 passes)" in told[0]
    alike = (
        generator(ran, ran, seed=ran, training={"ended_by": "time limit", "targets_per_epoch": 180}) for ran in (20, 21)
    )
    assert not any("different budgets" in sentence for sentence in budgets(*alike))
    stopped = (
        generator(ran, ran, seed=ran, training={"ended_by": "early stop", "targets_per_epoch": 180}) for ran in (4, 9)
    )
    assert not any("different budgets" in sentence for sentence in budgets(*stopped))


def test_a_record_that_does_not_say_how_long_it_trained_is_named() -> None:
    silent = finished(generator_spec(), training={}, phases={})
    told = [sentence for sentence in budgets(silent, generator(9, 9)) if "do not say how long" in sentence]
    assert len(told) == 1 and "sci / lightlm / trie" in told[0]
    assert not any("do not say how long" in sentence for sentence in budgets(generator(9, 9)))
