"""Text from elsewhere, safe to show: what would steer a terminal or turn the reading direction is spelled out."""

from __future__ import annotations

import re

STEERING = "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, escape among them; without tab and line feed
TURNING = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"  # marks of direction, separators, a byte order mark
HIDDEN = re.compile(f"[{STEERING}{TURNING}\ud800-\udfff]")
HIDDEN_IN_CELLS = re.compile(f"[\t\n{STEERING}{TURNING}\ud800-\udfff]")

LONGEST = 1_800  # characters of an error


def printable(text: str) -> str:
    r"""A text of one or more lines with control and direction characters spelled as `\u001b`, which JSON reads back."""
    return HIDDEN.sub(_spelled, text)


def one_line(text: str) -> str:
    """The same for an error, which is one line whatever a plugin or a file put into it; a long one loses its middle."""
    line = printable(re.sub(r"\s*\n\s*", " ", text))
    return line if len(line) <= LONGEST else f"{line[:1000]} ... {line[-500:]}"


def printable_cell(text: str) -> str:
    """The same for a cell of a table, which holds one line: tabs and line feeds are spelled out too."""
    return HIDDEN_IN_CELLS.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
