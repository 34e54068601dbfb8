"""pytest classes for the checks: subclass one, name your component, and every check becomes a test.

    class TestMine(IndexerConformance):
        component = MyIndexer

They are plain classes: importing them needs no pytest, running them does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from genrec_bench.errors import ComponentFault
from genrec_bench.host.contracts import Task
from genrec_bench.testing import (  # noqa: F401  register checks
    backbones,
    baselines,
    datasets,
    decoders,
    indexers,
    options,
)
from genrec_bench.testing.kit import CHECKS as CHECKS  # this, and all `as`: what plugin authors import
from genrec_bench.testing.kit import Check
from genrec_bench.testing.kit import NotApplicable as NotApplicable
from genrec_bench.testing.kit import Result as Result
from genrec_bench.testing.kit import Subject as Subject
from genrec_bench.testing.kit import run_check as run_check
from genrec_bench.testing.kit import run_checks as run_checks
from genrec_bench.testing.planted_data import Planted

Kind = Literal["dataset", "indexer", "backbone", "decoder", "baseline"]


class Conformance:
    """Common to all kinds. A subclass sets `component`: a class, a function that makes one, or an installed name.

    `config` holds options for a class; `data` replaces the planted data. `expected_failures` maps the name of a check that
    is known to fail to the reason. Such a check must fail, so that the entry disappears with the fault.
    """

    kind: ClassVar[Kind]
    component: ClassVar[Any] = None
    config: ClassVar[Mapping[str, Any]] = {}
    data: ClassVar[Planted | None] = None
    expected_failures: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def facts(cls) -> dict[str, Any]:
        """The facts of the subject, other than its component and options."""
        return {} if cls.data is None else {"data": cls.data}

    @classmethod
    def subject(cls) -> Subject:
        """The component under test, created once per class."""
        if "_subject" not in cls.__dict__:
            if cls.component is None:
                raise TypeError(f"{cls.__name__} must set `component`: a class, a function that makes one, or a name")
            cls._subject = Subject.of(cls.kind, cls.component, cls.config, **cls.facts())
        return cls._subject

    _subject: ClassVar[Subject]

    def _run(self, check: Check) -> None:
        import pytest

        reason = self.expected_failures.get(check.__name__)
        try:
            check(self.subject())
        except NotApplicable as why:
            pytest.skip(str(why))
        except ComponentFault:
            if reason is None:
                raise
            pytest.xfail(reason)
        if reason is not None:
            pytest.fail(f"{check.__name__} was expected to fail ({reason}) and did not: drop it from expected_failures")

    def test_expected_failures_name_checks(self) -> None:
        unknown = set(self.expected_failures) - set(CHECKS[self.kind])
        assert not unknown, f"no check of {self.kind}s is named {', '.join(sorted(unknown))}"


class IndexerConformance(Conformance):
    """The checks of an indexer."""

    kind = "indexer"


class BackboneConformance(Conformance):
    """The checks of a backbone. It is trained for `task`; give options that train within seconds."""

    kind = "backbone"
    task: ClassVar[Task] = "sequential"

    @classmethod
    def facts(cls) -> dict[str, Any]:
        return {**super().facts(), "task": cls.task}


class DecoderConformance(Conformance):
    """The checks of a decoder."""

    kind = "decoder"


class DatasetConformance(Conformance):
    """The checks of a data set. `data_dir` is the folder of its files, if it has any."""

    kind = "dataset"
    data_dir: ClassVar[Path | None] = None

    @classmethod
    def facts(cls) -> dict[str, Any]:
        return {**super().facts(), "data_dir": cls.data_dir}


class BaselineConformance(Conformance):
    """The checks of a baseline."""

    kind = "baseline"


def _test_of(check: Check) -> Any:
    def test(self: Conformance) -> None:
        self._run(check)

    test.__doc__ = check.__doc__
    return test


CONFORMANCE: dict[str, type[Conformance]] = {
    conformance.kind: conformance
    for conformance in (
        IndexerConformance,
        BackboneConformance,
        DecoderConformance,
        DatasetConformance,
        BaselineConformance,
    )
}
for _kind, _class in CONFORMANCE.items():
    for _name, _check in CHECKS[_kind].items():
        setattr(_class, f"test_{_name}", _test_of(_check))
