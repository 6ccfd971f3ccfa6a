"""Heat maps of an inspection as one self-contained HTML page, to project or to print.

Each cell shows its exact value on hover. The page follows the light or dark setting of the reader.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from slotfill.lab.inspect.heat_map import anchors, color, format_number, printable, top_tags

if TYPE_CHECKING:
    from slotfill.lab.inspect.heat_map import RGB
    from slotfill.lab.inspect.inspection import Inspection, Panel

_STYLE = """
:root { color-scheme: light dark; print-color-adjust: exact; font-size: 22px;
  --ink: #16181d; --paper: #fff; --quiet: #555b66; --line: #c9ced6; --slot: #e6edf7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f2f3f5; --paper: #14161a; --quiet: #b3b9c4; --line: #444a55; --slot: #26344a; }
}
body { margin: 0 auto; max-width: 60rem; padding: 1rem 1.5rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.4 system-ui, sans-serif; }
h1 { font-size: 1.8rem; line-height: 2; margin: 0; overflow-wrap: anywhere; }
h1 mark { background: var(--slot); color: inherit; border-radius: 0.4rem; padding: 0.2rem 0.4rem;
  box-decoration-break: clone; }
h1 small { font-size: 1.1rem; font-weight: 400; color: var(--quiet); margin-left: 0.4rem; }
h2 { font-size: 1.5rem; margin: 2rem 0 0; border-bottom: 2px solid var(--line);
  break-after: avoid; }
p, nav { color: var(--quiet); margin: 0.4rem 0; }
nav a { color: inherit; margin-right: 0.6rem; white-space: nowrap; }
figure { margin: 1.5rem 0 0; break-inside: avoid; }
figcaption { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0.2rem 1.3rem;
  font-size: 1.3rem; font-weight: 600; }
figcaption span { font-size: 1rem; font-weight: 400; color: var(--quiet); }
.scale { margin-left: auto; }
.scale i { display: inline-block; width: 10rem; height: 1rem; margin: 0 0.5rem; }
table { border-collapse: collapse; margin-top: 0.5rem; line-height: 1.2; }
.units { table-layout: fixed; width: 100%; }
th { width: 10rem; max-width: 10rem; padding: 0 0.7rem 0 0; font-weight: 400; text-align: right;
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
thead th { width: auto; max-width: none; padding: 0.3rem; vertical-align: bottom;
  text-align: center; }
thead th.long { writing-mode: vertical-rl; }
td { height: 2rem; padding: 0; text-align: center; border-bottom: 3px solid var(--paper); }
td.mean { width: 4rem; }
.labelled td { min-width: 1rem; border-right: 2px solid var(--paper); }
.labelled td.number { min-width: 4rem; }
.light { color: #fff; }
.dark { color: #16181d; }
td[title]:hover { outline: 2px solid var(--ink); }
@media print {
  :root { font-size: 13px; --ink: #000; --paper: #fff; --quiet: #333; --line: #999; }
  body { max-width: none; padding: 0; }
  nav { display: none; }
}
"""

_MAX_NUMBERS = 16
"""Cells of tables with more columns do not show their numbers."""


def render_page(inspection: Inspection, run: str) -> str:
    """Return the page of an inspection of the run called `run`."""
    body: list[str] = []
    links: list[str] = []
    heading = link = ""
    for number, panel in enumerate(inspection.panels):
        if panel.heading != heading:
            heading = panel.heading
            body.append(f"<h2>{_escape(heading)}</h2>")
            links.append(f"{'<br>' if links else ''}{_escape(heading)}: ")
        location = panel.location or panel.name
        if f"{heading} {location}" != link:
            link = f"{heading} {location}"
            links.append(f'<a href="#f{number}">{_escape(location)}</a> ')
        figure = f"{_caption(panel)}{_table(panel, inspection)}"
        body.append(f'<figure id="f{number}">{figure}</figure>')
    content = "\n".join(body)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_escape(inspection.sentence.text)}: {_escape(run)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_sentence(inspection)}</h1>
<p>Activations of the run {_escape(run)} for this sentence, a row for each token.</p>
<nav>{"".join(links)}</nav>
{content}
</body>
</html>
"""


def _escape(text: str) -> str:
    return escape(printable(text))


def _sentence(inspection: Inspection) -> str:
    """Return the sentence with its slots marked."""
    sentence = inspection.sentence
    html = ""
    for text, name in sentence.pieces():
        text = _escape(text)
        html += f"<mark>{text}<small>{_escape(name)}</small></mark>" if name else text
    return html + (f"<small>{_escape(sentence.intent)}</small>" if sentence.intent else "")


def _caption(panel: Panel) -> str:
    """Return the title, the mean of units, and the color scale."""
    mean = f"<span>mean {format_number(panel.values.mean())}</span>"
    colors = ", ".join(map(_hex, anchors(panel)))
    bar = f'<i style="background: linear-gradient(to right, {colors})"></i>'
    return (
        f"<figcaption>{_escape(panel.title)}{mean if panel.kind == 'units' else ''}"
        f'<span class="scale">{panel.low:g}{bar}{panel.high:g}</span></figcaption>'
    )


def _table(panel: Panel, inspection: Inspection) -> str:
    """Return a row for each token: its label, the mean of units, and a cell for each column.

    Of the tags, those that are among the most probable of some token have a column.
    """
    tokens = inspection.sentence.tokens
    columns = list(range(panel.values.shape[1]))
    if panel.kind == "tags":
        predicted = inspection.tags if panel.name == "marginals" else [""] * len(tokens)
        shown = (top_tags(panel, token, tag) for token, tag in enumerate(predicted))
        columns = sorted(set().union(*shown))
    labelled = bool(panel.columns)
    names = [panel.columns[column] if labelled else f"unit {column + 1}" for column in columns]
    rows = []
    if labelled:
        heads = ["<th></th>"]
        for name in names:
            style = ' class="long"' if len(name) > 8 else ""
            heads.append(f"<th{style}>{_escape(name)}</th>")
        rows.append(f"<thead><tr>{''.join(heads)}</tr></thead>")
    for token, values in zip(tokens, panel.values, strict=True):
        cells = [f'<th title="{_escape(token)}">{_escape(token)}</th>']
        if not labelled:
            cells.append(f'<td class="mean">{format_number(values.mean())}</td>')
        for name, value in zip(names, values[columns], strict=True):
            rgb = color(float(value), panel)
            title = f"{_escape(token)}, {_escape(name)}: {value:.5g}"
            number = format_number(value) if labelled and len(columns) <= _MAX_NUMBERS else ""
            cells.append(
                f'<td class="{_ink(rgb)}{" number" if number else ""}"'
                f' style="background:{_hex(rgb)}" title="{title}">{number}</td>'
            )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="{"labelled" if labelled else "units"}">{"".join(rows)}</table>'


def _hex(rgb: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _ink(rgb: RGB) -> str:
    """Return the class of text that is readable on a color, `light` or `dark`."""
    red, green, blue = rgb
    return "dark" if 0.3 * red + 0.59 * green + 0.11 * blue > 120 else "light"
