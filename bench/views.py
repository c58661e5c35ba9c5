"""The picture files that a run keeps beside its records: where they lie, and what is in them as bytes."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Collection, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bench import image
from bench.config import RunSection
from bench.contracts import Protocol
from bench.lineup import digest_of
from bench.plan import Job

THUMBNAIL_SIDE = 320
"""Long side in pixels of the pictures in report.html."""
VIEW_QUALITY = 95
"""Of the WebP files that the page shows at full size."""
LUMA_BT601 = (0.299, 0.587, 0.114)


class File(NamedTuple):
    """A file below the run folder, made wherever the picture was and written by the driver."""

    path: str
    content: bytes
    key: str = ""
    """The job's enhancement key, '' for a file that no record stands for (it belongs to another file)."""
    digest: str = ""


def thumbnail_path(dataset: str, method: str, key: str, sample: str) -> str:
    """Where a small picture for the report lies below the run folder; `key` keeps stale ones apart."""
    return f"thumbnails/{slug(dataset)}/{slug(method)}-{key[:8]}/{slug(sample)}.webp"


def image_path(dataset: str, method: str, sample: str) -> str:
    """Where --save-images puts an enhanced picture below the run folder."""
    return f"images/{slug(dataset)}/{slug(method)}/{slug(sample)}.png"


def slug(name: str) -> str:
    """A file name for any text; two texts never share one."""
    plain = re.sub(r"[^A-Za-z0-9._=+-]", "_", name).strip(".") or "_"
    return plain[:80] if plain == name and len(name) <= 80 else f"{plain[:80]}-{sha256(name.encode()).hexdigest()[:8]}"


def wanted(job: Job, settings: RunSection, index: int) -> list[tuple[str, str]]:
    """(path, key) of the picture files that a finished run holds for a job and a sample."""
    sample, dataset = job.material.samples[index], job.material.name
    wanted: list[tuple[str, str]] = []
    if index < settings.thumbnails:
        wanted.append((thumbnail_path(dataset, job.method.name, job.key, sample.id), job.key))
    if settings.save_images:
        wanted.append((image_path(dataset, job.method.name, sample.id), job.key))
    return wanted


def view_paths(job: Job, index: int, protocol: Protocol) -> dict[str, str]:
    """Paths of a sample's thumbnails by 'low', 'reference' and the method's name."""
    dataset, sample = job.material.name, job.material.samples[index].id
    # Low and reference pictures depend on the data set, the sample's files and the size alone.
    key = digest_of(job.material.digest, job.material.digests[index], protocol.size)
    views = {name: thumbnail_path(dataset, name, key, sample) for name in ("low", "reference")}
    return {**views, job.method.name: thumbnail_path(dataset, job.method.name, job.key, sample)}


def enhanced(
    job: Job, index: int, picture: Tensor, reference: Tensor | None, protocol: Protocol, settings: RunSection
) -> Iterator[File]:
    """Thumbnail, whole picture, error map and, if wanted, PNG of an enhanced picture (3, H, W)."""
    digest = job.material.digests[index]
    for path, key in wanted(job, settings, index):
        content = image.encode_png(picture) if path.endswith(".png") else image.thumbnail(picture, THUMBNAIL_SIDE)
        yield File(path, content, key, digest)
    if index < settings.thumbnails:
        yield from _whole(view_paths(job, index, protocol)[job.method.name], picture, reference)


def original(
    job: Job, index: int, low: Tensor, reference: Tensor | None, protocol: Protocol, undrawn: Collection[str]
) -> Iterator[File]:
    """The same of the low picture and the reference, as far as they are among `undrawn`."""
    paths = view_paths(job, index, protocol)
    for name, picture in (("low", low), ("reference", reference)):
        if picture is not None and paths[name] in undrawn:
            yield File(paths[name], image.thumbnail(picture, THUMBNAIL_SIDE))
            yield from _whole(paths[name], picture, reference if name == "low" else None)


def spatial(thumbnail: str, metric: str, grey: Tensor) -> File:
    """A metric's map (H, W) in [0, 1] of the picture with that thumbnail."""
    return File(str(map_file(Path(thumbnail), metric)), _webp(grey.cpu().expand(3, -1, -1)))


def _whole(thumbnail: str, picture: Tensor, reference: Tensor | None) -> Iterator[File]:
    """The whole picture, its difference to the reference and its histograms, for looking at."""
    files = view_files(Path(thumbnail))
    yield File(str(files["full"]), _webp(picture))
    levels = image.to_uint8(picture.cpu())
    if reference is not None:
        difference = (levels.int() - image.to_uint8(reference).int()).abs().float().mean(0).div(255)
        yield File(str(files["error"]), _webp(difference.expand(3, -1, -1)))
    luma = image.to_uint8((levels.float().permute(1, 2, 0) @ torch.tensor(LUMA_BT601)) / 255)
    planes = {"luma": luma, "red": levels[0], "green": levels[1], "blue": levels[2]}
    counts = {name: torch.bincount(plane.flatten().int(), minlength=256).tolist() for name, plane in planes.items()}
    yield File(str(files["histogram"]), json.dumps(counts, separators=(",", ":")).encode())


def _webp(picture: Tensor) -> bytes:
    stream = io.BytesIO()
    image.encode_webp(picture, stream, VIEW_QUALITY)
    return stream.getvalue()


def write(folder: Path, file: File) -> None:
    """Put a file below the run folder, whole or not at all."""
    place = folder / file.path
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".part")
    part.write_bytes(file.content)
    part.replace(place)


def view_files(thumbnail: Path) -> dict[str, Path]:
    """Where the whole picture, its error map and its histograms lie, by the place of its thumbnail."""
    folder = Path(*("views" if part == "thumbnails" else part for part in thumbnail.parts[:-1]))
    endings = {"full": ".webp", "error": ".error.webp", "histogram": ".json"}
    return {name: folder / f"{thumbnail.stem}{ending}" for name, ending in endings.items()}


def map_file(thumbnail: Path, metric: str) -> Path:
    """Where a metric's map lies, by the place of the picture's thumbnail."""
    full = view_files(thumbnail)["full"]
    return full.with_name(f"{full.stem}.map-{slug(metric)}.webp")
