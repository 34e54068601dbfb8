"""HTML tables for notebooks. They need no pandas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from genrec_bench.core.printable import printable_cell


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]], sentences: Iterable[str] = ()) -> str:
    """A table, and sentences below it. All texts are escaped."""
    head = "".join(f"<th>{_text(cell)}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    below = "".join(f"<p>{_text(sentence)}</p>" for sentence in sentences)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def _text(value: str) -> str:
    return escape(printable_cell(value))
