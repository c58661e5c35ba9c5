"""Photographs made worse step by step, and pictures on which two metrics' ranks are compared."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from bench.contracts import Metric
from bench.planes import Planes
from tests._pictures import from_8bit

CPU = torch.device("cpu")


def noisy(photograph: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, photograph.shape)
    return np.clip(np.round(photograph + noise), 0, 255).astype(np.uint8)


def blurred(photograph: np.ndarray, sigma: float) -> np.ndarray:
    return np.round(gaussian_filter(photograph.astype(float), (sigma, sigma, 0))).astype(np.uint8)


def jpeg(photograph: np.ndarray, quality: float) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(photograph).save(buffer, format="JPEG", quality=int(quality))
    with Image.open(buffer) as image:
        return np.asarray(image)


STEPS: dict[str, tuple[Callable[[np.ndarray, float], np.ndarray], tuple[float, float, float]]] = {
    "noise": (noisy, (8, 20, 50)),
    "blur": (blurred, (1, 2, 4)),
    "jpeg": (jpeg, (30, 12, 5)),
}
"""Each distortion at three strengths, weakest first."""


def worse_and_worse(distortion: str) -> Iterator[Planes]:
    """For each of three scikit-image photographs, a batch: itself and the three steps of the distortion."""
    from skimage import data

    spoil, strengths = STEPS[distortion]
    for photograph in (data.astronaut()[:300, :400], data.coffee()[:300, :400], data.chelsea()[:300, :400]):
        yield from_8bit(photograph, *(spoil(photograph, strength) for strength in strengths))


def as_rebuilt_by_scikit_learn(
    vectors: np.ndarray, coefficients: np.ndarray, rho: float, gamma: float, features: np.ndarray
) -> np.ndarray:
    """A regression from its support vectors through scikit-learn's kernel: a second implementation of the sum."""
    from sklearn.metrics.pairwise import rbf_kernel

    return rbf_kernel(features.astype(float), vectors.astype(float), gamma) @ coefficients.astype(float) - rho


def rank_correlation_on_eval15(shared_data: Path, one: Metric, other: Metric) -> float:
    """Spearman's coefficient over the 15 dark pictures, and each brightened by a gain and by a gamma."""
    scores: list[tuple[float, float]] = []
    for file in sorted((shared_data / "lol" / "eval15" / "low").glob("*.png")):
        with Image.open(file) as opened:
            low = np.asarray(opened.convert("RGB")).astype(float)
        gained = low * (110 / low.mean())
        curved = 255 * (low / 255) ** 0.4
        versions = [np.clip(np.round(version), 0, 255).astype(np.uint8) for version in (low, gained, curved)]
        planes = from_8bit(*versions)
        scores += zip(one.score(planes, None).tolist(), other.score(planes, None).tolist(), strict=True)
    assert len(scores) == 45
    return float(spearmanr(*zip(*scores, strict=True)).statistic)
