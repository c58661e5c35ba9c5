"""Where each method is wrong: absolute differences to the reference on one colour scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Drawing
from numpy.typing import NDArray

from bench.contracts import Result, Wanted

from ._choice import (
    LOW,
    NO_PICTURES,
    REFERENCE,
    choose_dataset,
    choose_images,
    choose_methods,
    dataset_label,
    scored_columns,
    seen,
    with_pictures,
)
from ._pictures import (
    Part,
    Pixels,
    Sheet,
    Stack,
    load,
    no_picture,
    part_of,
    pictures_note,
    read,
    scores_below,
    scores_note,
    show,
    side_by_side,
)
from ._style import SMALL, PrintFigure, number, protocol_text, provenance

LEAST = 0.95
BAR = 0.58
"""Inches kept free for the colour bar."""
COLOURS = "inferno"
"""Rises evenly in lightness, in grey too."""
PEAKS = (32, 64, 128, 255)
CONTAINED = 0.95
"""Share of the enhanced pictures' pixels that the scale spans at least where no peak is given.

What lies above has the last colour.
"""


class Errors(PrintFigure):
    """Each method's picture with its error map below, and the reference."""

    label = "absolute differences to the reference on a shared colour scale (--peak fixes it)"
    heeds: ClassVar[frozenset[str]] = frozenset({"dataset", "images", "metrics", "columns", "peak"})

    def draw(self, result: Result, wanted: Wanted) -> Drawing:
        """One block for each picture; by default the one with the largest mean error."""
        lacking = NO_MAPS if with_pictures(result) else NO_PICTURES
        dataset = choose_dataset(result, wanted, {key[0] for key, view in result.views.items() if view.error}, lacking)
        methods = [row for row in choose_methods(result, wanted) if row.kind != "none"]
        names = [row.method for row in methods] or [LOW]
        images = choose_images(result, dataset, wanted.images)
        kept = len(images)
        if not wanted.images:
            images = [max(images, key=lambda image: _mean_error(result, dataset, image, names))]
        shown = side_by_side(result, dataset, methods)
        scores = scored_columns(result, dataset, wanted.metrics)
        maps = {(image, one.name): error_map(result, dataset, image, one.name) for image in images for one in shown}
        peak = wanted.peak or shared_peak([found for (_, name), found in maps.items() if name in names])
        sheet = Sheet(wanted.width, BAR)
        columns = sheet.columns(len(shown), LEAST, wanted)
        for place, image in enumerate(images):
            if place and columns < len(shown):
                sheet.space()
            stacks = []
            for one in shown:
                picture = load(result, dataset, image, one.name)
                low = load(result, dataset, image, LOW) if picture is None else picture
                aspect = low.pixels.shape[1] / low.pixels.shape[0] if low else 1.5
                found = maps[image, one.name]
                mean = " " if found is None else f"mean {number(float(found.mean()), 1)}"
                parts = (part_of(picture, aspect), *scores_below(result, scores, one.name, image))
                last = one.name == REFERENCE
                stacks.append(Stack(one.title, (*parts, _map(found, aspect, peak, last), Part(text=mean))))
            sheet.put(stacks, columns, titled=place == 0 or columns < len(shown))
        notes = [pictures_note(dataset_label(result, dataset), images), *scores_note(scores), MEANING]
        if not wanted.images and kept > 1:
            notes.append(f"Of the {kept} pictures kept, the one with the largest mean error over the methods.")
        drawing = sheet.finished([*notes, protocol_text(result), provenance(result)])
        _colour_bar(drawing, peak)
        return drawing


NO_MAPS = "there are no references, and an error is a difference to one"
MEANING = (
    "Maps: absolute difference to the reference in 8-bit levels, mean over R, G and B; below each map its mean over "
    "the picture."
)


def error_map(result: Result, dataset: str, image: str, name: str) -> NDArray[np.uint8] | None:
    """8-bit levels (H, W) of a picture's absolute difference to the reference, None where there is none."""
    file = seen(result, dataset, image, name).error
    return None if file is None else read(file)[..., 0]


def _mean_error(result: Result, dataset: str, image: str, names: Sequence[str]) -> float:
    maps = [error_map(result, dataset, image, name) for name in names]
    means = [float(found.mean()) for found in maps if found is not None]
    return sum(means) / len(means) if means else 0.0


def shared_peak(maps: Sequence[NDArray[np.uint8] | None]) -> int:
    """The least of 32, 64, 128 and 255 levels that spans 95 % of the maps' pixels."""
    counts = np.zeros(256)
    for found in maps:
        if found is not None:
            counts += np.bincount(found.ravel(), minlength=256)
    if not counts.any():
        return PEAKS[-1]
    covered = np.cumsum(counts) / counts.sum()
    return next(peak for peak in PEAKS if covered[peak] >= CONTAINED)


def _map(found: Pixels | None, aspect: float, peak: int, reference: bool) -> Part:
    def draw(axes: Axes) -> None:
        if found is not None:
            show(axes, found, cmap=COLOURS, vmin=0, vmax=peak)
        elif not reference:
            no_picture(axes)

    return Part(((aspect, draw),))


def _colour_bar(drawing: Drawing, peak: int) -> None:
    """At the right of all maps, as high as the sheet allows; its triangle stands for what is above the peak."""
    width, height = drawing.get_size_inches()
    tall = min(1.6, height - 0.7)
    axes = drawing.add_axes(
        ((width - BAR + 0.08) / width, (height - 0.25 - tall) / height, 0.09 / width, tall / height)
    )
    bar = drawing.colorbar(
        ScalarMappable(Normalize(0, peak), COLOURS), cax=axes, extend="max" if peak < 255 else "neither"
    )
    bar.set_ticks([0, peak / 4, peak / 2, 3 * peak / 4, peak], labels=[f"{peak * n / 4:.0f}" for n in range(5)])
    bar.set_label("|difference| (8-bit levels)", size=SMALL)
    bar.outline.set_linewidth(0.5)
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")
