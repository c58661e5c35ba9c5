"""Pictures of a run as arrays, and sheets on which they stand side by side."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from bench.contracts import MethodRow, Result, Wanted

from ._choice import LOW, REFERENCE, Scored, seen
from ._style import (
    DPI,
    GREY,
    PAGE,
    SMALL,
    TEXT,
    TINY,
    fitted,
    line_height,
    metric_text,
    number,
    small_print,
    wrapped,
)

Pixels = NDArray[np.uint8]
"""(H, W, 3) or (H, W)."""
Draw = Callable[[Axes], None]

GAP = 0.04
"""Inches between pictures."""


class Shown(NamedTuple):
    """One of the pictures that stand side by side."""

    name: str
    """A method, 'low' or 'reference'."""
    title: str


class Picture(NamedTuple):
    """A picture kept with the run."""

    pixels: Pixels
    whole: bool
    """False for a thumbnail."""


class Part(NamedTuple):
    """Something in a stack, as wide as the stack: drawings side by side, or a line of text."""

    draws: tuple[tuple[float, Draw], ...] = ()
    """Each with its width divided by its height."""
    text: str = ""

    def height(self, width: float) -> float:
        """Inches it takes at a width in inches."""
        if not self.draws:
            return line_height(SMALL) + 0.02
        return (width - GAP * (len(self.draws) - 1)) / sum(aspect for aspect, _ in self.draws)


class Stack(NamedTuple):
    """A titled column of parts."""

    title: str
    parts: tuple[Part, ...]


class _Place(NamedTuple):
    left: float
    top: float
    width: float
    height: float
    draw: Draw


class _Words(NamedTuple):
    x: float
    y: float
    text: str
    size: float
    how: dict[str, Any]


@dataclass
class Sheet:
    """What is drawn where, in inches from the top left corner; as high as what was put on it."""

    width: float
    right: float = 0.0
    """Margin that stacks leave free."""
    top: float = 0.02
    """Where the next line begins."""
    places: list[_Place] = field(default_factory=list)
    words: list[_Words] = field(default_factory=list)

    def columns(self, count: int, least: float, wanted: Wanted) -> int:
        """How many of `count` stacks stand in a line: as asked, or so that each is `least` wide and lines are even."""
        if wanted.columns:
            return min(wanted.columns, count)
        lines = math.ceil(count / max(1, int((self.width - self.right + GAP) / (least + GAP))))
        return math.ceil(count / lines)

    def put(self, stacks: Sequence[Stack], columns: int, titled: bool) -> None:
        """Lines of stacks; titles stand over the first line, over each where there are several and `titled`."""
        width = (self.width - self.right - GAP * (columns - 1)) / columns
        for start in range(0, len(stacks), columns):
            line = stacks[start : start + columns]
            lefts = [place * (width + GAP) for place in range(len(line))]
            if titled:
                self._titles([stack.title for stack in line], lefts, width)
            for parts in zip(*(stack.parts for stack in line), strict=True):
                height = max(part.height(width) for part in parts)
                for left, part in zip(lefts, parts, strict=True):
                    self._part(part, left, width)
                self.top += height + (GAP if parts[0].draws else 0)
            self.top += GAP

    def _titles(self, titles: Sequence[str], lefts: Sequence[float], width: float) -> None:
        sizes = [fitted(title, width, TEXT)[1] for title in titles]
        for title, left in zip(titles, lefts, strict=True):
            text, size = fitted(title, width, min(sizes))
            self.words.append(_Words(left + width / 2, self.top + 0.1, text, size, {"ha": "center"}))
        self.top += line_height(TEXT) + 0.03

    def _part(self, part: Part, left: float, width: float) -> None:
        height = part.height(width)
        if part.text:
            text, size = fitted(part.text, width, SMALL)
            self.words.append(_Words(left + width / 2, self.top + height - 0.035, text, size, {"ha": "center"}))
        for aspect, draw in part.draws:
            self.places.append(_Place(left, self.top, aspect * height, height, draw))
            left += aspect * height + GAP

    def space(self) -> None:
        """Set what follows apart."""
        self.top += 2 * GAP

    def finished(self, notes: Sequence[str]) -> Drawing:
        """The drawing with small print below; warns where no page is high enough for it."""
        lines = len(wrapped(" ".join(notes), self.width - 0.04, TINY))
        height = self.top + 0.06 + lines * line_height(TINY)
        if height > PAGE:
            warnings.warn(
                f"the figure is {height:.1f} inches high and a page {PAGE}; show fewer pictures, or more side by side "
                f"with --columns",
                stacklevel=2,
            )
        drawing = Drawing(figsize=(self.width, height))
        for left, top, width, tall, draw in self.places:
            axes = drawing.add_axes((left / self.width, 1 - (top + tall) / height, width / self.width, tall / height))
            axes.set_axis_off()
            draw(axes)
        for x, y, text, size, how in self.words:
            drawing.text(x / self.width, 1 - y / height, text, size=size, va="baseline", **how)
        small_print(drawing, notes)
        return drawing


def side_by_side(result: Result, dataset: str, methods: Sequence[MethodRow]) -> list[Shown]:
    """The low-light picture, every method's, and the reference where the set has one."""
    references = any(name == REFERENCE for of, _, name in result.views if of == dataset)
    shown = [Shown(LOW, "Input"), *(Shown(row.method, row.label) for row in methods if row.kind != "none")]
    return [*shown, Shown(REFERENCE, "Reference")] if references else shown


def name_in_records(result: Result, name: str) -> str:
    """Under which method the scores of a shown picture stand: those of the low-light picture under 'input'."""
    if name != LOW:
        return name
    return next((row.method for row in result.table.rows if row.kind == "none"), name)


def scores_below(result: Result, scores: Sequence[Scored], name: str, image: str) -> tuple[Part, ...]:
    """A line with a shown picture's scores, none where no metric was asked for."""
    if not scores:
        return ()
    if name == REFERENCE:
        return (Part(text=" "),)
    method = name_in_records(result, name)
    found = [(column, values.get(method, {}).get(image)) for column, values in scores]
    texts = ["–" if value is None else number(value, column.decimals) for column, value in found]
    return (Part(text=" / ".join(texts)),)


def scores_note(scores: Sequence[Scored]) -> list[str]:
    """What the line of scores says."""
    return [f"Numbers: {' / '.join(metric_text(column) for column, _ in scores)}."] if scores else []


def load(result: Result, dataset: str, image: str, name: str) -> Picture | None:
    """The whole picture, otherwise its thumbnail with a warning; None where the method gave none."""
    view = seen(result, dataset, image, name)
    if view.full is not None:
        return Picture(read(view.full), True)
    thumbnail = result.thumbnails.get((dataset, image, name))
    if thumbnail is None:
        return None
    warnings.warn(
        f"the run kept only thumbnails of {dataset}; give its `bench run` command again for whole pictures",
        stacklevel=2,
    )
    return Picture(read(thumbnail), False)


def read(file: Path) -> Pixels:
    """A stored picture, (H, W, 3); raises ValueError naming the file where it is damaged."""
    try:
        with Image.open(file) as opened:
            return np.asarray(opened.convert("RGB"))
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error}); give the `bench run` command again") from error


def part_of(picture: Picture | None, aspect: float, extra: Draw | None = None) -> Part:
    """A picture as wide as its stack, with what `extra` draws over it in pixels; a grey field where there is none."""

    def draw(axes: Axes) -> None:
        if picture is None:
            no_picture(axes)
            return
        show(axes, picture.pixels)
        if extra is not None:
            extra(axes)

    return Part(((aspect, draw),))


def no_picture(axes: Axes) -> None:
    """A field that says so."""
    axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="#f2f2f2", edgecolor=GREY, linewidth=0.6))
    axes.text(0.5, 0.5, "no result", size=SMALL, color="#404040", ha="center", va="center")


def show(axes: Axes, pixels: Pixels, **how: Any) -> None:
    """Draw pixels one to one; the axes then count in pixels, (0, 0) at the top left corner of the first."""
    height, width = pixels.shape[:2]
    figure = axes.get_figure(root=True)
    assert figure is not None
    inches = float(axes.get_position().width * figure.get_size_inches()[0])
    axes.imshow(printed(pixels, inches), extent=(0, width, height, 0), aspect="auto", **how)


def printed(pixels: Pixels, inches: float) -> Pixels:
    """The pixels themselves unless they are finer than print; then averaged down to that."""
    width = math.ceil(inches * DPI)
    if pixels.shape[1] <= width:
        return pixels
    height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


def pictures_note(label: str, images: Sequence[str]) -> str:
    """Which pictures are shown."""
    if len(images) == 1:
        return f"{label}, picture {images[0]}."
    return f"{label}, pictures from the top: {', '.join(images)}."
