"""What all checks share: the component under test, how a check fails, and how checks run.

Knows no particular kind of component and needs no pytest. A check is a function of a `Subject`: it returns, raises
`ComponentFault`, or raises `NotApplicable`.
"""

from __future__ import annotations

import functools
import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genrec_bench.core.files import scratch
from genrec_bench.core.hashing import digest
from genrec_bench.errors import ComponentFault, UsageError
from genrec_bench.host import registry
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import Task
from genrec_bench.testing.planted_data import Planted, planted

UNUSUAL_SEED = 987_654_321  # no component sets it by chance
USERS = {"sequential": 60, "direct": 240}  # of the planted data; in the direct task, a user is one example
Outcome = Literal["ok", "failed", "skipped"]


class Breach(Exception):
    """What a check saw, and what to do about it. `check` turns it into a `ComponentFault` that names the component."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.seen, self.remedy = seen, remedy


class NotApplicable(Exception):
    """A check does not apply to this component; the message says why."""


@dataclass(eq=False)
class Subject:
    """The component under test. `make` creates it with its options; `memo` keeps costly results (a fitted network).

    The component sees `data`; a backbone is trained for `task`; `data_dir` is the folder of data files.
    """

    kind: str
    make: Callable[[], Any]
    name: str
    distribution: str = ""
    data: Planted = None  # type: ignore[assignment]  # None: the planted data
    task: Task = "sequential"
    data_dir: Path | None = None
    memo: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.data is None:
            self.data = planted(users=USERS[self.task])

    @classmethod
    def of(cls, kind: str, component: Any, options: Mapping[str, Any] | None = None, **facts: Any) -> Subject:
        """From a class, a function that creates the component, or the name of an installed one.

        `options` are those of a class. A function sets its component's options itself: UsageError if both are given.
        """
        options = dict(options or {})
        if isinstance(component, str):
            info = registry.find(kind, component)
            facts = {"distribution": info.distribution, "name": info.name, **facts}
            component = registry.load(kind, component)
        if not isinstance(component, type):
            if options:
                raise UsageError("a factory sets its component's options: give `config` or a factory")
            return cls(kind, component, facts.pop("name", "") or getattr(component, "__name__", "?"), **facts)

        facts = {**_registered(kind, component), **facts}
        name = facts.pop("name", "") or component.__name__
        component_class: Any = component

        def make() -> Any:
            if not options:
                return component_class()
            return component_class(make_config(component_class.Config, options, kind))

        return cls(kind, make, name, **facts)

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """`make()`, kept for the other checks of this subject."""
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    def fault(self, check: str, seen: str, remedy: str) -> ComponentFault:
        """The error of a failed check: the component, the check, what was seen, what to do."""
        owner = f" ({self.distribution})" if self.distribution else ""
        return ComponentFault(
            f"{self.kind} {self.name!r}{owner} fails {check}: {seen}. {remedy}",
            kind=self.kind,
            name=self.name,
            distribution=self.distribution,
            check=check,
        )


def _registered(kind: str, component: type) -> dict[str, str]:
    """Name and distribution of a class that an entry point names."""
    target = f"{component.__module__}:{component.__qualname__}"
    for info in registry.list_components(kind):
        if info.target == target:
            return {"name": info.name, "distribution": info.distribution}
    return {}


Check = Callable[[Subject], None]
CHECKS: dict[str, dict[str, Check]] = {kind: {} for kind in registry.KINDS}


def check(kind: str, *, essential: bool = False) -> Callable[[Check], Check]:
    """Mark a function as a check of one kind of component. Its name names the check; its docstring says what is promised.

    Anything that the component raises becomes a `ComponentFault` with its cause chained. If an `essential` check fails,
    `run_checks` skips the rest. The global random states of the process are restored afterwards.
    """

    def mark(function: Check) -> Check:
        name = function.__name__

        @functools.wraps(function)
        def guarded(subject: Subject) -> None:
            try:
                with global_seed(0):
                    function(subject)
            except NotApplicable:
                raise
            except Breach as breach:
                raise subject.fault(name, breach.seen, breach.remedy) from breach.__cause__
            except (Exception, SystemExit) as error:
                seen = f"it raised {type(error).__name__}: {str(error).rstrip('.')}"
                raise subject.fault(name, seen, f"The contract: {promise(guarded)}") from error

        guarded.essential = essential  # type: ignore[attr-defined]
        CHECKS[kind][name] = guarded
        return guarded

    return mark


def promise(function: Check) -> str:
    """The first sentence of a check's docstring."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


@dataclass(frozen=True)
class Result:
    """The result of one check. `said` is the message of a failure, or why the check was skipped."""

    check: str
    outcome: Outcome
    said: str = ""


def run_check(function: Check, subject: Subject) -> Result:
    """The result of one check. Whatever the component raises is a failure."""
    name = function.__name__
    try:
        function(subject)
    except NotApplicable as reason:
        return Result(name, "skipped", str(reason))
    except ComponentFault as fault:
        return Result(name, "failed", str(fault))
    return Result(name, "ok")


def run_checks(subject: Subject) -> Iterator[Result]:
    """The results of all checks of the subject's kind, in order. If an essential check fails, the rest is skipped."""
    broken = ""
    for name, function in CHECKS[subject.kind].items():
        if broken:
            yield Result(name, "skipped", f"left out: {broken} failed")
            continue
        result = run_check(function, subject)
        if result.outcome == "failed" and function.essential:  # type: ignore[attr-defined]
            broken = name
        yield result


def expect(holds: Any, seen: str, remedy: str) -> None:
    """Breach unless `holds`."""
    if not holds:
        raise Breach(seen, remedy)


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder."""
    with scratch("check") as path:
        yield path


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seed the global generators of random, NumPy and torch; restore their states afterwards."""
    torch = sys.modules.get("torch")
    states = random.getstate(), np.random.get_state(), None if torch is None else torch.random.get_rng_state()  # noqa: NPY002

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if torch is not None:
        torch.random.default_generator.manual_seed(seed)

    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        if torch is not None:
            torch.random.set_rng_state(states[2])


def random_states() -> dict[str, str]:
    """A digest of each global generator."""
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002
    states = {"random": digest(repr(random.getstate())), "numpy.random": digest(repr(legacy["state"]))}
    if torch := sys.modules.get("torch"):
        states["torch"] = digest(torch.random.get_rng_state().numpy())
    return states


def without_global_randomness(act: Callable[[], Any], what: str) -> None:
    """Breach if `act` draws from or seeds a global random generator."""
    with global_seed(UNUSUAL_SEED):
        before = random_states()
        act()
        moved = [name for name, state in random_states().items() if name in before and before[name] != state]
    expect(
        not moved,
        f"{what} changed the global random state of {' and '.join(moved)}",
        "Draw from ctx.rng (or a generator seeded by ctx.seed), so that other components are not disturbed; "
        "for torch, work inside torch.random.fork_rng().",
    )
