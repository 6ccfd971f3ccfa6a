"""HTML pages that load nothing from elsewhere, all with the design of base.html.jinja."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from slotfill.errors import format_count
from slotfill.version import __version__

if TYPE_CHECKING:
    from markupsafe import Markup


_HERE = Path(__file__).parent


def render_template(name: str, **values: object) -> str:
    """Return the page of a template, such as `report/page.html.jinja`, or `serve/docs.html.jinja`.

    It is searched in this package, then from `slotfill` down. A template extends
    `base.html.jinja` and fills its blocks `title`, `style`, `content` and `script`. The filter
    `thousands` writes 1234 as 1,234, `count_of("slot")` as 1,234 slots; `breakable` lets a line
    break after the dots, underscores and # of a name.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([_HERE, _HERE.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters |= {
        "breakable": breakable,
        "count_of": format_count,
        "thousands": "{:,}".format,
    }
    today = datetime.now(timezone.utc).date().isoformat()
    return environment.get_template(name).render(version=__version__, today=today, **values)


def printable(text: str) -> str:
    """Return `text` with a space for each white space, and without control characters."""
    spaced = "".join(" " if character.isspace() else character for character in text)
    return "".join(filter(str.isprintable, spaced))


def breakable(name: str) -> Markup:
    """Return `name` as HTML in which a line can break after dots, underscores and #."""
    from markupsafe import Markup, escape

    parts = re.split(r"(?<=[._#])(?=\w)", printable(name))
    return Markup("<wbr>").join(map(escape, parts))
