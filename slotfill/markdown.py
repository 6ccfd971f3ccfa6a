"""Markdown with names from files: they are shown as they are, and format and link nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from slotfill.errors import escape

_ACTIVE = re.compile(
    r"[\\`*\[~$]|<(?=[a-z/!?])|&(?=[a-z#])|(?<![^\W_])_|_(?![^\W_])|(?<=:)/(?=/)|(?<=www)\.", re.I
)
"""What begins formatting, a link, HTML or a formula; an underscore in a word does not."""


def plain(text: str) -> str:
    """Return `text` in one line, with backslashes before what Markdown would not show."""
    return _ACTIVE.sub(r"\\\g<0>", escape(" ".join(text.split())))


def code(text: str) -> str:
    """Return `text` in one line as code, between more backticks than it has in a row."""
    line = escape(" ".join(text.split())) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if len(fence) > 1 else ""
    return f"{fence}{space}{line}{space}{fence}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells in Markdown; all columns but the first are of numbers."""
    marks = ["---", *["---:"] * (len(head) - 1)]
    # Renderers differ in what a bar after two backslashes is.
    cells = [
        [re.sub(r"(?<=\\)\|", r"\\u007c", cell).replace("|", r"\|") for cell in row]
        for row in (head, marks, *rows)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
