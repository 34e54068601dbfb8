"""A distribution of somebody else's, really built and installed, and everything the toolkit does with it.

It is installed into a folder of its own and used by fresh interpreters, so nothing here touches the environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

FILES = {
    "pyproject.toml": """
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"

        [project]
        name = "acme-indexers"
        version = "2.5"

        [project.entry-points."genrec_bench.indexers"]
        backwards = "acme_indexers.backwards:Backwards"
        garbled = "acme_indexers.garbled:Garbled"
        missing = "acme_indexers.gone:Missing"
        needy = "acme_indexers.needy:Needy"
        random = "acme_indexers.backwards:Backwards"
        """,
    "acme_indexers/__init__.py": """
        import os
        from pathlib import Path

        if os.environ.get("ACME_WITNESS"):
            Path(os.environ["ACME_WITNESS"]).touch()
        """,
    "acme_indexers/backwards.py": '''
        """Numbers, from the last item to the first."""

        import numpy as np
        from pydantic.dataclasses import dataclass

        from genrec_bench.api import Index, digits, digits_needed
        from genrec_bench.api import Indexer, TwoOrMore


        @dataclass(frozen=True)
        class BackwardsConfig:
            base: TwoOrMore = 4  # digits run from 0 to base - 1


        class Backwards(Indexer):
            """Item numbers counted backwards. For the test of installed plugins."""

            Config = BackwardsConfig

            def build(self, train, ctx):
                numbers = np.arange(train.n_items)[::-1]
                width = digits_needed(train.n_items, self.config.base)
                return Index.from_labels(digits(numbers, self.config.base, width), info={"method": "backwards"})
        ''',
    "acme_indexers/garbled.py": "class Garbled(:\n",
    "acme_indexers/needy.py": '''
        import a_library_nobody_has


        class Needy:
            """Needs something."""
        ''',
}


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The folder that the throw-away distribution is installed in."""
    source, wheels, site = (tmp_path_factory.mktemp(name) for name in ("acme", "wheels", "site"))
    for name, text in FILES.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(dedent(text).lstrip("\n"))
    python = [sys.executable, "-m"]
    done([*python, "build", "--wheel", "--no-isolation", "--outdir", wheels, source])
    (wheel,) = wheels.glob("*.whl")
    pip = ["pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-compile"]
    done([*python, *pip, "--target", site, wheel])
    return site


def done(command: list) -> None:
    """Run a command that must succeed; its output is shown if it does not."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def genrec(site, tmp_path):
    """Run `genrec` in a fresh interpreter with the distribution installed; extra variables as keywords."""

    def call(*words: object, **variables: object) -> subprocess.CompletedProcess[str]:
        setting = {"PYTHONPATH": str(site), "GENREC_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        setting |= {name: str(value) for name, value in variables.items()}
        command = [sys.executable, "-m", "genrec_bench", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **setting})

    return call


def listed(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    """The rows of `genrec plugins --json` that the distribution supplied, by name."""
    return {row["name"]: row for row in json.loads(result.stdout) if row["distribution"] == "acme-indexers"}


def run_words(file: Path, indexer: str) -> list[object]:
    options = {"dataset.path": file, "dataset.format": "sequence", "backbone.epochs": 1}
    settings = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    system = ["--indexer", indexer, "--backbone", "lightlm", "--profile", "tiny", "--device", "cpu"]
    return ["run", "--dataset", "file", *system, *settings, "--json"]


def test_listing_shows_the_good_the_broken_and_the_clashing_and_imports_none(genrec, tmp_path):
    witness = tmp_path / "imported"
    rows = listed(genrec("plugins", "--json", ACME_WITNESS=witness))
    assert not witness.exists()
    assert {name: row["status"] for name, row in rows.items()} == {
        "backwards": "ok",
        "garbled": "broken: syntax error in garbled.py line 1: invalid syntax",
        "missing": "broken: no module named 'acme_indexers.gone'",
        "needy": "ok",
        "random": "clash: acme-indexers, genrec-bench",
    }
    assert rows["backwards"]["version"] == "2.5"
    assert rows["backwards"]["description"] == "Item numbers counted backwards."


def test_check_imports_each_and_finds_what_only_importing_shows(genrec, tmp_path):
    witness = tmp_path / "imported"
    rows = listed(genrec("plugins", "--kind", "indexer", "--check", "--json", ACME_WITNESS=witness))
    assert witness.exists()
    assert rows["backwards"]["status"] == "ok"
    assert rows["needy"]["status"] == "broken: ModuleNotFoundError: No module named 'a_library_nobody_has'"


def test_a_run_goes_through_the_good_one_and_the_record_names_its_supplier(genrec, planted_file):
    result = genrec(*run_words(planted_file, "backwards"))
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["status"] == "finished" and record["spec"]["indexer"] == "backwards"
    supplier = record["components"]["indexer"]
    assert (supplier["distribution"], supplier["version"]) == ("acme-indexers", "2.5")
    assert record["index"]["info"]["method"] == "backwards"
    assert 0 <= record["metrics"]["mask"]["ndcg@10"] <= 1


def test_a_clash_is_an_error_only_when_its_name_is_used_and_a_prefix_picks_one(genrec, planted_file):
    clash = genrec(*run_words(planted_file, "random"))
    assert (clash.returncode, clash.stdout) == (1, "")
    assert clash.stderr.startswith(
        "ComponentClash: acme-indexers and genrec-bench each have an indexer named 'random'."
    )
    assert "'acme-indexers:random' or 'genrec-bench:random'" in clash.stderr
    picked = genrec(*run_words(planted_file, "acme-indexers:random"))
    assert picked.returncode == 0, picked.stderr
    assert json.loads(picked.stdout)["components"]["indexer"]["distribution"] == "acme-indexers"


@pytest.mark.parametrize(
    ("name", "cause"),
    [("garbled", "SyntaxError"), ("missing", "acme_indexers.gone"), ("needy", "a_library_nobody_has")],
)
def test_a_broken_one_is_one_line_when_it_is_asked_for_and_leaves_nothing_behind(genrec, planted_file, name, cause):
    result = genrec(*run_words(planted_file, name))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"BrokenComponent: indexer '{name}' (acme-indexers 2.5) cannot be loaded: ")
    assert cause in result.stderr and result.stderr.count("\n") == 1
    assert not (planted_file.parent / "runs").exists()


def test_debug_shows_the_cause_of_a_broken_one(genrec, planted_file):
    result = genrec("--debug", *run_words(planted_file, "needy"))
    assert "import a_library_nobody_has" in result.stderr
    assert "The above exception was the direct cause" in result.stderr
