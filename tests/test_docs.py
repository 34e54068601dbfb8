"""What the documents tell a reader to do works: README's commands and example, CONTRIBUTING's indexer."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README, CONTRIBUTING = (ROOT / name for name in ("README.md", "CONTRIBUTING.md"))


def blocks(path: Path, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def shell(command: str, folder: Path, path: str = "") -> str:
    """Run a command line as a reader would, in `folder`, with this interpreter's scripts first; its output."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    if path:
        environment["PYTHONPATH"] = path
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("movielens")
def test_the_commands_of_the_readme_run(tmp_path):
    run_folder = ""
    lines = [line.split("#")[0].strip() for block in blocks(README, "sh") for line in block.splitlines()]
    assert len(lines) > 5
    for line in filter(None, lines):
        printed = shell(line.replace("RUN", run_folder), tmp_path)
        assert printed.strip()
        if found := re.search(r"run folder: (\S+)", printed):
            run_folder = found[1]


def test_the_suite_of_the_readme_asks_for_what_it_says(tmp_path):
    (grid,) = blocks(README, "toml")
    (tmp_path / "grid.toml").write_text(grid)
    assert len(shell("genrec suite grid.toml --dry-run", tmp_path).splitlines()) == 2 * 3 * 2 + 1


@pytest.mark.usefixtures("movielens")
def test_the_library_example_of_the_readme_runs(tmp_path):
    (example,) = blocks(README, "python")
    (tmp_path / "example.py").write_text(example)
    score, users = shell(f"{sys.executable} example.py", tmp_path).split()
    assert 0 < float(score) < 1
    assert users == "943"


@pytest.mark.slow
@pytest.mark.usefixtures("movielens")
def test_the_indexer_of_contributing_is_built_installed_and_run(tmp_path):
    package = tmp_path / "my-indexer"
    package.mkdir()
    (toml,), (python,) = blocks(CONTRIBUTING, "toml"), blocks(CONTRIBUTING, "python")
    (package / "pyproject.toml").write_text(toml)
    (package / "my_indexer.py").write_text(python)
    shell(f"{sys.executable} -m build --wheel --no-isolation --outdir . my-indexer", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    shell(f"{sys.executable} -m pip install --quiet --no-deps --no-index --target {site} {wheel}", tmp_path)
    listed = shell("genrec plugins --kind indexer --check", tmp_path, path=str(site))
    assert re.search(r"by-popularity\s+my-indexer\s+0\.1", listed)
    short = "--profile tiny --set backbone.epochs=1"
    printed = shell(f"genrec run --indexer by-popularity --backbone lightlm {short}", tmp_path, path=str(site))
    assert "by-popularity / lightlm / trie" in printed


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None or shutil.which("git") is None, reason="needs make and git")
def test_the_demo_runs_from_a_fresh_clone_and_beats_popularity(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    clone = tmp_path / "clone"
    shell(f"git clone --quiet {ROOT} {clone}", tmp_path)
    printed = shell("make demo", clone)
    rows = dict(
        re.findall(r"^\W*(sci / lightlm / trie|popularity)\W+hidden\W+([\d.]+(?:\W+[\d.]+)+)", printed, re.MULTILINE)
    )
    ours, floor = (
        list(map(float, re.findall(r"\.?\d+\.\d+|\.\d+", rows[name])))
        for name in ("sci / lightlm / trie", "popularity")
    )
    assert len(ours) == len(floor) == 6
    assert all(a > b for a, b in zip(ours, floor, strict=True))
