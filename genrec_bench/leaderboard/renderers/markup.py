"""The pages' markup as Jinja2 templates. Every value is escaped, so what a record says is text and never markup."""

from __future__ import annotations

import functools
import html
import re
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from genrec_bench.core.printable import printable

PACKAGE = "genrec_bench.leaderboard.renderers"


def render(template: str, **values: Any) -> Markup:
    """A template filled in. Errors are programming errors: a name that is missing, a template that is not there."""
    return Markup(_environment().get_template(template).render(**values))


def static(name: str) -> Markup:
    """One of our own style sheets or scripts, for a page to hold unescaped."""
    return Markup(resources.files(PACKAGE).joinpath("templates", name).read_text(encoding="utf-8"))


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(PACKAGE),
        autoescape=True,
        finalize=_escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["emphasised"] = _emphasised
    environment.filters["unbroken"] = _unbroken
    return environment


def _escaped(value: Any) -> Markup:
    """A value as markup. Quotes are spelled as Python's own `html.escape` spells them, `&quot;` and `&#x27;`."""
    return value if isinstance(value, Markup) else Markup(html.escape(printable(str(value))))


def _emphasised(sentence: str) -> Markup:
    """A sentence with its Markdown for emphasis and code as HTML."""
    text = re.sub(r"\*([\w-]+)\*", r"<em>\1</em>", html.escape(printable(sentence)))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", text))


def _unbroken(sentence: str) -> Markup:
    """A sentence in which no line ends between a number and its sign: `15 %`, `p = 0.23`."""
    spaces = r"(?<=\d) (?=%)|(?<=\bp) (?=[=<])|(?<=[=<]) (?=\d)"
    text = re.sub(spaces, "\N{NO-BREAK SPACE}", printable(sentence))
    return Markup(html.escape(text))
