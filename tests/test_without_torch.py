"""Without torch: floors, verification, boards and the kit work; what needs it says what to install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MISSING = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"


@pytest.fixture
def genrec(tmp_path):
    """Run `genrec` where torch cannot be imported."""

    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "torch.py").write_text(MISSING)  # found first, by child processes too

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        setting = {"GENREC_CACHE": "cache", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path / "site")}
        command = [sys.executable, "-m", "genrec_bench", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **setting})

    return call


def test_floors_are_run_verified_shown_and_ranked(genrec, planted_file, tmp_path) -> None:
    words = ["--dataset", planted_file, "--set", "dataset.format=sequence", "--task", "sequential"]
    done = genrec("run", "--baseline", "ease", *words, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["environment"]["threads"] == 1  # told by NumPy's library: one machine is one hardware class
    folder = Path("runs") / record["spec_id"]
    for words in (("verify", folder), ("show", folder), ("leaderboard", "runs"), ("recommend", folder, "--user", "u0")):
        done = genrec(*words)
        assert done.returncode == 0 and done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--indexer", "random", "--backbone", "lightlm"),
        ("plugins", "show", "lightlm"),
        ("plugins", "check", "trie"),
    ],
)
def test_what_needs_torch_says_what_to_install(genrec, words) -> None:
    done = genrec(*words)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("needs torch: pip install 'genrec-bench[torch]'")
    assert "Traceback" not in done.stderr


def test_all_components_are_listed_and_a_baseline_is_checked(genrec) -> None:
    listed = json.loads(genrec("plugins", "--json").stdout)
    assert {"lightlm", "trie", "ease"} <= {component["name"] for component in listed}
    done = genrec("plugins", "check", "popularity")
    assert done.returncode == 0 and "0 failed" in done.stdout, done.stderr
