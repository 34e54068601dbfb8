"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--out`, `--data-dir` and `--device` of commands that run systems."""
    where = click.Path(path_type=Path)
    out = click.option("--out", type=where, default="runs", show_default=True, help="Folder of run folders.")
    data_dir = click.option("--data-dir", type=where, metavar="DIR", help="Folder of data files.")
    device = click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="cpu, cuda, or auto: a GPU if there is one and the system can use it.",
    )
    return out(data_dir(device(command)))
