"""Annotations in COCO's JSON: `images`, `annotations` with `bbox` (left, top, width, height), `categories`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bench.image import natural_key, size_of

from ._boxes import Annotation, finite


@dataclass(frozen=True, slots=True)
class CocoImage:
    """A picture of the file."""

    file_name: str
    size: tuple[int, int] | None
    """Width and height as stated; None where they are not."""
    objects: tuple[Annotation, ...]


@dataclass(frozen=True, slots=True)
class CocoFile:
    """What is used of a file: class names by category id, pictures by the stem of their name in natural order."""

    path: Path
    classes: tuple[str, ...]
    images: Mapping[str, CocoImage]

    def objects(self, stem: str, picture: Path) -> tuple[tuple[int, int], tuple[Annotation, ...]]:
        """Size and objects of a picture; raises ValueError where the stated size is not the file's."""
        image = self.images[stem]
        size = size_of(picture)
        if image.size not in (None, size):
            width, height = image.size or size
            raise ValueError(
                f"{self.path} says {image.file_name} has {width}x{height} pixels but {picture} has {size[0]}x{size[1]};"
                " the boxes belong to another version of the picture"
            )
        return size, image.objects


def read_coco(path: Path) -> CocoFile:
    """Parse a file; a picture without annotations has no objects, a crowd is ignored, a missing area is the box's.

    Raises ValueError naming the file and the entry: no JSON, no such lists, an annotation of a picture or a category
    that the file lacks, a bbox that is not four finite numbers, two pictures or categories under one name.
    """
    content = _content(path)
    categories = _categories(path, content["categories"])
    stems: dict[object, str] = {}
    images: dict[str, CocoImage] = {}
    for number, image in enumerate(content["images"]):
        name, identifier = image.get("file_name"), image.get("id")
        if not isinstance(name, str) or not name or not isinstance(identifier, int | str):
            raise ValueError(f"{path}: picture number {number} needs file_name and id, has {name!r} and {identifier!r}")
        stem = PurePosixPath(name.replace("\\", "/")).stem
        if stem in images or identifier in stems:
            raise ValueError(f"{path}: two pictures are called {stem} or have the id {identifier}; remove one")
        stems[identifier] = stem
        images[stem] = CocoImage(name, _size(path, image), ())
    if not images:
        raise ValueError(f"{path} lists no picture")
    objects: dict[str, list[Annotation]] = {stem: [] for stem in images}
    for number, annotation in enumerate(content["annotations"]):
        place = f"{path}: annotation {annotation.get('id', f'number {number}')}"
        objects[_known(place, annotation, "image_id", stems)].append(_annotation(place, annotation, categories))
    return CocoFile(
        path=path,
        classes=tuple(categories.values()),
        images={
            stem: CocoImage(images[stem].file_name, images[stem].size, tuple(objects[stem]))
            for stem in sorted(images, key=natural_key)
        },
    )


def _content(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:  # what json raises, and what decoding the bytes does
        raise ValueError(f"{path} is not valid JSON: {error}; copy or download it again") from error
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{path} has no list {key!r} of objects; COCO's instances_*.json has one")
    return dict(content)


def _categories(path: Path, entries: list[dict[str, Any]]) -> dict[object, str]:
    names: dict[int, str] = {}
    for entry in entries:
        identifier, name = entry.get("id"), entry.get("name")
        if not isinstance(identifier, int) or not isinstance(name, str) or not name:
            raise ValueError(f"{path}: category {entry} needs a whole number as id and a name")
        if identifier in names or name in names.values():
            raise ValueError(f"{path}: category {name!r} (id {identifier}) is there twice; remove one")
        names[identifier] = name
    return {identifier: names[identifier] for identifier in sorted(names)}


def _size(path: Path, image: dict[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if width is None and height is None:
        return None
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    raise ValueError(f"{path}: {image['file_name']} has width {width!r} and height {height!r}; give pixels or neither")


def _known(place: str, annotation: dict[str, Any], key: str, known: Mapping[object, str]) -> str:
    value = annotation.get(key)
    if not isinstance(value, int | str) or value not in known:
        raise ValueError(f"{place} has {key} {value!r}, which the file does not list; add or remove it")
    return known[value]


def _annotation(place: str, annotation: dict[str, Any], categories: Mapping[object, str]) -> Annotation:
    name = _known(place, annotation, "category_id", categories)
    bbox, area = annotation.get("bbox"), annotation.get("area")
    box = finite(bbox) if isinstance(bbox, list) else None
    if box is None or len(box) != 4:
        raise ValueError(f"{place} has bbox {bbox!r}; it must be [left, top, width, height] in pixels")
    outline = None if area is None else (finite([area]) or [-1.0])[0]
    if outline is not None and outline < 0:
        raise ValueError(f"{place} has area {area!r}; it must be square pixels, 0 or more, or be left out")
    left, top, width, height = box
    return Annotation(name, left, top, width, height, outline, ignored=bool(annotation.get("iscrowd", 0)))
