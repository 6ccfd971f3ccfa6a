"""Heat maps of an inspection as one HTML page, to project or to print."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from slotfill.lab.html import render_template
from slotfill.lab.inspect.heat_map import color, format_number, scale_colors, shown_columns

if TYPE_CHECKING:
    from slotfill.lab.inspect.heat_map import RGB
    from slotfill.lab.inspect.inspection import Inspection, Panel

_MAX_NUMBERS = 16
"""Cells of tables with more columns do not show their numbers."""


class _Cell(NamedTuple):
    number: str
    title: str
    color: str
    ink: str


class _Row(NamedTuple):
    token: str
    mean: str
    """The mean of its units; empty if the columns have names."""
    cells: list[_Cell]


@dataclass(frozen=True)
class _Figure:
    id: str
    panel: Panel
    mean: str
    colors: list[str]
    headings: list[str]
    """The names of the columns; none for units."""
    rows: list[_Row]


@dataclass(frozen=True)
class _Group:
    figures: list[_Figure]
    links: dict[str, str]
    """The id of the first figure of each layer or part."""


def render_page(inspection: Inspection, run: str) -> str:
    """Return the page of an inspection of the run called `run`."""
    figures = [
        _make_figure(f"f{number}", panel, inspection)
        for number, panel in enumerate(inspection.panels)
    ]
    groups = []
    for heading, members in groupby(figures, key=lambda figure: figure.panel.heading):
        group = _Group(list(members), {})
        for figure in group.figures:
            group.links.setdefault(figure.panel.location or figure.panel.name, figure.id)
        groups.append((heading, group))
    return render_template("inspect/page.html.jinja", inspection=inspection, run=run, groups=groups)


def _make_figure(id: str, panel: Panel, inspection: Inspection) -> _Figure:
    """Return a figure with a row for each token, and a cell for each column.

    Of the tags, those that are among the most probable of some token have a column.
    """
    tokens = inspection.labels
    columns = shown_columns(panel, inspection.tags)
    headings = [panel.columns[column] for column in columns] if panel.columns else []
    names = headings or [f"unit {column + 1}" for column in columns]
    has_numbers = bool(headings) and len(columns) <= _MAX_NUMBERS
    rows = []
    for token, values in zip(tokens, panel.values, strict=True):
        cells = []
        for name, value in zip(names, values[columns], strict=True):
            rgb = color(float(value), panel)
            number = format_number(value) if has_numbers else ""
            cells.append(_Cell(number, f"{token}, {name}: {value:.5g}", _hex(rgb), _ink(rgb)))
        rows.append(
            _Row(token, "" if panel.columns else format_number(panel.summarize(values)), cells)
        )
    mean = format_number(panel.summarize(panel.values)) if panel.kind == "units" else ""
    return _Figure(id, panel, mean, [*map(_hex, scale_colors(panel))], headings, rows)


def _hex(rgb: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _ink(rgb: RGB) -> str:
    """Return the class of text that is readable on a color, `light` or `dark`."""
    red, green, blue = rgb
    return "dark" if 0.3 * red + 0.59 * green + 0.11 * blue > 120 else "light"
