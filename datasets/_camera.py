"""A camera that takes a photograph again in poor light: exposure, colour cast, photon and read noise, 8-bit sRGB.

The photograph is decoded to linear light, in which white collects `full_well` electrons. A darker exposure collects
`ratio` of them, tinted by `cast`; counting them is Poisson, reading them out adds Gaussian noise, and amplification by
`gain` (ISO over base ISO) raises signal and noise alike. With x = ratio * gain * cast * L the noiseless output for the
linear level L, the output's variance is

    gain / full_well * x  +  (gain * read_noise / full_well)^2

which is the linear camera model of EMVA Standard 1288 and the Poisson-Gaussian model of Foi et al., "Practical
Poissonian-Gaussian noise modeling and fitting for single-image raw-data", IEEE TIP 17(10), 2008. Typical values: Brooks
et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019 (section 3.1), draw the factor of the shot noise,
here gain / full_well, from 1e-4 to 1.2e-2. Not modelled: mosaic and demosaicing (real noise is correlated between
neighbours), row noise and clipped black levels of extreme darkness (Wei et al., "A Physics-based Noise Formation Model
for Extreme Low-light Raw Denoising", CVPR 2020), the camera's tone curve, defocus, local light sources.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.image import to_uint8


@dataclass(frozen=True, slots=True)
class Camera:
    """What the sensor is like at base ISO."""

    full_well: float = 10_000.0
    """Electrons that a white pixel holds; infinite for a camera without noise."""
    read_noise: float = 2.0
    """Standard deviation of the read-out, electrons."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """How one picture is taken; the defaults repeat the photograph."""

    ratio: float = 1.0
    """Light collected, relative to the photograph."""
    gain: float = 1.0
    """Amplification: ISO over base ISO."""
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Tint of the light in red, green and blue."""


def generator_for(seed: int, name: str) -> np.random.Generator:
    """The random numbers of one picture: they depend on its name and the seed, not on which pictures came before."""
    return np.random.default_rng([seed, int.from_bytes(sha256(name.encode()).digest()[:8], "big")])


def draw_exposure(generator: np.random.Generator) -> Exposure:
    """A night exposure whose brightness, gain and tint vary as between the pairs of LOL.

    Brightness is ratio * gain. In LOL, mean linear light of low over high is 0.006 to 0.07 (5th to 95th percentile of
    eval15 and of 30 pairs of our485, median 0.02), its red and blue parts 0.9 to 1.1 and 0.7 to 1.25 of the channels'
    mean. The darkest of these leave a handful of grey levels; we draw brightness from 0.015 to 0.08.
    """
    brightness = math.exp(generator.uniform(math.log(0.015), math.log(0.08)))
    gain = 2.0 ** generator.uniform(0, 3)  # ISO 100 to 800
    red, blue = generator.uniform(0.9, 1.1), generator.uniform(0.8, 1.2)
    return Exposure(ratio=brightness / gain, gain=gain, cast=(red, 1.0, blue))


def darken(photograph: Tensor, exposure: Exposure, camera: Camera, generator: np.random.Generator) -> Tensor:
    """What the camera saves for an sRGB photograph (3, H, W) in [0, 1]; 8-bit exact, on the CPU."""
    light = srgb_to_linear(photograph.detach().cpu().double().numpy())
    collected = light * exposure.ratio * np.asarray(exposure.cast).reshape(3, 1, 1)
    if not math.isinf(camera.full_well):
        electrons = generator.poisson(collected * camera.full_well).astype(np.float64)
        electrons += generator.normal(0.0, camera.read_noise, electrons.shape)
        collected = electrons / camera.full_well
    encoded = linear_to_srgb(np.clip(collected * exposure.gain, 0.0, 1.0))
    levels = to_uint8(torch.from_numpy(encoded))
    return torch.from_numpy(levels.numpy().astype(np.float32) / np.float32(255))


def srgb_to_linear(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light of sRGB values in [0, 1] (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sRGB values of linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
