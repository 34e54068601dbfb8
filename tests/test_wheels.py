"""The wheels of all distributions: each is built, installed beside the others, and offers what it promises."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest
from installing import install, run

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT, ROOT / "baselines", ROOT / "benchmarks", *sorted((ROOT / "plugins").glob("*"))]

pytestmark = pytest.mark.slow


def facts(source: Path) -> dict:
    return tomllib.loads((source / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    site = tmp_path_factory.mktemp("wheels") / "site"
    for source in SOURCES:
        folder = site.parent / source.name
        install(source, folder)
        site.mkdir(exist_ok=True)
        for item in folder.iterdir():
            if not (site / item.name).exists():
                item.rename(site / item.name)
    return site


def test_every_component_of_every_wheel_is_there_and_runs_from_the_wheel(site, tmp_path) -> None:
    listed = json.loads(run([sys.executable, "-m", "genrec_bench", "plugins", "--json"], tmp_path, site))
    found = {(one["distribution"], one["kind"], one["name"]) for one in listed if one["status"] == "ok"}
    for source in SOURCES:
        project = facts(source)
        points = project.get("entry-points", {})
        promised = {
            (project["name"], group.removeprefix("genrec_bench.").removesuffix("s"), name)
            for group, names in points.items()
            for name in names
            if not group.endswith("commands")
        }
        assert promised <= found

    code = "import genrec_bench, genrec_semantic; print(genrec_bench.__file__, genrec_semantic.__file__)"
    assert run([sys.executable, "-c", code], tmp_path, site).count(str(site)) == 2


def test_a_system_of_two_wheels_runs(site, planted_file, tmp_path) -> None:
    words = ["run", "--indexer", "sequential", "--backbone", "rpg", "--decoder", "rpg-exact", "--task", "sequential"]
    options = [
        "--dataset",
        planted_file,
        "--set",
        "dataset.format=sequence",
        "--profile",
        "tiny",
        "--set",
        "backbone.epochs=1",
        "--json",
    ]
    record = json.loads(run([sys.executable, "-m", "genrec_bench", *words, *options], tmp_path, site))
    assert record["status"] == "finished"
    assert record["components"]["backbone"]["distribution"] == "genrec-parallel"
