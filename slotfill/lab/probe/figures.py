"""Figures: what the lab has measured, as pictures for the last row of a lecture hall, and for the
colour-blind.

Only who wants a picture imports this, for matplotlib is an extra: pip install 'slotfill[plots]'

Source: colours: Okabe & Ito 2008, "Color Universal Design"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from slotfill.lab.probe.probe import ProbeResult

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
GREY = "#555555"
MARKERS = "os^DvPX*<>"
STYLE: Any = {
    "font.size": 16,
    "axes.titlesize": 18,
    "axes.titlepad": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "lines.linewidth": 2.6,
    "lines.markersize": 9,
    "svg.hashsalt": "slotfill",
}
REPRODUCIBLE_METADATA: Any = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}

GRADIENTS = (1e-8, 1e8)
"""What of the shares of gradients is drawn: beyond these one is as good as gone, or as good as
endless.
"""


def panels(*titles: str) -> tuple[Figure, list[Axes]]:
    """Return a light figure with a panel for each title, side by side."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5 * len(titles), 7.5), layout="constrained", facecolor="white")
        return figure, [
            figure.add_subplot(1, len(titles), place, title=title)
            for place, title in enumerate(titles, 1)
        ]


def line(
    axes: Axes,
    place: int,
    x: Sequence[float],
    seeds: Sequence[Sequence[float]],
    middle: Callable[[Iterable[float]], float] = mean,
    **style: Any,
) -> None:
    """Draw the `middle` of what each of `seeds` gave at `x`, and a band from the lowest to the
    highest.

    `place` among all that is drawn decides colour and marker, so that the same looks the same in
    every panel.
    """
    columns = list(zip(*seeds, strict=True))
    colour = COLOURS[place % len(COLOURS)]
    with matplotlib.rc_context(STYLE):
        axes.plot(
            x,
            list(map(middle, columns)),
            color=colour,
            marker=MARKERS[place % len(MARKERS)],
            **style,
        )
    axes.fill_between(
        x, list(map(min, columns)), list(map(max, columns)), color=colour, alpha=0.12, linewidth=0
    )


def legend(figure: Figure, axes: Axes) -> None:
    """Put what the lines of `axes` are below all panels."""
    with matplotlib.rc_context(STYLE):
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3))


def render(figure: Figure, suffix: str) -> bytes:
    """Return the file of a figure, of the format that `suffix` names; the same figure is the same
    file.
    """
    kind = suffix[1:].lower()
    content = BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(content, format=kind, dpi=120, metadata=REPRODUCIBLE_METADATA[kind])
    return content.getvalue()


def plot_probe(found: Mapping[str, ProbeResult]) -> Figure:
    """Return what the probe has found: accuracy by distance, and what is left of gradients k tokens
    back.
    """
    one = next(iter(found.values()))
    distances = list(one.accuracy)
    untrained, *scaled, _ = one.gradients
    drawn = {untrained: "-"} | dict.fromkeys(scaled[-1:], "--")
    dashed = f" (dashed: {scaled[-1]})" if scaled else ""
    lowest = min(
        share for memory in found.values() for row in memory.accuracy.values() for share in row
    )
    figure, (right, left) = panels("Does the city get its slot?", f"Gradient left{dashed}")
    for place, (label, memory) in enumerate(found.items()):
        # What lies under other lines is seen round their smaller markers.
        size = 8 + 8 * (1 - (place + 1) / len(found))
        line(
            right,
            place,
            distances,
            list(zip(*memory.accuracy.values(), strict=True)),
            label=label,
            markersize=size,
        )
        for when, style in drawn.items():
            shares = memory.relative_gradients(when)
            steps = range(len(shares[0]))
            line(
                left,
                place,
                steps,
                shares,
                median,
                linestyle=style,
                markevery=max(1, len(steps) // 5),
            )
    with matplotlib.rc_context(STYLE):
        right.axhline(50, color=GREY, linestyle=":", linewidth=2)
        right.text(distances[0], 51, "chance", color=GREY)
        right.set(
            xscale="log",
            xlabel="tokens from verb to city",
            ylabel="right, %",
            ylim=(min(35, lowest - 5), 105),
        )
        right.set_xticks(distances, list(map(str, distances)))
        right.minorticks_off()
        left.axhline(1, color=GREY, linestyle=":", linewidth=2)
        for word, height in (("explodes", GRADIENTS[1] / 6), ("vanishes", GRADIENTS[0] * 3)):
            left.text(distances[-1], height, word, color=GREY, horizontalalignment="right")
        left.set(
            yscale="log",
            xlabel="k tokens back from the city",
            ylabel=f"$G_k\\,/\\,G_0$, {untrained}",
            ylim=GRADIENTS,
        )
    legend(figure, right)
    return figure
