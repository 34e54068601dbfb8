"""Whole runs on a small planted file, through the installed entry point."""

from pathlib import Path

import pytest

from genrec_bench import RunSpec, run

SMALL = {"backbone.epochs": 2, "backbone.learning_rate": 3e-3}


@pytest.fixture
def go(tmp_path, planted_file, monkeypatch):
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))

    def start(**changes):
        options = {"dataset.path": str(planted_file), "dataset.format": "sequence", **SMALL, **changes.pop("set", {})}
        spec = {"dataset": "file", "indexer": "random", "backbone": "causal-lm", "profile": "tiny", **changes}
        return run(RunSpec(set=options, **spec), out=tmp_path / "runs", device="cpu")

    return start


@pytest.mark.parametrize("task", ["direct", "sequential"])
def test_every_decoder_runs_on_the_same_weights(go, task):
    records = {decoder: go(task=task, decoder=decoder) for decoder in ("trie", "filter", "exact")}
    assert all(record.status == "finished" for record in records.values())
    assert len({record.fingerprints["weights"] for record in records.values()}) == 1
    assert records["trie"].components["backbone"]["distribution"] == "genrec-causal-lm"
    assert records["trie"].parameters["variant"] == "scratch"
    assert records["trie"].validity["hallucination_rate"] == 0
    assert records["trie"].metrics["mask"].keys() == records["exact"].metrics["mask"].keys()


def test_a_beam_as_wide_as_the_catalogue_is_the_exact_ranking(go):
    wide, exact = (go(task="sequential", decoder=decoder, beams=50) for decoder in ("trie", "exact"))
    assert wide.ranks == exact.ranks


def test_a_planted_pattern_is_found_and_an_untrained_network_does_not_know_it(go):
    trained = go(task="sequential", set={"backbone.epochs": 30, "backbone.d_model": 64})
    barely = go(task="sequential", set={"backbone.epochs": 1, "backbone.learning_rate": 1e-9})
    assert trained.metrics["keep"]["hit@5"] > 0.9
    assert barely.metrics["keep"]["hit@5"] < 0.4


@pytest.mark.parametrize("rank", [0, 4])
def test_a_local_checkpoint_is_fine_tuned(go, checkpoint, rank):
    record = go(profile="finetune", set={"backbone.model": checkpoint("llama"), "backbone.lora_rank": rank})
    assert record.status == "finished"
    assert record.parameters["variant"] == "tiny-llama" + ("+lora4" if rank else "")
    assert record.parameters["size"] == "2x32/48"


def test_other_files_in_the_checkpoint_are_another_run(go, checkpoint):
    folder = checkpoint("llama")
    options = {"backbone.model": str(folder), "backbone.epochs": 1}
    first = go(profile="finetune", set=options)
    assert go(profile="finetune", set=options).process == first.process
    (Path(folder) / "note.txt").write_text("changed")
    assert go(profile="finetune", set=options).fingerprints["files"] != first.fingerprints["files"]
