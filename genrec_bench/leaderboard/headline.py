"""What a board shows, in a sentence: whether generators, or baselines, are ahead of untrained counting.

A difference counts only if it is more than chance (protocol P18). Decoders of one model count once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from genrec_bench.leaderboard.rows import Row
from genrec_bench.protocol.constants import SELECTION

if TYPE_CHECKING:
    from genrec_bench.leaderboard.standings import Standings  # it needs SciPy, which a sentence does without


def headline(board: Standings) -> str:
    """What the board says of generators; where it has none, of baselines."""
    if "generator" in board.comparators:
        return verdict(board, "generator")
    return f"No generator has run on this board yet. {verdict(board, 'baseline')}".strip()


def verdict(board: Standings, kind: str) -> str:
    """Whether rows of a kind are ahead of the best floor, and how far from it the best of them is; empty without such rows."""
    rows = [row for row in board.rows if row.kind == kind]
    if not rows:
        return ""

    best, floor = rows[0], board.comparators.get("floor")
    if floor is None:
        return f"No untrained counting has run on this board yet, so nothing says what its best {kind} is worth: {_has(best)}."
    if not floor.score:
        return f"Untrained counting finds nothing here: the best {kind}, {_has(best, ',')}."

    ahead = [row for row in rows if _side(row) > 0]
    if ahead:
        return _ahead(ahead, rows, floor)

    name = _share(rows, rows)
    if all(_side(row) < 0 for row in rows):
        claim = f"{name} behind untrained counting by more than chance"
    elif best.against["floor"].separable is None:
        claim = f"No {kind} is shown to be ahead of untrained counting"
    else:
        claim = f"No {kind} is ahead of untrained counting by more than chance"
    return f"{claim}: {_best(rows)}, {_distance(best, floor)}."


def _ahead(ahead: Sequence[Row], rows: Sequence[Row], floor: Row) -> str:
    """The sentence for a board where some rows are ahead; and one more for a higher score that may be chance."""
    first, best = ahead[0], rows[0]
    claim = f"{_share(ahead, rows)} ahead of untrained counting by more than chance"
    sentence = f"{claim}: {_best(ahead)}, {_distance(first, floor)}."
    if first.model == best.model:
        return sentence
    return f"{sentence} {best.system} has the highest {SELECTION}, {best.score:.4f}, {_distance(best, floor)}."


def _side(row: Row) -> int:
    """1 for a row that is ahead of the best floor by more than chance, -1 for one behind it, 0 where nobody can say."""
    found = row.against["floor"]
    if not found.separable or not found.distance:
        return 0
    return 1 if found.distance > 0 else -1


def _share(some: Sequence[Row], rows: Sequence[Row]) -> str:
    """How many models of all of their kind, as the beginning of a sentence."""
    count, every = (len({row.model for row in group}) for group in (some, rows))
    kind = rows[0].kind
    if every == 1:
        return f"The only {kind} is"
    if count == every:
        return f"Every {kind} is"
    return f"{count} of {every} {kind}s {'is' if count == 1 else 'are'}"


def _best(rows: Sequence[Row]) -> str:
    alone = len({row.model for row in rows}) == 1
    return _has(rows[0]) if alone else f"the best, {_has(rows[0], ',')}"


def _has(row: Row, comma: str = "") -> str:
    return f"{row.system}{comma} has {SELECTION} {row.score:.4f}"


def _distance(row: Row, floor: Row) -> str:
    """How far a row is from the best floor, and what the test says of that: `40 % below item-counts (0.0742), p < 0.001`."""
    found = row.against["floor"]
    size = f"{abs(found.distance):.0%}".replace("%", " %") if abs(found.distance) >= 0.005 else "less than 1 %"
    side = f"{size} {'above' if found.distance > 0 else 'below'}" if found.distance else "level with"
    words = f"{side} {floor.system} ({floor.score:.4f})"

    if found.p is None:
        return f"{words}, and one seed cannot tell whether that is chance"
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.2g}"
    return f"{words}, {p}" if found.separable else f"{words}, which may be chance ({p})"
