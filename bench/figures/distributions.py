"""How the scores of single pictures spread, method by method, over one data set or several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D

from bench.contracts import MethodRow, Result, Wanted

from ._choice import NO_SINGLE, Scored, choose_methods, dataset_label, datasets, near, values_of, why_empty
from ._style import (
    SMALL,
    Look,
    PrintFigure,
    chart,
    legend_columns,
    look,
    metric_text,
    protocol_text,
    provenance,
    range_text,
    text_width,
)

HIGH = 1.6
"""Inches of a metric's panel."""
FEW = 20
"""Values below which every one is a dot and no density is drawn."""


class Distributions(PrintFigure):
    """Box plots on densities, one panel for each metric, grouped by data set."""

    label = "boxes and violins of the scores of single pictures, by method and data set"
    heeds: ClassVar[frozenset[str]] = frozenset({"dataset", "metrics"})

    def draw(self, result: Result, wanted: Wanted) -> Drawing:
        """One panel for each metric asked for; by default for each that all data sets shown have."""
        methods = choose_methods(result, wanted)
        panels = _panels(result, wanted)
        notes = [*_notes(result, panels, methods), provenance(result)]
        single = len({scored.column.dataset for panel in panels for scored in panel}) == 1
        drawing = chart(wanted.width, HIGH * len(panels) + (0.1 if single else 0.3), notes)
        for axes, panel in zip(drawing.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
            _draw(axes, result, panel, methods, wanted.width)
        if not single:
            handles = [_handle(row.label, look(result, row)) for row in methods]
            count = legend_columns([row.label for row in methods], wanted.width)
            drawing.legend(handles=handles, loc="outside upper center", ncols=count)
        return drawing


def _panels(result: Result, wanted: Wanted) -> list[list[Scored]]:
    """For each metric its scores on the data sets that have them."""
    known = datasets(result)
    sets = [name for name in wanted.dataset.split(",") if name]
    for name in sets:
        if name not in known:
            raise LookupError(f"no data set of this run is called {name!r}{near(name, known)}")
    sets = sets or known
    values = values_of(result)
    found: dict[str, dict[str, Scored]] = {}
    columns = [column for column in result.table.columns if column.dataset in sets]
    for column in columns:
        place = column.dataset, column.protocol, column.metric
        if place in values:
            found.setdefault(column.metric, {}).setdefault(column.dataset, Scored(column, values[place]))
    if not found:
        raise ValueError(f"the run holds no score of single pictures of {' or '.join(sets)}")
    for name in wanted.metrics:
        named = [column for column in columns if column.metric == name]
        if not named:
            raise LookupError(f"no metric of this run is called {name!r}{near(name, [c.metric for c in columns])}")
        if name not in found:
            reason = why_empty(result, named, NO_SINGLE)
            raise ValueError(f"{named[0].metric_label} has no value per picture: {reason}")
    everywhere = [name for name, scored in found.items() if len(scored) == len(sets)]
    return [list(found[name].values()) for name in wanted.metrics or everywhere or list(found)[:1]]


def _draw(axes: Axes, result: Result, panel: Sequence[Scored], methods: Sequence[MethodRow], width: float) -> None:
    """Groups of boxes, one group for each data set."""
    step = len(methods) + 1
    for group, scored in enumerate(panel):
        for place, row in enumerate(methods):
            _box(axes, group * step + place, np.array(_finite(scored, row)), look(result, row))
    axes.set_xlim(-0.8, step * len(panel) - 1.2)
    axes.set_ylabel(metric_text(panel[0].column))
    axes.grid(axis="y")
    if len(panel) == 1:
        turned = any(text_width(row.label, SMALL) > 0.85 * (width - 0.6) / len(methods) for row in methods)
        how: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if turned else {}
        axes.set_xticks(range(len(methods)), [row.label for row in methods], **how)
    else:
        middles = [group * step + (len(methods) - 1) / 2 for group in range(len(panel))]
        names = [f"{dataset_label(result, one.column.dataset)}\n{_counted(one, methods)}" for one in panel]
        axes.set_xticks(middles, names)
        for group in range(1, len(panel)):
            axes.axvline(group * step - 1, color="#bfbfbf", linewidth=0.5)
    axes.tick_params(axis="x", length=0)


def _box(axes: Axes, place: float, values: np.ndarray[tuple[int], np.dtype[np.float64]], how: Look) -> None:
    """Quartiles and whiskers of at most 1.5 times their distance, the mean as the method's own mark."""
    if not len(values):
        axes.text(place, 0.02, "–", transform=axes.get_xaxis_transform(), ha="center", size=SMALL)
        return
    if len(values) >= FEW and np.ptp(values) > 0:
        violin = axes.violinplot([values], [place], widths=0.85, showextrema=False)
        for body in violin["bodies"]:  # type: ignore[attr-defined]
            body.set(facecolor=how.colour, alpha=0.28, edgecolor="none")
    line = {"color": how.colour, "linewidth": 0.8}
    boxes = axes.boxplot(
        [values],
        positions=[place],
        widths=0.42,
        manage_ticks=False,
        patch_artist=True,
        showfliers=len(values) >= FEW,
        flierprops={"marker": ".", "markersize": 2.5, "markerfacecolor": how.colour, "markeredgecolor": "none"},
        boxprops={"facecolor": "white", "edgecolor": how.colour, "linewidth": 0.8},
        medianprops={"color": how.colour, "linewidth": 1.4},
        whiskerprops=line,
        capprops=line,
    )
    for box in boxes["boxes"]:
        box.set_alpha(0.85)
    if len(values) < FEW:
        # Spread by the golden ratio: even, and the same every time.
        offsets = (np.arange(1, len(values) + 1) * 0.618034 % 1 - 0.5) * 0.34
        axes.plot(place + offsets, values, ".", color=how.colour, markersize=3.2, alpha=0.6, markeredgecolor="none")
    axes.plot([place], [values.mean()], **_mark(how), linestyle="none", zorder=5)


def _mark(how: Look) -> dict[str, Any]:
    return {
        "marker": how.marker,
        "markersize": 4,
        "markerfacecolor": how.colour,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }


def _handle(label: str, how: Look) -> Line2D:
    return Line2D([], [], label=label, color=how.colour, linewidth=0.8, **_mark(how))


def _finite(scored: Scored, row: MethodRow) -> list[float]:
    return [value for value in scored.values.get(row.method, {}).values() if math.isfinite(value)]


def _counted(scored: Scored, methods: Sequence[MethodRow]) -> str:
    """On how many pictures the boxes stand."""
    return range_text(len(_finite(scored, row)) for row in methods)


def _notes(result: Result, panels: Sequence[Sequence[Scored]], methods: Sequence[MethodRow]) -> list[str]:
    every = [scored for panel in panels for scored in panel]
    notes = []
    if len({scored.column.dataset for scored in every}) == 1:
        counts = {scored.column.metric_label: _counted(scored, methods) for scored in every}
        alike = len(set(counts.values())) == 1
        said = next(iter(counts.values())) if alike else "; ".join(f"{name}: {n}" for name, n in counts.items())
        notes.append(f"{dataset_label(result, every[0].column.dataset)}, {said} pictures.")
    notes.append(
        f"Box: quartiles and median; whiskers: up to 1.5 times the quartiles' distance; mark: mean; for fewer than "
        f"{FEW} pictures every value is a dot, from there on a kernel density stands behind."
    )
    values = [value for one in every for row in methods for value in one.values.get(row.method, {}).values()]
    infinite = sum(map(math.isinf, values))
    if infinite:
        notes.append(f"{infinite} infinite value{'s are' if infinite > 1 else ' is'} left out.")
    return [*notes, protocol_text(result, [scored.column for scored in every])]
