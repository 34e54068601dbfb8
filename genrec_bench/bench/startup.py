"""How long the command line takes where it trains and decodes nothing: CPU seconds of a process of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from genrec_bench.bench.results import (
    Grid,
    Result,
    Row,
    conditions,
)
from genrec_bench.bench.timing import ROUNDS
from genrec_bench.core.progress import Progress

COMMANDS = {
    "genrec --help": ["--help"],
    "genrec plugins": ["plugins"],
    "genrec leaderboard RUNS, one run": ["leaderboard", "runs"],
}
COUNT = (  # run by a fresh interpreter, so that children's time is that one command's
    "import os, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True, check=True); "
    "t = os.times(); print(t.children_user + t.children_system)"
)


def run(grid: Grid, progress: Progress) -> Result:
    """CPU seconds (user and system) of each command, median over rounds, after two rounds of warm-up."""
    rows = []
    with progress.phase("startup", len(COMMANDS), "commands") as tick, tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        one_run(folder)
        for name, words in COMMANDS.items():
            told = [cpu_seconds(words, folder) for _ in range(2 + ROUNDS)][2:]
            rows.append(Row(name, "", statistics.median(told), "CPU s", min(told), max(told), goal="11"))
            tick(1, name)
    return Result("startup", grid, tuple(rows), conditions())


def one_run(folder: Path) -> None:
    """One finished run in `folder`/runs: popularity on a small synthetic data set."""
    from genrec_bench.data.synth import Plan, write_synthetic
    from genrec_bench.runs.run import run
    from genrec_bench.runs.spec import RunSpec

    events = folder / "events.parquet"
    write_synthetic(Plan(users=200, items=100, clusters=5), events)
    settings = {"dataset.path": str(events), "dataset.format": "parquet"}
    run(RunSpec(baseline="popularity", dataset="file", task="direct", set=settings), out=folder / "runs")


def cpu_seconds(words: list[str], folder: Path) -> float:
    """CPU seconds of `python -m genrec_bench WORDS` run in `folder`. CalledProcessError if it ends with an error."""
    command = [sys.executable, "-c", COUNT, sys.executable, "-m", "genrec_bench", *words]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout)
