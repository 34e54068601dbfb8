"""The distributions in plugins/ go together: an indexer, a backbone and a decoder of three of them in one run."""

from importlib.metadata import PackageNotFoundError, distribution, entry_points
from pathlib import Path

import pytest

from genrec_bench import RunSpec, run
from genrec_bench.host import registry
from genrec_bench.runs.suite import read_suite

SUITES = Path(__file__).resolve().parents[1] / "suites"
PLUGINS = ("genrec-semantic", "genrec-causal-lm", "genrec-decoders")


@pytest.fixture
def plugins():
    """All three are installed, as `make test` does."""
    for name in PLUGINS:
        try:
            distribution(name)
        except PackageNotFoundError:
            pytest.skip(f"{name} is not installed: pip install ./plugins/{name}")


@pytest.mark.usefixtures("plugins")
def test_each_axis_has_its_full_set():
    names = {kind: {info.name for info in registry.list_components(kind)} for kind in registry.KINDS}
    assert len(names["indexer"]) >= 9 and len(names["backbone"]) >= 4 and len(names["decoder"]) >= 4
    assert all(info.status == "ok" for info in registry.list_components() if info.distribution in PLUGINS)


@pytest.mark.usefixtures("plugins", "movielens")
def test_components_of_three_distributions_run_as_one_system(tmp_path):
    options = {"backbone.epochs": 1, "backbone.examples_per_epoch": 100}
    spec = RunSpec(indexer="rq-kmeans", backbone="causal-lm", decoder="debiased", profile="tiny", set=options)
    record = run(spec, out=tmp_path, device="cpu")
    assert record.system == "rq-kmeans / causal-lm (scratch) / debiased"
    suppliers = [record.components[part]["distribution"] for part in ("indexer", "backbone", "decoder")]
    assert suppliers == list(PLUGINS)
    assert record.validity["hallucination_rate"] == 0
    assert record.data["users"] == 943


def test_the_core_names_genrec_baselines_for_all_its_models():
    points = entry_points(group="genrec_bench.baselines")
    theirs = {point.name for point in points if point.dist.name == "genrec-baselines"}
    if not theirs:
        pytest.skip("genrec-baselines is not installed: pip install ./baselines")
    known = {name for (_, name), where in registry.KNOWN_ELSEWHERE.items() if where == "genrec-baselines"}
    assert known == theirs


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("file", sorted(SUITES.rglob("*.toml")), ids=lambda file: str(file.relative_to(SUITES)))
def test_every_suite_here_can_run(file):
    """Its components and options are there. Nothing runs."""
    runs = read_suite(file)
    assert all(run.resolved for run in runs)
    assert f"genrec suite suites/{file.relative_to(SUITES).as_posix()}" in file.read_text(encoding="utf-8")
