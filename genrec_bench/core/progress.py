"""How a long computation reports its progress. The default is silence; the command line draws bars."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    pass


class Tick(Protocol):
    """Moves a progress bar on by `steps`; `note` is shown beside it (a loss, a score)."""

    def __call__(self, steps: int = 1, note: str = "") -> None: ...


class Progress(Protocol):
    """Where a component reports how far it is. The default is silence; the command line draws bars on stderr."""

    def phase(self, name: str, total: int | None = None, unit: str = "") -> AbstractContextManager[Tick]:
        """A phase of `total` steps; the context manager gives the `Tick` to call."""
        ...

    def note(self, message: str) -> None:
        """One line a person should see (a cache was rebuilt, users were dropped)."""
        ...


class Quiet:
    """Progress that says nothing."""

    def phase(self, name: str, total: int | None = None, unit: str = "") -> AbstractContextManager[Tick]:
        def tick(steps: int = 1, note: str = "") -> None:
            pass

        return nullcontext(tick)

    def note(self, message: str) -> None:
        pass
