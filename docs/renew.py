"""Renews what the README and pages of docs/ show of boards, studies and commands: `make results`.

It builds the boards, draws docs/results.svg from them, runs the commands whose output the README or a page shows, and the cell of
the notebook that shows a board.
"""

from __future__ import annotations

import copy
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import nbformat
from nbclient import NotebookClient

mpl.use("svg")
import matplotlib.pyplot as plt

from genrec_bench import load_board
from genrec_bench.leaderboard.rows import KINDS, Row
from genrec_bench.library.boards import LoadedBoard
from genrec_bench.library.comparing import COLOURS

ROOT = Path(__file__).parents[1]
OUTPUT = re.compile(r"(<!-- output (genrec .*?) -->\n).*?(<!-- end of output -->)", re.DOTALL)
TABLE = re.compile(r"(<!-- table (genrec .*?) -->\n).*?(<!-- end of table -->)", re.DOTALL)
STUDY = ROOT / "docs" / "what-carries-the-gain.md"
BOARDS = {
    "MovieLens-100K, sequential": "loo-full-1/sequential/ml-100k",
    "Amazon Beauty, sequential": "loo-full-1/sequential/beauty",
}
BEST_OF = {"floor": 1, "baseline": 3, "generator": 3}  # rows of each kind, the best first
STYLE = {"svg.hashsalt": "genrec_bench", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}


def drawn_rows(board: LoadedBoard) -> list[Row]:
    """The best rows of each kind, one per model, best first; counting without tuned weights too."""
    chosen: list[Row] = []
    for kind in KINDS:
        models: dict[str, Row] = {}
        for row in board.rows:
            if row.kind == kind:
                models.setdefault(row.model, row)
        chosen += list(models.values())[: BEST_OF[kind]]
    return sorted(chosen, key=lambda row: -row.score)


def draw(path: Path) -> None:
    """A panel for each board: ndcg@10 of its best rows with 95 % intervals."""
    with mpl.rc_context(STYLE):
        figure, panels = plt.subplots(1, len(BOARDS), figsize=(10, 2.6), layout="constrained")
        for panel, (title, folder) in zip(panels, BOARDS.items(), strict=True):
            rows = drawn_rows(load_board(ROOT / "leaderboards" / folder))
            for place, row in enumerate(reversed(rows)):
                low, high = row.intervals["ndcg@10"]
                panel.hlines(place, low, high, color=COLOURS[row.kind], linewidth=2)
                panel.plot(row.score, place, "o", color=COLOURS[row.kind], markersize=5)
            panel.set_yticks(range(len(rows)), [row.system for row in reversed(rows)])
            panel.set(title=title, xlabel="ndcg@10, 95 % interval")
            panel.spines[["top", "right"]].set_visible(False)

        marks = [plt.Line2D([], [], color=COLOURS[kind], marker="o", label=kind) for kind in KINDS]
        figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)


def with_outputs(document: str) -> str:
    """The document with what its commands print now, up to the caption of their first table."""
    return OUTPUT.sub(
        lambda place: f"{place[1]}\n```console\n$ {place[2]}\n{printed(place[2])}\n```\n\n{place[3]}", document
    )


def printed(command: str) -> str:
    """The first table that a command prints, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "genrec_bench", *command.split()[1:]]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    lines = done.stdout.partition("\nseen:")[0].splitlines()
    return "\n".join(line.rstrip() for line in lines)


def with_tables(document: str) -> str:
    """The document with the Markdown that its commands print now, called where the repository lies."""
    return TABLE.sub(lambda place: f"{place[1]}\n{markdown(place[2])}\n\n{place[3]}", document)


def markdown(command: str) -> str:
    """What a command prints, its folders written with * spelt out."""
    words = [
        str(found)
        for word in command.split()[1:]
        for found in (sorted(path.relative_to(ROOT) for path in ROOT.glob(word)) if "*" in word else [word])
    ]
    called = [sys.executable, "-m", "genrec_bench", *words]
    return subprocess.run(called, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def show_board(path: Path) -> None:
    """Renews what a notebook shows of a board; its other cells train, and keep what they printed."""
    notebook = nbformat.read(path, as_version=4)
    needed = [cell for cell in notebook.cells if cell.source.startswith(("from genrec_bench", "board = load_board"))]
    counts = [cell.execution_count for cell in needed]
    part = nbformat.v4.new_notebook(cells=needed, metadata=copy.deepcopy(notebook.metadata))
    NotebookClient(part, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()

    for cell, count in zip(needed, counts, strict=True):
        cell.execution_count = count
        cell.metadata.pop("execution", None)  # when it ran
        for output in cell.outputs:
            output["execution_count"] = count
    nbformat.write(notebook, path)


def main() -> None:
    """Renew everything."""
    documents = [ROOT / "README.md", ROOT / "docs" / "results.md"]
    into = [word for path in documents for word in ("--into", str(path))]
    command = [sys.executable, "-m", "genrec_bench", "leaderboard", "build", str(ROOT / "leaderboards"), *into]
    subprocess.run(command, check=True)

    draw(ROOT / "docs" / "results.svg")
    readme = documents[0]
    readme.write_text(with_outputs(readme.read_text(encoding="utf-8")), encoding="utf-8")
    show_board(ROOT / "notebooks" / "compare.ipynb")
    STUDY.write_text(with_tables(STUDY.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
