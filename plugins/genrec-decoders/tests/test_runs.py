"""The whole way through the toolkit, by name, for both tasks, on a small planted file."""

import numpy as np
import pytest

from genrec_bench import RunSpec, run

TINY = {"backbone.epochs": 2, "backbone.d_model": 32, "backbone.heads": 2}


@pytest.fixture(scope="module")
def go(tmp_path_factory):
    """Runs a small system; weights are cached between the runs of this file."""
    folder = tmp_path_factory.mktemp("runs")
    rng, lines = np.random.default_rng(0), []
    for user in range(40):
        group, start = user % 4, int(rng.integers(12))
        lines.append(" ".join([f"u{user}", *(f"g{group}i{(start + step) % 12}" for step in range(9))]))
    (folder / "planted.txt").write_text("\n".join(lines) + "\n")
    patch = pytest.MonkeyPatch()
    patch.setenv("GENREC_CACHE", str(folder / "cache"))

    def start(decoder, task="direct", **options):
        data = {"dataset.path": str(folder / "planted.txt"), "dataset.format": "sequence"}
        spec = RunSpec(
            dataset="file",
            indexer="random",
            backbone="lightlm",
            decoder=decoder,
            task=task,
            profile="tiny",
            beams=20,
            set={**TINY, **data, **{f"decoder.{name}": value for name, value in options.items()}},
        )
        record = run(spec, out=folder / "out", device="cpu")
        with np.load(folder / "out" / record.spec_id / "generations.npz") as saved:
            return record, dict(saved)

    yield start
    patch.undo()


@pytest.mark.parametrize("task", ["direct", "sequential"])
@pytest.mark.parametrize("name", ["diverse", "stochastic", "debiased", "captured-trie"])
def test_a_run_of_it_ends_with_full_lists_of_items(go, name, task):
    record, _ = go(name, task)
    assert record.status == "finished"
    assert record.components["decoder"]["distribution"] == "genrec-decoders"
    assert record.validity["hallucination_rate"] == record.validity["duplicate_rate"] == 0
    assert record.validity["fill@10"] == 1.0
    assert 0 <= record.metrics["mask"]["ndcg@10"] <= 1


def test_certificates_are_told_only_where_there_are_any(go):
    assert go("stochastic")[0].validity["certified@10"] == 0.0
    assert 0.0 <= go("debiased")[0].validity["certified@10"] <= 1.0


@pytest.mark.parametrize(("name", "options"), [("debiased", {"alpha": 0.0}), ("diverse", {"groups": 1})])
def test_without_its_own_rule_a_run_is_that_of_trie(go, name, options):
    (plain, expected), (record, generations) = go("trie"), go(name, **options)
    assert record.fingerprints["weights"] == plain.fingerprints["weights"]
    assert record.metrics == plain.metrics and record.ranks == plain.ranks
    assert expected.keys() == generations.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(generations[name], array)


def test_a_captured_run_has_the_numbers_of_trie(go):
    (plain, _), (record, _) = go("trie"), go("captured-trie", capture="on")
    assert record.metrics == plain.metrics and record.validity == plain.validity
    assert record.throughput["fixed_shape_batches"] > 0 and "fixed_shape_batches" not in plain.throughput
