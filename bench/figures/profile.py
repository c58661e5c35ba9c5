"""Every metric of a data set at once: a line for each method between the worst and the best of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from matplotlib.figure import Figure as Drawing

from bench.contracts import Column, MethodRow, Result, Table, Wanted

from ._choice import choose_columns, choose_dataset, choose_methods, dataset_label, datasets, why_empty
from ._style import (
    SMALL,
    PrintFigure,
    chart,
    fitted,
    legend_columns,
    look,
    metric_text,
    number,
    protocol_text,
    provenance,
    range_text,
    text_width,
)

HIGH = 2.3
"""Inches of the chart."""


class Profile(PrintFigure):
    """Normalised means: 1 is the best of the methods shown, 0 the worst, whichever direction is better."""

    label = "line chart of all metrics, each normalised between the worst and the best method"
    heeds: ClassVar[frozenset[str]] = frozenset({"dataset", "metrics"})

    def draw(self, result: Result, wanted: Wanted) -> Drawing:
        """Metrics along the axis, with the values that 1 and 0 stand for."""
        methods = choose_methods(result, wanted)
        able = {name for name in datasets(result) if _usable(result, name, methods)}
        lacking = "a line chart takes two methods and two metrics whose means differ"
        dataset = choose_dataset(result, wanted, able, lacking)
        columns = choose_columns(result, dataset, wanted.metrics) or _usable(result, dataset, methods)
        scales = [_scale(result, column, methods) for column in columns]
        drawing = chart(wanted.width, HIGH, _notes(result, dataset, columns, methods))
        axes = drawing.subplots()
        for row in methods:
            how = look(result, row)
            heights = [
                _normalised(result.table.cell(row, column).mean, worst, best)
                for column, (worst, best) in zip(columns, scales, strict=True)
            ]
            axes.plot(
                range(len(columns)),
                heights,
                label=row.label,
                color=how.colour,
                linestyle=how.dashes,
                marker=how.marker,
                markeredgecolor="white",
                markeredgewidth=0.5,
                clip_on=False,
                zorder=3,
            )
        room = (wanted.width - 0.7) / len(columns)
        for place, (column, (worst, best)) in enumerate(zip(columns, scales, strict=True)):
            axes.axvline(place, color="#bfbfbf", linewidth=0.6, zorder=1)
            for height, value, side in ((1.05, best, "bottom"), (-0.05, worst, "top")):
                text, size = fitted(number(value, column.decimals), 0.9 * room, SMALL, 4)
                axes.text(place, height, text, size=size, ha="center", va=side)
        axes.set_ylim(-0.16, 1.16)
        axes.set_yticks([0, 0.5, 1], ["worst", "", "best"])
        axes.set_xlim(-0.35, len(columns) - 0.65)
        labels = [metric_text(column) for column in columns]
        turned = any(text_width(label, SMALL) > 0.95 * room for label in labels)
        how_turned: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if turned else {}
        axes.set_xticks(range(len(columns)), labels, **how_turned)
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("Normalised mean")
        axes.spines["bottom"].set_visible(False)
        columns_of_legend = legend_columns([row.label for row in methods], wanted.width)
        drawing.legend(loc="outside upper center", ncols=columns_of_legend)
        return drawing


def _means(table: Table, column: Column, methods: Sequence[MethodRow]) -> list[float]:
    means = (table.cell(row, column).mean for row in methods)
    return [mean for mean in means if mean is not None]


def _usable(result: Result, dataset: str, methods: Sequence[MethodRow]) -> list[Column]:
    """Columns of the main tables in which at least two methods differ; none where fewer than two are such."""
    columns = [
        column
        for column in result.table.columns
        if column.dataset == dataset and not column.group and len(set(_means(result.table, column, methods))) > 1
    ]
    return columns if len(columns) > 1 else []


def _scale(result: Result, column: Column, methods: Sequence[MethodRow]) -> tuple[float, float]:
    """The worst and the best mean; ValueError where there is no difference to draw."""
    means = _means(result.table, column, methods)
    if len(set(means)) < 2:
        reason = why_empty(result, [column], "all methods are equal")
        raise ValueError(f"{column.metric_label} on {column.dataset_label} cannot be normalised: {reason}")
    least, most = min(means), max(means)
    return (least, most) if column.higher_is_better else (most, least)


def _normalised(mean: float | None, worst: float, best: float) -> float:
    return math.nan if mean is None else (mean - worst) / (best - worst)


def _notes(result: Result, dataset: str, columns: Sequence[Column], methods: Sequence[MethodRow]) -> list[str]:
    cells = [result.table.cell(row, column) for column in columns for row in methods]
    pictures = range_text(cell.n for cell in cells if cell.mean is not None)
    notes = [
        f"{dataset_label(result, dataset)}, {pictures} pictures. Means over pictures, scaled in each metric so that "
        f"the best method shown is 1 and the worst 0; the numbers are their values."
    ]
    if any(cell.mean is None for cell in cells):
        notes.append("A gap in a line: no value.")
    return [*notes, protocol_text(result, columns), provenance(result)]
