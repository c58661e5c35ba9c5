"""What the data sets with annotated objects share: COCO's class names, boxes cut at the picture's edge."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bench.contracts import Boxes, Sample
from bench.image import is_remote, over_network

COCO_CLASSES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant"),
    *("bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard"),
    *("sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle"),
    *("wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli"),
    *("carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet"),
    *("tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
)
"""The 80 classes of COCO's object detection by category id; YOLO's labels count them from 0."""


class Annotation(NamedTuple):
    """One object as its file states it, in pixels of the photograph."""

    name: str
    left: float
    top: float
    width: float
    height: float
    area: float | None = None
    """Of the object's outline; None where only the box is known."""
    ignored: bool = False


Reader = Callable[[Sample], tuple[tuple[int, int], Sequence[Annotation]]]
"""Width and height of a sample's photograph and the objects in it."""


def boxes_inside(objects: Sequence[Annotation], size: tuple[int, int]) -> Boxes:
    """The boxes cut at the edges of a picture of `size` (width, height); a box of which no area is left is dropped."""
    width, height = size
    kept: list[Annotation] = []
    corners: list[tuple[float, float, float, float]] = []
    for item in objects:
        left, top = max(item.left, 0.0), max(item.top, 0.0)
        right, bottom = min(item.left + item.width, float(width)), min(item.top + item.height, float(height))
        if right > left and bottom > top:
            kept.append(item)
            corners.append((left, top, right, bottom))
    places = np.array(corners, dtype=np.float64).reshape(-1, 4)
    of_boxes = (places[:, 2] - places[:, 0]) * (places[:, 3] - places[:, 1])
    areas = [box if item.area is None else item.area for item, box in zip(kept, of_boxes.tolist(), strict=True)]
    return Boxes(
        corners=places,
        names=tuple(item.name for item in kept),
        ignored=np.array([item.ignored for item in kept], dtype=np.bool_),
        areas=np.array(areas, dtype=np.float64),
    )


def resized(boxes: Boxes, old: tuple[int, int], new: tuple[int, int]) -> Boxes:
    """The boxes of a picture of size `old` (width, height) after it was resized to `new`."""
    across, down = new[0] / old[0], new[1] / old[1]
    corners = boxes.corners * np.array([across, down, across, down])
    # The product of a rounded ratio may end a bit beyond the edge.
    return replace(boxes, corners=np.minimum(corners, new * 2), areas=boxes.areas * (across * down))


def finite(values: Sequence[object]) -> list[float] | None:
    """The values as numbers; None where one of them is none or is not finite."""
    try:
        numbers = [float(str(value)) for value in values]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def warn_of_dropped(label: str, samples: Sequence[Sample], read: Reader) -> None:
    """Say how many boxes `boxes_inside` drops; a sample that cannot be read is left to its own error."""

    def lost(sample: Sample) -> int:
        try:
            size, objects = read(sample)
        except (OSError, ValueError):
            return 0
        return len(objects) - len(boxes_inside(objects, size).names)

    remote = any(is_remote(sample.low) for sample in samples)
    counts = over_network(lost, samples) if remote else map(lost, samples)
    dropped = {sample.id: count for sample, count in zip(samples, counts, strict=True) if count}
    if dropped:
        warnings.warn(
            f"{label}: {sum(dropped.values())} boxes are left out, they have no area inside their picture:"
            f" {first(list(dropped))}",
            stacklevel=3,
        )


def first(names: Sequence[str], count: int = 3) -> str:
    """The first few names of many, for messages."""
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
