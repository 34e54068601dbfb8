"""Examples in docstrings, as code on the site: mkdocstrings takes `>>>` outside a section for a quotation."""

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"(?:^>>> .*\n?)(?:.+\n?)*", re.MULTILINE)
SKIP = re.compile(r"  # doctest: \+SKIP")


class Examples(Extension):
    """Puts each example into a block of code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring is not None:
            text = SKIP.sub("", obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)
