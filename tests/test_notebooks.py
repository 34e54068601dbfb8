"""The notebooks: every cell runs, and what they show of untrained systems is what it was when they were saved."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHORT = ('"backbone.epochs": 6, "backbone.minutes": 0', '"backbone.epochs": 1, "backbone.layers": 1')

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("movielens")]


def shown(notebook: nbformat.NotebookNode) -> list[str]:
    """What the cells printed, as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [str(output.get("text") or output.get("data", {}).get("text/plain", "")) for output in outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_its_first_cell_to_its_last(path, tmp_path, monkeypatch):
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    (tmp_path / "notebooks").mkdir()
    os.symlink(ROOT / "leaderboards", tmp_path / "leaderboards")
    copy = Path(shutil.copy(path, tmp_path / "notebooks"))

    saved = nbformat.read(path, as_version=4)
    copy.write_text(
        path.read_text(encoding="utf-8").replace(SHORT[0].replace('"', '\\"'), SHORT[1].replace('"', '\\"'))
    )
    ran = nbformat.read(copy, as_version=4)
    assert any(SHORT[1] in cell.source for cell in ran.cells)
    NotebookClient(ran, timeout=600, resources={"metadata": {"path": str(copy.parent)}}).execute()

    before, after = shown(saved), shown(ran)
    assert len(before) == len(after) >= 8
    same = [one == other for one, other in zip(before, after, strict=True)]
    assert sum(same) >= len(same) - 3  # the trained system's record, comparison and frame
    for text in (before, after):
        assert any("item-counts 0.0767, ease 0.0689" in line for line in text)
