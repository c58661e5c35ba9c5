"""Every method's picture side by side, with parts of it enlarged below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Rectangle

from bench.contracts import Box, Result, Wanted

from ._choice import (
    LOW,
    NO_PICTURES,
    choose_dataset,
    choose_images,
    choose_methods,
    dataset_label,
    scored_columns,
    with_pictures,
)
from ._pictures import (
    Draw,
    Part,
    Picture,
    Sheet,
    Stack,
    load,
    no_picture,
    part_of,
    pictures_note,
    scores_below,
    scores_note,
    show,
    side_by_side,
)
from ._style import GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW, PrintFigure, protocol_text, provenance

LEAST = 0.95
"""Inches of a picture's width below which a further line begins."""


class Frame(NamedTuple):
    """How a box is outlined; in grey the dashes tell boxes apart."""

    colour: str
    dashes: tuple[float, ...]
    """On and off in points; empty for an unbroken line."""


FRAMES = (
    Frame(VERMILION, ()),
    Frame(SKY, (4, 1.5)),
    Frame(YELLOW, (1.5, 1.5)),
    Frame(GREEN, (6, 1.5, 1.5, 1.5)),
    Frame(PURPLE, (8, 2)),
    Frame(ORANGE, (3, 1)),
)


class Grid(PrintFigure):
    """Input, methods and reference; each box is outlined in every picture and enlarged below it."""

    label = "pictures of all methods side by side, with coloured boxes enlarged below (--box)"
    heeds: ClassVar[frozenset[str]] = frozenset({"dataset", "images", "metrics", "boxes", "columns"})

    def draw(self, result: Result, wanted: Wanted) -> Drawing:
        """One block of pictures for each picture id."""
        dataset = choose_dataset(result, wanted, with_pictures(result), NO_PICTURES)
        images = choose_images(result, dataset, wanted.images)
        images = images if wanted.images else images[:1]
        shown = side_by_side(result, dataset, choose_methods(result, wanted))
        scores = scored_columns(result, dataset, wanted.metrics)
        for box in wanted.boxes:
            if box.image and box.image not in images:
                raise LookupError(
                    f"--box {box.image}:… is for a picture that is not shown; shown are {', '.join(images)}"
                )
        sheet = Sheet(wanted.width)
        columns = sheet.columns(len(shown), LEAST, wanted)
        for place, image in enumerate(images):
            if place and columns < len(shown):
                sheet.space()
            boxes = [box for box in wanted.boxes if box.image in ("", image)]
            pictures = {one.name: load(result, dataset, image, one.name) for one in shown}
            low = pictures[LOW]
            if low is None:
                raise ValueError(f"picture {image!r} of {dataset} is not among the run's files")
            check(boxes, low, image)
            aspect = low.pixels.shape[1] / low.pixels.shape[0]
            stacks = []
            for one in shown:
                picture = pictures[one.name]
                parts = [part_of(picture, aspect, outlines(boxes)), *scores_below(result, scores, one.name, image)]
                stacks.append(Stack(one.title, (*parts, *crops(picture, boxes))))
            sheet.put(stacks, columns, titled=place == 0 or columns < len(shown))
        notes = [pictures_note(dataset_label(result, dataset), images), *scores_note(scores)]
        return sheet.finished([*notes, protocol_text(result), provenance(result)])


def check(boxes: Sequence[Box], low: Picture, image: str) -> None:
    """Raises ValueError for a box that is not inside the picture."""
    if boxes and not low.whole:
        raise ValueError(
            "the run kept only thumbnails, and --box counts in pixels of the whole picture; give its `bench run` "
            "command again"
        )
    height, width = low.pixels.shape[:2]
    for box in boxes:
        if box.left + box.width > width or box.top + box.height > height:
            raise ValueError(
                f"--box {box.left},{box.top},{box.width},{box.height} reaches beyond picture {image!r}, which is "
                f"{width} pixels wide and {height} high"
            )


def outlines(boxes: Sequence[Box]) -> Draw:
    """Draws the boxes' outlines over a picture."""

    def draw(axes: Axes) -> None:
        for place, box in enumerate(boxes):
            outline(axes, (box.left, box.top, box.width, box.height), frame_of(place), 1.0)

    return draw


def crops(picture: Picture | None, boxes: Sequence[Box]) -> tuple[Part, ...]:
    """The boxes' contents side by side, equally high."""
    if not boxes:
        return ()

    def crop(place: int, box: Box) -> Draw:
        def draw(axes: Axes) -> None:
            if picture is None:
                no_picture(axes)
                return
            show(axes, picture.pixels[box.top : box.top + box.height, box.left : box.left + box.width])
            # Half of the line lies outside the axes and is cut off.
            axes.add_patch(_line((0, 0, box.width, box.height), frame_of(place), 2.4))

        return draw

    return (Part(tuple((box.width / box.height, crop(place, box)) for place, box in enumerate(boxes))),)


def frame_of(place: int) -> Frame:
    """The outline of the box that was named as the place-th."""
    return FRAMES[place % len(FRAMES)]


def outline(axes: Axes, box: tuple[float, float, float, float], frame: Frame, points: float) -> None:
    """A coloured line on a wider black one: seen on dark and bright ground."""
    axes.add_patch(_line(box, Frame("black", ()), points + 0.6))
    axes.add_patch(_line(box, frame, points))


def _line(box: tuple[float, float, float, float], frame: Frame, points: float) -> Rectangle:
    left, top, width, height = box
    style = (0, tuple(length / points for length in frame.dashes)) if frame.dashes else "-"
    return Rectangle(
        (left, top),
        width,
        height,
        fill=False,
        edgecolor=frame.colour,
        linewidth=points,
        linestyle=style,
        capstyle="butt",
    )
