"""Labels in YOLO's text format: a line per object, class number and centre, width, height as parts of the picture."""

from __future__ import annotations

from pathlib import Path

from ._boxes import COCO_CLASSES, Annotation, finite


def read_labels(file: Path, size: tuple[int, int]) -> list[Annotation]:
    """Objects of a picture of `size` (width, height), classes counted as COCO's 80 from 0.

    Raises ValueError with file and line for a line that is not five numbers or a class that is none of the 80.
    """
    objects: list[Annotation] = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        values = finite(fields)
        if values is None or len(values) != 5:
            raise ValueError(f"{file}:{number} must be class, centre x, centre y, width and height, is {line!r}")
        if values[0] not in range(len(COCO_CLASSES)):
            raise ValueError(f"{file}:{number} has class {fields[0]}; COCO's are 0 to {len(COCO_CLASSES) - 1}")
        x, y, width, height = (value * side for value, side in zip(values[1:], size * 2, strict=True))
        objects.append(Annotation(COCO_CLASSES[int(values[0])], x - width / 2, y - height / 2, width, height))
    return objects
