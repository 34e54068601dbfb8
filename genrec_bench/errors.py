"""One exception tree. Every error says what happened, why, and what to do next, and carries the facts as attributes.

The command line prints `ClassName: message` on one line and exits with `exit_code`: 1, or 2 where the request itself was
wrong. `--debug` shows the traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

LONGEST_MESSAGE = 1_000  # characters of somebody else's error


class GenrecError(Exception):
    """Base of every error that the toolkit raises on purpose. Keyword arguments become attributes."""

    exit_code = 1

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.facts = facts
        for name, value in facts.items():
            setattr(self, name, value)


class UsageError(GenrecError):
    """The request makes no sense: options that exclude each other, a value out of range."""

    exit_code = 2


class ConfigError(UsageError):
    """An unknown or mistyped configuration key or value (`part`, `key`)."""


class UnknownComponent(UsageError):
    """No installed component of that kind has that name (`kind`, `name`, `known`)."""


class DeviceMissing(UsageError):
    """The device that was asked for is not on this machine (`device`)."""


class ComponentClash(GenrecError):
    """Two distributions registered the same name, and that name was asked for (`kind`, `name`, `owners`)."""


class BrokenComponent(GenrecError):
    """An installed component cannot be loaded; the cause is chained (`kind`, `name`, `distribution`)."""


class ContractMismatch(BrokenComponent):
    """A component was written for another contract number (`theirs`, `ours`)."""


class ComponentFault(GenrecError):
    """A component broke its contract or crashed (`kind`, `name`, `distribution`, `check`)."""


class NeedsMissing(GenrecError):
    """A component needs something that the data set, the task or the environment lacks (`needs`)."""


class DataError(GenrecError):
    """A data file is missing, truncated or garbled (`path`, `line`)."""


class CodeClash(GenrecError):
    """Two codes are equal, or one is a prefix of the other (`rows`, `code`)."""


class InvalidRanking(GenrecError):
    """A system handed back a ranking that breaks its contract (repeats, unknown items, rising scores)."""


class Diverged(GenrecError):
    """Training diverged: the loss became infinite or NaN, or scores are NaN."""


class OutOfMemory(GenrecError):
    """The machine or its GPU has too little memory for what was asked."""


class OutputError(GenrecError):
    """An output folder cannot be used: not writable, in use, or belonging to another spec (`path`)."""


class RecordError(GenrecError):
    """A stored run cannot be read, or does not agree with itself (`path`)."""


class RunFailed(GenrecError):
    """A run failed; its record says why (`reason`, `folder`)."""


def message_of(error: BaseException) -> str:
    """What an error says, on one line and not too long; its text may be code that breaks down itself."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        return "its message cannot be shown"
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]} ..."


def lacks_memory(error: BaseException) -> bool:
    """Whether an error means that memory has run out: ours, Python's, NumPy's, or torch's on a CPU or GPU."""
    of_torch = isinstance(error, RuntimeError) and "allocate memory" in message_of(error)
    return isinstance(error, MemoryError | OutOfMemory) or type(error).__name__ == "OutOfMemoryError" or of_torch


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the closest known name, or for the only one that starts with `name`; else empty."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not close:
        starting = [candidate for candidate in names if name and candidate.startswith(name)]
        close = starting if len(starting) == 1 else []
    return f" Did you mean {close[0]!r}?" if close else ""
