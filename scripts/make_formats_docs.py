"""Write the table and the sections of formats in docs/formats.md from the formats' docstrings.

    python scripts/make_formats_docs.py            write the page
    python scripts/make_formats_docs.py --check    exit 1 if the page is not up to date

The rest of the page, outside of the marks, is written by hand.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path
from textwrap import dedent

from make_results import table

from slotfill.config.registry import FORMATS
from slotfill.data.formats.base import Format

PAGE = Path(__file__).resolve().parent.parent / "docs" / "formats.md"


def render() -> str:
    """Return the table and the sections of all formats."""
    rows, sections = [], []
    for name in FORMATS.names():
        source = FORMATS.part(name)
        part: type[Format] = source.load()
        suffixes = ", ".join(f"`{suffix}`" for suffix in part.suffixes)
        columns = [suffixes, part.detected_by, "yes" if part.is_written() else ""]
        rows.append([f"[`{name}`](#{name})", *columns])
        docstring = ast.get_docstring(source.tree, clean=False) or ""
        sections.append(f"## {name}\n\n{fence(docstring.strip(), name)}\n")
        if source.options:
            options = ", ".join(f"`{option}`" for option in source.options)
            sections.append(f"Options, see [config.md](config.md#formats): {options}.\n")
    head = ["format", "file suffixes", "otherwise detected by", "written"]
    formats = table(head, rows).replace("---:", "---")  # Text, to the left.
    return f"{formats}\n\n" + "\n".join(sections)


def fence(docstring: str, name: str) -> str:
    """Return a docstring with its indented examples as code blocks of the language `name`."""
    lines = re.sub(
        r"^( {4}.*\n(?: {4}.*\n|\n(?= {4}))*)",
        lambda block: f"```{name}\n{dedent(block[1])}```\n",
        f"{docstring}\n",
        flags=re.MULTILINE,
    )
    return lines.rstrip()


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    before, mark, rest = page.partition("<!-- formats -->\n")
    _, end, after = rest.partition("<!-- end of formats -->\n")
    written = f"{before}{mark}\n{render()}\n{end}{after}"
    if arguments.check:
        sys.exit(page != written and f"{PAGE} is not up to date: python {sys.argv[0]}")
    PAGE.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
