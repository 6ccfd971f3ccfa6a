"""Heat maps of an inspection as one self-contained HTML page, to project or to print.

Each cell shows its exact value on hover. The page follows the light or dark setting of the reader.
"""

from __future__ import annotations

from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from slotfill.lab.html import printable
from slotfill.lab.inspect.heat_map import color, format_number, scale_colors, top_tags

if TYPE_CHECKING:
    from slotfill.lab.inspect.heat_map import RGB
    from slotfill.lab.inspect.inspection import Inspection, Panel

_MAX_NUMBERS = 16
"""Cells of tables with more columns do not show their numbers."""


def render_page(inspection: Inspection, run: str) -> str:
    """Return the page of an inspection of the run called `run`."""
    figures, links = [], []
    numbered = enumerate(inspection.panels)
    for heading, group in groupby(numbered, key=lambda item: item[1].heading):
        figures.append(f"<h2>{_escape(heading)}</h2>")
        first_figures: dict[str, int] = {}
        for number, panel in group:
            first_figures.setdefault(panel.location or panel.name, number)
            figure = f"{_caption(panel)}{_table(panel, inspection)}"
            figures.append(f'<figure id="f{number}">{figure}</figure>')
        places = [f'<a href="#f{n}">{_escape(text)}</a> ' for text, n in first_figures.items()]
        links.append(f"{_escape(heading)}: {''.join(places)}")
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=_escape(f"{inspection.sentence.text}: {run}"),
        sentence=_sentence(inspection),
        run=_escape(run),
        links="<br>".join(links),
        figures="\n".join(figures),
    )


def _escape(text: str) -> str:
    return escape(printable(text))


def _sentence(inspection: Inspection) -> str:
    """Return the sentence with its slots marked."""
    sentence = inspection.sentence
    html = ""
    for text, name in sentence.split_by_slot():
        text = _escape(text)
        html += f"<mark>{text}<small>{_escape(name)}</small></mark>" if name else text
    return html + (f"<small>{_escape(sentence.intent)}</small>" if sentence.intent else "")


def _caption(panel: Panel) -> str:
    """Return the title, the mean of units, and the color scale."""
    mean = f"<span>mean {format_number(panel.values.mean())}</span>"
    colors = ", ".join(map(_hex, scale_colors(panel)))
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
    heading = ""
    if labelled:
        classes = [' class="long"' if len(name) > 8 else "" for name in names]
        heads = [f"<th{c}>{_escape(name)}</th>" for c, name in zip(classes, names, strict=True)]
        heading = f"<thead><tr><th></th>{''.join(heads)}</tr></thead>"
    rows = []
    for token, values in zip(map(_escape, tokens), panel.values, strict=True):
        row = f'<th title="{token}">{token}</th>'
        if not labelled:
            row += f'<td class="mean">{format_number(values.mean())}</td>'
        for name, value in zip(names, values[columns], strict=True):
            rgb = color(float(value), panel)
            number = format_number(value) if labelled and len(columns) <= _MAX_NUMBERS else ""
            row += (
                f'<td class="{_ink(rgb)}{" number" if number else ""}"'
                f' style="background:{_hex(rgb)}"'
                f' title="{token}, {_escape(name)}: {value:.5g}">{number}</td>'
            )
        rows.append(f"<tr>{row}</tr>")
    return f'<table class="{"labelled" if labelled else "units"}">{heading}{"".join(rows)}</table>'


def _hex(rgb: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _ink(rgb: RGB) -> str:
    """Return the class of text that is readable on a color, `light` or `dark`."""
    red, green, blue = rgb
    return "dark" if 0.3 * red + 0.59 * green + 0.11 * blue > 120 else "light"
