"""The whole way through the toolkit, by name, on a small planted file."""

import numpy as np
import pytest

from genrec_bench import RunSpec, run
from genrec_bench.testing import planted_lines

TINY = {"backbone.epochs": 4, "backbone.learning_rate": 0.01}


@pytest.fixture(scope="module")
def go(tmp_path_factory):
    """Runs a small system; weights are cached between the runs of this file."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "planted.txt").write_text("\n".join(planted_lines()) + "\n")
    patch = pytest.MonkeyPatch()
    patch.setenv("GENREC_CACHE", str(folder / "cache"))

    def start(decoder, indexer="random", task="sequential", **options):
        data = {"dataset.path": str(folder / "planted.txt"), "dataset.format": "sequence"}
        given = {**TINY, **data, **{name.replace("__", "."): value for name, value in options.items()}}
        names = {"dataset": "file", "indexer": indexer, "backbone": "rpg", "decoder": decoder}
        record = run(RunSpec(**names, task=task, profile="tiny", beams=20, set=given), out=folder / "out", device="cpu")
        with np.load(folder / "out" / record.spec_id / "generations.npz") as saved:
            return record, dict(saved)

    yield start
    patch.undo()


@pytest.mark.parametrize("task", ["direct", "sequential"])
def test_it_runs_in_both_tasks_and_ranks_as_the_walk_does(go, task):
    (record, lists), (walked, expected) = go("rpg-exact", task=task), go("exact", task=task)
    assert record.status == "finished" and record.validity["hallucination_rate"] == 0
    assert record.validity["certified@10"] == record.validity["fill@10"] == 1.0
    assert record.fingerprints["weights"] == walked.fingerprints["weights"]
    assert record.metrics == walked.metrics and record.ranks == walked.ranks
    for name, array in lists.items():
        if array.dtype.kind == "i":
            np.testing.assert_array_equal(array, expected[name])


def test_it_learns_the_planted_pattern_over_product_codes(go):
    pytest.importorskip("genrec_semantic")
    pytest.importorskip("faiss")
    options = {"indexer__encoder": "cooccurrence", "indexer__digits": 8, "indexer__codebook_size": 16}
    record, _ = go("rpg-exact", "opq", backbone__epochs=30, **options)
    assert record.components["indexer"]["distribution"] == "genrec-semantic"
    assert (
        record.components["backbone"]["distribution"]
        == record.components["decoder"]["distribution"]
        == "genrec-parallel"
    )
    assert record.index["info"]["digits"] == 8
    assert record.metrics["mask"]["hit@10"] > 0.6  # chance is 10 in some 40
