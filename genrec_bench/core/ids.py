"""The one normal form of an external id, so that equal ids are equal texts in every file, list, title and option.

Blanks around an id fall away, whole floats become whole numbers (`7.0` is `7`), letters with accents have one form
(Unicode's NFC; file names of macOS have another), and a lost value is no id.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

import pyarrow as pa
import pyarrow.compute as pc

EXACT = {64: 53, 32: 24, 16: 11}  # up to which power of 2 a float of so many bits holds whole numbers exactly
LOST = (  # what other tools write for a value they do not have
    *("NaN", "nan", "NAN", "NaT", "None", "none", "NONE", "null", "Null", "NULL", "undefined"),
    *("NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "\\N"),
)
SPACED_QUOTE = r'^\s+".*"\s*$'
LIST = r"^\[.*\]$"
WHOLE = re.compile(r"-?[0-9]{1,18}")  # so that it fits into 64 bits
FLOAT = r"^-?\d+(\.\d*([eE][-+]?\d+)?|[eE]\+\d+)$"  # 7.0, 1.5e3, and R's 1e+05; 1e5 alone may be a hash
SHORTENED = r"^-?\d\.\d\dE\+\d\d$"  # 1.23E+11, as spreadsheets show long numbers


class NotAnId(ValueError):
    """A value that cannot be an id. `row` is its place in the column, from 0."""

    def __init__(self, why: str, row: int) -> None:
        super().__init__(why)
        self.row = row


def normal_ids(column: pa.Array) -> pa.Array:
    """A column of texts or numbers, `(n,)`, as ids: texts of the same length.

    NotAnId, with the row, for an empty or lost value, for a float that is not whole or too large to be exact, and for any
    other type. A text that is a whole float (`7.0`, `1e+05`) becomes a whole number, whatever stands beside it.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        return _whole(column)
    if not is_text(column.type) and not pa.types.is_integer(column.type):
        column = _whole_decimals(column)

    texts = pc.utf8_trim_whitespace(pc.utf8_normalize(column.cast(pa.large_string()).fill_null(""), form="NFC"))
    _refuse(pc.equal(texts, ""), "is empty")
    _refuse(pc.match_substring(texts, "\0"), "{!r} holds a NUL character", texts)  # NumPy would cut it off
    _refuse(pc.is_in(texts, pa.array(LOST, pa.large_string())), "{!r} stands for a lost value", texts)
    if not is_text(column.type):
        return texts

    spaced = pc.match_substring_regex(column, SPACED_QUOTE).fill_null(False)
    _refuse(spaced, "{!r} has a blank before its quote; remove the blank", column)
    _refuse(pc.match_substring_regex(texts, LIST), "{!r} is a list, not one id", texts)
    return _whole_texts(texts)


def whole_number(text: str) -> int:
    """The whole number that an id is, written in plain digits. ValueError for `0x10`, `1_000`, `1e3`, `+5` and the like."""
    if not WHOLE.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is not a whole number in plain digits")
    return int(text)


def normal_id(text: str, known: Container[str]) -> str:
    """One id as a person types it, in the form that it has among the `known` ones, if it is one of them."""
    text = unicodedata.normalize("NFC", text).strip()
    whole, _, fraction = text.partition(".")
    return whole if text not in known and WHOLE.fullmatch(whole) and not fraction.strip("0") else text


def _whole(column: pa.Array) -> pa.Array:
    """Whole floats as texts of whole numbers."""
    power = exact_power(column.type)
    column = column.cast(pa.float64())
    lost = pc.or_kleene(pc.is_null(column), pc.is_nan(column)).fill_null(True)
    _refuse(lost, "is empty (null or NaN)")
    _refuse(
        pc.greater_equal(pc.abs(column), 2**power),  # 2**power itself may stand for the number after it
        f"{{:.0f}} is a float of 2**{power} or more, so its last digits may be lost",
        column,
    )
    _refuse(pc.not_equal(column, pc.floor(column)), "{!r} is not a whole number", column)
    return column.cast(pa.int64()).cast(pa.large_string())


def exact_power(kind: pa.DataType) -> int:
    """Up to which power of 2 a column of that type holds whole numbers exactly, if they are read as floats."""
    return EXACT[kind.bit_width] if pa.types.is_floating(kind) else EXACT[64]


def _whole_texts(texts: pa.Array) -> pa.Array:
    """Texts, each whole float as a whole number, whatever stands beside it; `1.5` may be a version and stays."""
    floats = pc.match_substring_regex(texts, FLOAT)
    if not pc.any(floats).as_py():
        return texts

    shortened = pc.match_substring_regex(texts, SHORTENED)
    _refuse(shortened, "{!r} is a number as spreadsheets shorten it, so its last digits may be lost", texts)
    numbers = pc.if_else(floats, texts, "0").cast(pa.float64())
    whole = pc.and_(floats, pc.equal(numbers, pc.floor(numbers)))
    return pc.if_else(whole, _whole(pc.if_else(whole, numbers, 0.0)), texts)


def _whole_decimals(column: pa.Array) -> pa.Array:
    """Decimals as whole numbers, if they are. NotAnId for any other type."""
    if pa.types.is_decimal(column.type):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            pass
    raise NotAnId(f"holds {column.type}, not texts or numbers", -1)


def _refuse(wrong: pa.Array, why: str, values: pa.Array | None = None) -> None:
    """NotAnId for the first `wrong` value."""
    row = pc.index(wrong, True).as_py()
    if row >= 0:
        raise NotAnId(why if values is None else why.format(values[row].as_py()), row)


def is_text(kind: pa.DataType) -> bool:
    """Whether each cell of a column of that type is a text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
