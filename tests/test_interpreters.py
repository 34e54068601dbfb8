"""Other interpreters than the one the tests run under: the wheel installs there, and what needs no torch works."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from installing import build, run

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def interpreter(version: str) -> str | None:
    """Where this version of Python is: on the path, or among pyenv's. A shim on the path may stand for nothing."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for found in [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]:
        try:
            if found and run([found, "--version"]).startswith(f"Python {version}."):
                return str(found)
        except AssertionError:
            continue
    return None


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_a_floor_runs_is_verified_and_is_on_a_table(version, planted_file, tmp_path) -> None:
    python = interpreter(version)
    if python is None or sys.version.startswith(version):
        pytest.skip(f"no other Python {version} here")

    run([python, "-m", "venv", tmp_path / "env"])
    own = tmp_path / "env" / "bin" / "python"
    wheel = build(ROOT, tmp_path / "wheels")
    run([own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", ROOT / "constraints.txt", wheel])

    genrec = [own, "-m", "genrec_bench"]
    words = [
        "--baseline",
        "ease",
        "--dataset",
        planted_file,
        "--set",
        "dataset.format=sequence",
        "--task",
        "sequential",
    ]
    record = json.loads(run([*genrec, "run", *words, "--json"], tmp_path))
    here = json.loads(run([sys.executable, *genrec[1:], "run", *words, "--json", "--out", "here"], tmp_path))
    assert record["environment"]["python"].startswith(version)
    assert record["metrics"] == here["metrics"]

    run([*genrec, "verify", "runs/" + record["spec_id"]], tmp_path)
    assert "ease" in run([*genrec, "leaderboard", "runs"], tmp_path)
