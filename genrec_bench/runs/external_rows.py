"""Rows of somebody's lists: users as test cases, the order of each user's rows, and faults that are counted and shown.

Knows nothing of what the rows list: items, or codes. Nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from genrec_bench.core.arrays import Bool, Float32, Int32, Int64, Text
from genrec_bench.core.events import Interactions
from genrec_bench.core.sequences import Queries
from genrec_bench.core.tables.files import TableFile
from genrec_bench.core.tables.roles import Role, take
from genrec_bench.core.tables.table import Float64, Table
from genrec_bench.errors import DataError

USER = Role("user", ("user userid uid", "key"), "", required=True)
RANK = Role("rank", ("rank",), "")
SCORE = Role("score", ("score",), "")
CODE = Role("code", ("code semanticid sid itemcode", "prediction generated output"), "")
CODES = Role("codes", ("codes semanticids sids itemcodes", "predictions generations outputs", "value"), "")
SCORES = Role("scores", ("scores logprobs",), "")
SHOWN = 3  # examples of a fault


def holds_codes(file: TableFile) -> bool:
    """Whether a table has a column that people give predicted codes in."""
    return bool(take(file, (CODE, replace(CODES, names=CODES.names[:-1]))).columns)


def cases_of(table: Table, column: str, data: Interactions, queries: Queries) -> tuple[Int32, Int64]:
    """The user and the test case of each row, `(n,)` both. DataError for a user without a test case."""
    users = numbers_of(table, column, data.user_ids, "user")
    case_of = np.full(data.n_users, -1, np.int64)
    case_of[queries.user] = np.arange(len(queries))
    cases = case_of[users]

    refuse(
        table.path,
        cases < 0,
        lambda row: f"user {str(data.user_ids[users[row]])!r}",
        "a list of a user without a test case",
        "drop it",
        "row",
    )
    return users, cases


def numbers_of(table: Table, column: str, known: Text, what: str) -> Int32:
    """A column of external ids as the data's numbers, `(n,)`."""
    codes, ids = table.ids(column)
    order = np.argsort(known)
    nearest = np.minimum(np.searchsorted(known[order], ids), len(known) - 1)
    numbers = np.where(known[order][nearest] == ids, order[nearest], -1)

    unknown = [repr(str(name)) for name in ids[numbers < 0]]
    if unknown:
        are = f"{what}s are" if len(unknown) > 1 else f"{what} is"
        raise DataError(
            f"{table.path}: {len(unknown)} {are} not in the data: {few(unknown)}; use the data's own ids (such as "
            f"{str(known[0])!r}), and drop what the data set leaves out",
            path=table.path,
        )
    return numbers[codes].astype(np.int32)


def ordered(table: Table, columns: dict[str, str], cases: Int64, user: Callable[[int], str]) -> tuple[Int64, Float64]:
    """The order of rows by case, best first, and each row's score: the file's, or the negated rank if it has none.

    DataError if a user's ranks are not 1, 2, 3, ..., or if scores rise along the ranks.
    """
    path = table.path
    scores = table.floats(columns["score"], "; give ranks, or smaller scores") if "score" in columns else None
    if "rank" not in columns:
        assert scores is not None
        return np.lexsort((-scores, cases)), scores

    ranks = table.whole_numbers(columns["rank"], "ranks count from 1")
    order = np.lexsort((ranks, cases))
    first = np.searchsorted(cases[order], cases[order])
    wrong = np.zeros(len(order), np.bool_)
    wrong[order] = ranks[order] != np.arange(len(order)) - first + 1
    refuse(
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
    refuse(
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


def order_scores(cases: Int64, values: Float64) -> Float32:
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


def check_missing(path: Path, lengths: Int64, users: Text, allowed: bool) -> None:
    without = [repr(str(user)) for user in users[lengths == 0]]
    if without and not allowed:
        raise DataError(
            f"{path}: {len(without)} of {len(users)} test users have no list: {few(without)}; add them, or count them as "
            "empty lists with --allow-missing",
            path=path,
        )


def offsets_of(lengths: Int64) -> Int64:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def refuse(path: Path, wrong: Bool, describe: Callable[[int], str], what: str, advice: str, unit: str = "user") -> None:
    """DataError if any row is `wrong`: how many, the first few, and what to do."""
    rows = np.flatnonzero(wrong)
    if len(rows):
        shown = few([describe(int(row)) for row in rows[:SHOWN]], more=len(rows) > SHOWN)
        count = f"{len(rows)} {unit}{'s' if len(rows) > 1 else ''}"
        raise DataError(f"{path}: {what} ({count}): {shown}; {advice}", path=path)


def few(values: Iterable[str], most: int = SHOWN, more: bool = False) -> str:
    values = list(values)
    return ", ".join(values[:most]) + (", ..." if more or len(values) > most else "")
