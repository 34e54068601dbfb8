"""The canary: the order of its guesses, whose numbers it sees, and when it sings."""

from __future__ import annotations

import jsonschema
import numpy as np
import pytest
from example_records import edit
from small_baselines import as_lists, fitted, queries
from small_runs import spec_for

from genrec_bench import RunRecord
from genrec_bench.baselines.id_canary import Config, IdCanary
from genrec_bench.core.arrays import Ragged
from genrec_bench.errors import NeedsMissing
from genrec_bench.runs import run as runner
from genrec_bench.runs.verify import verify

RAW = {"baseline.ids": "raw"}


def guesses(history, n_items=100, k=9, exclude=None, **more):
    asked = None if exclude is None else Ragged.of([exclude])
    return as_lists(fitted(IdCanary(), [[0]], n_items, **more).rank(queries([history]), k=k, exclude=asked))[0]


def test_guesses_come_in_their_order() -> None:
    #  last+1, max+1, last+2, last+3, prev+1, last-1, last+4, last+5, last+6
    assert guesses([70, 30, 50]) == [51, 71, 52, 53, 31, 49, 54, 55, 56]


def test_a_number_is_guessed_once_and_excluded_ones_give_way() -> None:
    assert guesses([30, 50]) == [51, 52, 53, 31, 49, 54, 55, 56, 57]
    assert guesses([30, 50], exclude=[51, 31]) == [52, 53, 49, 54, 55, 56, 57, 58, 59]


def test_numbers_outside_the_catalogue_are_no_guesses() -> None:
    assert guesses([8, 0, 9], n_items=10) == [1, 8]
    assert guesses([0], n_items=10, k=3) == [1, 2, 3]


def test_scores_fall_from_guess_to_guess() -> None:
    scores = fitted(IdCanary(), [[0]], 100).rank(queries([[70, 30, 50]]), k=9).scores
    assert (np.diff(scores[0]) < 0).all()


def test_nothing_is_guessed_from_nothing() -> None:
    assert guesses([]) == []


def test_the_direct_task_guesses_from_the_last_training_item() -> None:
    assert as_lists(fitted(IdCanary(), [[4]], 20, "direct").rank(queries([[4, 9]]), k=2)) == [[5, 6]]


def test_raw_guesses_follow_the_external_ids() -> None:
    baseline = IdCanary(Config(ids="raw"))
    fitted(baseline, [[0]], 4, item_ids=np.array(["12", "7", "11", "13"]))
    assert as_lists(baseline.rank(queries([[2], [1]]), k=4)) == [[0, 3], [2, 0, 3]]  # after 11: 12, 13


def test_only_the_raw_canary_needs_external_ids() -> None:
    assert IdCanary().needs == frozenset()
    assert IdCanary(Config(ids="raw")).needs == {"item_ids"}


@pytest.mark.parametrize("ids", [["1", "b", "3"], ["1", "01", "3"], ["1.5", "2", "3"], ["9" * 30, "1", "2"]])
def test_raw_ids_that_are_no_whole_numbers_are_refused_in_one_line(ids) -> None:
    with pytest.raises(NeedsMissing, match=r"not distinct whole numbers .* use ids=shuffled") as refusal:
        fitted(IdCanary(Config(ids="raw")), [[0]], 3, item_ids=np.array(ids))
    assert "\n" not in str(refusal.value)


@pytest.fixture
def numbered_file(tmp_path):
    """Users walk up the numbers, as a released numbering by first appearance makes them do."""
    path = tmp_path / "numbered.txt"
    path.write_text(
        "\n".join(f"{user} " + " ".join(str(9 * user + at) for at in range(9)) for user in range(30)) + "\n"
    )
    return path


def run(path, tmp_path, **changes):
    return runner.run(spec_for(path, baseline="id-canary", task="sequential", **changes), out=tmp_path / "runs")


def test_a_run_that_raw_ids_give_away_warns_in_its_record(numbered_file, tmp_path) -> None:
    record = run(numbered_file, tmp_path, set=RAW)
    assert record.metrics["mask"]["hit@5"] == 1.0
    (warning,) = record.warnings
    assert warning.startswith("id-canary beats popularity (ndcg@10 1.0000 over ")
    assert "the raw item ids alone tell what comes next" in warning
    jsonschema.validate(record.to_dict(), RunRecord.json_schema())


def test_a_warning_taken_out_of_the_record_is_caught(numbered_file, tmp_path) -> None:
    folder = tmp_path / "runs" / run(numbered_file, tmp_path, set=RAW).spec_id
    assert verify(folder).ok
    edit(folder, "warnings", value=[])
    assert [comparison.name for comparison in verify(folder).comparisons if not comparison.ok] == ["warnings"]


def test_a_run_that_popularity_beats_warns_of_nothing(tmp_path) -> None:
    path = tmp_path / "one-hit.txt"  # every other user has not met the item of everybody else yet
    lines = [f"{user} {'999 ' * (user % 2)}{3 * user} {3 * user + 1}{' 999' * (1 - user % 2)}" for user in range(1, 61)]
    path.write_text("\n".join(lines) + "\n")
    record = run(path, tmp_path)
    assert record.metrics["mask"]["hit@5"] < 0.2
    assert record.warnings == []


def test_a_run_on_raw_ids_that_are_texts_fails_with_one_line(planted_file, tmp_path) -> None:
    with pytest.raises(NeedsMissing, match=r"the first is .*g\d+i\d+"):
        run(planted_file, tmp_path, set=RAW)
