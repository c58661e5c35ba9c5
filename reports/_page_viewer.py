"""What the page's viewer knows of each picture besides its thumbnails and values, as one block of JSON."""

from __future__ import annotations

import io
import json
import math
import os
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.contracts import Arrays, Result, View

from ._page_pictures import Gallery, Picture, Tile

CHANNELS = ("luma", "red", "green", "blue")
BANDWIDTH = 3.0
"""Standard deviation in 8-bit levels of the kernel that a histogram's curve is fitted with."""
CONFIDENCE = 0.25
"""Detections below this are not drawn."""
BARS, SAMPLES = 64, 128
"""How many bars and how many places of its curve are drawn of a histogram with 256 levels."""
MAP_SIDE, MASK_SIDE = 128, 320
"""Long side in pixels of saliency maps and outlines of masks inside the page."""
FOUND_COLOUR, TRUTH_COLOUR = (255, 92, 0), (0, 214, 255)

Block = dict[str, Any]
Counts = NDArray[np.integer[Any]]
Shares = NDArray[np.float64]


def viewer_block(galleries: Iterable[Gallery], result: Result) -> str:
    """JSON by gallery's slug, its rows and tiles in the gallery's order; safe inside a script element."""
    truths: defaultdict[tuple[str, str], list[Arrays]] = defaultdict(list)
    for (dataset, image, _), truth in sorted(result.truths.items(), key=lambda item: item[0]):
        truths[dataset, image].append(truth)
    blocks = []
    for gallery in galleries:
        of = gallery.dataset
        pictures = (_json(_picture(picture, of, result, truths[of, picture.id])) for picture in gallery.pictures)
        classes = _json(result.classes.get(of, ()))
        blocks.append(f'{_json(gallery.slug)}:{{"classes":{classes},"pictures":[{",".join(pictures)}]}}')
    return f"{{{','.join(blocks)}}}"


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _picture(picture: Picture, dataset: str, result: Result, truths: Iterable[Arrays]) -> Block:
    views = [_kept(tile, dataset, picture.id, result.views) for tile in picture.tiles]
    reference = result.views.get((dataset, picture.id, "reference"), View()).histogram
    block: Block = {"views": [_view(view, result.folder, reference) for view in views]}
    if picture.tiles[-1].method == "reference" and "histogram" in block["views"][-1]:
        block["reference"] = len(views) - 1
    for truth in truths:
        block |= _truth(truth)
    return block


def _kept(tile: Tile, dataset: str, image: str, views: Mapping[tuple[str, str, str], View]) -> View:
    """What is kept under the tile's names; the low picture is also what the row without enhancement shows."""
    found = [views[dataset, image, name] for name in tile.views if (dataset, image, name) in views]
    return View(
        full=next((view.full for view in found if view.full), None),
        error=next((view.error for view in found if view.error), None),
        maps=next((view.maps for view in found if view.maps), {}),
        histogram=next((view.histogram for view in found if view.histogram), None),
        answers={task: said for view in reversed(found) for task, said in view.answers.items()},
    )


def _view(view: View, folder: Path, reference: Arrays | None) -> Block:
    block: Block = {"full": beside(view.full, folder), "error": beside(view.error, folder)}
    block = {name: path for name, path in block.items() if path}
    if view.maps:
        block["maps"] = {metric: beside(file, folder) for metric, file in view.maps.items()}
    if view.histogram is not None:
        block["histogram"] = _drawn(view.histogram, None if reference is view.histogram else reference)
    for _, said in sorted(view.answers.items()):
        if {"corners", "scores", "classes"} <= set(said):
            block["boxes"] = _found_boxes(said)
        if "map" in said:
            block["map"] = _coloured_map(said["map"])
    return block


def beside(file: Path | None, folder: Path) -> str:
    """Address of a file below the page's folder, relative to the page; '' for one that lies elsewhere."""
    if file is None or not file.is_relative_to(folder):
        return ""
    return quote(os.fsencode(file.relative_to(folder).as_posix()))


def fitted(counts: Counts) -> Shares:
    """Share of the pixels at each level of (..., 256), smoothed by a Gaussian kernel reflected at both ends."""
    return shares(counts) @ _KERNEL.T


def shares(counts: Counts) -> Shares:
    """Histograms (..., 256) that add up to 1; one without pixels stays 0."""
    given = np.asarray(counts, dtype=np.float64)
    return np.asarray(given / np.maximum(given.sum(axis=-1, keepdims=True), 1))


def _kernel() -> Shares:
    """(256, 256) whose columns add up to 1, so that no pixel is lost at black or white."""
    levels = np.arange(256)
    apart = levels[:, None] - levels
    mirrored = levels[:, None] + levels + 1
    distances = (apart, mirrored, 512 - mirrored)
    kernel = np.sum([np.exp(-0.5 * (distance / BANDWIDTH) ** 2) for distance in distances], axis=0)
    return np.asarray(kernel / kernel.sum(axis=0))


_KERNEL = _kernel()


def divergence(reference: Counts, counts: Counts) -> Shares:
    """Kullback-Leibler divergence of fitted curves (..., 256) in nats, of the reference from the picture.

    One pixel is added to each level beforehand: a level that the picture lacks would make it infinite.
    """
    p, q = fitted(np.asarray(reference) + 1), fitted(np.asarray(counts) + 1)
    return np.asarray(np.maximum(0, (p * np.log(p / q)).sum(axis=-1)))


def earth_movers(reference: Counts, counts: Counts) -> Shares:
    """Earth mover's distance of histograms (..., 256) in 8-bit levels: how far the average pixel is moved."""
    return np.asarray(np.abs(np.cumsum(shares(reference) - shares(counts), axis=-1)).sum(axis=-1))


def _drawn(histogram: Arrays, reference: Arrays | None) -> list[list[Any]]:
    """For each channel peaks and shapes of bars and curve, as shares of the pixels at one level, and distances."""
    counts = np.stack([histogram[name] for name in CHANNELS])
    bars = _shapes(shares(counts).reshape(len(CHANNELS), BARS, -1).mean(axis=-1))
    curves = _shapes(fitted(counts).reshape(len(CHANNELS), SAMPLES, -1).mean(axis=-1))
    drawn = [[*bar, *curve] for bar, curve in zip(bars, curves, strict=True)]
    if reference is None:
        return drawn
    other = np.stack([reference[name] for name in CHANNELS])
    distances = zip(divergence(other, counts), earth_movers(other, counts), strict=True)
    return [
        [*one, f"{divergent:.3f}", f"{moved:.1f}"] for one, (divergent, moved) in zip(drawn, distances, strict=True)
    ]


def _shapes(values: Shares) -> list[tuple[float, str]]:
    """Of each row the largest value, and every value as a byte, 255 for the largest."""
    peaks = values.max(axis=-1)
    levels = np.rint(values * (255 / np.where(peaks > 0, peaks, 1))[:, None]).astype(np.uint8)
    return [
        (float(f"{peak:.4g}"), b64encode(row.tobytes()).decode("ascii"))
        for peak, row in zip(peaks, levels, strict=True)
    ]


def _found_boxes(said: Arrays) -> list[list[float]]:
    """Left, top, right, bottom, class and confidence, the surest last and so on top."""
    order = np.argsort(said["scores"], kind="stable")
    order = order[said["scores"][order] >= CONFIDENCE]
    corners, classes = _pixels(said["corners"][order]), said["classes"][order].tolist()
    scores = np.round(said["scores"][order].astype(np.float64), 2).tolist()
    return [[*ends, kind, score] for ends, kind, score in zip(corners, classes, scores, strict=True)]


def _truth(truth: Arrays) -> Block:
    if "mask" in truth:
        height, width = (int(side) for side in truth["shape"])
        bits = np.unpackbits(truth["mask"], count=height * width)
        return {"mask": _outline(bits.reshape(height, width).astype(bool))}
    if not {"corners", "classes", "ignored", "size"} <= set(truth):
        return {}
    boxes = zip(_pixels(truth["corners"]), truth["classes"].tolist(), truth["ignored"].tolist(), strict=True)
    return {
        "size": [int(side) for side in truth["size"]],
        "truth": [[*corners, kind, int(ignored)] for corners, kind, ignored in boxes],
    }


def _pixels(corners: NDArray[Any]) -> list[list[float]]:
    return [list(ends) for ends in np.round(np.asarray(corners, dtype=np.float64), 1).tolist()]


def _coloured_map(found: NDArray[np.uint8]) -> str:
    """A saliency map as a picture of one colour, the more opaque the more salient."""
    alpha = Image.fromarray(found)
    alpha.thumbnail((MAP_SIDE, MAP_SIDE), Image.Resampling.BILINEAR)
    picture = Image.new("RGBA", alpha.size, (*FOUND_COLOUR, 0))
    picture.putalpha(alpha)
    return _data_uri(picture, "WEBP", quality=50, alpha_quality=80, method=2)


def _outline(mask: NDArray[np.bool_]) -> str:
    """The border of a mask, one pixel wide."""
    scale = max(1, math.ceil(max(mask.shape) / MASK_SIDE))
    small = np.pad(mask[::scale, ::scale], 1)
    inner = small.copy()
    for axis in (0, 1):
        inner &= np.roll(small, 1, axis) & np.roll(small, -1, axis)
    edge = (small & ~inner)[1:-1, 1:-1].astype(np.uint8)
    picture = Image.frombytes("P", edge.shape[::-1], edge.tobytes())
    picture.putpalette([0, 0, 0, *TRUTH_COLOUR])
    return _data_uri(picture, "PNG", transparency=0, bits=1)


def _data_uri(picture: Image.Image, form: str, **settings: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, form, **settings)
    return f"data:image/{form.lower()};base64,{b64encode(stream.getvalue()).decode('ascii')}"
