"""Any indexer goes with any backbone, any decoder and either task; decoders of one system share its weights."""

import pytest

from genrec_bench import RunSpec, run
from genrec_bench.testing import planted_lines

INDEXERS = {
    "random": {},
    "sequential": {},
    "sci": {},
    "gci": {"epochs": 3, "levels": 2, "codebook_size": 8},
    "collaborative": {},
    "kmeans-tree": {"clusters": 3, "leaf_size": 4},
}
BACKBONES = ("lightlm", "t5-small", "p5")
SMALL = {"epochs": 1, "layers": 1, "d_model": 16, "heads": 2, "d_ff": 8}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One folder with the planted data, one cache and one place for runs, for all combinations."""
    folder = tmp_path_factory.mktemp("combinations")
    (folder / "planted.txt").write_text("\n".join(planted_lines()) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENREC_CACHE", str(folder / "cache"))
        yield folder


@pytest.mark.parametrize("task", ["direct", "sequential"])
@pytest.mark.parametrize("decoder", ["trie", "filter", "exact"])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("indexer", INDEXERS)
def test_every_combination_runs(place, indexer, backbone, decoder, task):
    options = {"dataset.path": str(place / "planted.txt"), "dataset.format": "sequence"}
    options |= {f"indexer.{key}": value for key, value in INDEXERS[indexer].items()}
    options |= {f"backbone.{key}": value for key, value in SMALL.items()}
    spec = RunSpec(
        dataset="file", indexer=indexer, backbone=backbone, decoder=decoder, task=task, profile="tiny", set=options
    )
    record = run(spec, out=place / "runs", device="cpu")
    assert record.status == "finished"
    assert len(record.ranks["mask"]) == record.data["test_cases"] == 60
    assert record.validity["hallucination_rate"] == 0 or decoder == "filter"
    if decoder == "exact":
        assert record.validity["certified@10"] == 1
    assert (record.system == f"{indexer} / {backbone} (scratch) / {decoder}") == (backbone != "lightlm")
    mark = place / f"{indexer} {backbone} {task}"
    assert record.training["cached"] is mark.exists()
    if mark.exists():
        assert mark.read_text() == record.fingerprints["weights"]
    mark.write_text(record.fingerprints["weights"])
