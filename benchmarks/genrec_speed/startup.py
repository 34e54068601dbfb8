"""How long the commands take that neither train nor decode: CPU seconds of a process of their own."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from genrec_bench.api import Progress
from genrec_bench.core.files import scratch
from genrec_speed.results import Grid, Result, Row, conditions
from genrec_speed.timing import ROUNDS, WARMUPS

COMMANDS = {
    "genrec --help": ["--help"],
    "genrec plugins": ["plugins"],
    "genrec leaderboard RUNS, one run": ["leaderboard", "runs"],
}
COUNT = (  # a fresh interpreter runs this, so that its children's time is that of one command
    "import os, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True, check=True); "
    "t = os.times(); print(t.children_user + t.children_system)"
)


def run(grid: Grid, progress: Progress) -> Result:
    """CPU seconds (user and system) of each command: the median over rounds, after a warm-up."""
    rows = []
    with progress.phase("startup", len(COMMANDS), "commands") as tick, scratch("bench") as folder:
        one_run(folder)
        for name, words in COMMANDS.items():
            seconds = [cpu_seconds(words, folder) for _ in range(WARMUPS + ROUNDS)][WARMUPS:]
            rows.append(Row(name, "", statistics.median(seconds), "CPU s", min(seconds), max(seconds), goal="11"))
            tick(1, name)
    return Result("startup", grid, tuple(rows), conditions())


def one_run(folder: Path) -> None:
    """Make one finished run in `folder`/runs: popularity on a small synthetic data set."""
    from genrec_bench import RunSpec, run
    from genrec_speed.synth import Plan, write_synthetic

    path = folder / "interactions.parquet"
    write_synthetic(Plan(users=200, items=100, clusters=5), path)
    settings = {"dataset.path": str(path), "dataset.format": "parquet"}
    run(RunSpec(baseline="popularity", dataset="file", task="direct", set=settings), out=folder / "runs")


def cpu_seconds(words: list[str], folder: Path) -> float:
    """CPU seconds of `python -m genrec_bench WORDS`, run in `folder`. CalledProcessError if the command fails."""
    command = [sys.executable, "-c", COUNT, sys.executable, "-m", "genrec_bench", *words]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout)
