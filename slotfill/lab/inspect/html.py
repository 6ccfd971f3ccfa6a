"""Heat maps of an inspection as one page of HTML that needs no other file and no network: figures
to project.

Every cell says its exact value when it is pointed at. The page follows the reader's light or dark
setting, and prints.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len, set_cell_size

from slotfill.lab.inspect.heat_map import colour, number, printable, top_tags

if TYPE_CHECKING:
    from slotfill.lab.inspect.inspection import Inspection, Panel

_STYLE = """
:root { color-scheme: light dark; --ink: #16181d; --paper: #fff; --quiet: #555b66; --line: #c9ced6; --slot: #e6edf7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f2f3f5; --paper: #14161a; --quiet: #b3b9c4; --line: #444a55; --slot: #26344a; }
}
body { margin: 0 auto; max-width: 1320px; padding: 24px 32px; background: var(--paper); color: var(--ink);
  font: 22px/1.4 system-ui, "Segoe UI", "Noto Sans", "Noto Sans CJK TC", "PingFang TC", sans-serif; }
h1 { font-size: 40px; line-height: 2; margin: 0 0 8px; font-weight: 600; overflow-wrap: anywhere; }
h1 mark { background: var(--slot); color: inherit; border-radius: 8px; padding: 4px 10px;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; }
h1 small { font-size: 24px; font-weight: 400; color: var(--quiet); margin-left: 10px; }
h2 { font-size: 32px; margin: 48px 0 0; border-bottom: 2px solid var(--line); }
p, nav { color: var(--quiet); margin: 8px 0; }
nav a { color: inherit; margin-right: 14px; white-space: nowrap; }
figure { margin: 32px 0 0; break-inside: avoid; }
figcaption { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 28px; font-size: 28px; font-weight: 600; }
figcaption span { font-size: 22px; font-weight: 400; color: var(--quiet); }
.scale { display: inline-flex; align-items: center; gap: 10px; margin-left: auto; }
.scale svg { width: 220px; height: 24px; }
figure > svg { display: block; width: 100%; height: auto; margin-top: 10px; fill: currentColor; }
figure text { font-size: 24px; pointer-events: none; }
text.light { fill: #fff; }
text.dark { fill: #16181d; }
rect { shape-rendering: crispEdges; }
rect:hover { stroke: currentColor; stroke-width: 2px; vector-effect: non-scaling-stroke; }
@media print {
  :root { --ink: #000; --paper: #fff; --quiet: #333; --line: #999; --slot: #e6edf7; }
  body { max-width: none; padding: 0; font-size: 13px; }
  h1 { font-size: 24px; }
  h1 small, .scale, figcaption span { font-size: 13px; }
  h2 { font-size: 20px; margin-top: 24px; break-after: avoid; }
  figure { margin-top: 16px; }
  figcaption { font-size: 16px; }
  .scale svg { width: 140px; height: 14px; }
  nav { display: none; }
}
"""

_WIDTH = 1256
_LABEL = 230
_MEAN = 84
_ROW = 48
_WIDEST = 110
"""How wide a labelled cell may be; units fill the row."""


def render_page(inspection: Inspection, run: str) -> str:
    """Return the page; `run` is the name of the run that was looked into."""
    text = escape(printable(inspection.sentence.text))
    body: list[str] = []
    links: list[str] = []
    places = ""
    for number_of_figure, panel in enumerate(inspection.panels):
        if panel.heading != places.partition("|")[0]:
            body.append(f"<h2>{escape(panel.heading)}</h2>")
            links.append(
                f"<br>{escape(panel.heading)}: " if links else f"{escape(panel.heading)}: "
            )
        if (here := f"{panel.heading}|{panel.place or panel.name}") != places:
            links.append(f'<a href="#f{number_of_figure}">{escape(panel.place or panel.name)}</a> ')
            places = here
        body.append(
            "<figure"
            f' id="f{number_of_figure}">{_caption(panel)}{_table(panel, inspection)}</figure>'
        )
    return "\n".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text}: {escape(run)}</title>",
            f"<style>{_STYLE}</style>\n</head>\n<body>",
            f"<h1>{_sentence(inspection)}</h1>",
            f"<p>What goes on in the run {escape(run)} as it reads this: a row for each token.</p>",
            f"<nav>{''.join(links)}</nav>",
            *body,
            "</body>\n</html>\n",
        )
    )


def _sentence(inspection: Inspection) -> str:
    sentence = inspection.sentence
    found, done = "", 0
    for slot in sentence.slots or ():
        start, end = sentence.span(slot)
        value = escape(printable(sentence.text[start:end]))
        found += f"{escape(printable(sentence.text[done:start]))}<mark>{value}<small>{escape(slot.name)}</small></mark>"
        done = end
    intent = f"<small>{escape(printable(sentence.intent))}</small>" if sentence.intent else ""
    return found + escape(printable(sentence.text[done:])) + intent


def _caption(panel: Panel) -> str:
    """Return the title, the mean of units, and the scale of the colours with its numbers."""
    mean = f"<span>mean {number(panel.values.mean())}</span>" if panel.kind == "units" else ""
    steps = enumerate(np.linspace(panel.low, panel.high, 44))
    bar = "".join(
        f'<rect x="{x}" width="1.1" height="1" fill="{_hex(value, panel)}"/>' for x, value in steps
    )
    return (
        f'<figcaption>{escape(panel.title)}{mean}<span class="scale">{panel.low:g}<svg viewBox="0 0'
        ' 44 5" preserveAspectRatio="none"><g transform="scale(1'
        f' 5)">{bar}</g></svg>{panel.high:g}</span></figcaption>'
    )


def _table(panel: Panel, inspection: Inspection) -> str:
    """Return a row for each token: its label, the mean of units, and a cell for each column.

    Of the tags, those that are top_tags at some token have a column.
    """
    labels = [printable(token) for token in inspection.sentence.tokens]
    columns = list(range(panel.values.shape[1]))
    if panel.kind == "tags":
        chosen = inspection.tags if panel.name == "marginals" else [""] * len(labels)
        columns = sorted(
            {column for token, tag in enumerate(chosen) for column in top_tags(panel, token, tag)}
        )
    heads = (
        [_short(printable(panel.columns[column]), 20) for column in columns]
        if panel.columns
        else []
    )
    start = _LABEL if heads else _LABEL + _MEAN
    size = (_WIDTH - start) / max(1, len(columns))
    row, top = float(_ROW), 0.0
    parts = []
    if heads:
        widest = max(map(cell_len, heads))
        slanted = widest * 13 > min(size, _WIDEST)
        # The last slanted label needs room to its right, and all need room between them.
        size = min(_WIDEST, (_WIDTH - start - slanted * widest * 10) / len(columns))
        row, top = min(row, max(size, 28)), 36.0 + slanted * widest * (9 if size > 40 else 11)
        turn = (" rotate(-40)" if size > 40 else " rotate(-65)") if slanted else ""
        style = (
            f'text-anchor="{"start" if slanted else "middle"}"'
            f' style="font-size:{min(24, size * 0.8):.0f}px"'
        )
        for place, head in enumerate(heads):
            where = f"translate({start + (place + 0.5) * size:.1f} {top - 12:.1f}){turn}"
            parts.append(f'<text transform="{where}" {style}>{escape(head)}</text>')
    for token, values in enumerate(panel.values):
        y = top + token * row
        middle = y + row / 2 + 7
        label = f"<title>{escape(labels[token])}</title>{escape(_short(labels[token], 15))}"
        parts.append(f'<text x="{_LABEL - 14}" y="{middle:.1f}" text-anchor="end">{label}</text>')
        if not heads:
            parts.append(
                f'<text x="{start - 14}" y="{middle:.1f}"'
                f' text-anchor="end">{number(values.mean())}</text>'
            )
        parts.append(f'<g transform="translate({start} {y:.1f})">')
        for place, column in enumerate(columns):
            what = escape(printable(panel.columns[column])) if heads else f"unit {column + 1}"
            parts.append(
                f'<rect x="{place * size:.2f}" width="{size - (2 if heads else -0.3):.2f}"'
                f' height="{row - 3:.1f}"'
                f' fill="{_hex(values[column], panel)}"><title>{escape(labels[token])}, {what}:'
                f" {values[column]:.5g}</title></rect>"
            )
            if heads and size >= 60:
                parts.append(
                    f'<text x="{(place + 0.5) * size:.1f}" y="{row / 2 + 7:.1f}"'
                    ' text-anchor="middle"'
                    f' class="{_ink(values[column], panel)}">{number(values[column])}</text>'
                )
        parts.append("</g>")
    height = top + len(labels) * row
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img">{"".join(parts)}</svg>'


def _hex(value: float, panel: Panel) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour(float(value), panel))


def _ink(value: float, panel: Panel) -> str:
    """Return which of the classes `light` and `dark` can be read on the colour of `value`."""
    red, green, blue = colour(float(value), panel)
    return "dark" if 0.3 * red + 0.59 * green + 0.11 * blue > 120 else "light"


def _short(label: str, size: int) -> str:
    return label if cell_len(label) <= size else set_cell_size(label, size - 1).rstrip() + "…"
