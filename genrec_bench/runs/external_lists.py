"""Reads ranked lists made elsewhere from a file, and checks them against the data they rank.

One row per listed item: `user`, `item`, and `rank` (1 is best) or `score` (larger is better), in the data's own ids; or a
row per user with a list of items, best first (also JSON, `{user: [item, ...]}` and `{user: {item: score}}`); or a TREC run. An error counts the faulty rows and shows the first few. Nothing is repaired, and nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    spread,
)
from genrec_bench.core.events import Interactions
from genrec_bench.core.rankings import Generations, Ranking
from genrec_bench.core.sequences import Queries
from genrec_bench.core.tables.files import open_table, recognised, shown
from genrec_bench.core.tables.json_file import JsonFile
from genrec_bench.core.tables.roles import Role, take
from genrec_bench.core.tables.table import Float64, Table
from genrec_bench.core.tables.text_file import Layout, TextFile, first_words
from genrec_bench.errors import DataError
from genrec_bench.protocol.constants import KS, LIST_DEPTH, Policy
from genrec_bench.protocol.validity import contained
from genrec_bench.runs.external_rows import (
    RANK,
    SCORE,
    USER,
    cases_of,
    check_missing,
    holds_codes,
    numbers_of,
    offsets_of,
    order_scores,
    ordered,
    refuse,
)

ITEM = Role("item", ("item itemid iid",), "")
ITEMS = Role("items", ("items itemids itemlist", "value"), "")
TREC = (
    "user",
    "trec_q0",
    "item",
    "trec_rank",
    "score",
    "trec_tag",
)  # as trec_eval does, the score counts and the rank does not
CONTRADICTED = "have ranks that contradict their scores; the scores count, as in trec_eval"


@dataclass(frozen=True)
class GivenLists:
    """A file's lists by history policy, one per test case; how many items each case has; as what the file was read.

    `generations` are the hypotheses that the lists come from, where the file holds codes. `warnings` are what nobody can see
    in the lists any more.
    """

    rankings: dict[str, Ranking]
    lengths: Int64
    read_as: str
    generations: Generations | None = None
    warnings: tuple[str, ...] = ()


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
    users, cases = cases_of(table, roles["user"], data, queries)
    items = numbers_of(table, roles["item"], data.item_ids, "item")
    names = _namer(data, users, items)

    # From here on, rows are sorted by case, best item first.
    order, values = ordered(table, roles, cases, lambda row: names(row)[0])
    found = _contradicted(table, cases, values)
    cases, items = cases[order], items[order]
    names = _namer(data, users[order], items)

    def describe(row: int) -> str:
        return "user {}: item {}".format(*names(row))

    repeated = _repeated(cases, items)
    refuse(path, repeated, describe, "an item listed a second time for one user", "list each item once", "row")
    lengths = np.bincount(cases, minlength=len(queries))
    check_missing(path, lengths, data.user_ids[queries.user], allow_missing)

    full = _ranking(cases, items, order_scores(cases, values[order]), lengths)
    seen = contained(full.items, queries.history)
    if policy == "keep":
        return GivenLists({"mask": _cut(_without(full, seen)), "keep": _cut(full)}, lengths, read_as, warnings=found)

    refuse(
        path,
        seen[cases, spread(np.zeros(len(lengths), np.int64), offsets_of(lengths))],
        describe,
        "an item that the user already has in training or validation",
        "drop such rows, or give longer lists with --policy keep",
        "row",
    )
    return GivenLists({"mask": _cut(full)}, lengths, read_as, warnings=found)


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
        sentences.append(f"{missing} of {cases} users have no listed item by {name} and count as missed")
    return sentences


def _contradicted(table: Table, cases: Int64, scores: Float64) -> tuple[str, ...]:
    """A sentence if the ranks of a TREC run order the items of a user otherwise than the scores do."""
    try:
        ranks = table.floats("trec_rank") if "trec_rank" in table.columns else np.zeros(len(cases))
    except DataError:
        return ()  # no numbers, so they order nothing

    order = np.lexsort((-scores, ranks, cases))
    rises = (np.diff(scores[order]) > 0) & (np.diff(ranks[order]) > 0) & (np.diff(cases[order]) == 0)
    users = len(np.unique(cases[order[1:]][rises]))
    return (f"{users} of {len(np.unique(cases))} users {CONTRADICTED}",) if users else ()


def _listed(path: Path, columns: Sequence[str] | None) -> tuple[Table, dict[str, str], str]:
    """The table with a row per listed item, the column of each role, and as what the file was read."""
    trec = columns is None and recognised(path) == "auto" and _is_trec(path)
    blanks = Layout(" ", quoted=False, header=False)
    file = TextFile(path, TREC, blanks, "") if trec else open_table(path, columns=columns, part="")
    taken = take(file, (USER, ITEM, RANK, SCORE))
    if taken.get("item") is None:
        if isinstance(file, JsonFile) and (table := file.pairs(("user", "item", "score"))) is not None:
            return table, {name: name for name in table.columns}, "{user: {item: score}}"
        taken = take(file, (USER, ITEMS))

    if taken.get("items") is not None:
        table = _unrolled(file.read(list(taken.columns.values())), taken.columns["user"], taken.columns["items"])
        return table, {"user": "user", "item": "item", "rank": "rank"}, str(taken)
    if taken.get("item") is None or not {"rank", "score"} & set(taken.columns):
        codes = " Codes are scored with --codes, the file of the items' codes." if holds_codes(file) else ""
        raise DataError(
            f"{path}: lists need the columns user, item, and rank (1 is best) or score (larger is better); its columns: "
            f"{shown(file.names)}{file.hint}.{codes}".rstrip("."),
            path=path,
        )
    table = file.read([*taken.columns.values(), *(["trec_rank"] if trec else [])])
    return table, dict(taken.columns), f"a TREC run: {taken}" if trec else str(taken)


def _is_trec(path: Path) -> bool:
    """Whether a text is a TREC run: `user Q0 item rank score tag` in every line."""
    rows = first_words(path)
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


def _repeated(cases: Int64, items: Int32) -> Bool:
    """Whether an earlier row has the same case and item."""
    repeated = np.ones(len(cases), np.bool_)
    repeated[np.unique(cases * (int(items.max(initial=0)) + 1) + items, return_index=True)[1]] = False
    return repeated


def _ranking(cases: Int64, items: Int32, scores: Float32, lengths: Int64) -> Ranking:
    """Flat rows, sorted by case and rank, as one ranking of full depth."""
    shape = len(lengths), int(lengths.max(initial=0))
    table, values = np.full(shape, PAD, np.int32), np.full(shape, -np.inf, np.float32)
    positions = spread(np.zeros(len(lengths), np.int64), offsets_of(lengths))
    table[cases, positions], values[cases, positions] = items, scores
    return Ranking(table, values, shape[1])


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
