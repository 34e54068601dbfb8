"""Codes in tables: columns by the names in the header, one for the key, and one for the code or for each of its levels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from genrec_bench.core.ids import LOST, NotAnId, exact_power, normal_ids
from genrec_bench.core.raw_files import fail
from genrec_bench.core.tables.files import Format, open_table, shown
from genrec_bench.core.tables.roles import Role, numbered_columns, take
from genrec_bench.core.tables.table import Table, is_list
from genrec_bench.indexers.codes_from_file.code_file import Code, CodeFile
from genrec_bench.indexers.codes_from_file.texts import JOINED, CodeTexts, token_list

KEY = Role("key", ("itemid item iid asin parentasin", "userid user uid", "id key"), "", required=True, called="item_id")
WHOLE_FLOAT = re.compile(r"\s*\d+\.0+\s*")
CODE = Role("code", ("code codes semanticid semanticids sid sids tokens token index indices",), "")


def read_table(path: Path, format: Format, columns: Sequence[str] | None, part: str) -> CodeFile:
    """A table with a column for the key (`item_id`) and one for the code, or one per level (`code_0`, `code_1`, ...).

    Other columns are left, with a note. DataError if these cannot be told, or if code and levels contradict each other.
    """
    file = open_table(path, format, columns, part)
    taken = take(file, [KEY, CODE])
    whole, levels = taken.get("code"), _levels(path, taken.left)
    if whole is None and not levels:
        fail(path, f"no column holds the code: call it code, or code_0, code_1, ...; its columns: {shown(file.names)}")

    table = file.read([*taken.columns.values(), *levels])
    numbers, ids = table.ids(taken.columns["key"])

    def place(row: int) -> str:
        return f"{table.unit} {table.line_of(row)}"

    texts = CodeTexts(path, place)
    of_whole = whole_codes(table, whole, texts) if whole else []
    codes = _codes_of_levels(table, levels) if levels else of_whole
    if levels and whole and codes != of_whole:
        row = next(row for row, pair in enumerate(zip(codes, of_whole, strict=True)) if pair[0] != pair[1])
        table.fail(row, f"{whole} and the columns of its levels give two codes; keep one of them")

    left = [name for name in taken.left if name not in levels] + ([whole] if levels and whole else [])
    notes = [] if levels else texts.notes()
    if short := sum(len(code) < len(levels) for code in codes):
        notes.append(
            f"{short} of {len(codes)} codes have fewer than {len(levels)} tokens: their last columns are empty"
        )
    if left:
        notes.append(f"columns beside the code are left out: {shown(left)}")
    return CodeFile(path, ids[numbers].tolist(), codes, place, notes)


def _levels(path: Path, names: Sequence[str]) -> list[str]:
    """The columns that hold one level each, in order; none if no columns are numbered."""
    found = numbered_columns(names)
    if len(found) > 1:
        fail(path, f"{' and '.join(of[0] for of in found)} both begin numbered columns: keep the levels of one code")
    return found[0] if found else []


def whole_codes(table: Table, name: str, texts: CodeTexts) -> list[Code]:
    """The codes of a column that holds one in each cell, as texts or as lists of tokens.

    DataError for tokens that are neither texts nor whole numbers.
    """
    column = table.columns[name]
    if is_list(column.type):
        power = exact_power(column.type.value_type)
        return [token_list(texts, value or (), row, power) for row, value in enumerate(column.to_pylist())]
    cells = _cells(table, name)
    if pa.types.is_floating(column.type) or all(WHOLE_FLOAT.fullmatch(text) for text in cells if text.strip()):
        cells = _tokens(table, name)  # "12.0" is one number, not two joined by a dot
    return [texts.tokens(text, row) for row, text in enumerate(cells)]


def _cells(table: Table, name: str) -> list[str]:
    """A column as texts, whole however long they are; missing ones are empty."""
    column = table.columns[name]
    try:
        return [text or "" for text in column.cast(pa.large_string()).to_pylist()]
    except pa.ArrowException:
        fail(table.path, f"the column {name} holds {column.type}, not texts or numbers")


def _tokens(table: Table, name: str) -> list[str]:
    """A column with a token in each cell, in the form of ids, so that `7.0` is `7`; missing ones are empty."""
    cells = ["" if text.strip() in LOST else text.strip() for text in _cells(table, name)]
    filled = [row for row, text in enumerate(cells) if text]
    try:
        tokens = normal_ids(table.columns[name].take(pa.array(filled, pa.int64()))).to_pylist()
    except NotAnId as error:
        if error.row < 0:
            fail(table.path, f"the column {name} {error}")
        table.fail(filled[error.row], f"the {name} {error}")

    for row, token in zip(filled, tokens, strict=True):
        cells[row] = str(token)
    return cells


def _codes_of_levels(table: Table, levels: Sequence[str]) -> list[Code]:
    """Codes with a column per level; only their last cells may be empty."""
    cells = [_tokens(table, name) for name in levels]
    codes = []
    for row, tokens in enumerate(map(list, zip(*cells, strict=True))):
        while tokens and not tokens[-1]:
            tokens.pop()
        if "" in tokens:
            table.fail(row, "a column is empty before the end of the code")

        several = next((token for token in tokens if JOINED.fullmatch(token) and "." not in token), None)
        if several is not None:
            table.fail(row, f"{several!r} is several numbers in the column of one level")
        codes.append(tuple(tokens))
    return codes
