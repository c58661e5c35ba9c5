"""A data set as a small folder of WebP files: what travels to a machine that trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from torch import Tensor

from bench.contracts import Dataset, Sample
from bench.image import encode_webp

LOSSLESS = 101
QUALITIES = (LOSSLESS, 100, 98, 96, 94, 92, 90, 85, 80)
"""Tried from the best on; below 80, noise that a method should learn to remove is gone from the low pictures."""
TRIAL = 16
"""Pictures from whose size that of the whole set is judged."""
MARGIN = 0.95
"""Share of the limit that the estimate may fill."""
THREADS = 2


@dataclass(frozen=True, slots=True)
class Packed:
    """A picture that was written."""

    sample: Sample
    size: int
    """Bytes of its files."""


def choose_quality(dataset: Dataset, samples: Sequence[Sample], limit: int) -> int:
    """The best quality at which the pictures fill at most `limit` bytes, judged by a few spread evenly.

    Raises ValueError where even the lowest is too large, with the number of pictures that would fit.
    """
    count = min(TRIAL, len(samples))
    trial = [samples[(2 * place + 1) * len(samples) // (2 * count)] for place in range(count)]
    pictures = [picture for sample in trial for picture in _pictures(dataset, sample).values()]
    size = 0.0
    for quality in QUALITIES:
        size = sum(len(_encoded(picture, quality)) for picture in pictures) / count * len(samples)
        if size <= MARGIN * limit:
            return quality
    raise ValueError(
        f"{len(samples)} pictures take about {size / 1e6:.0f} MB at WebP quality {QUALITIES[-1]}, and the limit is "
        f"{limit / 1e6:.0f} MB; about {int(len(samples) * MARGIN * limit / size)} pictures fit (--limit)"
    )


def pack(dataset: Dataset, samples: Sequence[Sample], folder: Path, quality: int) -> Iterator[Packed]:
    """Write low/ and high/, or pictures without reference into the folder itself; `folder:DIR` reads both."""
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; a pack needs a folder of its own")

    def write(sample: Sample) -> Packed:
        size = 0
        for part, picture in _pictures(dataset, sample).items():
            target = folder / part / f"{sample.id}.webp"
            target.parent.mkdir(parents=True, exist_ok=True)
            content = _encoded(picture, quality)
            target.write_bytes(content)
            size += len(content)
        return Packed(sample, size)

    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(write, samples)


def _pictures(dataset: Dataset, sample: Sample) -> dict[str, Tensor]:
    low, reference = dataset.load(sample)
    return {"": low} if reference is None else {"low": low, "high": reference}


def _encoded(picture: Tensor, quality: int) -> bytes:
    stream = BytesIO()
    encode_webp(picture, stream, None if quality == LOSSLESS else quality)
    return stream.getvalue()
