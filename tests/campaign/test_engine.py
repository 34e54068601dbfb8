"""The campaign's engine tells the outcomes apart, and its oracles notice bent numbers."""

from __future__ import annotations

import os
import random
import time

import pytest

from genrec_bench.errors import DataError

from . import oracle, readers, spoiling
from .engine import RIGHT, Case, Outcome, Tally, conduct, judged, run_all, wrong

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes")


def case(run, number=0):
    return Case("part", "kind", number, run)


def outcomes(cases, tmp_path, limit=20.0):
    return [verdict.outcome for _, verdict in conduct(cases, 0, tmp_path / "work", limit)]


def crash(rng, folder):
    os._exit(3)


def hang(rng, folder):
    time.sleep(60)


def raise_(rng, folder):
    raise KeyError("x")


def fine(rng, folder):
    return RIGHT


def test_a_case_that_crashes_or_hangs_is_blamed_and_the_next_one_runs(tmp_path):
    cases = [case(run, number) for number, run in enumerate((fine, crash, fine, hang, raise_, fine))]
    assert outcomes(cases, tmp_path, limit=1.0) == ["right", "unclean", "right", "blocked", "unclean", "right"]


def test_a_case_gets_the_same_random_numbers_whatever_runs_before_it(tmp_path):
    def draw(rng, folder):
        return wrong(str(rng.random()))

    cases = [case(draw, number) for number in range(4)]
    whole = [verdict.detail for _, verdict in conduct(cases, 5, tmp_path / "work")]
    alone = [verdict.detail for _, verdict in conduct(cases[2:3], 5, tmp_path / "work")]
    assert alone == whole[2:3] and len(set(whole)) == 4


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(DataError("a.csv, line 2: is empty"), Outcome.CLEAN), (KeyError("user"), Outcome.UNCLEAN), (None, Outcome.WRONG)],
)
def test_a_reader_is_right_or_refuses_in_one_line(error, outcome):
    def read():
        if error:
            raise error

    assert judged(read, lambda value: "bent").outcome == outcome


def test_a_table_counts_every_outcome(tmp_path):
    tally, said = Tally(), []
    run_all(
        [case(run, number) for number, run in enumerate((fine, fine, crash))], 0, tmp_path / "work", tally, said.append
    )
    assert "| part | 3 | 2 | 0 | 0 | 1 | 0 |" in tally.markdown()
    assert "| part: kind | 3 | 2 | 0 | 0 | 1 | 0 |" in tally.markdown(by_kind=True)
    assert len(said) == len(tally.faults) == 1 and said[0].startswith("part/kind/2: unclean")


SOUND = [reader for reader in readers.READERS if reader.name.startswith(("events", "hist", "item-l", "seq", "lists"))]


@pytest.mark.parametrize("reader", SOUND, ids=lambda reader: reader.name)
def test_the_strict_parser_and_the_reader_agree_on_sound_files(reader, tmp_path):
    path = tmp_path / reader.name
    path.write_bytes(reader.base(random.Random(3)))
    assert reader.objection(path, path.read_bytes(), reader.read(path)) == ""


def test_the_strict_parser_notices_a_reader_that_drops_the_last_row(tmp_path):
    path = tmp_path / "events.csv"
    sound = readers.event_text(",")(random.Random(3))
    path.write_bytes(sound)
    events = readers.read_events(path)
    last = sound.splitlines()[-1].split(b",")
    path.write_bytes(sound + b",".join([last[0], b"i99", *last[2:]]) + b"\n")  # with a time of the same form
    assert "instead of" in readers.of_text(None, path, sound, events)


@pytest.mark.parametrize("text", ["0x10", "1_000", "", "nan", "7.5", "9" * 30, "\u0661"])
def test_the_strict_parser_refuses_what_is_no_time(text):
    with pytest.raises(oracle.Refused):
        oracle.whole_number(text)


def test_spoiling_depends_on_nothing_but_the_seed():
    content = readers.event_text(",")(random.Random(0))
    spoil = spoiling.text_table(b",")
    assert [spoil(random.Random(n), content) for n in range(50)] == [
        spoil(random.Random(n), content) for n in range(50)
    ]
    assert len({spoil(random.Random(n), content) for n in range(50)}) > 40
