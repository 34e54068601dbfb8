"""Times as people write them, in nanoseconds since 1970: dates, dates with a clock, and seconds with a fraction.

Knows texts and numbers, not columns. What may mean two moments is refused, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genrec_bench.core.arrays import Bool, Int64
from genrec_bench.core.ids import LOST

SINCE = "nanoseconds since 1970"  # the unit of times that are written as dates
RANGE = "not a time between the years 1678 and 2262"
BLOCK = 1 << 18  # rows that are parsed at once, so that memory stays small
NEARLY_ALL = 0.9  # of a column's first values, for it to look like a time
EPOCH = (6.3e8, 3e9)  # seconds of 1990 to 2065
SECONDS = r"^(?P<s>\d{9,10})(?:\.(?P<f>\d{0,9}))?$"
DAY_NUMBER = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")  # 20140128
MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]

_CLOCK = r"(?P<h>\d{1,2}):(?P<mi>\d\d)(?::(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?)?"
_ZONE = r"(?P<z>[Zz]|(?:UTC|GMT|utc|gmt)?[+-]\d\d(?::?\d\d)?|UTC|GMT|utc|gmt)(?: \([A-Za-z ]+\))?"
_AFTER = rf"(?:(?:[Tt:]|,? +){_CLOCK}(?: ?(?P<half>[AaPp][Mm]))?(?: ?{_ZONE})?)?$"  # what may follow a date
_MONTH = r"(?P<name>[A-Za-z]{3,9})\.?"
_WEEKDAY = r"^(?:(?:[Mm]on|[Tt]ue|[Ww]ed|[Tt]hu|[Ff]ri|[Ss]at|[Ss]un)[a-z]*,? +)?"
UNDECIDED = r"^(?P<a>\d{1,2})[-/. ](?P<b>\d{1,2})(?:[-/.]|, ?)(?P<y>\d{4})" + _AFTER  # 28.01.2014, or 01/28/2014
FORMS = {  # what a time is called whose text looks so
    r"^(?P<y>\d{4})[-/.](?P<mo>\d{1,2})[-/.](?P<d>\d{1,2})" + _AFTER: "an ISO time",
    rf"^(?P<y>\d{{4}})(?P<mo>\d\d)(?P<d>\d\d)[Tt ]{_CLOCK}(?: ?{_ZONE})?$": "a time",
    r"^(?P<y>\d{4})(?P<mo>\d\d)(?P<d>\d\d)[Tt](?P<h>\d\d)(?P<mi>\d\d)(?P<s>\d\d)(?: ?(?P<z>[Zz]))?$": "a time",
    UNDECIDED: "a date",
    rf"{_WEEKDAY}(?P<d>\d{{1,2}})[-/ ]{_MONTH}(?:[-/ ]|, )(?P<y>\d{{4}}){_AFTER}": "a date",
    rf"{_WEEKDAY}{_MONTH} +(?P<d>\d{{1,2}}),? +(?P<y>\d{{4}}){_AFTER}": "a date",
    rf"{_WEEKDAY}{_MONTH} +(?P<d>\d{{1,2}}) +{_CLOCK}(?: +{_ZONE})? +(?P<y>\d{{4}})$": "a time",
}


class NotATime(ValueError):
    """A value that is no time. `row` is its place in the column, from 0; -1 means the column as a whole."""

    def __init__(self, what: str, row: int) -> None:
        super().__init__(what)
        self.row = row


@dataclass(frozen=True)
class _Moments:
    """Times of several texts: seconds since 1970 and nanoseconds, and whether each is sound and names its zone."""

    seconds: Int64
    nanoseconds: Int64
    sound: Bool
    zoned: Bool


def form_of(text: str) -> str:
    """The pattern of a date that is written like `text`; empty if it is none."""
    return next((form for form in FORMS if re.match(form, text, re.ASCII)), "")


def read_dates(texts: pa.Array, form: str) -> tuple[Int64, str]:
    """Texts of one `form`, `(n,)`, in nanoseconds since 1970, and their unit in words.

    NotATime for a text of another form, a day that no month has, zones that only some texts name, and for days that
    cannot be told from months.
    """
    first, unit = texts[0].as_py(), SINCE
    _check_form(texts, form)
    days_first = None
    if form == UNDECIDED:
        days_first = _days_first(texts)
        unit += f", from dates with the {'day' if days_first else 'month'} first"

    read, start = [], 0
    zoned = bool(_moments(texts[:1], form, days_first).zoned[0])
    for block in _blocks(texts):
        moments = _of_unique(block, lambda unique: _moments(unique, form, days_first))
        if not moments.sound.all():
            raise NotATime(RANGE, start + int(np.argmin(moments.sound)))
        if (moments.zoned != zoned).any():
            row = start + int(np.argmax(moments.zoned != zoned))
            raise NotATime(f"{'without' if zoned else 'with'} a time zone, unlike {first!r} in the first row", row)
        read.append(moments.seconds * 10**9 + moments.nanoseconds)
        start += len(block)
    return np.concatenate(read), unit + ", UTC" * zoned


def read_seconds(column: pa.Array) -> Int64 | None:
    """Seconds since 1970 with a fraction, `(n,)`, in nanoseconds; None if the column is anything else, or has no fraction."""
    if column.null_count or not len(column):
        return None
    if not (pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        return _seconds_of_texts(column) if pa.types.is_large_string(column.type) else None
    if pa.types.is_floating(column.type) and column.type.bit_width < 64:
        return None  # too coarse to hold seconds

    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if not ((values > EPOCH[0]) & (values < EPOCH[1])).all() or (values == np.floor(values)).all():
        return None
    whole = np.floor(values)
    micro = np.rint((values - whole) * 1e6)
    exact = whole + micro / 1e6 == values  # the fewest digits that give the float again, as in its text
    fine = np.where(exact, micro * 1000, np.rint((values - whole) * 1e7) * 100)
    return cast(Int64, whole.astype(np.int64) * 10**9 + fine.astype(np.int64))


def looks_like_times(values: Sequence[Any]) -> bool:
    """Whether nearly all of a column's first values are dates, or numbers that count since 1970 for 1990 to 2065."""
    texts = [str(value).strip() for value in values if value is not None]
    texts = [text for text in texts if text and text not in LOST and text not in "?-"]
    return bool(texts) and sum(map(_looks_like_time, texts)) >= NEARLY_ALL * len(texts)


def _looks_like_time(text: str) -> bool:
    if form_of(text) or DAY_NUMBER.fullmatch(text):
        return True
    try:
        number = float(text)
    except ValueError:
        return False
    units = (1, 1e3, 1e6, 1e9) if number == number // 1 else (1,)
    return any(EPOCH[0] <= number / unit <= EPOCH[1] for unit in units)


def _seconds_of_texts(texts: pa.Array) -> Int64 | None:
    """The same of texts, to the last digit."""
    if not pc.any(pc.match_substring(texts, ".")).as_py():
        return None
    if not pc.all(pc.match_substring_regex(texts, SECONDS)).as_py():
        return None

    read = []
    for block in _blocks(texts):
        parts = pc.extract_regex(block, SECONDS)
        seconds = parts.field("s").cast(pa.int64()).to_numpy(zero_copy_only=False)
        if not ((seconds > EPOCH[0]) & (seconds < EPOCH[1])).all():
            return None
        read.append(seconds * 10**9 + _nanoseconds(parts.field("f")))
    moments = np.concatenate(read)
    return moments if (moments % 10**9).any() else None


def _blocks(texts: pa.Array) -> Iterator[pa.Array]:
    return (texts.slice(start, BLOCK) for start in range(0, len(texts), BLOCK))


def _of_unique(texts: pa.Array, parse: Callable[[pa.Array], _Moments]) -> _Moments:
    """What `parse` gives, each different text parsed once."""
    coded = texts.dictionary_encode()
    rows, unique = coded.indices.to_numpy(), parse(coded.dictionary)
    return _Moments(unique.seconds[rows], unique.nanoseconds[rows], unique.sound[rows], unique.zoned[rows])


def _check_form(texts: pa.Array, form: str) -> None:
    """NotATime for the first text that is not of the form."""
    fits = pc.match_substring_regex(texts, form).fill_null(False)
    row = int(pc.index(fits, False).as_py())
    if row >= 0:
        raise NotATime(f"not {FORMS[form]}, as {texts[0].as_py()!r} in the first row is", row)


def _days_first(texts: pa.Array) -> bool:
    """Whether dates such as 28/01/2014 begin with the day: a number above 12 shows it. NotATime if none or both do."""
    found: dict[str, tuple[int, str]] = {}  # the first row in which a number is no month
    start = 0
    for block in _blocks(texts):
        parts = pc.extract_regex(block, UNDECIDED)
        for place in ("a", "b"):
            row = int(pc.index(pc.greater(parts.field(place).cast(pa.int64()), 12), True).as_py())
            if row >= 0:
                found.setdefault(place, (start + row, block[row].as_py()))
        start += len(block)

    if len(found) == 2:
        (row, _), (_, other) = sorted(found.values(), reverse=True)
        raise NotATime(f"written with day and month the other way round than {other!r}", row)
    if not found:
        raise NotATime("may begin with the day or with the month, and no row shows which; write it as 2014-01-28", -1)
    return "a" in found


def _moments(texts: pa.Array, form: str, days_first: bool | None) -> _Moments:
    """Texts of one form as times."""
    parts = pc.extract_regex(texts, form)
    names = {field.name for field in parts.type}

    def number(name: str, otherwise: int = 0) -> Int64:
        if name not in names:
            return np.full(len(texts), otherwise, np.int64)
        column = parts.field(name)
        return _numbers(pc.if_else(pc.equal(column, ""), str(otherwise), column))

    def text(name: str) -> pa.Array:
        return parts.field(name) if name in names else pa.array([""] * len(texts), pa.large_string())

    month, day = number("mo"), number("d")
    if days_first is not None:
        month, day = (number("b"), number("a")) if days_first else (number("a"), number("b"))
    elif "name" in names:
        month = _month_numbers(text("name"))

    hour, half, zone = number("h"), pc.utf8_lower(text("half")), text("z")
    hour, clock_sound = _hours(hour, half)
    offset, offset_sound = _offsets(zone)
    days, day_sound = _days(number("y"), month, day)
    minute, second = number("mi"), number("s")
    sound = day_sound & clock_sound & offset_sound & (hour < 24) & (minute < 60) & (second < 60)
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset

    inside = np.abs(seconds) < 2**63 // 10**9
    return _Moments(seconds, _nanoseconds(text("f")), sound & inside, _flags(pc.not_equal(zone, "")))


def _days(year: Int64, month: Int64, day: Int64) -> tuple[Int64, Bool]:
    """Days since 1970, and whether the month has that day."""
    sound = (month >= 1) & (month <= 12) & (day >= 1)
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    begins, ends = (at.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) for at in (months, months + 1))
    return begins + day - 1, sound & (day <= ends - begins)


def _hours(hour: Int64, half: pa.Array) -> tuple[Int64, Bool]:
    """Hours of 24, and whether those with `am` or `pm` are hours of 12."""
    marked, late = _flags(pc.not_equal(half, "")), _flags(pc.equal(half, "pm"))
    return np.where(marked, hour % 12 + 12 * late, hour), ~marked | ((hour >= 1) & (hour <= 12))


def _offsets(zone: pa.Array) -> tuple[Int64, Bool]:
    """Seconds that zones such as `+02` are ahead of UTC, and whether they may be."""
    parts = pc.extract_regex(zone, r"^[A-Za-z]*(?P<sign>[-+]?)(?P<h>\d?\d?):?(?P<m>\d?\d?)$")
    hours, minutes = (_numbers(pc.if_else(pc.equal(parts.field(name), ""), "0", parts.field(name))) for name in "hm")
    sign = np.where(_flags(pc.equal(parts.field("sign"), "-")), -1, 1)
    return sign * (hours * 3600 + minutes * 60), (hours < 24) & (minutes < 60)


def _month_numbers(names: pa.Array) -> Int64:
    """The months that names stand for, in full or short; 0 for other words."""
    words = pc.utf8_lower(names)
    known: Mapping[str, int] = {
        word: number
        for number, name in enumerate(MONTHS, 1)
        for word in (name, name[:3], "sept" if number == 9 else name)
    }
    places = pc.index_in(words, pa.array(list(known), pa.large_string())).fill_null(len(known)).to_numpy()
    return cast(Int64, np.array([*known.values(), 0], np.int64)[places])


def _nanoseconds(fractions: pa.Array) -> Int64:
    """Digits behind a point as nanoseconds."""
    return _numbers(pc.utf8_rpad(fractions, 9, "0"))


def _numbers(column: pa.Array) -> Int64:
    return cast(Int64, column.cast(pa.int64()).to_numpy(zero_copy_only=False))


def _flags(column: pa.Array) -> Bool:
    return cast(Bool, column.to_numpy(zero_copy_only=False))
