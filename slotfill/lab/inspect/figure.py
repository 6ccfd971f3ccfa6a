"""Heat maps of an inspection as one figure, for a paper or a slide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib import font_manager, rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from slotfill.lab.html import printable
from slotfill.lab.inspect.heat_map import scale_colors, shown_columns
from slotfill.lab.probe.figures import STYLE

if TYPE_CHECKING:
    from slotfill.lab.inspect.inspection import Inspection, Panel

_STYLE = STYLE | {"font.size": 12, "axes.titlesize": 13, "axes.titlepad": 8, "axes.grid": False}
_WIDTH = 7.0
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
    height = 1.1 + 0.28 * len(inspection.labels)
    heights = [height + 0.9 * bool(panels[0].columns) for panels in rows.values()]
    figure = Figure(
        figsize=(_WIDTH * columns, sum(heights)), layout="constrained", facecolor="white"
    )
    grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
    for row, panels in enumerate(rows.values()):
        for column, panel in enumerate(panels):
            place = grid[row, column] if len(panels) > 1 else grid[row, :]
            axes = figure.add_subplot(place, title=panel.title)
            shown = shown_columns(panel, inspection.tags)
            colors = [tuple(part / 255 for part in rgb) for rgb in scale_colors(panel)]
            picture = axes.imshow(
                panel.values[:, shown],
                cmap=LinearSegmentedColormap.from_list("", colors),
                vmin=panel.low,
                vmax=panel.high,
                aspect="auto",
                interpolation="nearest",
            )
            axes.tick_params(length=0)
            axes.set_yticks(range(len(labels)), labels, **text)
            axes.set_xticks([])
            if panel.columns:
                names = [printable(panel.columns[each]) for each in shown]
                axes.set_xticks(range(len(names)), names, rotation=30, ha="right", **text)
            elif panel.kind == "units":
                axes.set_xlabel(f"{len(shown)} units")
            figure.colorbar(picture, ax=axes, pad=0.01, ticks=[panel.low, panel.high])
    return figure
