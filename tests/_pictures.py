"""Small photographs and reference rows for the metrics' tests."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from bench.planes import Planes

VALUES = Path(__file__).parent / "reference" / "values.csv"


class Row(NamedTuple):
    variant: str
    image: str
    reference: str
    value: float
    tolerance: float


def rows(metric: str) -> list[Row]:
    with VALUES.open(encoding="utf-8", newline="") as file:
        return [
            Row(
                row["variant"],
                row["image"],
                row["reference_image"],
                float(row["value"]),
                float(row["relative_tolerance"]),
            )
            for row in csv.DictReader(file)
            if row["metric"] == metric
        ]


@lru_cache(maxsize=4)
def picture(file: Path) -> Planes:
    with Image.open(file) as opened:
        return from_8bit(np.asarray(opened.convert("RGB")))


def from_8bit(*pictures: np.ndarray) -> Planes:
    stack = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return Planes(stack.to(torch.float32) / 255)


def photographs(height: int = 224, width: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Two photographs that scikit-image carries, cut to one size."""
    from skimage import data

    return data.astronaut()[:height, 100 : 100 + width], data.coffee()[100 : 100 + height, 150 : 150 + width]


def darkened(photograph: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 6, photograph.shape)
    return np.clip(np.round(photograph * 0.4 + noise), 0, 255).astype(np.uint8)


def grey(level: int, height: int = 224, width: int = 256) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)
