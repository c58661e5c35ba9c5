"""Noise, blur, compression and what brightening does to a dark exposure, each as a function of a strength."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

Picture = NDArray[np.float64]
"""RGB (H, W, 3) in [0, 1]."""
Distortion = Callable[[Picture, float, Generator], Picture]
"""Picture, strength in [0, 1], noise in; spoilt picture out, neither clipped nor rounded."""

DISPLAY_GAMMA = 2.2
ELECTRONS_AT_WHITE = 4000.0
"""Full well of a small sensor at high gain; with the exposures below, 7 to 1000 electrons make white."""
READ_NOISE = 3.0
"""Electrons."""


def gaussian_noise(picture: Picture, strength: float, random: Generator) -> Picture:
    """White noise, deviation 2 to 60 of 255."""
    noise: Picture = picture + random.normal(0, _between(2, 60, strength) / 255, picture.shape)
    return noise


def gaussian_blur(picture: Picture, strength: float, random: Generator) -> Picture:
    """Gaussian window, deviation 0.5 to 5 pixels."""
    sigma = _between(0.5, 5, strength)
    blurred: Picture = gaussian_filter(picture, (sigma, sigma, 0), mode="reflect")
    return blurred


def jpeg(picture: Picture, strength: float, random: Generator) -> Picture:
    """JPEG of quality 90 to 4."""
    return _compressed(picture, "JPEG", quality=round(_between(90, 4, strength)))


def jpeg2000(picture: Picture, strength: float, random: Generator) -> Picture:
    """JPEG 2000, lossy wavelet, compressed 8 to 150 times."""
    rate = _between(8, 150, strength)
    return _compressed(picture, "JPEG2000", quality_mode="rates", quality_layers=[rate], irreversible=True)


def amplified_noise(picture: Picture, strength: float, random: Generator) -> Picture:
    """A dark 8-bit exposure with photon and read noise (1/4 to 1/600 of the light), brightened to the old level."""
    share = _between(1 / 4, 1 / 600, strength)
    photons = random.poisson(picture**DISPLAY_GAMMA * share * ELECTRONS_AT_WHITE)
    electrons = photons + random.normal(0, READ_NOISE, picture.shape)
    dark = (electrons.clip(0) / ELECTRONS_AT_WHITE) ** (1 / DISPLAY_GAMMA)
    brightened: Picture = _rounded(dark) * share ** (-1 / DISPLAY_GAMMA)
    return brightened.clip(0, 1)


DISTORTIONS: Mapping[str, Distortion] = {
    function.__name__: function for function in (gaussian_noise, gaussian_blur, jpeg, jpeg2000, amplified_noise)
}


def _between(weakest: float, strongest: float, strength: float) -> float:
    """Equal ratios for equal steps of the strength."""
    return float(weakest * (strongest / weakest) ** strength)


def _rounded(picture: Picture) -> Picture:
    return np.floor(picture.clip(0, 1) * 255 + 0.5) / 255


def _compressed(picture: Picture, kind: str, **options: Any) -> Picture:
    levels = (_rounded(picture) * 255).round().astype(np.uint8)
    with io.BytesIO() as buffer:
        Image.fromarray(levels).save(buffer, format=kind, **options)
        with Image.open(buffer) as image:
            return np.asarray(image.convert("RGB")) / 255
