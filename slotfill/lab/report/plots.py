"""Line plots as coordinates, which the page draws as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

WIDTH = 360
"""Of the area inside the axes, in units of the SVG."""

HEIGHT = 220
"""Of the same area."""

Point = tuple[float, float]
Interval = tuple[float, float, float]
"""A position on the x axis, and two on the y axis."""


class Tick(NamedTuple):
    """A mark on an axis."""

    position: float
    label: str


@dataclass(frozen=True)
class LinePlot:
    """Lines in an area of WIDTH by HEIGHT, whose origin is at the top left."""

    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: dict[str, list[Point]]
    """The points of each line by its name."""
    intervals: dict[str, list[Interval]]
    """The intervals at the points of some lines."""


def line_plot(
    x_label: str,
    y_label: str,
    lines: Mapping[str, Sequence[Point]],
    intervals: Mapping[str, Sequence[Interval]] | None = None,
) -> LinePlot:
    """Return the plot of `lines`, whose axes span their points and `intervals`."""
    points = [point for line in lines.values() for point in line]
    intervals = intervals or {}
    for x, low, high in chain.from_iterable(intervals.values()):
        points += [(x, low), (x, high)]
    (left, right), (bottom, top) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    right = right if right > left else left + 1
    x_ticks = round_numbers(left, right)
    if all(float(x).is_integer() for x, _ in points):
        x_ticks = [x for x in x_ticks if float(x).is_integer()]
    y_ticks = round_numbers(bottom, top if top > bottom else bottom + 1)
    bottom, top = min(bottom, y_ticks[0]), max(top, y_ticks[-1])

    def place(x: float, y: float) -> Point:
        return WIDTH * (x - left) / (right - left), HEIGHT * (top - y) / (top - bottom)

    def place_interval(x: float, low: float, high: float) -> Interval:
        return *place(x, low), place(x, high)[1]

    return LinePlot(
        x_label,
        y_label,
        [Tick(place(x, top)[0], f"{x:g}") for x in x_ticks],
        [Tick(place(left, y)[1], f"{y:g}") for y in y_ticks],
        {name: [place(*point) for point in line] for name, line in lines.items()},
        {name: [place_interval(*each) for each in line] for name, line in intervals.items()},
    )


def round_numbers(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers from `low` to `high`, evenly spaced."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]
