"""A part of the campaign, by its own oracles: nothing is wrong, unclean or blocked.

`make campaign` runs all of it.
"""

from __future__ import annotations

import os

import pytest

from . import __main__ as command
from . import engine, materials

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="forks and kills processes")]

SEED = 1
SCALES = {"kills": 0.15, "flips": 0.12, "mutations": 0.15, "plugins": 0.1}  # of the goals: five minutes on two cores


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """Real runs to spoil."""
    folder = tmp_path_factory.mktemp("campaign")
    materials.make(folder / "made")
    return folder


@pytest.mark.parametrize("part", [*SCALES])
def test_no_fault_is_wrong_unclean_or_blocked(part, scratch):
    tally = engine.Tally()
    cases = command.all_cases([part], SCALES[part], scratch / part)
    engine.run_all(cases, SEED, scratch / part / "work", tally, command.say)
    assert [f"{case.name}: {verdict}" for case, verdict in tally.faults] == []
    assert tally.of_part(part).total() == len(cases)
