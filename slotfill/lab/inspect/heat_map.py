"""Heat maps of an inspection as lines of text: colored cells on a terminal, else characters.

Only cells have a background; everything else has the terminal's own colors, so that it is readable
on dark and light terminals. Columns that do not fit are averaged with their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.color import Color
from rich.style import Style
from rich.text import Text

from slotfill.lab.html import printable

if TYPE_CHECKING:
    from slotfill.data.sentence import Sentence
    from slotfill.lab.inspect.inspection import Inspection, Panel

RGB = tuple[int, int, int]
T = TypeVar("T")

SEQUENTIAL: Sequence[RGB] = (
    (38, 36, 84), (46, 84, 148), (32, 138, 150), (92, 184, 116), (246, 226, 94)
)  # fmt: skip
"""Colors from 0 upwards, from dark to light."""

DIVERGING: Sequence[RGB] = (
    (14, 72, 148), (116, 170, 214), (236, 234, 230), (234, 150, 88), (166, 50, 8)
)  # fmt: skip
"""Colors from negative to positive values; 0 is pale."""

# The same for 256 colors, of which the nearest ones would be neither monotonic nor symmetric.
_SEQUENTIAL_256 = (17, 18, 24, 30, 36, 72, 78, 114, 150, 186, 227)
_DIVERGING_256 = (25, 68, 110, 153, 255, 223, 215, 166, 124)

_EIGHTHS = ("", *"▏▎▍▌▋▊▉")
_BAR = Style(color=Color.from_rgb(64, 132, 190))
_MAX_LABEL = 14
"""Maximum width of a token."""

MIN_PROBABILITY = 0.01
"""Less probable tags are not listed."""

Colors = Literal["", "256", "truecolor"]
"""The colors of the terminal; without any, cells are characters."""


def scale_colors(panel: Panel) -> Sequence[RGB]:
    """Return the colors of the scale of `panel`, at equal distances."""
    return SEQUENTIAL if panel.low == 0 else DIVERGING


def color(value: float, panel: Panel) -> RGB:
    """Return the color of `value` on the scale of `panel`."""
    colors = scale_colors(panel)
    position = _scale_position(value, panel) * (len(colors) - 1)
    index = min(int(position), len(colors) - 2)
    channels = zip(colors[index], colors[index + 1], strict=True)
    red, green, blue = (round(a + (b - a) * (position - index)) for a, b in channels)
    return red, green, blue


def _scale_position(value: float, panel: Panel) -> float:
    """Return the position of `value` on the scale, from 0 to 1."""
    return min(1.0, max(0.0, (value - panel.low) / (panel.high - panel.low)))


def _nearest_step(value: float, panel: Panel, sequential: Sequence[T], diverging: Sequence[T]) -> T:
    """Return the step of the scale of `panel` that is nearest to `value`."""
    steps = sequential if panel.low == 0 else diverging
    return steps[round(_scale_position(value, panel) * (len(steps) - 1))]


def format_number(value: float) -> str:
    """Return `value` in at most five characters, with up to two decimals."""
    if abs(value) >= 1e4:
        return f"{value:.0e}"
    decimals = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def format_probability(value: float, panel: Panel) -> str:
    """Return a probability, or the difference of two, with two decimals."""
    return f"{value:+.2f}" if panel.is_difference else f"{value:.2f}"


def top_tags(panel: Panel, token: int, predicted: str) -> list[int]:
    """Return the columns of the three most probable tags and of the `predicted` one.

    Of differences, those of the three largest.
    """
    row = np.abs(panel.values[token])
    best = np.argsort(-row, kind="stable")[:3].tolist()
    columns = [column for column in best if row[column] >= MIN_PROBABILITY]
    if predicted in panel.columns:
        columns.append(panel.columns.index(predicted))
    return list(dict.fromkeys(columns))


def starred_tags(panel: Panel, predicted: Sequence[str]) -> Sequence[str]:
    """Return the tag of each token that is listed in any case, with a star; "" for none."""
    has_stars = panel.name == "marginals" and not panel.is_difference
    return predicted if has_stars else [""] * len(predicted)


def shown_columns(panel: Panel, predicted: Sequence[str]) -> list[int]:
    """Return the columns of a heat map: all, or the tags that `top_tags` has of some token."""
    if panel.kind != "tags":
        return list(range(panel.values.shape[1]))
    tags = predicted if panel.name == "marginals" else [""] * len(predicted)
    return sorted(set().union(*(top_tags(panel, token, tag) for token, tag in enumerate(tags))))


def render_lines(inspection: Inspection, width: int, *, colors: Colors) -> Iterator[Text]:
    """Yield the tagged sentence and the panels, `width` cells wide."""
    labels = [printable(label) for label in inspection.labels]
    yield _highlight(inspection.sentence)
    if inspection.against:
        yield Text.assemble("minus ", _highlight(inspection.against.sentence))
    for heading, panels in groupby(inspection.panels, key=lambda panel: panel.heading):
        yield from (Text(), Text(printable(heading), style="bold underline"))
        for panel in panels:
            yield Text()
            if panel.kind == "tags":
                yield from _distributions(panel, labels, inspection.tags, width, colors)
            else:
                yield from _map(panel, labels, width, colors)


def _highlight(sentence: Sentence) -> Text:
    tagged = Text(f"[]({printable(sentence.intent)}) " if sentence.intent else "")
    for text, name in sentence.split_by_slot():
        text = printable(text)
        tagged.append(f"[{text}]" if name else text, style="bold" if name else "")
        tagged.append(f"({printable(name)})" if name else "")
    return tagged


def _map(panel: Panel, labels: list[str], width: int, colors: Colors) -> Iterator[Text]:
    """Yield the title with the scale, then for each token its label, mean or maximum, and cells."""
    margin = min(_MAX_LABEL, max(map(cell_len, labels)))
    available = max(8, width - margin - 7)
    columns = panel.values.shape[1]
    attention = panel.kind == "tokens"
    has_header = attention and available // columns >= 4
    if attention and not has_header:
        # Too narrow for column labels: each row names the token with the maximum instead.
        available = max(8, available - margin - 1)
    columns_per_cell, size = -(-columns // available), max(1, min(8, available // columns))
    yield from _title(panel, columns_per_cell, width, colors)
    if attention:
        header = "".join(f"{_fit(label, size - 1)} " for label in labels) if has_header else "at"
        yield Text(f"{'':{margin}}   max {header}".rstrip())
    for label, row in zip(labels, panel.values, strict=True):
        figure = format_number(row.max() if attention else panel.summarize(row))
        line = Text(f"{_fit(label, margin)} {figure:>5} ")
        if attention and not has_header:
            line.append(f"{_fit(labels[int(row.argmax())], margin)} ")
        for start in range(0, len(row), columns_per_cell):
            mean = float(row[start : start + columns_per_cell].mean())
            line.append_text(_cell(mean, panel, size, colors))
        yield line


def _title(panel: Panel, columns_per_cell: int, width: int, colors: Colors) -> Iterator[Text]:
    title = Text(printable(panel.title), style="bold")
    if panel.kind == "units":
        title = Text.assemble(title, f"  mean {format_number(panel.summarize(panel.values))}")
    scale = Text(f"  {panel.low:g} ▏")
    for value in np.linspace(panel.low, panel.high, 10):
        scale.append_text(_cell(float(value), panel, 1, colors))
    scale.append(f"▕ {panel.high:g}")
    if columns_per_cell > 1:
        scale.append(f"  {columns_per_cell} {panel.kind} a cell")
    one_line = title.cell_len + scale.cell_len <= width
    yield from [Text.assemble(title, scale)] if one_line else [title, scale]


def _cell(value: float, panel: Panel, size: int, colors: Colors) -> Text:
    if not colors:
        return Text(_nearest_step(value, panel, " ░▒▓█", "≡=-·+*#") * size)
    if colors == "256":
        background = Color.from_ansi(_nearest_step(value, panel, _SEQUENTIAL_256, _DIVERGING_256))
    else:
        background = Color.from_rgb(*color(value, panel))
    return Text(" " * size, style=Style(bgcolor=background))


def _distributions(
    panel: Panel, labels: list[str], tags: Sequence[str], width: int, colors: Colors
) -> Iterator[Text]:
    """Yield the title, then for each token its most probable tags with bars."""
    title = Text(printable(panel.title), style="bold")
    predicted = starred_tags(panel, tags)
    yield Text.assemble(title, "  * is the predicted tag") if any(predicted) else title
    names = [printable(tag) for tag in panel.columns]
    shown = [top_tags(panel, token, tag) for token, tag in enumerate(predicted)]
    margin = min(_MAX_LABEL, max(map(cell_len, labels)))
    widths = [cell_len(names[column]) for columns in shown for column in columns]
    name_width = min(max(widths, default=0), max(8, width - margin - 20))
    available = min(32, max(4, width - margin - name_width - 10))
    for token, columns in enumerate(shown):
        label = _fit(labels[token], margin)
        for column in columns:
            value = float(panel.values[token, column])
            star = "*" if panel.columns[column] == predicted[token] else " "
            number = format_probability(value, panel)
            line = Text(f"{label} {star} {_fit(names[column], name_width)} {number} ")
            yield line.append(_bar(abs(value), available), style=_BAR if colors else "")
            label = " " * margin
        if not columns:
            yield Text(f"{label}   none")


def _bar(share: float, available: int) -> str:
    full, rest = divmod(round(share * available * 8), 8)
    return "█" * full + _EIGHTHS[rest]


def _fit(label: str, size: int) -> str:
    """Return `label` padded to `size` cells, or cut with an ellipsis."""
    if cell_len(label) <= size:
        return set_cell_size(label, size)
    return set_cell_size(label, size - 1) + "…"
