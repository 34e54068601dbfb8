"""How the command line writes: results go to stdout, in full width unless a screen limits it; `–` means not measured.

Knows nothing of what the values mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

import click

from genrec_bench.core.printable import printable, printable_cell

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNMEASURED = "–"  # noqa: RUF001
STDOUT = 1  # its file descriptor
PIPED_WIDTH = 500  # characters, so that no cell is folded in a pipe


def console() -> Console:
    """Standard output, without markup: brackets in a plugin's name stay."""
    from rich.console import Console

    plain = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    if not plain.is_terminal:
        plain.width = PIPED_WIDTH
    return plain


def table(*columns: str) -> Table:
    """An empty table. A `>` before a column's name aligns it to the right, for numbers."""
    from rich import box
    from rich.table import Table

    class PrintableTable(Table):
        """A table whose cells cannot steer the terminal."""

        def add_row(self, *cells: Any, **looks: Any) -> None:
            safe = (printable_cell(cell) if isinstance(cell, str) else cell for cell in cells)
            super().add_row(*safe, **looks)

    empty = PrintableTable(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        empty.add_column(
            printable_cell(column.lstrip(">")), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    return empty


def fits(rows: Table) -> bool:
    """Whether a table is no wider than the screen."""
    screen = console()
    widest = screen.options.update(width=10 * PIPED_WIDTH)
    return screen.measure(rows, options=widest).maximum <= screen.width


def print_table(rows: Table, title: str = "", caption: str = "") -> None:
    """Print a table between its title and caption, which are not folded to the table's width."""
    if title:
        say(title, style="bold")
    console().print(rows)
    if caption:
        say(caption, style="dim")


def say(text: str, style: str | None = None) -> None:
    """Print text that nothing folds, and that cannot steer the terminal."""
    console().print(printable(text), style=style, soft_wrap=True)


def echo(text: Any, *, err: bool = False) -> None:
    """Print plain text to stdout or stderr, without what would steer the terminal."""
    click.echo(printable(str(text)), err=err)


def show(value: Any, form: str | Callable[[Any], str] = "") -> str:
    """A value in a format or by a function; `–` if it was not measured."""
    if value is None:
        return UNMEASURED
    return form(value) if callable(form) else format(value, form)


_results: TextIO | None = None  # where JSON goes; None: standard output


@contextlib.contextmanager
def stdout_for_json() -> Iterator[None]:
    """Inside, standard output is for `print_json` alone: what anybody else prints there goes to stderr.

    A component may print, and so may the libraries that it uses, also from other languages.
    """
    global _results
    before, descriptor = sys.stdout, None
    _results, sys.stdout = before, sys.stderr
    with contextlib.suppress(OSError, ValueError):  # a stream of a test has no descriptor
        if before.fileno() == STDOUT:
            descriptor = os.dup(STDOUT)
            _results = os.fdopen(descriptor, "w", encoding=before.encoding, errors="replace")
            os.dup2(sys.stderr.fileno(), STDOUT)

    try:
        yield
    finally:
        results, _results, sys.stdout = _results, None, before
        if descriptor is not None:
            os.dup2(descriptor, STDOUT)
            with contextlib.suppress(OSError):  # a closed pipe or a full disk: `print_json` has said so
                results.close()


def print_json(value: Any) -> None:
    """One JSON document on stdout, and nothing else."""
    stream = _results or sys.stdout
    stream.write(printable(json.dumps(value, indent=1, ensure_ascii=False)) + "\n")
    stream.flush()
