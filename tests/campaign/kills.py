"""Kills: commands that die before an operation on files, or at any moment, and the same command after that.

Right is: the next command needs no help, and gives what it would have given; a finished run is never lost.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from . import materials
from .engine import RIGHT, Case, Done, Outcome, Verdict, wrong
from .materials import SCORE, TUNE, before_writes, command, copied, difference, made, ok, run_words, tree

PART = "kills"
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Scene:
    """A command to kill in a folder with some of the materials, and the objection to what a second try leaves there."""

    name: str
    words: tuple[str, ...]
    objection: Callable[[Path], str]
    holds: tuple[str, ...] = ()
    again: tuple[str, ...] = ()  # the second try, if it is another command
    spoil: Callable[[Path], object] = lambda folder: None
    lost: str = ""  # the run that was finished before, and has to be finished at every moment

    def prepared(self, folder: Path) -> Path:
        """The folder as it is before the kill."""
        copied(folder, *self.holds)
        self.spoil(folder)
        return folder

    def operations(self, folder: Path) -> int:
        """How many operations on files the command needs."""
        folder.mkdir(parents=True)
        self.prepared(folder)
        log = folder / ".operations"
        count = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        ok(command(*self.words, folder=folder, first=before_writes(lambda: os.write(count, b"."))))
        os.close(count)
        return log.stat().st_size

    def at_operation(self, number: int, rng: Random, folder: Path) -> Verdict:
        """Kill before operation `number`, from 0."""
        left = number

        def count() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        self.prepared(folder)
        return self.judged(folder, command(*self.words, folder=folder, first=before_writes(count)))

    def at_moment(self, seconds: float, rng: Random, folder: Path) -> Verdict:
        """Kill at a moment of the command's first `seconds`."""
        moment = rng.uniform(0.0005, seconds)
        self.prepared(folder)
        # No handler: SIGALRM ends the process as SIGKILL does, between any two instructions.
        done = command(*self.words, folder=folder, first=lambda: signal.setitimer(signal.ITIMER_REAL, moment))
        return self.judged(folder, done)

    def judged(self, folder: Path, killed: Done) -> Verdict:
        """The verdict on what the second try does."""
        if killed.code not in (KILLED, -signal.SIGALRM, 0):
            return killed.fault or wrong(f"it was not killed: {killed.code} {killed.err[-300:]}")
        if self.lost and (why := not_finished(folder, self.lost)):
            return wrong(why)

        done = command(*(self.again or self.words), folder=folder)
        if done.code != 0:
            return done.fault or Verdict(Outcome.BLOCKED, done.err[-500:])
        why = self.objection(folder)
        return wrong(why) if why else RIGHT


def not_finished(folder: Path, name: str) -> str:
    """Why the run `name`, which had finished, is lost; empty if it or its successor is there."""
    from genrec_bench.runs.folders import damaged_files, locked
    from genrec_bench.runs.record import RunRecord

    run = (folder / "runs" / name).resolve()
    with locked(run):
        record = RunRecord.read(run)
    if record.status != "finished":
        return f"the finished run is {record.status} after the kill"
    damages = damaged_files(record, run)
    return f"the finished run is damaged: {damages}" if damages else ""


def run_is(name: str) -> Callable[[Path], str]:
    """Whether a run is the real one, verifies, and nothing is left beside it."""

    def objection(folder: Path) -> str:
        run = folder / "runs" / materials.record_of(name)["spec_id"]
        record = json.loads((run / "record.json").read_text())
        if why := difference(record, name):
            return f"other {why} than without the kill"
        verified = command("verify", run, folder=folder)
        if verified.code != 0:
            return f"it does not verify: {verified.out[-300:]} {verified.err[-300:]}"
        left = [path.name for path in run.iterdir() if path.name[0] == "." and path.name != ".lock"]
        return f"left behind: {left}" if left else ""

    return objection


def trials_are(folder: Path) -> str:
    """Whether a ledger holds the trials of the real search, each once."""
    facts = ("trial", "params", "status", "validation_ndcg@10")

    def trials(path: Path) -> list[list[object]]:
        return sorted([trial[fact] for fact in facts] for trial in map(json.loads, path.read_bytes().splitlines()))

    here, there = (trials(at / "runs" / "ledger.jsonl") for at in (folder, made()))
    return "" if here == there else f"other trials than without the kill: {here}"


def boards_are(folder: Path) -> str:
    """Whether boards are those without a kill, byte for byte, and nothing else lies there."""
    here, there = tree(folder / "boards"), tree(made() / "boards")
    changed = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    return f"other files than without the kill: {changed}" if changed else ""


def is_added(folder: Path) -> str:
    """Whether the added data set is the file."""
    shown = command("data", "info", "shop", "--json", folder=folder)
    return "" if shown.code == 0 and json.loads(shown.out)["users"] == materials.USERS else shown.err[-300:]


def is_exported(folder: Path) -> str:
    """Whether the exported files are those of an export without a kill."""
    other = folder / "other"
    other.mkdir()
    copied(other)
    ok(command("data", "export", *EXPORT, folder=other))
    here, there = tree(folder / "exported"), tree(other / "exported")
    return "" if here == there else f"other files than without the kill: {sorted(here)}, {sorted(there)}"


def unreadable(folder: Path) -> None:
    (folder / "runs" / "popularity" / "record.json").write_text("{")


def failed(folder: Path) -> None:
    """A run that failed earlier, or was killed at work."""
    path = folder / "runs" / "popularity" / "record.json"
    record = json.loads(path.read_text())
    path.write_text(
        json.dumps({**record, "status": "running", "process": {"pid": 2**22 + 1, "host": os.uname().nodename}})
    )


def no_boards(folder: Path) -> None:
    for path in (folder / "boards").rglob("*"):
        if path.is_file() and path.name in ("README.md", "table.csv", "index.html"):
            path.unlink()


EXPORT = ("planted.txt", "--set", "dataset.format=sequence", "--to", "exported", "--split")
ADD = ("data", "add", "shop", "planted.txt", "--set", "dataset.format=sequence")
TO_BOARDS = (
    *("leaderboard", "add", "runs/popularity", "runs/item-counts", "--to", "boards"),
    *("--ledger", "runs/ledger.jsonl"),
)
ALL_BUT_WEIGHTS = ("runs", "cache/data")

SCENES = [
    Scene("run a baseline", run_words("popularity"), run_is("popularity")),
    Scene(
        "run it again by force",
        run_words("popularity", "--force"),
        run_is("popularity"),
        ("runs", "cache"),
        run_words("popularity"),
        lost="popularity",
    ),
    Scene("run it after a failure", run_words("popularity"), run_is("popularity"), ("runs",), spoil=failed),
    Scene("run it over damage", run_words("popularity"), run_is("popularity"), ("runs",), spoil=unreadable),
    Scene("train a generator", run_words("generator"), run_is("generator")),
    Scene(
        "train it again by force",
        run_words("generator", "--force"),
        run_is("generator"),
        ("runs", "cache"),
        run_words("generator"),
        lost="generator",
    ),
    Scene("score lists", SCORE, run_is("scored")),
    Scene("score them again by force", (*SCORE, "--force"), run_is("scored"), ("runs",), SCORE, lost="scored"),
    Scene("tune", TUNE, trials_are),
    Scene("add a data set", ADD, is_added, again=(*ADD, "--force")),
    Scene("export a data set", ("data", "export", *EXPORT), is_exported),
    Scene(
        "build boards",
        ("leaderboard", "build", "boards"),
        boards_are,
        ("boards",),
        spoil=no_boards,
    ),
]


def cases(count: int, scratch: Path) -> list[Case]:
    """At least `count` kills: two thirds before operations on files, spread evenly over all scenes, and the others at moments."""
    found: list[Case] = []
    at_operations = -(-2 * count // (3 * len(SCENES)))
    for scene in SCENES:
        operations = scene.operations(scratch / scene.name.replace(" ", "-"))
        wanted = min(operations, at_operations)
        for step in sorted({round(step * (operations - 1) / max(wanted - 1, 1)) for step in range(wanted)}):
            found.append(Case(PART, scene.name, step, partial(scene.at_operation, step)))

    at_moments = -(-(count - len(found)) // len(SCENES))  # some commands have few operations
    for scene in SCENES:
        seconds = 3.0 if "train" in scene.name else 0.6
        attempt = partial(scene.at_moment, seconds)
        found += [Case(PART, f"{scene.name}, at a moment", number, attempt) for number in range(at_moments)]
    return found
