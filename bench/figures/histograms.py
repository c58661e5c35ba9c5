"""How bright and in which colours each method's picture is, beside the reference, with distances as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from bench.contracts import Arrays, Result, Wanted

from ._choice import (
    LOW,
    NO_PICTURES,
    REFERENCE,
    choose_dataset,
    choose_images,
    choose_methods,
    dataset_label,
    seen,
)
from ._pictures import Shown, pictures_note, side_by_side
from ._style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    SKY,
    SMALL,
    TEXT,
    VERMILION,
    PrintFigure,
    chart,
    fitted,
    number,
    protocol_text,
    provenance,
)

Counts = NDArray[Any]
Floats = NDArray[np.float64]

LEAST, HIGH = 0.95, 0.95
"""Inches of a panel's width below which a further line begins, and of its height."""
CHANNELS: tuple[tuple[str, str, Any], ...] = (
    ("red", VERMILION, "-"),
    ("green", GREEN, (0, (4, 1.2))),
    ("blue", BLUE, (0, (1.2, 1))),
)


class Histograms(PrintFigure):
    """Luma histogram of every method over the reference's, and its three colours below."""

    label = "histograms of luma with their distance to the reference (KL, EMD), and of R, G and B"
    heeds: ClassVar[frozenset[str]] = frozenset({"dataset", "images", "columns"})

    def draw(self, result: Result, wanted: Wanted) -> Drawing:
        """Two rows of panels for each picture; by default of the first."""
        suitable = {key[0] for key, view in result.views.items() if view.histogram is not None}
        dataset = choose_dataset(result, wanted, suitable, NO_PICTURES)
        images = choose_images(result, dataset, wanted.images)
        images = images if wanted.images else images[:1]
        shown = side_by_side(result, dataset, choose_methods(result, wanted))
        columns = min(wanted.columns or _columns(len(shown), wanted.width), len(shown))
        lines = [(image, shown[start : start + columns]) for image in images for start in range(0, len(shown), columns)]
        notes = [pictures_note(dataset_label(result, dataset), images), *_notes(shown)]
        drawing = chart(wanted.width, 2 * HIGH * len(lines) + 0.45, [*notes, protocol_text(result), provenance(result)])
        panels = drawing.subplots(2 * len(lines), columns, squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        for place, (image, line) in enumerate(lines):
            found = {one.name: seen(result, dataset, image, one.name).histogram for one in shown}
            judged = [counts for name, counts in found.items() if counts and (name != LOW or len(shown) == 1)]
            for column, one in enumerate(line):
                luma, colours = panels[2 * place, column], panels[2 * place + 1, column]
                last = all(column >= len(later) for _, later in lines[place + 1 :])
                _frame(luma, column == 0, False, _top(judged, ["luma"]))
                _luma(luma, one, found[one.name], found.get(REFERENCE))
                _frame(colours, column == 0, last, _top(judged, [name for name, *_ in CHANNELS]))
                _colours(colours, found[one.name])
                luma.set_title(*_title(one.title, wanted.width / columns), pad=3)
            panels[2 * place, 0].set_ylabel("Y: share (%)", size=SMALL)
            panels[2 * place + 1, 0].set_ylabel("RGB: share (%)", size=SMALL)
        drawing.align_ylabels(list(panels[:, 0]))
        return drawing


def distribution(counts: Counts) -> Floats:
    """Shares that add up to 1."""
    shares: Floats = np.array(counts, dtype=np.float64)
    shares /= shares.sum()
    return shares


def smoothed(counts: Counts) -> Floats:
    """Gaussian kernel density of the pixels at every level, by Scott's rule, reflected at both ends.

    Scott 1992: a kernel n^(-1/5) times as wide as the standard deviation. Equal pixels are left as they are.
    """
    shares = distribution(counts)
    levels = np.arange(len(shares))
    mean = float((levels * shares).sum())
    deviation = math.sqrt(float(((levels - mean) ** 2 * shares).sum()))
    width = deviation * float(np.sum(counts)) ** -0.2
    if width == 0:
        return shares
    fit: Floats = gaussian_filter1d(shares, width, mode="reflect")
    return fit


def kl_divergence(reference: Counts, other: Counts) -> float:
    """Kullback-Leibler divergence KL(reference || other) in nats; 0 for equal shares.

    One pixel is added to every level of both, without which a level that `other` lacks would make it infinite.
    """
    p, q = distribution(np.asarray(reference) + 1), distribution(np.asarray(other) + 1)
    return float(np.sum(p * np.log(p / q)))


def earth_movers_distance(reference: Counts, other: Counts) -> float:
    """How many levels the pixels must be moved on average to turn one histogram into the other (Wasserstein-1)."""
    return float(np.abs(np.cumsum(distribution(reference) - distribution(other))).sum())


def _columns(count: int, width: float) -> int:
    lines = math.ceil(count / max(1, int(width / LEAST)))
    return math.ceil(count / lines)


def _title(text: str, width: float) -> tuple[str, dict[str, float]]:
    text, size = fitted(text, width - 0.1, TEXT)
    return text, {"fontsize": size}


def _top(found: Sequence[Arrays], channels: Sequence[str]) -> float:
    """End of the share axis, in per cent: above every smooth curve but the input's, with room for two lines."""
    tops = [100 * float(smoothed(counts[name]).max()) for counts in found for name in channels]
    return 1.35 * max(tops, default=1.0)


def _frame(axes: Axes, first: bool, last: bool, top: float) -> None:
    """Axes of one picture's panels are alike; numbers stand at the left and at the bottom only."""
    axes.set_axis_on()
    axes.set_xlim(0, 255)
    axes.set_xticks([0, 128, 255])
    axes.set_ylim(0, top)
    axes.locator_params(axis="y", nbins=4)
    axes.tick_params(labelsize=SMALL - 0.5, labelleft=first, labelbottom=last)
    if last:
        axes.set_xlabel("8-bit level", size=SMALL, labelpad=2)


def _luma(axes: Axes, one: Shown, found: Arrays | None, reference: Arrays | None) -> None:
    """The reference as a grey area, the method's own counts thin and its smooth curve thick."""
    if found is None:
        axes.text(0.5, 0.5, "no result", transform=axes.transAxes, size=SMALL, ha="center", va="center")
        return
    levels = np.arange(256)
    counts = found["luma"]
    if reference is not None:
        axes.fill_between(levels, 100 * smoothed(reference["luma"]), color="#cccccc", linewidth=0, zorder=1)
    if one.name == REFERENCE:
        axes.plot(levels, 100 * smoothed(counts), color=GREY, linewidth=1.0, zorder=3)
        return
    axes.step(levels, 100 * distribution(counts), where="mid", color=SKY, linewidth=0.4, zorder=2)
    axes.plot(levels, 100 * smoothed(counts), color=BLACK, linewidth=1.0, zorder=3)
    if reference is not None:
        kl, emd = kl_divergence(reference["luma"], counts), earth_movers_distance(reference["luma"], counts)
        text = f"KL {number(kl, 2)}\nEMD {number(emd, 1)}"
        axes.text(
            0.99,
            0.98,
            text,
            transform=axes.transAxes,
            size=SMALL,
            ha="right",
            va="top",
            linespacing=1.1,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )


def _colours(axes: Axes, found: Arrays | None) -> None:
    if found is not None:
        for name, colour, dashes in CHANNELS:
            axes.plot(np.arange(256), 100 * smoothed(found[name]), color=colour, linestyle=dashes, linewidth=0.9)


def _notes(shown: Sequence[Shown]) -> list[str]:
    notes = [
        "Y: BT.601 luma; thin: share of pixels at each level, thick: Gaussian kernel density by Scott's rule.",
        "RGB: the same density of R (solid), G (dashed) and B (dotted). The input's curves may leave the panels.",
    ]
    if any(one.name == REFERENCE for one in shown):
        notes.append(
            "Grey: the reference; KL: divergence KL(reference || method) in nats, one pixel added to every level; EMD: "
            "earth mover's distance in levels; 0 is best for both."
        )
    else:
        notes.append("No reference, therefore no distance to one.")
    return notes
