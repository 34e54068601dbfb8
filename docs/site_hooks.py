"""What the site shows otherwise than the repository: a link to a board leads to its `index.html`, not to its README.md."""

import re
from typing import Any

LINK = re.compile(r"(\]\([^)]*loo-full[^)]*/)README\.md(?=[)#])")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its links to boards changed."""
    return LINK.sub(r"\1index.html", markdown)
