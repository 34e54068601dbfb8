"""What all parts of the campaign work with: a planted data set, real runs on it, their cache, a ledger and boards.

`make` makes them once; `made` says where they are.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genrec_bench import __main__

from .engine import Done, genrec

USERS = 24
DATASET = ("--dataset", "planted.txt", "--set", "dataset.format=sequence")
TRAINING = (
    "--profile",
    "tiny",
    "--set",
    "backbone.epochs=2",
    "--set",
    "backbone.d_model=32",
    "--set",
    "backbone.heads=2",
)
SYSTEMS: dict[str, tuple[str, ...]] = {
    "popularity": ("--baseline", "popularity"),
    "item-counts": ("--baseline", "item-counts"),
    "generator": ("--indexer", "random", "--backbone", "lightlm", *TRAINING),
}
USED = (  # imported once, so that the forked commands need not import them
    *(
        "torch",
        "torch.nn",
        "pyarrow.parquet",
        "pyarrow.csv",
        "pyarrow.compute",
        "sklearn",
        "rich.table",
        "rich.progress",
    ),
    *("optuna", "jsonschema_rs", "genrec_bench.runs.generator", "genrec_bench.runs.apart", "genrec_bench.runs.verify"),
    *("genrec_bench.backbones.lightlm", "genrec_bench.cli.run", "genrec_bench.cli.results", "genrec_bench.cli.score"),
    *("genrec_bench.cli.data", "genrec_bench.cli.tune", "genrec_bench.cli.verify", "genrec_bench.cli.recommend"),
    *("genrec_bench.cli.leaderboard", "genrec_bench.leaderboard.publish", "genrec_bench.leaderboard.renderers"),
    *("genrec_bench.tuning.search", "genrec_bench.runs.external", "genrec_bench.data.file", "genrec_bench.data.stats"),
    *("genrec_bench.data.export", "genrec_bench.indexers.codes_from_file.readers", "genrec_bench.cli.progress"),
)
TUNE = ("tune", "item-knn", *DATASET, "--task", "sequential", "--trials", "4", "--out", "runs")
SCORE = ("score", "lists.csv", *DATASET, "--task", "sequential", "--name", "Elsewhere", "--out", "runs", "--json")
SAYS = ("metrics", "ranks", "validity", "data", "fingerprints", "warnings", "spec")  # of a record: what has to stay

_folder: Path | None = None


def made() -> Path:
    """The folder that holds `planted.txt`, `lists.csv`, `runs`, `cache` and `boards`."""
    assert _folder is not None, "call make first"
    return _folder


def run_words(system: str, *more: str) -> tuple[str, ...]:
    """The command that runs a system."""
    return (
        "run",
        *DATASET,
        "--task",
        "sequential",
        *SYSTEMS[system],
        "--device",
        "cpu",
        "--out",
        "runs",
        "--json",
        *more,
    )


def setting(folder: Path) -> dict[str, str]:
    """The environment of a command: its cache and a person's data in `folder`."""
    return {
        "GENREC_CACHE": "cache",
        "XDG_DATA_HOME": str(folder / "home"),  # a relative one is ignored
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }


def command(*words: object, folder: Path, **more: Any) -> Done:
    """A command of `genrec` with cache, data and home in `folder`."""
    return genrec(*words, folder=folder, environment=setting(folder), **more)


def ok(done: Done) -> Done:
    """The command, which must have ended well."""
    assert done.code == 0, f"{done.code}\n{done.out}\n{done.err}"
    return done


def make(folder: Path) -> None:
    """Fill an empty folder."""
    global _folder
    _folder = folder
    os.environ.update(__main__.NO_PLUGINS)
    for module in USED:
        importlib.import_module(module)
    folder.mkdir(parents=True, exist_ok=True)
    write_inputs(folder)

    names = {}
    for system in SYSTEMS:
        record = json.loads(ok(command(*run_words(system), folder=folder)).out)
        names[system] = record["spec_id"]
    names["scored"] = json.loads(ok(command(*SCORE, folder=folder)).out)["spec_id"]
    ok(command(*TUNE, folder=folder))
    for name, spec_id in names.items():
        (folder / "runs" / name).symlink_to(spec_id)
    make_boards(folder)


def write_inputs(folder: Path) -> None:
    """The planted data, and ranked lists for all its users."""
    from genrec_bench.testing.planted_data import planted_lines

    lines = planted_lines(users=USERS, groups=3, per_group=8, length=7)
    (folder / "planted.txt").write_text("\n".join(lines) + "\n")
    rows = ["user,item,rank"]
    for line in lines:
        user, *items = line.split()
        others = [f"g{group}i{item}" for group in range(3) for item in range(8)]
        listed = [items[-1], *(item for item in others if item not in items)][:20]
        rows += [f"{user},{item},{rank}" for rank, item in enumerate(listed, 1)]
    (folder / "lists.csv").write_text("\n".join(rows) + "\n")


def make_boards(folder: Path) -> None:
    """Boards with the baselines."""
    words = (
        "leaderboard",
        "add",
        "runs/popularity",
        "runs/item-counts",
        "--to",
        "boards",
        "--ledger",
        "runs/ledger.jsonl",
    )
    ok(command(*words, folder=folder))
    ok(command("leaderboard", "build", "boards", folder=folder))


def copied(folder: Path, *names: str) -> Path:
    """A copy of some of the materials in `folder`, beside the inputs."""
    for name in ("planted.txt", "lists.csv", *names):
        source, target = made() / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy(source, target)
    return folder


def record_of(name: str, folder: Path | None = None) -> dict[str, Any]:
    """The record of a run."""
    return dict(json.loads(((folder or made()) / "runs" / name / "record.json").read_text()))


def difference(record: dict[str, Any], name: str) -> str:
    """Which sections of a record are not those of the real run `name`; empty if none."""
    sound = record_of(name)
    return ", ".join(key for key in SAYS if record.get(key) != sound[key])


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder by path, but locks."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def before_writes(act: Callable[[], object]) -> Callable[[], None]:
    """A `first` for a command: `act` is called before every operation that changes a file."""
    import sys

    changes = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
    writing = os.O_WRONLY | os.O_RDWR

    def see(event: str, args: Any) -> None:
        if event in changes or (event == "open" and (args[2] or 0) & writing and args[0] != os.devnull):
            act()

    return lambda: sys.addaudithook(see)
