"""What a detector or a saliency network finds in each method's picture, beside the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from bench.contracts import Arrays, Result, Wanted

from ._choice import (
    LOW,
    NO_PICTURES,
    REFERENCE,
    choose_dataset,
    choose_images,
    choose_methods,
    dataset_label,
    near,
    scored_columns,
    seen,
    why_empty,
)
from ._pictures import (
    Draw,
    Part,
    Picture,
    Sheet,
    Shown,
    Stack,
    load,
    name_in_records,
    part_of,
    pictures_note,
    scores_below,
    scores_note,
    show,
    side_by_side,
)
from ._style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    VERMILION,
    YELLOW,
    PrintFigure,
    on_colour,
    protocol_text,
    provenance,
)

DETECTION, SALIENCY = "detection", "saliency"
LEAST = {DETECTION: 1.65, SALIENCY: 0.95}
"""Inches of a picture's width below which a further line begins; labels of boxes need room."""
CONFIDENCE = 0.25
LABEL = 5.0
"""Points of the labels of boxes."""
COLOURS = (YELLOW, SKY, VERMILION, GREEN, PURPLE, ORANGE, BLUE)
"""Of the classes that a figure shows, in the data set's order; those first that are seen best on dark pictures."""


class Kind(NamedTuple):
    """A class of objects as a figure shows it."""

    name: str
    colour: str


class Detections(PrintFigure):
    """Boxes with class and confidence, or saliency maps, of every method's picture; the truth last."""

    label = "detected boxes with class and confidence, or saliency maps (--task), beside the truth"
    heeds: ClassVar[frozenset[str]] = frozenset({"dataset", "images", "metrics", "task", "columns", "confidence"})

    def draw(self, result: Result, wanted: Wanted) -> Drawing:
        """One block of pictures for each picture id; by default the first that holds an object."""
        task = _task(result, wanted)
        dataset = choose_dataset(result, wanted, _examined(result, task), _lacking(result, task))
        images = choose_images(result, dataset, wanted.images)
        if not wanted.images:
            images = [next((image for image in images if _objects(result, dataset, image, task)), images[0])]
        shown = [one for one in side_by_side(result, dataset, choose_methods(result, wanted)) if one.name != REFERENCE]
        shown.append(Shown(REFERENCE, "Ground truth"))
        scores = scored_columns(result, dataset, wanted.metrics)
        confidence = CONFIDENCE if wanted.confidence is None else wanted.confidence
        sheet = Sheet(wanted.width)
        columns = sheet.columns(len(shown), LEAST[task], wanted)
        keys = [(image, one.name) for image in images for one in shown]
        answers = {key: _sure(_answer(result, dataset, key[0], task, key[1]), confidence) for key in keys}
        drawn = sorted({int(number) for answer in answers.values() if answer for number in answer.get("classes", ())})
        names = result.classes.get(dataset, ())
        kinds = {number: Kind(names[number], COLOURS[n % len(COLOURS)]) for n, number in enumerate(drawn)}
        for place, image in enumerate(images):
            if place and columns < len(shown):
                sheet.space()
            stacks = []
            for one in shown:
                picture = load(result, dataset, image, one.name)
                low = load(result, dataset, image, LOW)
                if one.name == REFERENCE:
                    picture = picture or low
                aspect = low.pixels.shape[1] / low.pixels.shape[0] if low else 1.5
                answer = answers[image, one.name]
                if task == DETECTION:
                    size = result.truths.get((dataset, image, task), {}).get("size", np.zeros(0))
                    parts: tuple[Part, ...] = (part_of(picture, aspect, _boxes(answer, size, picture, kinds)),)
                else:
                    parts = (part_of(picture, aspect), _map(answer, aspect))
                stacks.append(Stack(one.title, (*parts, *scores_below(result, scores, one.name, image))))
            sheet.put(stacks, columns, titled=place == 0 or columns < len(shown))
        of_task = [c for c in result.table.columns if c.dataset == dataset and c.dataset_label.endswith(f", {task}")]
        notes = [pictures_note(dataset_label(result, dataset).removesuffix(f", {task}"), images), *scores_note(scores)]
        notes += [_MEANING[task].format(confidence=f"{confidence:g}"), protocol_text(result, of_task[:1])]
        if any(np.any(answer.get("ignored", False)) for answer in answers.values() if answer):
            notes.append("Dotted boxes of the truth count neither as found nor as missed.")
        return sheet.finished([*notes, provenance(result)])


_MEANING = {
    DETECTION: "Boxes: class and confidence of what the detector finds with a confidence of at least {confidence}.",
    SALIENCY: "Below each picture the saliency network's map of it, and the mask that it is scored against.",
}


def _examined(result: Result, task: str) -> set[str]:
    """Data sets of which answers to a task were kept with pictures."""
    return {dataset for (dataset, _, _), view in result.views.items() if task in view.answers}


def _task(result: Result, wanted: Wanted) -> str:
    """The task asked for, or the one that the run has answers to; detection where it has both."""
    if wanted.task and wanted.task not in LEAST:
        raise LookupError(f"no task is called {wanted.task!r}{near(wanted.task, LEAST)}")
    if wanted.task:
        return wanted.task
    for task in LEAST:
        found = _examined(result, task)
        if found and (not wanted.dataset or wanted.dataset in found):
            return task
    return DETECTION


def _lacking(result: Result, task: str) -> str:
    """Why no data set has answers to draw: the table's own reason where it has one."""
    columns = [column for column in result.table.columns if column.dataset_label.endswith(f", {task}")]
    if columns and not result.views:
        return NO_PICTURES
    if columns:
        return f"no answers to {task}: {why_empty(result, columns, 'none was kept with a picture')}"
    return f"no answers to {task}; give the `bench run` command with --tasks {task}"


def _objects(result: Result, dataset: str, image: str, task: str) -> bool:
    truth = result.truths.get((dataset, image, task), {})
    return bool(len(truth.get("corners", ()))) or bool(np.any(truth.get("mask", ())))


def _answer(result: Result, dataset: str, image: str, task: str, name: str) -> Arrays | None:
    """What the model said; for the last picture the truth in the same form."""
    if name != REFERENCE:
        return seen(result, dataset, image, name_in_records(result, name)).answers.get(task)
    truth = result.truths.get((dataset, image, task))
    return {"map": mask_of(truth)} if truth is not None and task == SALIENCY else truth


def mask_of(truth: Arrays) -> NDArray[np.uint8]:
    """The stored mask (H, W), 255 on the salient object."""
    height, width = (int(side) for side in truth["shape"])
    return 255 * np.unpackbits(truth["mask"], count=height * width).reshape(height, width)


def _map(answer: Arrays | None, aspect: float) -> Part:
    def draw(axes: Axes) -> None:
        if answer is None:
            _not_examined(axes)
        else:
            show(axes, answer["map"], cmap="gray", vmin=0, vmax=255)

    return Part(((aspect, draw),))


def _not_examined(axes: Axes) -> None:
    axes.text(
        0.5,
        0.5,
        "not examined",
        transform=axes.transAxes,
        size=SMALL,
        ha="center",
        va="center",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )


def _sure(answer: Arrays | None, confidence: float) -> Arrays | None:
    """Detections of at least a confidence, the surest last, so that its label is read; other answers as they are."""
    if answer is None or "scores" not in answer:
        return answer
    order = np.argsort(answer["scores"], kind="stable")
    order = order[answer["scores"][order] >= confidence]
    return {name: answer[name][order] for name in ("corners", "scores", "classes")}


def _boxes(answer: Arrays | None, size: NDArray[Any], picture: Picture | None, kinds: Mapping[int, Kind]) -> Draw:
    """Draws boxes, in pixels of a picture of `size` (width and height), over a picture of perhaps another size."""

    def draw(axes: Axes) -> None:
        if answer is None or picture is None or not len(size):
            _not_examined(axes)
            return
        height, width = picture.pixels.shape[:2]
        scale = np.array([width, height, width, height]) / np.array([*size, *size])
        for place, corners in enumerate(answer["corners"] * scale):
            kind = kinds[int(answer["classes"][place])]
            ignored = "ignored" in answer and bool(answer["ignored"][place])
            text = f"{kind.name} {answer['scores'][place]:.2f}" if "scores" in answer else kind.name
            _box(axes, corners, "" if ignored else text, kind.colour, ignored)

    return draw


def _box(axes: Axes, corners: NDArray[np.float64], text: str, colour: str, ignored: bool) -> None:
    left, top, right, bottom = (float(corner) for corner in corners)
    for line, points in (("black", 1.4), (colour, 0.8)):
        style = (0, (1.2, 1.2)) if ignored else "-"
        axes.add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=line, linewidth=points, ls=style)
        )
    if not text:
        return
    height = abs(float(np.diff(axes.get_ylim())[0]))
    figure = axes.get_figure(root=True)
    assert figure is not None
    inches = float(axes.get_position().height * figure.get_size_inches()[1])
    above = top > 1.5 * LABEL / 72 * height / inches
    label = axes.text(
        left,
        top,
        text,
        size=LABEL,
        color=on_colour(colour),
        va="bottom" if above else "top",
        clip_on=True,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.5},
    )
    label.set_clip_path(axes.patch)
