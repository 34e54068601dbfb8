"""What `genrec run` prints of a finished run."""

from pathlib import Path

import pytest
from example_records import baseline_spec, finished

from genrec_bench.cli.results import print_run


@pytest.mark.parametrize("ended_by", ["time limit", "early stop"])
def test_a_training_that_did_not_converge_is_told_and_its_parameters_are_counted(capsys, ended_by) -> None:
    training = {
        "ended_by": ended_by,
        "converged": ended_by == "early stop",
        "parameters": {"embedding": 2_000_000, "other": 500_000},
    }
    spec = baseline_spec(baseline="bpr", options={"dataset": {}, "baseline": {"time_limit": 30.0}})
    print_run(finished(spec, parameters={}, training=training), Path("runs/x"))
    told = capsys.readouterr().out
    assert "2,500,000" in told
    assert ("bpr: not converged, training ended by time limit after 30 s" in told) == (ended_by == "time limit")
