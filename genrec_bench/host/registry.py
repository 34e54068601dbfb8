"""Finds components by name among the installed entry points, built-ins and plugins alike.

Listing imports nothing. A broken plugin is listed as broken and affects nobody until it is used; a name that two
distributions registered is an error only when it is used. Knows no component by name.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import distributions
from typing import Any, get_type_hints

from genrec_bench.core.data_files import FILE
from genrec_bench.errors import (
    BrokenComponent,
    ComponentClash,
    ContractMismatch,
    GenrecError,
    NeedsMissing,
    UnknownComponent,
    did_you_mean,
    message_of,
)
from genrec_bench.host import added, docstrings, modules
from genrec_bench.host.sealing import same_folder

BUILT_IN = "genrec-bench"
KINDS = ("dataset", "indexer", "backbone", "decoder", "baseline")
COMMAND = "command"  # not a component, but registered in the same way
KNOWN_ELSEWHERE: Mapping[tuple[str, str], str] = {  # (kind, name) -> the distribution that supplies it
    **{("indexer", name): "genrec-semantic" for name in ("opq", "rq-kmeans", "rq-vae", "semantic-tree")},
    ("backbone", "causal-lm"): "genrec-causal-lm",
    ("backbone", "rpg"): "genrec-parallel",
    ("decoder", "rpg-exact"): "genrec-parallel",
    **{("decoder", name): "genrec-decoders" for name in ("captured-trie", "debiased", "diverse", "stochastic")},
    **{("baseline", name): "genrec-baselines" for name in (
        "bert4rec", "bpr", "caser", "core", "fdsa", "gru4rec", "hgn", "itemknn", "lightgcn", "multivae", "narm", "neumf",
        "recbole-ease", "recbole-pop", "s3rec", "sasrec", "sasrec-bpr", "sgl", "simplex", "srgnn",
    )},
    **dict.fromkeys([(COMMAND, "bench"), (COMMAND, "data.synth")], "genrec-speed"),
}  # fmt: skip
FOLDERS = {
    "genrec-baselines": "./baselines",
    "genrec-speed": "./plugins/genrec-decoders ./benchmarks",
}  # in a clone, if not ./plugins/NAME
CANNOT_MOVE_A_NUMBER = {"genrec_bench": ("cli", "leaderboard", "testing")}  # sub-packages outside the code digest
CHECK_SECONDS = 120


@dataclass(frozen=True)
class ComponentInfo:
    """One registered component, from the metadata of its distribution; its source is read on demand.

    `target` is the entry point's `module:Class`; `owners` are all distributions that registered the kind and name.
    """

    kind: str
    name: str
    distribution: str
    version: str
    target: str
    owners: tuple[str, ...]

    @cached_property
    def _source(self) -> tuple[str, str]:
        """(description, what is broken), by parsing the source."""
        module, _, attribute = self.target.partition(":")
        if not module or not attribute:
            return "", f"entry point {self.target!r} is not of the form module:Class"
        try:
            return docstrings.describe(module, attribute), ""
        except modules.NotThere as error:
            return "", str(error)

    @property
    def description(self) -> str:
        """The first sentence of the class's docstring."""
        return self._source[0]

    @property
    def status(self) -> str:
        """`ok`, `broken: why` or `clash: owners`, judged without importing."""
        if self._source[1]:
            return f"broken: {self._source[1]}"
        return f"clash: {', '.join(self.owners)}" if len(self.owners) > 1 else "ok"

    def to_dict(self) -> dict[str, str]:
        """Plain data, for `--json`."""
        names = ("kind", "name", "distribution", "version", "target", "description", "status")
        return {name: getattr(self, name) for name in names}


def list_components(kind: str | None = None) -> list[ComponentInfo]:
    """Everything installed, or all of one kind, sorted by kind, name and distribution. Imports none of it."""
    installed = tuple((folder, _changed(folder)) for folder in sys.path)
    kinds = KINDS if kind is None else (kind,)
    return [
        info for kind in kinds for info in [*_registered(kind, installed), *(_added() if kind == "dataset" else ())]
    ]


def _added() -> list[ComponentInfo]:
    """The data sets that a person added under a name."""
    target = "genrec_bench.data.added:AddedDataset"
    return [ComponentInfo("dataset", name, added.OWNER, "-", target, (added.OWNER,)) for name in added.names()]


def _changed(folder: str) -> int:
    """When a folder of `sys.path` last changed, as it does at an installation; 0 if it does not exist."""
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=64)
def _registered(kind: str, installed: tuple[tuple[str, int], ...]) -> list[ComponentInfo]:
    """The components of one kind. Cached until `installed` changes: one run asks dozens of times."""
    rows = sorted(_entry_points(installed)[0][kind])

    infos = []
    for name, owner, version, value in rows:
        owners = tuple(other_owner for other_name, other_owner, *_ in rows if other_name == name)
        infos.append(ComponentInfo(kind, name, owner, version, value.partition("[")[0].replace(" ", ""), owners))
    return infos


def unreadable() -> list[str]:
    """The installed distributions whose metadata cannot be read, each with the reason. None of them supplies anything."""
    return _entry_points(tuple((folder, _changed(folder)) for folder in sys.path))[1]


@lru_cache(maxsize=8)
def _entry_points(
    installed: tuple[tuple[str, int], ...],
) -> tuple[dict[str, list[tuple[str, str, str, str]]], list[str]]:
    """(name, distribution, version, target) of the entry points of each kind, and what is unreadable.

    All kinds at once, because finding any reads a file of every distribution. Each distribution is read by itself, so that
    broken metadata hides no other.
    """
    kinds = {f"genrec_bench.{kind}s": kind for kind in (*KINDS, COMMAND)}
    found: dict[str, list[tuple[str, str, str, str]]] = {kind: [] for kind in kinds.values()}
    broken_ones: list[str] = []
    seen: set[str] = set()

    for distribution in distributions():
        try:
            points = [point for point in distribution.entry_points if point.group in kinds]
            if not points:
                continue
            owner, version = distribution.metadata["Name"], distribution.metadata["Version"]
            if not owner:
                raise ValueError("its metadata holds no name")
            if _normalised(owner) == BUILT_IN and not all(point.value.startswith("genrec_bench.") for point in points):
                raise ValueError(f"it calls itself {BUILT_IN}, and names modules of others")
        except Exception as error:  # bytes that are not UTF-8, lines that are no entry points, no metadata at all
            where = getattr(distribution, "_path", "a distribution")
            broken_ones.append(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}")
            continue

        if _normalised(owner) not in seen:  # the first on sys.path is the one that is imported
            seen.add(_normalised(owner))
            for point in points:
                found[kinds[point.group]].append((point.name, owner, version or "unknown", point.value))
    return found, broken_ones


def find(kind: str, name: str) -> ComponentInfo:
    """The component of that name, written `name` or `distribution:name`.

    UnknownComponent if there is none (with the closest name, or what to install); ComponentClash if several
    distributions registered it and none was picked.
    """
    owner, colon, plain = name.rpartition(":")
    known = list_components(kind)
    candidates = [info for info in known if info.name == plain]
    if colon:
        candidates = [info for info in candidates if _normalised(info.distribution) == _normalised(owner)]

    if kind == "dataset" and name == FILE:  # a path means this one, whatever else is installed
        candidates = [info for info in candidates if info.distribution == BUILT_IN]

    if len(candidates) > 1:
        owners = tuple(info.distribution for info in candidates)
        raise ComponentClash(
            f"{' and '.join(owners)} each have {_a(kind)} named {plain!r}. Pick one: '{owners[0]}:{plain}' or "
            f"'{owners[1]}:{plain}'; or uninstall the other.",
            kind=kind,
            name=name,
            owners=owners,
        )
    if not candidates:
        raise _unknown(kind, name, known)
    return candidates[0]


def as_built_in(kind: str, name: str) -> str:
    """`genrec-bench:name` for the name of a built-in, so that no other package can take it; other names unchanged."""
    names = {info.name for info in list_components(kind) if info.distribution == BUILT_IN}
    return f"{BUILT_IN}:{name}" if name in names else name


def _unknown(kind: str, name: str, known: list[ComponentInfo]) -> UnknownComponent:
    owner, _, plain = name.rpartition(":")
    names = sorted({info.name for info in known} | {f"{info.distribution}:{info.name}" for info in known if owner})
    elsewhere = "" if owner else KNOWN_ELSEWHERE.get((kind, plain), "")
    hint = "" if elsewhere else did_you_mean(name, names)

    message = f"no {kind} named {name!r}.{hint}"
    if elsewhere:
        message += f" {where_to_get(kind, plain)}"
    elif owner and not any(_normalised(info.distribution) == _normalised(owner) for info in known):
        message += f" No installed distribution {owner!r} has {_a(kind)}: is it installed?"

    listing = f"  `genrec plugins --kind {kind}` lists all {len(known)}."
    if not hint and not elsewhere:
        message += f" There are: {', '.join(names)}."
    return UnknownComponent(message + listing, kind=kind, name=name, known=tuple(names))


def where_to_get(kind: str, name: str) -> str:
    """A sentence on which known distribution supplies that name and how to install it; empty if none does."""
    distribution = KNOWN_ELSEWHERE.get((kind, name))
    if distribution is None:
        return ""
    folder = FOLDERS.get(distribution, f"./plugins/{distribution}")
    return f"It comes with {distribution}: in a clone of genrec_bench, pip install {folder}."


def load(kind: str, name: str) -> type[Any]:
    """The class of that name, imported and checked: a complete subclass of the kind's contract, in our version of it.

    BrokenComponent, with its cause chained, if it cannot be imported or is not such a class; ContractMismatch if it was
    written for another contract number; and the errors of `find`.
    """
    info = find(kind, name)
    component: type[Any] = import_target(info)
    if info.distribution == added.OWNER:
        component = component.of(info.name)
    _check_class(info, component)
    return component


def import_target(info: ComponentInfo) -> Any:
    """Import what the entry point names. BrokenComponent, with its cause chained, if that fails."""
    module, _, attribute = info.target.partition(":")
    if not module or not attribute:
        raise broken(info, f"entry point {info.target!r} is not of the form module:Class")

    try:
        with same_folder():
            target: Any = importlib.import_module(module)
            for name in attribute.split("."):
                target = getattr(target, name)
    except ImportError as error:
        unknown = re.match(r"cannot import name '(\w+)' from 'genrec_bench.api'", str(error))
        if unknown:
            hint = did_you_mean(unknown[1], dir(importlib.import_module("genrec_bench.api")))
            raise broken(info, f"genrec_bench.api has no name {unknown[1]!r}.{hint}") from error
        if error.name == "torch":
            raise NeedsMissing(
                f"{info.kind} {info.name!r} needs torch: pip install 'genrec-bench[torch]'", needs=("torch",)
            ) from None
        if (error.name or "").startswith("genrec_bench"):
            reason = str(error).partition(" (")[0]  # without the path that Python adds
            raise broken(info, f"{reason}; plugins import from genrec_bench.api, and nothing else of it") from error
        raise broken(info, f"{type(error).__name__}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, and whatever else a module derives from BaseException
        raise broken(info, f"{type(error).__name__}: {message_of(error)}") from error
    return target


def _check_class(info: ComponentInfo, cls: Any) -> None:
    from genrec_bench.host import contracts  # here: listing needs no NumPy

    wanted: type[contracts.Component] = getattr(contracts, info.kind.capitalize())
    if not (isinstance(cls, type) and issubclass(cls, wanted)):
        raise broken(info, f"{info.target} is not a subclass of genrec_bench.api.{wanted.__name__}")
    if cls.contract != contracts.CONTRACT:
        newer = isinstance(cls.contract, int) and cls.contract > contracts.CONTRACT
        remedy = "Upgrade genrec-bench" if newer else f"Upgrade {info.distribution}"
        raise ContractMismatch(
            f"{info.kind} {info.name!r} ({info.distribution} {info.version}) is written for contract "
            f"{cls.contract}, this genrec-bench has {contracts.CONTRACT}. {remedy}.",
            kind=info.kind,
            name=info.name,
            distribution=info.distribution,
            theirs=cls.contract,
            ours=contracts.CONTRACT,
        )
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise broken(info, f"{info.target} does not implement {missing}")
    if not isinstance(cls.needs, (set, frozenset, property)):
        raise broken(info, f"{info.target}.needs is not a set: {cls.needs!r:.60}")
    if not (isinstance(cls.Config, type) and dataclasses.is_dataclass(cls.Config)):
        raise broken(info, f"{info.target}.Config is not a dataclass")
    try:
        get_type_hints(cls.Config, include_extras=True)
    except Exception as error:  # an annotation is code, too
        raise broken(info, f"{info.target}.Config has an option of no known type: {error}") from error


def broken(info: ComponentInfo, why: str) -> BrokenComponent:
    """The error that says why a component or command cannot be loaded."""
    return BrokenComponent(
        f"{info.kind} {info.name!r} ({info.distribution} {info.version}) cannot be loaded: {why}. "
        f"Reinstall or upgrade {info.distribution}; --debug shows where it failed.",
        kind=info.kind,
        name=info.name,
        distribution=info.distribution,
    )


def code_digest(info: ComponentInfo) -> str:
    """SHA-256 of a component's code: all .py files of its top-level package. Imports nothing.

    Cache keys and records contain it. Rooms of this package that cannot move a number are left out. BrokenComponent if the
    package does not exist.
    """
    package = info.target.partition(":")[0].partition(".")[0]
    try:
        return modules.digest_package(package, without=CANNOT_MOVE_A_NUMBER.get(package, ()))
    except modules.NotThere as error:
        raise broken(info, str(error)) from error


def engine_digest() -> str:
    """SHA-256 of this package's own code, as far as it can move a number: every component runs on it."""
    return modules.digest_package("genrec_bench", without=CANNOT_MOVE_A_NUMBER["genrec_bench"])


def check(info: ComponentInfo, timeout: float = CHECK_SECONDS) -> str:
    """Load a component in a process of its own: `ok`, or what went wrong in one line.

    A component that crashes, hangs or exits takes that process down, not this one.
    """
    from genrec_bench.host import workers  # here: listing needs no subprocess

    worker = workers.Worker(workers.python("from genrec_bench.host.registry import report; report()"))
    worker.send({"kind": info.kind, "name": f"{info.distribution}:{info.name}"})
    try:
        return str(worker.receive(time.monotonic() + timeout)["verdict"])
    except workers.WorkerTimeout:
        return f"broken: not loaded within {timeout:g} s"
    except workers.WorkerFailed as error:
        last = f" ({error.facts['log'][-1]})" if error.facts["log"] else ""
        return f"broken: its process {error}{last}"
    finally:
        worker.close()


def report() -> None:
    """What `check` runs: sends `ok`, or why the component does not load, in one line."""
    from genrec_bench.host.workers import Host

    host = Host()
    request = host.receive()
    try:
        load(request["kind"], request["name"])
        host.send(verdict="ok")
    except GenrecError as error:
        cause = error.__cause__ or error
        reason = " ".join(f"{type(cause).__name__}: {cause}".split())
        host.send(verdict=f"broken: {reason}")


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
