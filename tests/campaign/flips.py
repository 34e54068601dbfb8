"""Flips: one bit turned in a stored file, and every command that reads it.

Right is: what a command says is what it said before. A clean error names the refusal. Anything else is wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from .engine import RIGHT, Case, Outcome, Verdict, wrong
from .materials import TUNE, command, copied, difference, made, ok, record_of, run_words, tree
from .spoiling import flip_bit

PART = "flips"
Reading = Callable[[Path, Path], Verdict]  # what a command makes of a folder with the given spoilt file


@dataclass(frozen=True)
class Artefact:
    """Stored files, what has to be in the folder beside them, and the commands that read them."""

    name: str
    files: str  # a pattern
    holds: tuple[str, ...]
    readings: tuple[Reading, ...]
    first: Callable[[Path], object] = lambda folder: None

    def cases(self, count: int) -> list[Case]:
        """So many flips."""
        return [Case(PART, self.name, number, self._try) for number in range(count)]

    def _try(self, rng: Random, folder: Path) -> Verdict:
        kept = folder.with_name("kept")
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        copied(kept, *self.holds)
        self.first(kept)
        files = sorted(path for path in kept.glob(self.files) if path.is_file() and path.stat().st_size)
        file = rng.choice(files)
        file.write_bytes(flip_bit(rng, file.read_bytes()))

        verdicts = []
        for reading in self.readings:
            shutil.rmtree(folder)
            shutil.copytree(kept, folder, symlinks=True)
            os.chdir(folder)
            verdict = reading(folder, folder / file.relative_to(kept))
            verdicts.append(Verdict(verdict.outcome, f"{file.relative_to(kept)}: {verdict.detail}"))
        return max(verdicts, key=lambda verdict: [*Outcome].index(verdict.outcome))


# readings -------------------------------------------------------------------------------------------------------------


def runs(name: str, folder: Path, file: Path) -> Verdict:
    """The run is asked for again."""
    done = command(*run_words(name), folder=folder)
    if done.code != 0:
        return done.clean
    why = difference(json.loads(done.out), name)
    return wrong(f"the run has other {why}") if why else done.fault or RIGHT


def verifies(name: str, folder: Path, file: Path) -> Verdict:
    """The run is verified: it holds only if the file says what it said."""
    done = command("verify", f"runs/{name}", folder=folder)
    if done.code == 1 and not done.err.strip() and done.out.strip():
        return Verdict(Outcome.CLEAN, done.out.strip().rpartition("\n")[2])
    if done.code != 0:
        return done.clean
    sound = made() / file.relative_to(folder)
    return RIGHT if says(file) == says(sound) else wrong("it verifies")


def says(file: Path) -> Any:
    """The content of a file; that of JSON does not depend on blanks."""
    content = file.read_bytes()
    try:
        return json.loads(content) if file.suffix == ".json" else content
    except ValueError:
        return content


def recommends(name: str, folder: Path, file: Path) -> Verdict:
    """A user's list is shown."""
    words = ("recommend", f"runs/{name}", "--user", "u0", "--json")
    return same_output(words, folder)


def shows(name: str, folder: Path, file: Path) -> Verdict:
    """The run is shown in a table."""
    return same_output(("leaderboard", f"runs/{name}", "--format", "csv"), folder)


def same_output(words: tuple[str, ...], folder: Path) -> Verdict:
    """A command says what it says of the sound files, or refuses."""
    done, sound = command(*words, folder=folder), ok(command(*words, folder=made()))
    if done.code != 0:
        return done.clean
    return done.fault or (RIGHT if done.out == sound.out else wrong(f"another output: {done.out[:300]}"))


def tunes(folder: Path, file: Path) -> Verdict:
    """The search goes on, and its best setting is shown."""
    facts = ("trial", "params", "status", "validation_ndcg@10")

    def trials(text: str) -> list[list[Any]]:
        return [[trial[fact] for fact in facts] for trial in json.loads(text)]

    done, sound = command(*TUNE, "--json", folder=folder), ok(command(*TUNE, "--json", folder=made()))
    if done.code != 0:
        return done.clean
    return done.fault or (RIGHT if trials(done.out) == trials(sound.out) else wrong("other trials"))


def builds(folder: Path, file: Path) -> Verdict:
    """The boards are written again: as they were, or without what is named."""
    done = command("leaderboard", "build", "boards", folder=folder)
    if done.code != 0:
        refused = done.err.strip().splitlines()
        named = bool(refused) and all(line.startswith("not shown: ") for line in refused)
        return Verdict(Outcome.CLEAN, refused[-1]) if named else done.clean
    here, there = tree(folder / "boards"), tree(made() / "boards")
    spoilt = str(file.relative_to(folder / "boards"))
    changed = [name for name in {**here, **there} if here.get(name) != there.get(name) and name != spoilt]
    if not changed and spoilt.endswith((".md", ".csv", ".html")) and here.get(spoilt) != there.get(spoilt):
        changed = [spoilt]
    return wrong(f"other boards: {changed}") if changed else RIGHT


def loads(folder: Path, file: Path) -> Verdict:
    """The added data set is described."""
    done = command("data", "info", "shop", "--json", folder=folder)
    sound = json.loads(
        ok(command("data", "info", "planted.txt", "--set", "dataset.format=sequence", "--json", folder=made())).out
    )
    if done.code != 0:
        return done.clean
    return RIGHT if json.loads(done.out) == sound else wrong("another data set")


# what comes before ----------------------------------------------------------------------------------------------------


def adds(folder: Path) -> None:
    """Adds the data as a data set."""
    ok(command("data", "add", "shop", "planted.txt", "--set", "dataset.format=sequence", folder=folder))


def interrupted(folder: Path) -> None:
    """Trains until there is a checkpoint, and is killed then."""
    import sys

    def look() -> None:
        def see(event: str, args: Any) -> None:
            if event == "os.rename" and str(args[1]).endswith("fit.json"):
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(see)

    command(*run_words("generator"), folder=folder, first=look)
    shutil.rmtree(folder / "runs")
    assert list(folder.glob("cache/weights/*.partial/checkpoint*")), "no checkpoint to flip"


def real(name: str) -> str:
    """The folder of a run under its own name."""
    return f"runs/{record_of(name)['spec_id']}"


def artefacts() -> list[Artefact]:
    """Every file that a later step reads."""
    found = []
    for name in ("popularity", "generator", "scored"):
        files = sorted({path.relative_to(made() / real(name)).parts[0] for path in (made() / real(name)).rglob("*")})
        for file in files:
            if file[0] == ".":
                continue
            path = made() / real(name) / file
            pattern = f"{real(name)}/{file}{'/**/*' if path.is_dir() else ''}"
            readings: list[Reading] = [partial(verifies, real(name).removeprefix("runs/"))]
            if name != "scored":
                readings.append(partial(runs, name))
            if file in ("record.json", "lists.parquet"):
                readings += [partial(recommends, real(name).removeprefix("runs/"))]
            if file == "record.json":
                readings += [partial(shows, real(name).removeprefix("runs/"))]
            found.append(Artefact(f"{name}: {file}", pattern, (real(name), "cache"), tuple(readings)))

    for kind in ("data", "index", "weights"):
        name = "popularity" if kind == "data" else "generator"
        found.append(Artefact(f"cache: {kind}", f"cache/{kind}/**/*", ("cache",), (partial(runs, name),)))
    found += [
        Artefact("checkpoint", "cache/weights/*.partial/checkpoint*", (), (partial(runs, "generator"),), interrupted),
        Artefact("ledger", "runs/ledger.jsonl", ("runs/ledger.jsonl",), (tunes,)),
        Artefact("boards", "boards/**/*", ("boards",), (builds,)),
        Artefact("added data set", "home/**/*.json", (), (loads,), adds),
    ]
    return found


def cases(count: int) -> list[Case]:
    """At least `count` flips, spread evenly over all artefacts."""
    known = artefacts()
    each = -(-count // len(known))
    return [case for artefact in known for case in artefact.cases(each)]
