"""Heat maps of an inspection, and bars of tags, as one figure for a paper or a slide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from slotfill.errors import format_count
from slotfill.lab.html import printable
from slotfill.lab.inspect.heat_map import (
    format_probability,
    scale_colors,
    starred_tags,
    top_tags,
)
from slotfill.lab.probe.figures import COLORS, GRAY, STYLE

if TYPE_CHECKING:
    from slotfill.lab.inspect.inspection import Inspection, Panel

_STYLE = STYLE | {"font.size": 12, "axes.titlesize": 13, "axes.titlepad": 8, "axes.grid": False}
_WIDTH = 7.0
_GAP = 0.5
"""Between the bars of two tokens, in bars."""
_CHINESE = ("Noto Sans CJK", "PingFang", "Microsoft JhengHei", "WenQuanYi", "Source Han Sans")
"""How names of fonts begin that have the characters which matplotlib's own has not."""


@rc_context(_STYLE)
def plot_inspection(inspection: Inspection) -> Figure:
    """Return a figure with a row for each gate, state or head, and a column for each direction."""
    fonts = [font.name for font in font_manager.fontManager.ttflist]
    family = ["DejaVu Sans", *sorted({font for font in fonts if font.startswith(_CHINESE)})]
    text: Any = {"parse_math": False, "fontfamily": family}
    labels = [printable(label) for label in inspection.labels]
    rows: dict[tuple[str, int | None, int | None, str], list[Panel]] = {}
    for panel in inspection.panels:
        rows.setdefault((panel.part, panel.layer, panel.head, panel.name), []).append(panel)
    columns = max(map(len, rows.values()))
    heights = [_height(panels[0], inspection) for panels in rows.values()]
    figure = Figure(
        figsize=(_WIDTH * columns, sum(heights)), layout="constrained", facecolor="white"
    )
    grid = figure.add_gridspec(len(rows), 1, height_ratios=heights)
    for row, panels in enumerate(rows.values()):
        # Each row has its own margins, as wide as its labels.
        line = figure.add_subfigure(grid[row])
        for axes, panel in zip(
            line.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            axes.set_title(panel.title)
            axes.tick_params(length=0)
            if panel.kind == "tags":
                _draw_tags(axes, panel, inspection.tags, labels, text)
                continue
            colors = [tuple(part / 255 for part in rgb) for rgb in scale_colors(panel)]
            picture = axes.imshow(
                panel.values,
                cmap=LinearSegmentedColormap.from_list("", colors),
                vmin=panel.low,
                vmax=panel.high,
                aspect="auto",
                interpolation="nearest",
            )
            axes.set_yticks(range(len(labels)), labels, **text)
            axes.set_xticks([])
            if panel.columns:
                names = list(map(printable, panel.columns))
                axes.set_xticks(range(len(names)), names, rotation=30, ha="right", **text)
            elif panel.kind == "units":
                axes.set_xlabel(format_count(panel.values.shape[1], "unit"))
            line.colorbar(picture, ax=axes, pad=0.01, ticks=[panel.low, panel.high])
    return figure


def _likely_tags(panel: Panel, tags: Sequence[str]) -> list[list[int]]:
    """Return the columns of the likely tags of each token."""
    return [top_tags(panel, token, tag) for token, tag in enumerate(starred_tags(panel, tags))]


def _height(panel: Panel, inspection: Inspection) -> float:
    """Return the height of a panel in inches."""
    if panel.kind == "tags":
        rows = sum(max(1, len(columns)) for columns in _likely_tags(panel, inspection.tags))
        return 0.9 + 0.24 * (rows + _GAP * len(inspection.labels))
    return 1.1 + 0.28 * len(inspection.labels) + 0.9 * bool(panel.columns)


def _draw_tags(
    axes: Axes, panel: Panel, tags: Sequence[str], labels: Sequence[str], text: Any
) -> None:
    """Draw a bar for each likely tag of each token, named at its right, as on the terminal."""
    starred = starred_tags(panel, tags)
    rows: list[float] = []
    names: list[str] = []
    starts = []
    bottom = 0.0
    for token, columns in enumerate(_likely_tags(panel, tags)):
        starts.append(bottom)
        for column in columns:
            value = float(panel.values[token, column])
            axes.barh(bottom, value, height=0.75, color=COLORS[0])
            star = " *" if panel.columns[column] == starred[token] else ""
            tag = printable(panel.columns[column])
            names.append(f"{format_probability(value, panel)}  {tag}{star}")
            rows.append(bottom)
            bottom += 1
        bottom += _GAP if columns else 1 + _GAP
    if any(starred):
        axes.set_title(f"{panel.title} (* is the predicted tag)")
    axes.set(xlim=(panel.low, panel.high), ylim=(bottom - 0.5 - _GAP, -0.5))
    axes.set_xticks(sorted({panel.low, 0, panel.high}))
    if panel.is_difference:
        axes.axvline(0, color=GRAY, linewidth=1)
    axes.set_yticks(starts, labels, **text)
    right = axes.secondary_yaxis("right")
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)
    right.set_yticks(rows, names, **text)
