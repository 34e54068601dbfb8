"""Turns codes that a generator wrote elsewhere into hypotheses, and these into ranked lists by the protocol's own rules.

A row per user with a list of codes, best first (JSON, JSON lines or Parquet), and perhaps a list of their scores; or a row
per code with its `rank` or `score`. Which item has which code, a second file says. A code of no item stays in its place and
is counted. Items that share a code tie: nothing says which of them the generator meant (P10). Lists stay short (P11).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic.dataclasses import dataclass as options

from genrec_bench.core.arrays import PAD, Bool, Int32, Int64, Ragged, spread
from genrec_bench.core.events import Interactions
from genrec_bench.core.rankings import NO_HYPOTHESIS, NOT_AN_ITEM, Generations, Ranking
from genrec_bench.core.sequences import Split
from genrec_bench.core.tables.files import open_table, shown
from genrec_bench.core.tables.roles import take
from genrec_bench.core.tables.table import Float64, Table, is_list
from genrec_bench.errors import ConfigError, DataError
from genrec_bench.host.config import make_config
from genrec_bench.indexers.codes_from_file.code_file import Code, Format, without_padding
from genrec_bench.indexers.codes_from_file.keys import Keys, Unknown, rows_of
from genrec_bench.indexers.codes_from_file.numbering import prefix_warning
from genrec_bench.indexers.codes_from_file.readers import read_codes
from genrec_bench.indexers.codes_from_file.tables import whole_codes
from genrec_bench.indexers.codes_from_file.texts import CodeTexts
from genrec_bench.protocol.constants import LIST_DEPTH, POLICIES, Policy
from genrec_bench.protocol.validity import ranking_from
from genrec_bench.runs.external_lists import GivenLists
from genrec_bench.runs.external_rows import (
    CODE,
    CODES,
    RANK,
    SCORE,
    SCORES,
    USER,
    cases_of,
    check_missing,
    offsets_of,
    order_scores,
    ordered,
    refuse,
)

PART = "codes"  # owns the options of the items' codes on the command line
SEED = 0  # of the shuffles that codes of another numbering are compared with


@options(frozen=True, kw_only=True)
class ItemCodesConfig:
    """How the file of the items' codes is read; the indexer `codes` has the same options."""

    format: Format = "auto"  # auto: by the suffix
    columns: tuple[str, ...] | None = None  # the names of the columns of a table without a header
    keys: Keys = "external"  # keys and row numbers are: the ids | the ids less one | the ids plus one
    unknown: Unknown = "refuse"  # keys that the data set does not know: an error | ignored


@dataclass(frozen=True)
class ItemCodes:
    """The file of the items' codes."""

    path: Path
    config: ItemCodesConfig


@dataclass(frozen=True)
class _Catalogue:
    """The distinct codes of a catalogue: `number_of` a code, and the items that have each, `holders`. One as an `example`."""

    number_of: dict[Code, int]
    holders: Ragged
    example: Code


@dataclass(frozen=True)
class _Predicted:
    """A row per predicted code: `n` codes, and a table with the user and the rank or score of each."""

    table: Table
    roles: dict[str, str]
    codes: list[Code]
    read_as: str


def item_codes_of(path: Path | None, settings: Mapping[str, Any]) -> tuple[ItemCodes | None, dict[str, Any]]:
    """The items' codes in `path`, read with the settings `codes.*`, and all other settings.

    ConfigError for a setting that means nothing, for all of them if there is no file.
    """
    mine = {key: value for key, value in settings.items() if key.partition(".")[0] == PART}
    others = {key: value for key, value in settings.items() if key not in mine}
    if path is None:
        if mine:
            raise ConfigError(f"--set {next(iter(mine))}: it is an option of the file that --codes names", part=PART)
        return None, others
    options = {key.partition(".")[2]: value for key, value in mine.items()}
    return ItemCodes(path, make_config(ItemCodesConfig, options, PART)), others


def read_given_codes(
    path: Path,
    item_codes: ItemCodes,
    data: Interactions,
    split: Split,
    policy: Policy,
    allow_missing: bool,
    columns: Sequence[str] | None,
    note: Callable[[str], None],
) -> GivenLists:
    """The lists that the predicted codes in `path` give for the test cases, cut to the protocol's depth.

    Under the policy `mask` no code may belong to seen items alone; `keep` gives the lists of `mask` as well. `note` is told
    what readers of the numbers should know. DataError if anything does not fit, and if no code at all is an item's.
    """
    catalogue = _catalogue(item_codes, data, split, note)
    predicted = _predicted(path, columns)
    table, queries = predicted.table, split.queries(split.test)
    users, cases = cases_of(table, predicted.roles["user"], data, queries)

    # From here on, rows are sorted by case, best code first.
    order, values = ordered(table, predicted.roles, cases, lambda row: repr(str(data.user_ids[users[row]])))
    codes = [predicted.codes[row] for row in order.tolist()]
    cases, values, users = cases[order], values[order], users[order]
    check_missing(path, np.bincount(cases, minlength=len(queries)), data.user_ids[queries.user], allow_missing)

    numbers = np.array([catalogue.number_of.get(code, NOT_AN_ITEM) for code in codes], np.int64)
    if (numbers < 0).all():
        raise DataError(
            f"{path}: none of its {len(codes)} codes is an item's: {_spelled(codes[0])!r}, and the items' codes are written "
            f"{_spelled(catalogue.example)!r}; were they made with these codes ({item_codes.path})?",
            path=path,
        )

    slots = _slots(catalogue, cases, numbers, queries.history, data.n_items)
    if policy == "mask":
        wrong = np.zeros(len(codes), np.bool_)
        wrong[slots.row[slots.seen & slots.head]] = True
        refuse(
            path,
            wrong & (numbers >= 0),
            lambda row: f"user {str(data.user_ids[users[row]])!r}: code {_spelled(codes[row])!r}",
            "a code of items that the user already has in training or validation",
            "drop such codes, or give all of them with --policy keep",
            "row",
        )

    generations = _generations(slots, codes, cases, values, len(queries))
    depth = min(generations.items.shape[1], LIST_DEPTH)
    rankings: dict[str, Ranking] = {}
    for name in POLICIES if policy == "keep" else POLICIES[:1]:
        exclude = queries.history if name == "mask" else None
        rankings[name] = ranking_from(generations, depth=depth, exclude=exclude)
    lengths = (rankings[policy].items >= 0).sum(axis=1)
    return GivenLists(rankings, lengths, predicted.read_as, generations)


# the items' codes -----------------------------------------------------------------------------------------------------


def _catalogue(item_codes: ItemCodes, data: Interactions, split: Split, note: Callable[[str], None]) -> _Catalogue:
    """The items' codes. `note` is told which items share one, and whether the codes seem to be of other items."""
    path, config = item_codes.path, item_codes.config
    file = read_codes(path, config.format, config.columns, PART)
    for text in file.notes:
        note(f"{path}: {text}")
    rows = rows_of(file, data.item_ids, "item", config.keys, config.unknown, PART, note)

    number_of: dict[Code, int] = {}
    numbers = np.array([number_of.setdefault(file.codes[row], len(number_of)) for row in rows], np.int64)
    counts = np.bincount(numbers)
    shared = int(counts[counts > 1].sum())
    if shared:
        note(f"{path}: {shared} of {data.n_items} items share their code with another; items of one code tie")

    labels = _labels([file.codes[row] for row in rows])
    if warning := prefix_warning(split.train(), labels, np.random.default_rng(SEED), PART):
        note(f"{path}: {warning}")
    holders = Ragged(np.argsort(numbers, kind="stable").astype(np.int32), offsets_of(counts))
    return _Catalogue(number_of, holders, example=file.codes[rows[0]])


def _labels(codes: Sequence[Code]) -> Int32:
    """Codes as rows `(n, width)` of numbers, one for each spelling of a token, padded with -1."""
    names = {token: label for label, token in enumerate(sorted({token for code in codes for token in code}))}
    labels = np.full((len(codes), max(1, *map(len, codes))), PAD, np.int32)
    for row, code in enumerate(codes):
        labels[row, : len(code)] = [names[token] for token in code]
    return labels


# the predicted codes --------------------------------------------------------------------------------------------------


def _predicted(path: Path, columns: Sequence[str] | None) -> _Predicted:
    """The codes of a file in either shape. DataError if it holds none."""
    file = open_table(path, columns=columns, part="")
    taken = take(file, (USER, CODE, RANK, SCORE))
    if taken.get("code") is not None and {"rank", "score"} & set(taken.columns):
        table = file.read(list(taken.columns.values()))
        return _Predicted(table, dict(taken.columns), *_read(table, taken.columns["code"], str(taken)))

    taken = take(file, (USER, CODES, SCORES))
    if taken.get("codes") is None:
        raise DataError(
            f"{path}: predicted codes need the columns user and codes (a list, best first), or user, code, and rank (1 is best) "
            f"or score (larger is better); its columns: {shown(file.names)}{file.hint}",
            path=path,
        )
    table = file.read(list(taken.columns.values()))
    rows, flat = _unrolled(table, taken.columns["user"], taken.columns["codes"], taken.get("scores"))
    return _Predicted(rows, {name: name for name in rows.columns}, *_read(flat, taken.columns["codes"], str(taken)))


def _read(table: Table, column: str, read_as: str) -> tuple[list[Code], str]:
    """A column with a code in each cell, and in words how the table was read."""
    texts = CodeTexts(table.path, lambda row: f"{table.unit} {table.line_of(row)}")
    codes = []
    for row, code in enumerate(whole_codes(table, column, texts)):
        try:
            codes.append(without_padding(code))
        except ValueError as error:
            texts.fail(row, str(error))
    return codes, "; ".join([read_as, *texts.notes()])


def _unrolled(table: Table, user: str, codes: str, scores: str | None) -> tuple[Table, Table]:
    """A row per user and list as a row per code: users, ranks and scores, and the codes. DataError for other cells."""
    if not is_list(table.columns[codes].type):
        table.fail(
            0, f"the {codes} are not a list of codes; give lists, or a code a row in the columns user, code and rank"
        )
    lengths, flat = table.lists(codes)
    if not len(flat):
        raise DataError(f"{table.path}: all lists of {codes} are empty", path=table.path)
    kind = flat.columns[codes].type
    if not (is_list(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        table.fail(0, f"the {codes} hold {kind}, not codes: a code is a list of tokens or a text")

    of_row = np.repeat(np.arange(len(table)), lengths)
    columns = {
        "user": table.columns[user].take(pa.array(of_row)),
        "rank": pa.array(spread(np.zeros(len(lengths), np.int64), offsets_of(lengths)) + 1),
    }
    if scores is not None:
        counts, values = table.lists(scores)
        if (counts != lengths).any():
            row = int(np.argmax(counts != lengths))
            table.fail(row, f"{counts[row]} {scores} for {lengths[row]} {codes}")
        columns["score"] = values.columns[scores]
    return Table(table.path, columns, flat.line_of, table.unit), flat


# from codes to items --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Slots:
    """The places of all lists, sorted by case and row: the `row` of the code, its `item` (-1: none), whether it is `seen`.

    A code that several items share has a place for each of them where a list names it first, unseen items first. The first
    place of a row is its `head`. Repeats are not looked up among the seen items.
    """

    row: Int64
    item: Int64
    seen: Bool
    head: Bool


def _slots(catalogue: _Catalogue, cases: Int64, numbers: Int64, history: Ragged, n_items: int) -> _Slots:
    """The places that `numbers`, the codes of all rows, give in the lists of `cases`."""
    known = np.flatnonzero(numbers >= 0)
    pairs = cases[known] * (len(catalogue.number_of) + 1) + numbers[known]
    first = np.zeros(len(numbers), np.bool_)
    first[known[np.unique(pairs, return_index=True)[1]]] = True

    starts, ends = catalogue.holders.offsets[:-1], catalogue.holders.offsets[1:]
    places = np.ones(len(numbers), np.int64)
    places[first] = (ends - starts)[numbers[first]]
    row = np.repeat(np.arange(len(numbers)), places)
    within = spread(np.zeros(len(numbers), np.int64), offsets_of(places))

    item = np.full(len(row), NOT_AN_ITEM, np.int64)
    real = numbers[row] >= 0
    item[real] = catalogue.holders.values[starts[numbers[row[real]]] + within[real]]
    met = np.isin(cases[row] * n_items + item, history.rows * n_items + history.values) & real & first[row]

    order = np.lexsort((item, met, row))
    return _Slots(row, item[order], met[order], within == 0)


def _generations(slots: _Slots, codes: Sequence[Code], cases: Int64, values: Float64, n: int) -> Generations:
    """The hypotheses of all `n` cases. Nobody can tell what the search discarded, so `bound` is NaN."""
    tokens = _labels(codes)
    of_case = cases[slots.row]
    lengths = np.bincount(of_case, minlength=n)
    places = of_case, spread(np.zeros(n, np.int64), offsets_of(lengths))

    shape = n, int(lengths.max(initial=1))
    generations = Generations(
        tokens=np.full((*shape, tokens.shape[1]), PAD, np.int32),
        scores=np.full(shape, -np.inf, np.float32),
        items=np.full(shape, NO_HYPOTHESIS, np.int32),
        bound=np.full(n, np.nan, np.float32),
    )
    generations.tokens[places] = np.where(slots.head[:, None], tokens[slots.row], PAD)
    generations.scores[places] = order_scores(of_case, values[slots.row])
    generations.items[places] = slots.item
    return generations


def _spelled(code: Code) -> str:
    """A code for a message."""
    text = " ".join(code)
    return text if len(text) <= 60 else f"{text[:60]} ..."
