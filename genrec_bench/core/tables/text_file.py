"""Tables in text: CSV, TSV, RecBole's atomic files, and whatever else a separator parts.

pyarrow reads; only when it meets a fault does a second, slow pass over the text find the line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv

from genrec_bench.core.raw_files import BLOCK, check_text, fail, is_packed, open_binary
from genrec_bench.core.tables.files import SAMPLE, Format, TableFile, shown
from genrec_bench.core.tables.table import Table
from genrec_bench.core.tables.times import looks_like_times

SEPARATORS = {"::": "'::'", "\t": "tabs", ";": "';'", ",": "','", "|": "'|'", " ": "blanks"}  # likeliest first
OF_FORMAT = {"csv": ",", "tsv": "\t", "inter": "\t"}
TYPED = re.compile(r".+:(token|token_seq|float|float_seq)")  # how RecBole writes a column
CODES = ("indexer", "codes")  # parts of a run whose tables hold codes
EXCEL = re.compile(r'"?sep=.?"?', re.IGNORECASE)
ONE = "\x1f"  # stands for a separator of several characters, which pyarrow and csv do not take


@dataclass(frozen=True)
class Layout:
    """How a text parts its cells. `quoted`: a cell may stand in double quotes, and then hold separators and line ends."""

    separator: str
    quoted: bool
    header: bool = True

    @property
    def mark(self) -> str:
        """The one character that parts cells, after `_single`."""
        return self.separator if self.separator not in ("::", " ") else ONE


class TextFile(TableFile):
    """Columns of a text file."""

    def __init__(self, path: Path, names: Sequence[str], layout: Layout, part: str) -> None:
        about = "" if layout.separator in (",", "\t") else f"separated by {SEPARATORS[layout.separator]}"
        super().__init__(path, names, about)
        self.layout = layout
        self.hint = f". If its first line is a row, name the columns in their order: {_option(part)}..."

    def sample(self) -> dict[str, list[Any]]:
        rows = [row for row in _head(self.path, self.layout) if len(row) == len(self.names)]
        return {name: [row[i] for row in rows[int(self.layout.header) :]] for i, name in enumerate(self.names)}

    def _read(self, wanted: tuple[str, ...]) -> Table:
        check_text(self.path)
        path, layout, width = self.path, self.layout, len(self.names)
        numbered = [str(self.names.index(name)) for name in wanted]  # by number: names may repeat outside `wanted`
        try:
            read = pyarrow.csv.read_csv(
                _source(path, layout),
                pyarrow.csv.ReadOptions(column_names=[str(i) for i in range(width)], skip_rows=int(layout.header)),
                pyarrow.csv.ParseOptions(
                    delimiter=layout.mark,
                    quote_char='"' if layout.quoted else False,
                    newlines_in_values=layout.quoted,
                ),
                pyarrow.csv.ConvertOptions(
                    include_columns=numbered, column_types=dict.fromkeys(numbered, pa.large_string())
                ),
            )
        except pa.ArrowInvalid as error:
            _find_fault(path, layout, width)
            fail(path, f"cannot be parsed: {error}")

        if layout.quoted and _odd_quotes(path):  # pyarrow reads an unclosed quote to the end of the file
            _find_fault(path, layout, width)
        if not len(read):
            fail(path, "has a header but no rows")
        columns = {name: read.column(i).combine_chunks() for i, name in enumerate(wanted)}
        return Table(path, columns, lambda row: _line_of(path, layout, row + int(layout.header)))


def open_text(path: Path, format: Format, columns: Sequence[str] | None, part: str) -> TextFile:
    """The table in a text. The format names its separator; for `auto`, its first lines show it."""
    first, lines = _first_lines(path)
    if not first.strip():
        check_text(path)
        fail(path, "the first line is blank; it must name the columns", 1)
    _check_comment(path, lines)

    separator = OF_FORMAT.get(format) or sniff(lines)
    layout = Layout(separator, _quoted(separator, first), header=columns is None)
    cells = _first_cells(lines, layout)
    if len(cells) < 2 and (other := sniff(lines)) != separator and other in first:
        fail(
            path,
            f"is separated by {SEPARATORS[other]}, not by {SEPARATORS[separator]}: its first line is {_cut(first)}. Leave "
            f"--set {part}.format={format} out, and it is recognised",
        )
    if not cells:
        next(_records(path, layout))  # says what is wrong with the first line

    if columns is not None:
        _check_columns(path, columns, cells, part)
        return TextFile(path, columns, layout, part)
    names = [cell.strip() for cell in cells]
    if format == "inter" or all(TYPED.fullmatch(name) for name in names):
        names = [name.split(":")[0].strip() for name in names]
    _check_header(path, names, first, part)
    return TextFile(path, names, layout, part)


def sniff(lines: Sequence[str]) -> str:
    """The separator of a table, from its first lines: the likeliest that parts all of them, or else the first, alike."""
    partly = []
    for separator in SEPARATORS:
        layout = Layout(separator, _quoted(separator, lines[0]))
        try:
            widths = [len(row) for row in csv.reader(_single(lines, layout), **_dialect(layout)) if row]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            if len(set(widths)) == 1:
                return separator
            partly.append(separator)
    return partly[0] if partly else ","


def first_words(path: Path) -> list[list[str]]:
    """The words of the first lines, whatever white space parts them."""
    return [line.split() for line in _first_lines(path)[1]]


def only_blanks_part(path: Path) -> list[list[str]]:
    """The words of the first lines, if nothing but blanks parts them; else nothing."""
    _, lines = _first_lines(path)
    _check_comment(path, lines)
    rows = [line.split() for line in lines if line.strip()]
    return rows if lines and sniff(lines) in (" ", ",") and not any("," in line for line in lines) else []


def _check_comment(path: Path, lines: Sequence[str]) -> None:
    """DataError for a first line that is no row and no header: a comment, or what Excel reads."""
    first = lines[0].strip() if lines else ""
    if EXCEL.fullmatch(first):
        fail(path, f"the first line, {first!r}, is for Excel; remove it, and the columns are read", 1)

    mark = first[:1]
    if mark not in ("%", "#") or not mark:
        return
    body = next((line for line in lines if not line.startswith(mark)), "")
    is_header = mark == "#" and re.search(r"\w", first) and _width(first, lines) == _width(body, lines)
    if not is_header:
        advice = f"remove the lines that begin with {mark!r}; if no header is left then, name the columns by an option"
        fail(path, f"the first line is a comment: {_cut(first)}; {advice}", 1)


def _width(line: str, lines: Sequence[str]) -> int:
    """How many cells a line has, parted as the lines that are no comments."""
    layout = Layout(sniff([line for line in lines if line[:1] not in ("%", "#")] or lines), quoted=True)
    return len(_first_cells([line], layout))


def _check_columns(path: Path, columns: Sequence[str], cells: Sequence[str], part: str) -> None:
    """DataError unless `columns` can name what the first line holds."""
    if len(columns) != len(cells):
        fail(
            path,
            f"the first line has {len(cells)} cells, and {_option(part)} names {len(columns)}: {_cut(shown(cells))}",
            1,
        )
    known = {name.lower() for name in columns} & {cell.strip().split(":")[0].lower() for cell in cells}
    if known:
        fail(path, f"the first line is a header ({shown(cells)}); leave {_option(part)}... out", 1)


def _check_header(path: Path, names: Sequence[str], first: str, part: str) -> None:
    """DataError for a first line that is a row, or that leaves a column without a name."""
    if any(_is_value(name) for name in names):
        fail(
            path,
            f"the first line is a row, not a header: {_cut(first)}. Name the columns in their order, such as "
            f"{_option(part)}{','.join(_usual_names(names, part))}",
            1,
        )

    if len(names) > 1 and "" in names:
        fail(
            path,
            f"column {names.index('') + 1} has no name (pandas writes its index so): write the file with index=False, or "
            f"name it; its columns: {shown(names)}",
            1,
        )


def _usual_names(cells: Sequence[str], part: str) -> list[str]:
    """Names that the cells of a row may have, in their order: of interactions, of codes, or of lists (no `part`)."""
    if part in CODES:
        return ["item_id", *(f"code_{level}" for level in range(len(cells) - 1))]

    timed = [looks_like_times([cell]) for cell in cells] if part else [False] * len(cells)
    last = len(cells) - 1 - timed[::-1].index(True) if True in timed else -1
    others = iter(("user_id", "item_id", "rating" if part else "score"))
    return ["timestamp" if at == last else next(others, f"c{at + 1}") for at in range(len(cells))]


def _option(part: str) -> str:
    """How a person names columns."""
    return f"--set {part}.columns=" if part else "--columns "


def _is_value(cell: str) -> bool:
    if looks_like_times([cell]):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return cell.lower() not in ("nan", "inf", "infinity")


def _quoted(separator: str, first: str) -> bool:
    """Whether quotes mean anything: not between tabs and the like, unless the header itself is quoted."""
    cells = first.strip().split(separator)
    return separator in (",", ";", "|") or all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)


def _first_lines(path: Path) -> tuple[str, list[str]]:
    """The first line, and the first lines. DataError if they are not text."""
    with open_binary(path) as file:
        block = file.read(1 << 18)
        block += file.readline() if len(block) == 1 << 18 else b""
    try:
        text = block.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError:
        check_text(path)
        raise
    if "\0" in text:
        check_text(path)
    lines = [line for line in text.splitlines() if line.strip()][:SAMPLE]
    return text.lstrip("\r")[: len(text)].split("\n", 1)[0].rstrip("\r"), lines


def _first_cells(lines: Sequence[str], layout: Layout) -> list[str]:
    """The cells of the first line; none if it cannot be parted so."""
    try:
        return next(csv.reader(_single(lines, layout), **_dialect(layout)), [])
    except csv.Error:
        return []


def _dialect(layout: Layout) -> dict[str, Any]:
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE
    return {"delimiter": layout.mark, "quoting": quoting, "strict": True}


def _single(lines: Sequence[str] | Iterator[str], layout: Layout) -> Iterator[str]:
    """Lines in which one character parts cells: `::` and runs of blanks are replaced."""
    if layout.separator == "::":
        return (line.replace("::", ONE) for line in lines)
    if layout.separator == " ":
        return (re.sub(r"[ \t]+", ONE, line.strip()) + "\n" for line in lines)
    return iter(lines)


def _source(path: Path, layout: Layout) -> Any:
    """What pyarrow reads: the file itself, or its content unpacked, one character between cells."""
    if layout.mark != ONE and not is_packed(path):
        return pa.OSFile(str(path))  # of a path, pyarrow would guess the compression from the suffix
    with open_binary(path) as file:
        content = file.read()
    if layout.separator == "::":
        content = content.replace(b"::", ONE.encode())
    elif layout.separator == " ":
        content = re.sub(rb"[ \t]+", ONE.encode(), re.sub(rb"(?m)^[ \t]+|[ \t]+\r?$", b"", content))
    return io.BytesIO(content)


def _records(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Every record of a text file with the line that it ends on; blank lines are empty records."""
    with open_binary(path) as binary:
        lines = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
        reader = csv.reader(_single(lines, layout), **_dialect(layout))
        ended = 0  # the line on which the last sound record ended
        try:
            for record in reader:
                ended = reader.line_num
                yield ended, [] if record == [""] and layout.mark == ONE else record
        except csv.Error as error:
            open_quote = "unexpected end" in str(error)
            why = "a quote that is opened here is never closed" if open_quote else f"cannot be parsed: {error}"
            fail(path, why, ended + 1 if open_quote else reader.line_num)


def _head(path: Path, layout: Layout) -> list[list[str]]:
    return [record for _, record in islice(_records(path, layout), SAMPLE + 1) if record]


def _odd_quotes(path: Path) -> bool:
    """Whether the number of quotes is odd: then one is never closed."""
    with open_binary(path) as file:
        return sum(block.count(b'"') for block in iter(lambda: file.read(BLOCK), b"")) % 2 == 1


def _find_fault(path: Path, layout: Layout, width: int) -> None:
    """DataError for the first record that is not `width` wide or cannot be parsed, if there is one."""
    for line, record in _records(path, layout):
        if record and len(record) != width:
            fail(path, f"has {len(record)} columns instead of {width}; is the file cut short or garbled?", line)


def _line_of(path: Path, layout: Layout, row: int) -> int | None:
    """The line of the `row`-th record that is not blank."""
    filled = (line for line, record in _records(path, layout) if record)
    return next(islice(filled, row, None), None)


def _cut(text: str) -> str:
    text = text if text.isprintable() else text.replace("\t", "    ")
    return text if len(text) <= 100 else f"{text[:100]} ..."
