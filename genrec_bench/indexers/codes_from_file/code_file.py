"""What every reader of code files gives: keys, their codes, and where each stands in the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn

from genrec_bench.errors import DataError

Format = Literal["auto", "json", "jsonl", "csv", "tsv", "parquet", "txt", "npy", "npz", "pt"]
Code = tuple[str, ...]

KEYS = frozenset(
    {"item_id", "item", "itemid", "item_ids", "items", "iid", "asin", "parent_asin", "id", "ids", "key", "keys"}
    | {"user_id", "user", "userid", "user_ids", "users", "uid"}
)  # fields that name an item or a user, in lower case
CODES = frozenset(
    {
        "code",
        "codes",
        "semantic_id",
        "semantic_ids",
        "sid",
        "sids",
        "token",
        "tokens",
        "index",
        "indices",
        "cluster_ids",
    }
)  # those that hold its whole code


@dataclass(frozen=True)
class CodeFile:
    """`keys[i]` has the code `codes[i]`, its tokens spelled as in the file; `place(i)` says where, for errors.

    `notes` tell what was taken for what, where the file leaves room for doubt.
    """

    path: Path
    keys: list[str]
    codes: list[Code]
    place: Callable[[int], str]
    notes: list[str] = field(default_factory=list)

    def fail(self, why: str, row: int | None = None) -> NoReturn:
        """DataError that names the file, and the place of `row` if one is given."""
        fail(self.path, why, "" if row is None else self.place(row))


def fail(path: Path, why: str, place: str = "") -> NoReturn:
    """DataError in one line: `PATH, PLACE: why`."""
    line = int(place.split()[1]) if place.startswith("line ") else None
    raise DataError(f"{path}{', ' if place else ''}{place}: {' '.join(why.split())}", path=path, line=line)


def without_padding(code: Code) -> Code:
    """A code without the -1 behind its end. ValueError for any other negative number, which is no token."""
    end = len(code)
    while end and code[end - 1] == "-1":
        end -= 1
    for token in code[:end]:
        if token[:1] == "-" and token[1:].isdigit():
            raise ValueError(
                f"{token!r} is not a token: negative numbers mean nothing, but -1 behind the end of a code"
            )
    return code[:end]


def one_of(path: Path, names: list[str], role: frozenset[str], what: str) -> str | None:
    """The one of `names` that has a role, None without any; DataError for two."""
    found = [name for name in names if name.strip().lower() in role]
    if len(found) > 1:
        fail(path, f"{' and '.join(found)} both name {what}; keep one of them")
    return found[0] if found else None
