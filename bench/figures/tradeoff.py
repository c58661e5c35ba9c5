"""What quality costs: time per picture against a metric's mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Drawing
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.contracts import Column, MethodRow, Result, Wanted

from ._choice import choose_columns, choose_dataset, choose_methods, dataset_label, datasets, why_empty
from ._style import (
    GREY,
    POINTS,
    SMALL,
    PrintFigure,
    chart,
    extent,
    look,
    metric_text,
    number,
    protocol_text,
    provenance,
    range_text,
)

RATIO, LEAST, MOST = 0.62, 2.0, 2.9
"""Height of a chart by its width, within these inches."""
UNTIMED = ("none", "outputs")
"""Kinds of methods that compute nothing: their time says nothing."""

Extent = tuple[float, float, float, float]
"""Left, bottom, right, top."""


class Point(NamedTuple):
    """A method with a time and a score."""

    row: MethodRow
    quartiles: tuple[float, float, float]
    """Of the seconds that single pictures took; the second is their median."""
    mean: float
    interval: tuple[float, float]
    """Around the mean; the mean twice where none is known."""
    n: int


class Tradeoff(PrintFigure):
    """Median time per picture, on a logarithmic axis, and mean score with its interval."""

    label = "time per picture (logarithmic, device named) against a metric's mean"
    heeds: ClassVar[frozenset[str]] = frozenset({"dataset", "metrics"})

    def draw(self, result: Result, wanted: Wanted) -> Drawing:
        """One chart for each metric asked for; by default of the first that has values."""
        methods = choose_methods(result, wanted)
        able = {name for name in datasets(result) if _drawable(result, name, methods)}
        dataset = choose_dataset(result, wanted, able, "no method has both a time and a mean")
        columns = choose_columns(result, dataset, wanted.metrics) or _drawable(result, dataset, methods)[:1]
        height = min(max(RATIO * wanted.width / len(columns), LEAST), MOST)
        drawing = chart(wanted.width, height, _notes(result, dataset, columns, methods))
        panels = drawing.subplots(1, len(columns), squeeze=False)[0]
        placed = [(axes, _chart(axes, result, column, methods)) for axes, column in zip(panels, columns, strict=True)]
        # Names look for free places, and those are known only when the axes have theirs.
        drawing.draw_without_rendering()
        for axes, points in placed:
            _write_names(axes, result, points)
        return drawing


def points_of(result: Result, column: Column, methods: Sequence[MethodRow]) -> list[Point]:
    """The methods that have a time and a mean."""
    found = []
    for row in methods:
        cell = result.table.cell(row, column)
        seconds = [one for one in result.seconds.get((row.method, column.dataset), ()) if one > 0]
        if row.kind in UNTIMED or not seconds or cell.mean is None:
            continue
        low, middle, high = (float(one) for one in np.quantile(seconds, [0.25, 0.5, 0.75]))
        known = cell.ci_low is not None and cell.ci_high is not None
        interval = (cell.ci_low, cell.ci_high) if known else (cell.mean, cell.mean)
        found.append(Point(row, (low, middle, high), cell.mean, interval, cell.n))  # type: ignore[arg-type]
    return found


def _drawable(result: Result, dataset: str, methods: Sequence[MethodRow]) -> list[Column]:
    columns = [column for column in result.table.columns if column.dataset == dataset and not column.group]
    return [column for column in columns if points_of(result, column, methods)]


def _chart(axes: Axes, result: Result, column: Column, methods: Sequence[MethodRow]) -> list[Point]:
    points = points_of(result, column, methods)
    if not points:
        reason = why_empty(result, [column], "no method has both a time and a mean")
        raise ValueError(f"{column.metric_label} on {column.dataset_label} cannot be drawn: {reason}")
    for point in points:
        how = look(result, point.row)
        low, middle, high = point.quartiles
        axes.errorbar(
            [middle],
            [point.mean],
            xerr=[[middle - low], [high - middle]],
            yerr=[[point.mean - point.interval[0]], [point.interval[1] - point.mean]],
            color=how.colour,
            marker=how.marker,
            markersize=6,
            markeredgecolor="white",
            markeredgewidth=0.5,
            elinewidth=0.8,
            linestyle="none",
            zorder=3,
        )
    axes.set_xscale("log")
    axes.set_xlim(min(p.quartiles[0] for p in points) / 1.6, max(p.quartiles[2] for p in points) * 2.2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.12)
    axes.grid(which="major")
    axes.set_xlabel(f"Time per picture (s), {result.manifest.get('device', 'device unknown')} ↓")
    axes.set_ylabel(metric_text(column))
    _baseline(axes, result, column, methods)
    return points


def _baseline(axes: Axes, result: Result, column: Column, methods: Sequence[MethodRow]) -> None:
    """The mean without enhancement as a line, since it takes no time."""
    for row in methods:
        mean = result.table.cell(row, column).mean
        if row.kind == "none" and mean is not None:
            axes.axhline(mean, color=GREY, linestyle=look(result, row).dashes, linewidth=0.9, zorder=1)
            axes.annotate(
                f"{row.label} {number(mean, column.decimals)}",
                (1, mean),
                xycoords=axes.get_yaxis_transform(),
                xytext=(-2, 2),
                textcoords="offset points",
                size=SMALL,
                color="#595959",
                ha="right",
            )


def _write_names(axes: Axes, result: Result, points: Sequence[Point]) -> None:
    """Each method's name beside its point, at the first of eight places where it covers least."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    pixels = figure.dpi / POINTS
    covered = [box for point in points for box in _covered(axes, point, pixels)]
    covered += [extent(text, axes) for text in axes.texts]
    inside = axes.get_window_extent()
    for point in sorted(points, key=lambda one: one.quartiles[1]):
        note = axes.annotate(
            point.row.label,
            (point.quartiles[1], point.mean),
            xytext=(0, 0),
            textcoords="offset points",
            size=SMALL,
            color=_dark(look(result, point.row).colour),
        )
        costs = []
        for place in _AROUND:
            _move(note, place)
            box = extent(note, axes)
            outside = box[0] < inside.x0 or box[2] > inside.x1 or box[1] < inside.y0 or box[3] > inside.y1
            costs.append(math.inf if outside else sum(_overlap(box, other) for other in covered))
        _move(note, _AROUND[costs.index(min(costs))])
        covered.append(extent(note, axes))


_AROUND = (
    (5, 3, "left", "bottom"),
    (5, -3, "left", "top"),
    (-5, 3, "right", "bottom"),
    (-5, -3, "right", "top"),
    (7, 0, "left", "center"),
    (-7, 0, "right", "center"),
    (0, 8, "center", "bottom"),
    (0, -8, "center", "top"),
)
"""Where a name may stand: offset in points from the mark, and its alignment."""


def _move(note: Annotation, place: tuple[float, float, str, str]) -> None:
    dx, dy, ha, va = place
    note.set(ha=ha, va=va)
    note.xyann = (dx, dy)


def _covered(axes: Axes, point: Point, pixels: float) -> list[Extent]:
    """What a mark and its two bars cover, in display units; bars with a point of room around them."""
    low, middle, high = point.quartiles
    corners = [(low, point.mean), (high, point.mean), (middle, point.interval[0]), (middle, point.interval[1])]
    left, right, below, above = (tuple(axes.transData.transform(corner)) for corner in corners)
    x, y = below[0], left[1]
    return [
        (x - 3 * pixels, y - 3 * pixels, x + 3 * pixels, y + 3 * pixels),
        (left[0], y - pixels, right[0], y + pixels),
        (x - pixels, below[1], x + pixels, above[1]),
    ]


def _overlap(one: Extent, other: Extent) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


def _dark(colour: str) -> tuple[float, float, float]:
    """The colour, dark enough for small letters on white."""
    red, green, blue = (0.72 * part for part in to_rgb(colour))
    return red, green, blue


def _notes(result: Result, dataset: str, columns: Sequence[Column], methods: Sequence[MethodRow]) -> list[str]:
    pictures = range_text(point.n for column in columns for point in points_of(result, column, methods))
    threads = result.manifest.get("threads")
    timed = str(result.manifest.get("device", "an unknown device"))
    timed += f", {threads} thread{'s' if threads > 1 else ''}" if threads else ""
    return [
        f"{dataset_label(result, dataset)}, {pictures} pictures. Time: median and quartiles of the enhancement alone, "
        f"as it went in the run on {timed}; score: mean with 95 % bootstrap interval.",
        protocol_text(result, columns),
        provenance(result),
    ]
