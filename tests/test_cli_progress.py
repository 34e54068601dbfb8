"""Bars on stderr: only for phases that last, only on a terminal."""

from __future__ import annotations

import io
from contextlib import suppress

import pytest
from rich.console import Console

from genrec_bench.cli.progress import RichProgress, clock_time


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=[120])
def screen(request):
    """A progress on a made-up terminal, its clock, and what it would draw now."""
    clock, width = Clock(), request.param
    terminal = Console(
        file=io.StringIO(), force_terminal=True, width=width, color_system=None, _environ={"TERM": "xterm"}
    )
    progress = RichProgress(terminal, clock)

    def drawn() -> str:
        page = Console(file=io.StringIO(), width=width, color_system=None)
        for part in progress._bars.get_renderables():
            page.print(part)
        return page.file.getvalue()

    return progress, clock, drawn


def test_a_short_phase_draws_nothing(screen):
    progress, clock, drawn = screen
    with progress.phase("load", 4) as tick:
        clock.now += 0.4
        tick()
        assert drawn() == ""


def test_a_lasting_phase_shows_its_count_its_rate_and_the_time_left(screen):
    progress, clock, drawn = screen
    with progress.phase("decoding", 40, "batches") as tick:
        clock.now += 5
        tick(10)
        assert "decoding" in drawn() and "10/40 batches 2.0/s, 0:15 left" in drawn()
        clock.now += 5
        assert "0:10 left" in drawn()


def test_slow_steps_are_told_in_seconds_each_with_the_last_note(screen):
    progress, clock, drawn = screen
    with progress.phase("training", 3, "epochs") as tick:
        clock.now += 90
        tick(note="loss 2.50")
        tick(0)
        assert "1/3 epochs 90.0 s each, 3:00 left loss 2.50" in " ".join(drawn().split())


def test_steps_before_an_interruption_count_as_done_and_not_for_the_pace(screen):
    progress, clock, drawn = screen
    with progress.phase("training", 100, "steps") as tick:
        tick(60, earlier=True)
        clock.now += 10
        tick(20)
        assert "80/100 steps 2.0/s, 0:10 left" in " ".join(drawn().split())


@pytest.mark.parametrize("screen", [80], indirect=True)
def test_loss_and_best_score_are_visible_on_a_screen_of_80_columns(screen):
    progress, clock, drawn = screen
    with progress.phase("training", 12_345, "steps") as tick:
        clock.now += 60
        tick(120, "loss 2.345, best 0.0512, epoch 2/10")
        assert "loss 2.345, best 0.0512" in drawn() and len(drawn().splitlines()) == 1


def test_a_phase_that_never_ticks_shows_how_long_it_has_lasted(screen):
    progress, clock, drawn = screen
    with progress.phase("clustering"):
        clock.now += 61
        assert drawn().split()[0] == "clustering" and drawn().split()[-1] == "1:01"


def test_nested_phases_are_shown_together_and_vanish_when_they_end(screen):
    progress, clock, drawn = screen
    with progress.phase("outer", 2) as outer:
        with progress.phase("inner", 2) as inner:
            clock.now += 3
            inner()
            assert [line.split()[0] for line in drawn().splitlines()] == ["outer", "inner"]
        outer()
        assert [line.split()[0] for line in drawn().splitlines()] == ["outer"]
    assert drawn() == ""


def test_a_phase_that_fails_is_cleared_away(screen):
    progress, clock, drawn = screen
    with suppress(ValueError), progress.phase("outer"):
        clock.now += 3
        raise ValueError
    assert drawn() == ""


def test_where_stderr_is_no_terminal_there_are_only_notes():
    file, clock = io.StringIO(), Clock()
    progress = RichProgress(Console(file=file, width=20), clock)
    with progress.phase("training", 3) as tick:
        clock.now += 100
        tick()
        progress.note("12 users were dropped [why]: fewer than three interactions")
    assert file.getvalue() == "12 users were dropped [why]: fewer than three interactions\n"


@pytest.mark.parametrize(("seconds", "text"), [(6.6, "0:07"), (750, "12:30"), (3723, "1:02:03")])
def test_times_read_like_a_clock(seconds, text):
    assert clock_time(seconds) == text
