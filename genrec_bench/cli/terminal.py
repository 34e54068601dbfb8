"""How the command line writes: results to stdout, at full width when nobody's screen limits it; `–` for the unmeasured.

Knows nothing of what the values mean.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNMEASURED = "–"  # noqa: RUF001
PIPED_WIDTH = 500  # characters; tables take what they need, so a pipe gets no folded cells


def console() -> Console:
    """Standard output, without markup: a plugin's name in brackets is a name."""
    from rich.console import Console

    plain = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    if not plain.is_terminal:
        plain.width = PIPED_WIDTH
    return plain


def table(*columns: str) -> Table:
    """An empty table; a column whose name begins with `>` is numbers, set to the right."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        made.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return made


def print_table(made: Table, title: str = "", caption: str = "") -> None:
    """Print a table below its title and above its caption; neither is folded to the table's width."""
    screen = console()
    if title:
        screen.print(title, style="bold", soft_wrap=True)
    screen.print(made)
    if caption:
        screen.print(caption, style="dim", soft_wrap=True)


def show(value: Any, form: str | Callable[[Any], str] = "") -> str:
    """A value by a format or a function, `–` if nobody measured it."""
    if value is None:
        return UNMEASURED
    return form(value) if callable(form) else format(value, form)


def print_json(value: Any) -> None:
    """One JSON document on stdout, and nothing else."""
    print(json.dumps(value, indent=1, ensure_ascii=False))
