"""Plugins: nasty distributions on the path, their own runs, and what else runs beside them.

Right is: other systems' records are what they are without the plugin, nothing hangs, and the plugin's own run ends well or in
one line. A run that ends well with other numbers than its lists give has to fail `genrec verify`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from random import Random

from genrec_bench.leaderboard.rows import REFERENCE

from .engine import RIGHT, TRACE, Case, Done, Outcome, Verdict, wrong
from .materials import DATASET, TRAINING, copied, difference, record_of, setting
from .nasty import GROUPS, Plugin

PART = "plugins"
LIMIT = 80  # seconds that a command may take
BLAMED = ("training data only", "OpenedHeldOut")


def installed(*words: object, folder: Path) -> Done:
    """A command of `genrec` as a person starts it, with what lies in `site` installed."""
    environment = {**os.environ, **setting(folder), "PYTHONPATH": str(folder / "site")}
    words = (sys.executable, "-m", "genrec_bench", *words)
    with subprocess.Popen(
        list(map(str, words)),
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=LIMIT)
            return Done(process.returncode, out, err)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Done(None, "", "")


def own_words(plugin: Plugin) -> list[str]:
    """The command that runs the plugin."""
    system = ["--indexer", "random", "--backbone", "lightlm", *TRAINING]
    if plugin.kind == "baselines":
        return ["run", *DATASET, "--task", "sequential", "--baseline", plugin.asked, "--out", "own"]
    if plugin.kind == "datasets":
        return ["run", "--dataset", plugin.asked, "--task", "sequential", "--baseline", "item-counts", "--out", "own"]
    part = plugin.kind.removesuffix("s")
    system = [word for word in system if part != "indexer" or word != "random"]
    words = {"indexer": "random", "backbone": "lightlm", "decoder": "trie", part: plugin.asked}
    asked = [word for name, value in words.items() for word in (f"--{name}", value)]
    return ["run", *DATASET, "--task", "sequential", *asked, *TRAINING, "--device", "cpu", "--out", "own"]


def attempt(plugin: Plugin, rng: Random, folder: Path) -> Verdict:
    """The plugin's own run, then the listing and another system beside it."""
    copied(folder)
    plugin.install(folder / "site")
    own = judged_own(plugin, installed(*own_words(plugin), folder=folder), folder)
    beside = judged_beside(folder)
    return max((own, beside), key=lambda verdict: [*Outcome].index(verdict.outcome))


def judged_own(plugin: Plugin, done: Done, folder: Path) -> Verdict:
    """The verdict on the plugin's own run."""
    if done.code is None:
        return Verdict(Outcome.BLOCKED, "its own run did not end")
    if done.code == 0:
        return judged_numbers(plugin, done, folder)

    lines = [line for line in done.err.strip().splitlines() if line.strip()]
    killed = done.code < 0 or done.code in (130, 137, 139)
    if killed and plugin.name in ("kills-itself", "segfault", "interrupts", "interrupts-while-fitting"):
        return Verdict(Outcome.CLEAN, f"its process ended with {done.code}")
    if TRACE in done.err or done.code not in (1, 2) or not lines or len(lines[-1]) > 2_000:
        return Verdict(Outcome.UNCLEAN, f"exit code {done.code}: {done.err[-600:]}")
    if lines[-1].startswith("unexpected") or ": " not in lines[-1]:
        return Verdict(Outcome.UNCLEAN, f"exit code {done.code}: {lines[-1]}")
    if plugin.expected == "seen" and not any(word in done.err for word in BLAMED):
        return wrong(f"it read held-out data, and is refused for something else: {lines[-1]}")
    return Verdict(Outcome.CLEAN, lines[-1])


def judged_numbers(plugin: Plugin, done: Done, folder: Path) -> Verdict:
    """The verdict on an own run that ended well."""
    if plugin.expected != "harmless":
        return wrong(f"its own run ended well: {done.out[-300:]} {done.err[-300:]}")
    every = {path: json.loads(path.read_text()) for path in (folder / "own").glob("*/record.json")}
    # The reference runs beside; a plugin may have written a record of anything.
    records = [path for path, record in every.items() if record.get("spec", {}).get("baseline") != REFERENCE]
    numbers = [every[path] for path in records]
    if any(record.get("metrics") != record_of("popularity")["metrics"] for record in numbers) or not numbers:
        (folder / "site").rename(folder / "away")
        codes = [installed("verify", path.parent, folder=folder).code for path in records]
        if 0 in codes:
            return wrong(f"its run ended well with other numbers, and verifies ({codes}): {done.err[-300:]}")
        return Verdict(Outcome.CLEAN, "no record is left that genrec verify takes")
    return RIGHT


def judged_beside(folder: Path) -> Verdict:
    """The verdict on what is installed beside the plugin: it is listed, and a system's record is what it always is."""
    site = folder / "site"
    if not site.exists():
        (folder / "away").rename(site)
    listing = installed("plugins", "--json", folder=folder)
    if listing.code != 0 or TRACE in listing.err:
        return listing.fault or Verdict(Outcome.BLOCKED, f"no listing: {listing.err[-300:]}")
    names = {row["name"] for row in json.loads(listing.out)}
    if not {"popularity", "item-counts", "trie", "random", "file"} <= names:
        return wrong("a built-in component is hidden")

    words = [
        "run",
        *DATASET,
        "--task",
        "sequential",
        "--baseline",
        "genrec-bench:popularity",
        "--out",
        "runs",
        "--json",
    ]
    done = installed(*words, folder=folder)
    if done.code != 0:
        return Verdict(Outcome.BLOCKED, f"popularity does not run beside it: {done.err[-300:]}")
    why = difference(json.loads(done.out), "popularity")
    return wrong(f"popularity has other {why} beside it") if why else RIGHT


def suite(group: str, chosen: list[Plugin], rng: Random, folder: Path) -> Verdict:
    """All baselines of a group in one suite with popularity, before and behind them."""
    copied(folder)
    for plugin in chosen:
        plugin.install(folder / "site")
    runs = [f'[[runs]]\nbaseline = "{plugin.asked}"\n' for plugin in chosen]
    head = '[all]\ndataset = "planted.txt"\ntask = "sequential"\nset."dataset.format" = "sequence"\n'
    sound = '[[runs]]\nbaseline = "genrec-bench:{}"\n'
    text = head + sound.format("item-counts") + "".join(runs) + sound.format("popularity")
    (folder / "suite.toml").write_text(text)

    done = installed("suite", "suite.toml", "--out", "runs", folder=folder)
    if done.code is None:
        return Verdict(Outcome.BLOCKED, "the suite did not end")
    if TRACE in done.err.replace("Exception in thread", "") and done.code not in (0, 1):
        return Verdict(Outcome.UNCLEAN, done.err[-500:])
    records = [json.loads(path.read_text()) for path in (folder / "runs").glob("*/record.json")]
    for name in ("popularity", "item-counts"):
        own = [record for record in records if record.get("spec", {}).get("baseline") == name]
        if not own:
            return Verdict(Outcome.BLOCKED, f"{name} did not run: {done.err[-500:]}")
        if why := difference(own[0], name):
            return wrong(f"{name} has other {why} in a suite with {group}")
    return Verdict(Outcome.CLEAN, f"exit code {done.code}")


SUITE = 6  # plugins in one suite


def cases() -> list[Case]:
    """All plugins, each alone; and baselines of each group in suites."""
    found = []
    for group, plugins in GROUPS.items():
        found += [Case(PART, group, number, partial(attempt, plugin)) for number, plugin in enumerate(plugins)]
        own = [
            plugin
            for plugin in plugins
            if plugin.kind == "baselines" and (plugin.points, plugin.metadata, plugin.point) == (None, None, "")
        ]
        for start in range(0, len(own), SUITE):
            found.append(Case(PART, f"suites of {group}", start, partial(suite, group, own[start : start + SUITE])))
    return found
