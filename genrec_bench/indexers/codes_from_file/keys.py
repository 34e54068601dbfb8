"""Which item (or user) the key of each row of a code file stands for: the ids of the data, or numbers that count them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from genrec_bench.core.arrays import Text
from genrec_bench.core.ids import whole_number
from genrec_bench.indexers.codes_from_file.code_file import CodeFile

Keys = Literal["external", "zero-based", "one-based"]
Unknown = Literal["refuse", "ignore"]
SHIFT: dict[Keys, int] = {"external": 0, "zero-based": 1, "one-based": -1}  # from a key to the external id


def rows_of(
    file: CodeFile, ids: Text, noun: str, keys: Keys, unknown: Unknown, part: str, note: Callable[[str], None]
) -> list[int]:
    """The row of the file for each of `ids`. DataError for ids without a code, and for unknown keys unless ignored.

    `part` owns the options that the advice names. `note` is told how many keys are ignored.
    """
    row_of = {_external_id(file, row, keys, part): row for row in range(len(file.keys))}
    known = ids.tolist()

    missing = [external_id for external_id in known if external_id not in row_of]
    if missing:
        hint = f"check {part}.keys" if len(missing) == len(known) else "add them, or filter them from the data set"
        file.fail(f"no code for {noun} {missing[0]!r} ({len(missing)} of {len(known)} have none); {hint}")

    strange = row_of.keys() - set(known)
    if strange and unknown == "refuse":
        row = min(row_of[external_id] for external_id in strange)
        file.fail(
            f"the data set has no {noun} {file.keys[row][:60]!r} ({len(strange)} unknown keys); "
            f"--set {part}.unknown=ignore ignores them",
            row,
        )
    if strange:
        note(f"{file.path}: {len(strange)} keys are unknown to the data set ({noun}s) and ignored")
    return [row_of[external_id] for external_id in known]


def _external_id(file: CodeFile, row: int, keys: Keys, part: str) -> str:
    """The external id that the key of a row stands for."""
    key = file.keys[row]
    if keys == "external":
        return key
    try:
        return str(whole_number(key) + SHIFT[keys])
    except ValueError:
        file.fail(f"{key[:60]!r} is not a whole number, so it is not {keys}; check {part}.keys", row)
