"""How long the command line takes before it does anything: CPU seconds of a process of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from genrec_bench.bench.results import Grid, Result, Row, conditions
from genrec_bench.bench.timing import ROUNDS
from genrec_bench.contracts import Progress

COMMANDS = {"genrec --help": ["--help"], "genrec plugins": ["plugins"], "genrec leaderboard (no runs)": ["leaderboard"]}
COUNT = (  # run by a fresh interpreter, so that children's time is that one command's
    "import os, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True); "
    "t = os.times(); print(t.children_user + t.children_system)"
)


def run(grid: Grid, progress: Progress) -> Result:
    """CPU seconds (user and system) of each command, median over rounds, after two rounds of warm-up."""
    rows = []
    with progress.phase("startup", len(COMMANDS), "commands") as tick, tempfile.TemporaryDirectory() as empty:
        for name, words in COMMANDS.items():
            told = [cpu_seconds(words, Path(empty)) for _ in range(2 + ROUNDS)][2:]
            rows.append(Row(name, "", statistics.median(told), "CPU s", min(told), max(told), goal="11"))
            tick(1, name)
    return Result("startup", grid, tuple(rows), conditions())


def cpu_seconds(words: list[str], folder: Path) -> float:
    """CPU seconds of `python -m genrec_bench WORDS` run in `folder`."""
    command = [sys.executable, "-c", COUNT, sys.executable, "-m", "genrec_bench", *words]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout)
