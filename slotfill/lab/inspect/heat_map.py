"""Heat maps of an inspection as lines of text: cells of colour on a terminal, shades in characters
elsewhere.

A cell sets its own background, and everything else is in the terminal's own colour, so that it is
read on a dark and on a light terminal. Columns that do not fit are averaged with their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.color import Color
from rich.style import Style
from rich.text import Text

if TYPE_CHECKING:
    from slotfill.data.sentence import Sentence
    from slotfill.lab.inspect.inspection import Inspection, Panel

RISING = ((38, 36, 84), (46, 84, 148), (32, 138, 150), (92, 184, 116), (246, 226, 94))
"""Colours from 0 upwards, from dark to light."""

DIVERGING = ((14, 72, 148), (116, 170, 214), (236, 234, 230), (234, 150, 88), (166, 50, 8))
"""Colours from below 0, which is pale, to above."""

_RISING_256 = (17, 18, 24, 30, 36, 72, 78, 114, 150, 186, 227)
_DIVERGING_256 = (25, 68, 110, 153, 255, 223, 215, 166, 124)
"""The same for terminals with 256 colours, of which the nearest ones would not rise evenly, nor be
alike about 0.
"""

_RISING_CHARACTERS = " ░▒▓█"
_DIVERGING_CHARACTERS = "≡=-·+*#"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = Style(color=Color.from_rgb(64, 132, 190))
_LABEL = 14
"""The widest that a token is shown."""

LIKELY = 0.01
"""Tags less probable than this at a token are not listed there."""


Coloured = Literal["", "256", "truecolor"]
"""How many colours there are to draw with; with none there are characters."""


def colour(value: float, panel: Panel) -> tuple[int, int, int]:
    """Return the red, green and blue of `value` on the scale of `panel`."""
    anchors = RISING if panel.low == 0 else DIVERGING
    place = _share(value, panel) * (len(anchors) - 1)
    below = min(int(place), len(anchors) - 2)
    pairs = zip(anchors[below], anchors[below + 1], strict=True)
    red, green, blue = (round(a + (b - a) * (place - below)) for a, b in pairs)
    return red, green, blue


def lines(inspection: Inspection, width: int, *, coloured: Coloured) -> Iterator[Text]:
    """Yield the tagged sentence and the panels, `width` cells wide; without colours, in characters."""
    labels = [printable(token) for token in inspection.sentence.tokens]
    yield _tagged(inspection.sentence)
    for heading, panels in groupby(inspection.panels, key=lambda panel: panel.heading):
        yield Text()
        yield Text(heading, style="bold underline")
        for panel in panels:
            yield Text()
            if panel.kind == "tags":
                yield from _distributions(panel, labels, inspection.tags, width, coloured)
            else:
                yield from _map(panel, labels, width, coloured)


def number(value: float) -> str:
    """Return `value` with two decimals, or fewer where five characters hold no more; no sign before
    a mere 0.
    """
    text = (
        f"{value:.{2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"
        if abs(value) < 1e4
        else f"{value:.0e}"
    )
    return "0.00" if text == "-0.00" else text


def printable(token: str) -> str:
    """Return `token` with blanks for white space, and without what a terminal would obey, or show
    nothing of.
    """
    return "".join(
        " " if each.isspace() else each for each in token if each.isprintable() or each.isspace()
    )


def top_tags(panel: Panel, token: int, chosen: str) -> list[int]:
    """Return the columns of the three most probable tags of a token, and of the `chosen` one, the
    best first.
    """
    row = panel.values[token]
    best = [int(column) for column in np.argsort(-row, kind="stable")[:3] if row[column] >= LIKELY]
    return best + [
        column for column, tag in enumerate(panel.columns) if tag == chosen and column not in best
    ]


def _share(value: float, panel: Panel) -> float:
    """Return where `value` stands between the ends of the scale, from 0 to 1."""
    return min(1.0, max(0.0, (value - panel.low) / (panel.high - panel.low)))


def _tagged(sentence: Sentence) -> Text:
    text, done = Text(f"[]({printable(sentence.intent)}) " if sentence.intent else ""), 0
    for slot in sentence.slots or ():
        start, end = sentence.span(slot)
        text.append(printable(sentence.text[done:start]))
        text.append(f"[{printable(sentence.text[start:end])}]", style="bold").append(
            f"({slot.name})"
        )
        done = end
    return text.append(printable(sentence.text[done:]))


def _map(panel: Panel, labels: list[str], width: int, coloured: Coloured) -> Iterator[Text]:
    """Yield the title with the scale, then a row a token: its label, its mean or largest, its
    cells.
    """
    margin = min(_LABEL, max(map(cell_len, labels)))
    room = max(8, width - margin - 7)
    together, size = _layout(panel.values.shape[1], room)
    attention = panel.kind == "tokens"
    headed = attention and size >= 4
    if attention and not headed:
        # Too narrow for labels above: the one that each row looks at most stands beside it.
        together, size = _layout(panel.values.shape[1], max(8, room - margin - 1))
    yield from _title(panel, together, width, coloured)
    if attention:
        heads = "".join(f"{_cut(label, size - 1)} " for label in labels) if headed else "at"
        yield Text(f"{'':{margin}}   max {heads}".rstrip())
    for label, row in zip(labels, panel.values, strict=True):
        line = Text(f"{_cut(label, margin)} {number(row.max() if attention else row.mean()):>5} ")
        if attention and not headed:
            line.append(f"{_cut(labels[int(row.argmax())], margin)} ")
        for cell in range(0, len(row), together):
            line.append_text(
                _cell(float(row[cell : cell + together].mean()), panel, size, coloured)
            )
        yield line


def _layout(columns: int, room: int) -> tuple[int, int]:
    """Return how many columns share a cell, and how wide a cell is."""
    together = -(-columns // room)
    return together, max(1, min(8, room // columns))


def _title(panel: Panel, together: int, width: int, coloured: Coloured) -> Iterator[Text]:
    attention = panel.kind == "tokens"
    figure = f"  mean {number(panel.values.mean())}" if panel.kind == "units" else ""
    steps = np.linspace(panel.low, panel.high, 10)
    scale = Text(f"  {panel.low:g} ▏")
    for value in steps:
        scale.append_text(_cell(float(value), panel, 1, coloured))
    scale.append(f"▕ {panel.high:g}")
    if together > 1:
        scale.append(f"  {together} {'tokens' if attention else 'units'} a cell")
    title = Text().append(panel.title, style="bold").append(figure)
    if title.cell_len + scale.cell_len <= width:
        yield title.append_text(scale)
    else:
        yield title
        yield scale


def _cell(value: float, panel: Panel, size: int, coloured: Coloured) -> Text:
    if coloured == "256":
        codes = _RISING_256 if panel.low == 0 else _DIVERGING_256
        place = round(_share(value, panel) * (len(codes) - 1))
        return Text(" " * size, style=Style(bgcolor=Color.from_ansi(codes[place])))
    if coloured:
        return Text(" " * size, style=Style(bgcolor=Color.from_rgb(*colour(value, panel))))
    characters = _RISING_CHARACTERS if panel.low == 0 else _DIVERGING_CHARACTERS
    return Text(characters[round(_share(value, panel) * (len(characters) - 1))] * size)


def _distributions(
    panel: Panel, labels: list[str], tags: Sequence[str], width: int, coloured: Coloured
) -> Iterator[Text]:
    """Yield the title, then for each token its most probable tags with a bar; a star is at the tag
    chosen.
    """
    marginal = panel.name == "marginals"
    yield (
        Text().append(panel.title, style="bold").append("  * is the tag chosen" if marginal else "")
    )
    margin = min(_LABEL, max(map(cell_len, labels)))
    shown = [
        top_tags(panel, token, tags[token] if marginal else "") for token in range(len(labels))
    ]
    names = max(
        (cell_len(panel.columns[column]) for columns in shown for column in columns), default=0
    )
    names = min(names, max(8, width - margin - 20))
    room = min(32, max(4, width - margin - names - 10))
    for token, columns in enumerate(shown):
        for place, column in enumerate(columns):
            value = float(panel.values[token, column])
            star = "*" if marginal and panel.columns[column] == tags[token] else " "
            label = _cut("" if place else labels[token], margin)
            line = Text(f"{label} {star} {_cut(panel.columns[column], names)} {value:.2f} ")
            yield line.append(_bar(value, room), style=_BAR if coloured else "")
        if not columns:
            yield Text(f"{_cut(labels[token], margin)}   none")


def _bar(share: float, room: int) -> str:
    whole, rest = divmod(round(share * room * 8), 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def _cut(label: str, size: int) -> str:
    """Return `label` as wide as `size` cells; where it is cut, its last cell says so."""
    return (
        set_cell_size(label, size)
        if cell_len(label) <= size
        else set_cell_size(label, size - 1) + "…"
    )
