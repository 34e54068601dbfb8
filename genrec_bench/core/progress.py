"""How a long computation reports its progress."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Tick(Protocol):
    """Advances a progress bar by `steps`; `note` (a loss, a score) is shown beside it.

    Steps that were done `earlier`, before an interruption, count as done and not for the pace.
    """

    def __call__(self, steps: int = 1, note: str = "", *, earlier: bool = False) -> None: ...


class Progress(Protocol):
    """Where a component reports how far it is. Silent by default; the command line draws bars on stderr."""

    def phase(self, name: str, total: int | None = None, unit: str = "") -> AbstractContextManager[Tick]:
        """A phase of `total` steps; the context manager gives the `Tick` to call."""
        ...

    def note(self, message: str) -> None:
        """One line that a person should see: a cache was rebuilt, users were dropped."""
        ...


class Quiet:
    """Progress that reports nothing."""

    def phase(self, name: str, total: int | None = None, unit: str = "") -> AbstractContextManager[Tick]:
        def tick(steps: int = 1, note: str = "", *, earlier: bool = False) -> None:
            pass

        return nullcontext(tick)

    def note(self, message: str) -> None:
        pass
