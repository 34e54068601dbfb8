"""What a system returns from its part of a run, whatever kind of system it is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from genrec_bench.core.rankings import Ranking


@dataclass(frozen=True)
class Outcome:
    """Ranked lists by history policy, and the record's sections that only the system can fill."""

    rankings: Mapping[str, Ranking]
    validity: Mapping[str, Any]
    throughput: Mapping[str, Any]
    phases: Mapping[str, float] = field(default_factory=dict)  # seconds
    index: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    tier: str | None = None


class Stopwatch:
    """Seconds of wall clock by phase; a phase entered twice adds up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - began
