"""Reads ranked lists made elsewhere from a file, and checks them against the data they rank.

One row per listed item: `user`, `item`, and `rank` (1 is best) or `score` (larger is better), in the data's own ids; or a
row per user with a list of items, best first (also JSON, `{user: [item, ...]}`); or a TREC run. An error counts the faulty rows and shows the first few. Nothing is repaired, and nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from genrec_bench.core.arrays import (
    PAD,
    Bool,
    Float32,
    Int32,
    Int64,
    Text,
    spread,
)
from genrec_bench.core.events import Interactions
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries
from genrec_bench.core.tables.files import open_table, recognised, shown
from genrec_bench.core.tables.roles import Role, take
from genrec_bench.core.tables.table import Float64, Table
from genrec_bench.core.tables.text_file import only_blanks_part
from genrec_bench.errors import DataError
from genrec_bench.protocol.constants import KS, LIST_DEPTH, Policy
from genrec_bench.protocol.validity import contained

USER = Role("user", ("user userid uid", "key"), "", required=True)
ITEM = Role("item", ("item itemid iid",), "")
ITEMS = Role("items", ("items itemids itemlist", "value"), "")
RANK = Role("rank", ("rank",), "")
SCORE = Role("score", ("score",), "")
TREC = (
    "user",
    "trec_q0",
    "item",
    "trec_rank",
    "score",
    "trec_tag",
)  # as trec_eval does, the score counts and the rank does not
SHOWN = 3  # examples of a fault


@dataclass(frozen=True)
class GivenLists:
    """A file's lists by history policy, one per test case, how many items the file lists for each case, and as what it was read."""

    rankings: dict[str, Ranking]
    lengths: Int64
    read_as: str


def read_given(
    path: Path,
    data: Interactions,
    queries: Queries,
    policy: Policy,
    allow_missing: bool,
    columns: Sequence[str] | None = None,
) -> GivenLists:
    """Read and check the lists in `path` for the cases `queries`, and cut them to the protocol's depth.

    Lists of policy `mask` hold none of the user's seen items (training and validation). Lists of policy `keep` may hold
    them, and give the lists of `mask` as well: those without seen items, which are shorter and never filled up. With
    `allow_missing`, a user without a list gets an empty one. `columns` names those of a text without a header. DataError if anything does not fit.
    """
    # External ids become the data's numbers, and users their test cases.
    table, roles, read_as = _listed(path, columns)
    users = _numbers(table, roles["user"], data.user_ids, "user")
    items = _numbers(table, roles["item"], data.item_ids, "item")
    case_of = np.full(data.n_users, -1, np.int64)
    case_of[queries.user] = np.arange(len(queries))
    cases = case_of[users]
    names = _namer(data, users, items)
    _refuse(
        path, cases < 0, lambda row: f"user {names(row)[0]}", "a list of a user without a test case", "drop it", "row"
    )

    # From here on, rows are sorted by case, best item first.
    order, values = _ordered(table, roles, cases, lambda row: names(row)[0])
    cases, items = cases[order], items[order]
    names = _namer(data, users[order], items)

    def describe(row: int) -> str:
        return "user {}: item {}".format(*names(row))

    repeated = _repeated(cases, items)
    _refuse(path, repeated, describe, "an item listed a second time for one user", "list each item once", "row")
    lengths = np.bincount(cases, minlength=len(queries))
    _check_missing(path, lengths, data.user_ids[queries.user], allow_missing)

    full = _ranking(cases, items, _order_scores(cases, values[order]), lengths)
    seen = contained(full.items, queries.history)
    if policy == "keep":
        return GivenLists({"mask": _cut(_without(full, seen)), "keep": _cut(full)}, lengths, read_as)

    _refuse(
        path,
        seen[cases, spread(np.zeros(len(lengths), np.int64), _offsets(lengths))],
        describe,
        "an item that the user already has in training or validation",
        "drop such rows, or give longer lists with --policy keep",
        "row",
    )
    return GivenLists({"mask": _cut(full)}, lengths, read_as)


def warnings(lengths: Int64, name: str) -> list[str]:
    """What readers of the numbers must know about short and missing lists. `lengths` `(cases,)` counts listed items."""
    longest, cases = int(lengths.max(initial=0)), len(lengths)
    missing, short = int((lengths == 0).sum()), int(((lengths > 0) & (lengths < max(KS))).sum())

    sentences = []
    if longest < max(KS):
        depths = ", ".join(str(k) for k in KS if k > longest)
        sentences.append(f"the lists of {name} end after {longest} items: what they miss at {depths} nobody ranked")
    elif short:
        sentences.append(
            f"{short} of {cases} users have a list of fewer than {max(KS)} items by {name}: what it lacks is missed"
        )
    if missing:
        sentences.append(f"{missing} of {cases} users have no list by {name} and count as missed")
    return sentences


def _listed(path: Path, columns: Sequence[str] | None) -> tuple[Table, dict[str, str], str]:
    """The table with a row per listed item, the column of each role, and as what the file was read."""
    trec = columns is None and recognised(path) == "auto" and _is_trec(path)
    file = open_table(path, columns=TREC if trec else columns, part="")
    taken = take(file, (USER, ITEM, RANK, SCORE))
    if taken.get("item") is None:
        taken = take(file, (USER, ITEMS))

    if taken.get("items") is not None:
        table = _unrolled(file.read(list(taken.columns.values())), taken.columns["user"], taken.columns["items"])
        return table, {"user": "user", "item": "item", "rank": "rank"}, str(taken)
    if taken.get("item") is None or not {"rank", "score"} & set(taken.columns):
        raise DataError(
            f"{path}: lists need the columns user, item, and rank (1 is best) or score (larger is better); its columns: "
            f"{shown(file.names)}{file.hint}",
            path=path,
        )
    return file.read(list(taken.columns.values())), dict(taken.columns), f"a TREC run: {taken}" if trec else str(taken)


def _is_trec(path: Path) -> bool:
    """Whether a text is a TREC run: `user Q0 item rank score tag` in every line."""
    rows = only_blanks_part(path)
    return bool(rows) and all(len(row) == len(TREC) and row[1].upper() in ("Q0", "0") for row in rows)


def _unrolled(table: Table, user: str, items: str) -> Table:
    """A row per user and list as a row per listed item, with its rank."""
    lengths, flat = table.lists(items)
    rows = np.repeat(np.arange(len(table)), lengths)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    columns = {
        "user": table.columns[user].take(pa.array(rows)),
        "item": flat.columns[items],
        "rank": pa.array(np.arange(len(rows)) - starts + 1),
    }
    return Table(table.path, columns, flat.line_of, table.unit)


def _numbers(table: Table, column: str, known: Text, what: str) -> Int32:
    """A column of external ids as the data's numbers, `(n,)`."""
    codes, ids = table.ids(column)
    order = np.argsort(known)
    nearest = np.minimum(np.searchsorted(known[order], ids), len(known) - 1)
    numbers = np.where(known[order][nearest] == ids, order[nearest], -1)

    unknown = [repr(str(name)) for name in ids[numbers < 0]]
    if unknown:
        are = f"{what}s are" if len(unknown) > 1 else f"{what} is"
        raise DataError(
            f"{table.path}: {len(unknown)} {are} not in the data: {_few(unknown)}; use the data's own ids (such as "
            f"{str(known[0])!r}), and drop what the data set leaves out",
            path=table.path,
        )
    return numbers[codes].astype(np.int32)


def _ordered(table: Table, columns: dict[str, str], cases: Int64, user: Callable[[int], str]) -> tuple[Int64, Float64]:
    """The order of rows by case, best first, and each row's score: the file's, or the negated rank if it has none.

    DataError if a user's ranks are not 1, 2, 3, ..., or if scores rise along the ranks.
    """
    path = table.path
    scores = table.floats(columns["score"]) if "score" in columns else None
    if "rank" not in columns:
        assert scores is not None
        return np.lexsort((-scores, cases)), scores

    ranks = table.whole_numbers(columns["rank"], "ranks count from 1")
    order = np.lexsort((ranks, cases))
    first = np.searchsorted(cases[order], cases[order])
    wrong = np.zeros(len(order), np.bool_)
    wrong[order] = ranks[order] != np.arange(len(order)) - first + 1
    _refuse(
        path,
        _first_of_each(wrong, cases, order),
        lambda row: f"user {user(row)} has {_fault_of(np.sort(ranks[cases == cases[row]]))}",
        "ranks with gaps or repeats",
        "number each user's items 1, 2, 3, ...",
    )
    if scores is None:
        return order, -ranks.astype(np.float64)

    rises = np.zeros(len(order), np.bool_)
    rises[order[1:]] = (np.diff(scores[order]) > 0) & (np.diff(cases[order]) == 0)
    _refuse(
        path,
        _first_of_each(rises, cases, order),
        lambda row: f"user {user(row)} at rank {ranks[row]}",
        "scores that rise along the ranks",
        "give ranks or scores only, or a score that is larger for the better item",
    )
    return order, scores


def _fault_of(ranks: Int64) -> str:
    """The first fault in one user's sorted ranks, which are not 1, 2, 3, ..."""
    first = int(np.argmax(ranks != np.arange(1, len(ranks) + 1)))
    rank = ranks[first]
    if rank < 1:
        return f"rank {rank}"
    return f"rank {rank} twice" if first and rank == ranks[first - 1] else f"rank {rank}, but no rank {first + 1}"


def _order_scores(cases: Int64, values: Float64) -> Float32:
    """Scores of sorted rows, each minus the number of better values in its case.

    A float32 keeps these apart wherever `values` differ.
    """
    differs = np.ones(len(cases), np.bool_)
    differs[1:] = (np.diff(values) != 0) | (np.diff(cases) != 0)
    level = np.cumsum(differs)
    return (level[np.searchsorted(cases, cases)] - level).astype(np.float32)


def _first_of_each(flags: Bool, cases: Int64, order: Int64) -> Bool:
    """The first flagged row of each case, in `order`."""
    rows = order[flags[order]]
    first = np.zeros(len(flags), np.bool_)
    first[rows[np.unique(cases[rows], return_index=True)[1]]] = True
    return first


def _repeated(cases: Int64, items: Int32) -> Bool:
    """Whether an earlier row has the same case and item."""
    repeated = np.ones(len(cases), np.bool_)
    repeated[np.unique(cases * (int(items.max(initial=0)) + 1) + items, return_index=True)[1]] = False
    return repeated


def _check_missing(path: Path, lengths: Int64, users: Text, allowed: bool) -> None:
    without = [repr(str(user)) for user in users[lengths == 0]]
    if without and not allowed:
        raise DataError(
            f"{path}: {len(without)} of {len(users)} test users have no list: {_few(without)}; add them, or count them as "
            "empty lists with --allow-missing",
            path=path,
        )


def _ranking(cases: Int64, items: Int32, scores: Float32, lengths: Int64) -> Ranking:
    """Flat rows, sorted by case and rank, as one ranking of full depth."""
    shape = len(lengths), int(lengths.max(initial=0))
    table, values = np.full(shape, PAD, np.int32), np.full(shape, -np.inf, np.float32)
    positions = spread(np.zeros(len(lengths), np.int64), _offsets(lengths))
    table[cases, positions], values[cases, positions] = items, scores
    return Ranking(table, values, shape[1])


def _offsets(lengths: Int64) -> Int64:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _without(ranking: Ranking, dropped: Bool) -> Ranking:
    """The lists without the `dropped` items; later ones move up."""
    gone = dropped | (ranking.items < 0)
    order = np.argsort(gone, axis=1, kind="stable")
    left = ~np.take_along_axis(gone, order, axis=1)
    items, scores = (np.take_along_axis(values, order, axis=1) for values in (ranking.items, ranking.scores))
    return Ranking(
        np.where(left, items, PAD).astype(np.int32), np.where(left, scores, -np.inf).astype(np.float32), ranking.depth
    )


def _cut(ranking: Ranking) -> Ranking:
    """The lists cut to the depth that the protocol asks of every baseline."""
    depth = min(ranking.depth, LIST_DEPTH)
    return Ranking(ranking.items[:, :depth], ranking.scores[:, :depth], depth)


def _namer(data: Interactions, users: Int32, items: Int32) -> Callable[[int], tuple[str, str]]:
    return lambda row: (repr(str(data.user_ids[users[row]])), repr(str(data.item_ids[items[row]])))


def _refuse(
    path: Path, wrong: Bool, describe: Callable[[int], str], what: str, advice: str, unit: str = "user"
) -> None:
    """DataError if any row is `wrong`: how many, the first few, and what to do."""
    rows = np.flatnonzero(wrong)
    if len(rows):
        shown = _few([describe(int(row)) for row in rows[:SHOWN]], more=len(rows) > SHOWN)
        count = f"{len(rows)} {unit}{'s' if len(rows) > 1 else ''}"
        raise DataError(f"{path}: {what} ({count}): {shown}; {advice}", path=path)


def _few(values: Iterable[str], most: int = SHOWN, more: bool = False) -> str:
    values = list(values)
    return ", ".join(values[:most]) + (", ..." if more or len(values) > most else "")
