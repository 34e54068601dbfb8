"""A time limit shortens the plan of a training, and the learning rate falls to 0 with it; no limit, no difference."""

from dataclasses import replace

import pytest
import torch
from test_training import CHOSEN, CODES, TINY, examples_of

from genrec_bench.backbones import trainer
from genrec_bench.backbones.lightlm import LightLM, LightLMConfig
from genrec_bench.core.progress import Quiet
from genrec_bench.host.contracts import BackboneContext

STEPS = 5  # of an epoch: 20 sources in batches of 4
MINUTES = 1.0


class Clock:
    """A clock that stands still except in epochs and validations."""

    def __init__(self, monkeypatch, epoch: float, validation: float = 0.0) -> None:
        self.now, self.epoch, self.validation, self.rates = 0.0, epoch, validation, []
        batches, step = trainer.epoch_batches, trainer.Training.step

        def slow(*how):
            self.now += self.epoch
            yield from batches(*how)

        def watched(training, loss):
            self.rates.append(training.rate)
            step(training, loss)

        monkeypatch.setattr(trainer, "perf_counter", lambda: self.now)
        monkeypatch.setattr(trainer, "epoch_batches", slow)
        monkeypatch.setattr(trainer.Training, "step", watched)

    @property
    def cuts(self) -> list[str]:
        """Its notes that a plan was shortened; the others are of validations."""
        return [note for note in self.notes if " of " in note]

    def fit(self, folder=None, stop_after=None, scores=None, **options):
        """A training of up to ten epochs; its notes are in `self.notes`."""
        quiet, calls = Quiet(), []
        quiet.note = (notes := []).append
        self.notes = notes

        def validate() -> float:
            calls.append(1)
            if len(calls) == stop_after:
                raise KeyboardInterrupt
            self.now += self.validation
            return scores[len(calls) - 1] if scores else 0.1 * len(calls)

        asked = {"epochs": 10, "batch_size": 4, "patience": 0, "warmup": 0.2, "learning_rate": 0.01, **options}
        backbone = LightLM(LightLMConfig(**TINY, **asked))
        context = BackboneContext(seed=3, folder=folder, validate=validate, progress=quiet)
        return backbone, backbone.fit(examples_of(CODES, CHOSEN), context)


def weights(backbone):
    return backbone.net.state_dict().values()


def test_a_limit_that_is_not_reached_changes_nothing(monkeypatch):
    clock = Clock(monkeypatch, epoch=5.0, validation=1.0)
    (free, report), (limited, same) = clock.fit(), clock.fit(minutes=MINUTES)  # 60 seconds, to the second
    assert all(map(torch.equal, weights(free), weights(limited)))
    assert report == same and same.ended_by == "epochs" and not clock.cuts
    assert clock.rates[: 10 * STEPS] == clock.rates[10 * STEPS :]
    assert (same.seconds, same.targets_per_epoch) == (50.0, 60)
    assert {row["seconds"] for row in same.history} == {5.0}


def test_a_limit_shortens_the_plan_and_the_rate_falls_to_zero_with_it(monkeypatch):
    clock = Clock(monkeypatch, epoch=10.0, validation=1.0)
    _, report = clock.fit(minutes=MINUTES)
    assert (report.epochs, report.ended_by, report.seconds) == (5, "time limit", 50.0)
    assert [row.get("planned") for row in report.history] == [5, None, None, None, None]
    assert clock.cuts == ["epoch 1 of 10: training ends with epoch 5, because more do not fit into backbone.minutes=1"]

    # from the second epoch on the rate is that of a plan of five epochs: 25 steps, 5 of them warm-up
    assert clock.rates[:STEPS] == pytest.approx([0.01 * (step + 1) / 10 for step in range(STEPS)])
    assert clock.rates[STEPS:] == pytest.approx([0.01 * (25 - step) / 20 for step in range(STEPS, 25)])


def test_the_last_epoch_of_a_shortened_plan_is_validated_and_validations_count(monkeypatch):
    clock = Clock(monkeypatch, epoch=10.0, validation=9.0)
    _, report = clock.fit(minutes=MINUTES, validate_every=4)
    # 6 epochs seem to fit into 57 seconds until the first validation: 40 + 9 seconds, and 10 + 9 more would be too many
    assert [row.get("planned") for row in report.history] == [5, None, None, 4]
    assert ["validation" in row for row in report.history] == [False, False, False, True]
    assert report.ended_by == "time limit"


def test_a_shortened_plan_may_end_between_two_validations(monkeypatch):
    clock = Clock(monkeypatch, epoch=18.0)
    _, report = clock.fit(minutes=MINUTES, validate_every=4)
    assert ["validation" in row for row in report.history] == [False, False, True]


def test_a_first_epoch_beyond_the_limit_is_the_last_and_is_kept(monkeypatch):
    clock = Clock(monkeypatch, epoch=61.0)
    _, report = clock.fit(minutes=MINUTES, validate_every=5)
    assert (report.epochs, report.best_epoch, report.ended_by) == (1, 1, "time limit")
    assert report.history[0]["planned"] == 1 and "validation" in report.history[0]
    assert "training ends with epoch 1," in clock.cuts[0]


def test_an_epoch_slower_than_those_before_shortens_the_plan_again(monkeypatch):
    clock = Clock(monkeypatch, epoch=7.0)
    paces = iter([7.0, 7.0, 7.0, 20.0, 9.0, 9.0, 9.0])
    batches = trainer.epoch_batches

    def uneven(*how):
        clock.epoch = next(paces)
        return batches(*how)

    monkeypatch.setattr(trainer, "epoch_batches", uneven)
    _, report = clock.fit(minutes=MINUTES)
    assert [row.get("planned") for row in report.history] == [8, None, None, 5, None]  # 41 s, then 10.25 s an epoch
    assert report.seconds == 50.0


def test_an_early_stop_is_named_under_a_limit_too(monkeypatch):
    clock = Clock(monkeypatch, epoch=10.0)
    scores = [0.5, 0.4, 0.3, 0.2, 0.1]
    assert clock.fit(patience=2, scores=scores, minutes=MINUTES)[1].ended_by == "early stop"
    assert clock.fit(patience=2, scores=scores)[1].ended_by == "early stop"


def test_a_resumed_training_keeps_its_time_and_its_plan(monkeypatch, tmp_path):
    clock = Clock(monkeypatch, epoch=10.0, validation=1.0)
    whole, report = clock.fit(tmp_path / "whole", minutes=MINUTES)
    with pytest.raises(KeyboardInterrupt):
        clock.fit(tmp_path / "cut", stop_after=4, minutes=MINUTES)
    resumed, rest = clock.fit(tmp_path / "cut", scores=[0.8, 0.9], minutes=MINUTES)
    assert rest == replace(report, resumed_from=3, history=rest.history) and rest.seconds == 50.0
    assert all(map(torch.equal, weights(whole), weights(resumed)))


def test_targets_of_sampled_sources_are_counted(monkeypatch):
    clock = Clock(monkeypatch, epoch=1.0)
    _, report = clock.fit(epochs=2, examples_per_epoch=7)
    assert (report.examples_per_epoch, report.targets_per_epoch) == (7, 21)  # three targets each
    _, report = clock.fit(epochs=2, latest_targets=2)
    assert report.targets_per_epoch == 40
