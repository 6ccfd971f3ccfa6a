"""Figures of the lab, readable from the last row and by color-blind people.

Needs matplotlib: pip install 'slotfill[plots]'

Source: colors: Okabe & Ito 2008, "Color Universal Design"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from slotfill.lab.compare.learning_curve import LearningCurve
    from slotfill.lab.compare.report import ComparisonReport
    from slotfill.lab.probe.probe import ProbeResult

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
GRAY = "#555555"
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

GRADIENT_LIMITS = (1e-8, 1e8)
"""Relative gradients beyond these limits are not drawn."""


@rc_context(STYLE)
def panels(*titles: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each title, side by side."""
    figure = Figure(figsize=(7.5 * len(titles), 7.5), layout="constrained", facecolor="white")
    places = enumerate(titles, start=1)
    return figure, [figure.add_subplot(1, len(titles), n, title=title) for n, title in places]


@rc_context(STYLE)
def line(
    axes: Axes,
    index: int,
    x: Sequence[float],
    seeds: Sequence[Sequence[float]],
    average: Callable[[Iterable[float]], float] = mean,
    **style: Any,
) -> None:
    """Plot the average over `seeds` at each `x`, and a band from minimum to maximum.

    The `index` of a system determines its color and marker in every panel.
    """
    columns = list(zip(*seeds, strict=True))
    color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
    axes.plot(x, list(map(average, columns)), color=color, marker=marker, **style)
    low, high = list(map(min, columns)), list(map(max, columns))
    axes.fill_between(x, low, high, color=color, alpha=0.12, linewidth=0)


@rc_context(STYLE)
def render(figure: Figure, suffix: str) -> bytes:
    """Return the file of a figure in the format of `suffix`; equal figures are equal files."""
    kind = suffix[1:].lower()
    content = BytesIO()
    figure.savefig(content, format=kind, dpi=120, metadata=REPRODUCIBLE_METADATA[kind])
    return content.getvalue()


@rc_context(STYLE)
def plot_probe(results: Mapping[str, ProbeResult]) -> Figure:
    """Return a figure of accuracy by distance, and of relative gradients k tokens back."""
    first = next(iter(results.values()))
    distances = list(first.accuracy)
    untrained, *scaled, _ = first.gradients
    styles = {untrained: "-"} | dict.fromkeys(scaled[-1:], "--")
    dashed = f" (dashed: {scaled[-1]})" if scaled else ""
    figure, (left, right) = panels("Accuracy of the city's slot", f"Relative gradient{dashed}")
    lowest = 100.0
    for index, (label, result) in enumerate(results.items()):
        accuracies = list(zip(*result.accuracy.values(), strict=True))
        lowest = min(lowest, *map(min, accuracies))
        # Smaller markers on top, so that lines below remain visible.
        size = 8 + 8 * (1 - (index + 1) / len(results))
        line(left, index, distances, accuracies, label=label, markersize=size)
        for when, style in styles.items():
            gradients = result.relative_gradients(when)
            steps = range(len(gradients[0]))
            spacing = max(1, len(steps) // 5)
            line(right, index, steps, gradients, median, linestyle=style, markevery=spacing)
    left.axhline(50, color=GRAY, linestyle=":", linewidth=2)
    left.text(distances[0], 51, "chance", color=GRAY)
    left.set(xscale="log", xlabel="tokens from verb to city")
    left.set(ylabel="accuracy, %", ylim=(min(35, lowest - 5), 105))
    left.set_xticks(distances, list(map(str, distances)))
    left.minorticks_off()
    right.axhline(1, color=GRAY, linestyle=":", linewidth=2)
    low, high = GRADIENT_LIMITS
    for y, text in ((high / 6, "explodes"), (low * 3, "vanishes")):
        right.text(distances[-1], y, text, color=GRAY, horizontalalignment="right")
    right.set(xlabel="k tokens back from the city", ylabel=f"$G_k\\,/\\,G_0$, {untrained}")
    right.set(yscale="log", ylim=GRADIENT_LIMITS)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3))
    return figure


@rc_context(STYLE)
def plot_learning_curves(curves: Sequence[LearningCurve]) -> Figure:
    """Return a figure of F1 by the number of training sentences, with a panel for each corpus."""
    corpora = {(curve.corpus, curve.split): curve.sizes for curve in curves}
    configs = list(dict.fromkeys(curve.config for curve in curves))
    figure, axes = panels(*(f"{corpus} {split}" for corpus, split in corpora))
    by_corpus = dict(zip(corpora, axes, strict=True))
    for curve in curves:
        f1s = list(zip(*curve.f1s, strict=True))
        own_axes = by_corpus[curve.corpus, curve.split]
        line(own_axes, configs.index(curve.config), curve.sizes, f1s, label=curve.config)
    for own_axes, sizes in zip(axes, corpora.values(), strict=True):
        own_axes.set_xscale("log", base=2)
        own_axes.set(xlabel="training sentences", ylabel="F1, %")
        own_axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        own_axes.minorticks_off()
        own_axes.legend()
    return figure


@rc_context(STYLE)
def plot_scores(report: ComparisonReport) -> Figure:
    """Return a figure of each config's F1 with every seed, a row of panels for each split.

    On the left F1: a dot for each seed, a line at their mean, and the interval over sentences. On
    the right the difference from the first config and its interval, over seeds and sentences.
    """
    names = [config.name for config in report.configs]
    places = [(corpus, split) for corpus, info in report.corpora.items() for split in info.splits]
    columns = 1 if len(names) == 1 else 2
    height = 1.6 + 0.55 * len(names)
    figure = Figure(
        figsize=(7.5 * columns, height * len(places)), layout="constrained", facecolor="white"
    )
    grid = figure.subplots(len(places), columns, squeeze=False, sharey=True)
    for (left, *right), (corpus, split) in zip(grid, places, strict=True):
        left.set(title=f"{corpus} {split}", xlabel="F1, %", ylim=(len(names) - 0.5, -0.5))
        left.set_yticks(range(len(names)), names)
        for axes in right:
            axes.set(title=f"difference from {names[0]}", xlabel="F1, points")
            axes.axvline(0, color=GRAY, linestyle=":", linewidth=2)
        for row, config in enumerate(report.configs):
            scores = config.split(corpus, split)
            if scores is None or scores.mean is None:
                continue
            color = COLORS[row % len(COLORS)]
            _interval(left, row, scores.interval, color)
            seeds = list(scores.f1s.values())
            left.plot(seeds, [row] * len(seeds), "o", color=color, alpha=0.6, zorder=3)
            left.plot([scores.mean] * 2, [row - 0.3, row + 0.3], color=color, zorder=4)
            difference = scores.difference_from_first
            if difference is not None:
                for axes in right:
                    _interval(axes, row, difference.interval, color)
                    axes.plot([difference.difference], [row], "D", color=color, zorder=3)
    return figure


def _interval(axes: Axes, row: int, interval: tuple[float, float] | None, color: str) -> None:
    """Draw an interval with ends in a row; nothing if there is none."""
    if interval is not None:
        axes.plot(interval, [row, row], "|-", color=color, alpha=0.5, linewidth=2)
