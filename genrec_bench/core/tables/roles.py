"""Which column of a table plays which role: named by an option, or found by its usual name. Never by position.

Every role has one column, and what no role takes is told, so that nobody has to guess what was read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from genrec_bench.core.raw_files import fail
from genrec_bench.core.tables.files import TableFile, shown

AUTO = "auto"
MARK = r"[^\w.]|_"  # joins several values in one cell; a point may belong to a number
FEW = 4  # rows that cannot show whether one column repeats another
NUMBERED = re.compile(r"(.*?)(\d{1,4})")  # "code_0"


@dataclass(frozen=True)
class Role:
    """What a column may be for, and what people call it.

    `names` are groups of usual names, the likeliest group first, without capitals, `_`, `-` and blanks: `userid` stands
    for `User-ID`. `option` says how a person names the column; empty if no option does.
    """

    name: str
    names: tuple[str, ...]  # each a group, its names parted by blanks
    option: str
    required: bool = False
    called: str = ""  # a usual name as people write it, for advice where no option names the column


@dataclass(frozen=True)
class Taken:
    """The column of each role that has one, and the columns that no role has."""

    path: Path
    columns: Mapping[str, str]
    left: tuple[str, ...]

    def get(self, role: str) -> str | None:
        """The column of a role; None if it has none."""
        return self.columns.get(role)

    def __str__(self) -> str:
        """`user = visitor_id, item = product; not used: price`."""
        taken = ", ".join(f"{role} = {shown([name])}" for role, name in self.columns.items())
        return f"{taken}; not used: {shown(self.left)}" if self.left else taken


def take(file: TableFile, roles: Sequence[Role], named: Mapping[str, str | None] | None = None) -> Taken:
    """The columns that play `roles` in a file.

    `named` says which column a role has: a name, None for no column, or `auto` (the default) for the column with a usual
    name. DataError if a required role has no column, if a name is missing or repeated, if two columns could play one
    role, or if one column is to play two.
    """
    named = named or {}
    columns: dict[str, str] = {}
    for role in roles:
        wish = named.get(role.name, AUTO)
        if wish is None:
            continue
        if wish != AUTO:
            file.check([wish])
            columns[role.name] = wish

    for role in roles:
        if named.get(role.name, AUTO) == AUTO and (found := _usual(file, role, set(columns.values()))):
            columns[role.name] = found
    file.check(list(columns.values()))

    _check_taken(file, roles, columns)
    left = tuple(name for name in file.names if name not in columns.values())
    return Taken(file.path, {role.name: columns[role.name] for role in roles if role.name in columns}, left)


def repeated_column(file: TableFile, taken: Taken) -> tuple[str, str] | None:
    """Two roles, of which the first one's column holds the second one's in every cell: alone, or joined with something else.

    `user_item` = `u1_i3` so repeats the user. Looks at the first rows; None if no column repeats another.
    """
    sample = file.sample()
    cells = {role: [str(value).strip() for value in sample.get(name, [])] for role, name in taken.columns.items()}
    for role, other in permutations(cells, 2):
        pairs = list(zip(cells[role], cells[other], strict=True))
        if len(pairs) < FEW or len(set(cells[other])) < 2:
            continue
        if all(_holds(cell, part) for cell, part in pairs):
            return role, other
    return None


def _holds(cell: str, part: str) -> bool:
    """Whether a cell is `part`, or begins or ends with it and a mark between it and the rest."""
    if cell == part or not part:
        return cell == part
    begins = cell.startswith(part) and _is_mark(cell[len(part)])
    return begins or (cell.endswith(part) and _is_mark(cell[-len(part) - 1]))


def _is_mark(letter: str) -> bool:
    return re.fullmatch(MARK, letter) is not None


def numbered_columns(names: Sequence[str]) -> list[list[str]]:
    """The columns that one stem numbers from 0 or 1 (`code_0`, `code_1`, ...), in order, for each stem."""
    stems: dict[str, dict[int, str]] = {}
    for name in names:
        if (match := NUMBERED.fullmatch(name)) is not None:
            stems.setdefault(match[1], {})[int(match[2])] = name

    return [
        [of[number] for number in sorted(of)]
        for of in stems.values()
        if sorted(of) in (list(range(len(of))), list(range(1, len(of) + 1)))
    ]


def is_usual(name: str, role: Role) -> bool:
    """Whether people call a column of that role so; RecBole's `name:type` counts."""
    return any(_squeezed(name.partition(":")[0]) in group.split() for group in role.names)


def words_of(name: str) -> set[str]:
    """The words in a column's name, without capitals: `dateAdded` and `date_added` are `date` and `added`."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def _usual(file: TableFile, role: Role, taken: set[str]) -> str | None:
    """The column with a usual name, from the likeliest group that has one. DataError if two have."""
    for group in role.names:
        usual = group.split()
        found = [name for name in file.names if name not in taken and _squeezed(name) in usual]
        if len(set(found)) > 1:
            advice = f"Say which: {role.option}={found[0]}" if role.option else "Keep one, or rename the other"
            fail(
                file.path,
                f"{len(found)} columns may be the {role.name}: {shown(found)}. {advice}",
            )
        if found:
            return found[0]
    return None


def _check_taken(file: TableFile, roles: Sequence[Role], columns: Mapping[str, str]) -> None:
    """DataError if a required role has no column, or one column two roles."""
    for role in roles:
        if role.required and role.name not in columns:
            advice = f"Name it: {role.option}=..." if role.option else f"Call it {role.called or role.name}"
            fail(
                file.path,
                f"no column is known to be the {role.name}; its columns: {shown(file.names)}. {advice}{file.hint}",
            )
    for name in columns.values():
        doubled = [role for role, column in columns.items() if column == name]
        if len(doubled) > 1:
            fail(file.path, f"one column is named for two purposes ({' and '.join(doubled)}): {shown([name])}")


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()
