"""Prints how far perceptual hashes of copies, and of different pictures, lie apart: the tables of docs/leakage.md.

    python tests/performance/copies.py SHARED_DATA

SHARED_DATA is the folder of reference data (lol/, unpaired/, coco/, saliency/); nothing else is read or written.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.fingerprints import perceptual  # noqa: E402
from bench.image import read_rgb, resize, round_8bit  # noqa: E402

FOLDERS = {
    "our485 low": "lol/our485/low",
    "our485 high": "lol/our485/high",
    "eval15 low": "lol/eval15/low",
    "eval15 high": "lol/eval15/high",
    **{name: f"unpaired/{name}" for name in ("dicm", "lime", "mef", "npe", "fusion", "vv")},
    "coco128": "coco/coco128/train2017",
    "val30": "coco/val30/images",
    "ecssd": "saliency/ecssd/images",
}
SCENES = {"lol": ("our485 high", "eval15 high"), "coco": ("coco128", "val30"), "ecssd": ("ecssd",)}
SCENES["unpaired"] = ("dicm", "lime", "mef", "npe", "fusion", "vv")
"""Pictures of one kind may show the same: LOL has several of each scene, small sets are passed on from set to set."""
THRESHOLDS = (4, 6, 8, 10, 12, 14, 16)


def encoded(picture: Tensor, kind: str, quality: int) -> Tensor:
    stream = io.BytesIO()
    levels = round_8bit(picture).mul(255).to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(levels).save(stream, kind, quality=quality)
    return torch.from_numpy(np.array(Image.open(stream).convert("RGB"))).permute(2, 0, 1) / 255


def scaled(picture: Tensor, factor: float) -> Tensor:
    height, width = picture.shape[1:]
    return resize(picture, f"{max(1, round(width * factor))}x{max(1, round(height * factor))}")


def cropped(picture: Tensor, share: float) -> Tensor:
    height, width = picture.shape[1:]
    top, left = round(share * height), round(share * width)
    return picture[:, top : height - top, left : width - left]


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "JPEG, quality 75": lambda one: encoded(one, "JPEG", 75),
    "JPEG, quality 30": lambda one: encoded(one, "JPEG", 30),
    "WebP, quality 50": lambda one: encoded(one, "WEBP", 50),
    "half the size": lambda one: scaled(one, 0.5),
    "384x384": lambda one: resize(one, "384x384"),
    "0.3 times the light": lambda one: round_8bit(one * 0.3),
    "0.1 times the light": lambda one: round_8bit(one * 0.1),
    "1.5 times, clipped": lambda one: round_8bit(one * 1.5),
    "gamma 0.45": lambda one: round_8bit(one**0.45),
    "gamma 2.2": lambda one: round_8bit(one**2.2),
    "gamma 0.6, x 0.6, 2/3 size, JPEG 60": lambda one: encoded(scaled(round_8bit(one**0.6 * 0.6), 2 / 3), "JPEG", 60),
    "1 % cut off each side": lambda one: cropped(one, 0.01),
    "2 % cut off each side": lambda one: cropped(one, 0.02),
    "5 % cut off each side": lambda one: cropped(one, 0.05),
    "mirrored": lambda one: one.flip(-1),
}


def distances(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.int64]:
    bits = [np.unpackbits(one.view(np.uint8).reshape(-1, 8), axis=1).astype(np.int64) for one in (first, second)]
    return bits[0].sum(1)[:, None] + bits[1].sum(1) - 2 * bits[0] @ bits[1].T


def pictures(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for file in sorted(folder.iterdir()):
        if file.suffix in (".png", ".jpg", ".webp", ".bmp"):
            yield file.stem, read_rgb(file)


def main(root: Path) -> None:
    hashes: dict[str, NDArray[np.uint64]] = {}
    names: dict[str, list[str]] = {}
    changed: dict[str, dict[str, list[int]]] = {"bright": {}, "dark": {}}
    for name, folder in FOLDERS.items():
        found = []
        names[name] = []
        for stem, picture in pictures(root / folder):
            found.append(perceptual(picture))
            names[name].append(stem)
            for change, alter in CHANGES.items():
                here = perceptual(alter(picture))
                kind = changed["dark" if name.endswith("low") else "bright"]
                kind.setdefault(change, []).append((here ^ found[-1]).bit_count())
        hashes[name] = np.array(found, dtype=np.uint64)

    scenes = {kind: np.concatenate([hashes[name] for name in members]) for kind, members in SCENES.items()}
    apart = [distances(scenes[one], scenes[other]).ravel() for one in scenes for other in scenes if one < other]
    for kind in ("coco", "ecssd"):
        inside = distances(scenes[kind], scenes[kind])
        apart.append(inside[np.triu_indices(len(inside), 1)])
    report("different scenes", np.concatenate(apart), below=True)
    same = np.array([int(a ^ b).bit_count() for a, b in zip(hashes["our485 low"], hashes["our485 high"], strict=True)])
    report("LOL, low and reference of a pair", same, below=False)
    high = distances(hashes["our485 high"], hashes["our485 high"])
    report("LOL our485, two references", high[np.triu_indices(len(high), 1)], below=True)
    across = distances(hashes["eval15 high"], hashes["our485 high"])
    for stem, row in zip(names["eval15 high"], across, strict=True):
        print(f"  eval15 {stem}: our485 {names['our485 high'][row.argmin()]} at {row.min()}")
    for kind, found_here in changed.items():
        for change, values in found_here.items():
            report(f"{kind}, {change}", np.array(values), below=False)


def report(what: str, found: NDArray[np.int64], below: bool) -> None:
    counts = [int((found <= one).sum() if below else (found > one).sum()) for one in THRESHOLDS]
    shares = " ".join(f"{one}:{count}" for one, count in zip(THRESHOLDS, counts, strict=True))
    middle, most = np.median(found), np.percentile(found, 95)
    print(f"{what}: n {found.size}, median {middle:g}, 95 % {most:g}, min {found.min()}, max {found.max()};", end=" ")
    print(f"{'at most' if below else 'above'} {shares}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
