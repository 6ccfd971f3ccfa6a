"""Names in Markdown are shown as they are, whatever renders them."""

from __future__ import annotations

import re
from html import unescape

import pytest
from markdown_it import MarkdownIt

from slotfill import markdown
from slotfill.errors import escape

NAMES = [
    "<img src=x onerror=alert(1)>",
    "<script>a</script>",
    "<https://a.b>",
    "[a](javascript:b) ![c](d) [e][f] [^1]",
    "*a* **b** _c_ __d__ ~~e~~ $f$ `g` ``h`` a_b_c",
    "a\\|<b>|c\\\\|`d`|",
    "&lt;b&gt; &#60;i&#62; R&D",
    "\\<b> \\`c` \\\\",
    "`<b>",
    "https://a.b www.a.b",
    "# a",
    "a\n\n# b\n<b>",
    "\x1b]0;a\x07 \u202eb\u2028c \u200f\u061c",
    "a | b",
    "82.10 ± 0.30** (+0.10, -0.20), <0.0001",
]


def show(text):
    """The tags and the text of Markdown with tables, struck text and HTML, as a reader sees it."""
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    return set(re.findall(r"</?(\w+)", page)), unescape(re.sub("<[^>]*>", "\n", page))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_are_shown_and_format_nothing(name):
    line = escape(" ".join(name.split()))
    tags, shown = show(f"Name: {markdown.plain(name)}")
    assert (tags, shown.strip()) == ({"p"}, f"Name: {line}")
    tags, shown = show(f"Name: {markdown.code(name)}.")
    assert (tags, [each for each in shown.split("\n") if each]) == (
        {"p", "code"},
        ["Name: ", line, "."],
    )


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_in_tables_stay_in_their_cell(name):
    rows = [[markdown.plain(name), "1"], [markdown.code(name), "2"]]
    tags, shown = show(markdown.table(["a", "b"], rows))
    assert tags == {"table", "thead", "tbody", "tr", "th", "td", "code"}
    cells = [each for each in shown.split("\n") if each]
    line = escape(" ".join(name.split()))
    if "\\|" not in name:  # Renderers differ in that, and it is shown as an escape.
        assert cells == ["a", "b", line, "1", line, "2"]
    assert (len(cells), cells[3], cells[5]) == (6, "1", "2")


def test_addresses_are_not_linked():
    for text in ("https://a.b", "www.a.b", "WWW.a.b"):
        assert text not in markdown.plain(text)


def test_an_empty_name_is_code():
    assert show(markdown.code(""))[0] == {"p", "code"}
