"""Feature similarity of luma planes: phase congruency after Kovesi, gradients, and the similarities FSIM combines."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.planes import Planes, weighted

from ._filters import correlate
from ._threads import side_by_side

SCALES, ORIENTATIONS = 4, 4
SHORTEST_WAVELENGTH, WAVELENGTH_STEP = 6.0, 2.0
RADIAL_SIGMA = 0.55
ANGULAR_SIGMA = math.pi / ORIENTATIONS / 1.2
CUTOFF, ORDER = 0.45, 15
NOISE_DEVIATIONS = 2.0
NOISE_DIVISOR = 1.7
EPSILON = 1e-4
T1, T2, T3 = 0.85, 160.0, 200.0
CHROMA_EXPONENT = 0.03
IN_PHASE_WEIGHTS = (0.596, -0.274, -0.322)
QUADRATURE_WEIGHTS = (0.211, -0.523, 0.312)
SAMPLING = 37
"""Of so many pixels one says about where the median lies."""


class Features(NamedTuple):
    """What FSIM compares of one batch, each float64 (N, 1, h, w); NaN where the luma is constant."""

    congruency: Tensor
    gradient: Tensor


class Similarity(NamedTuple):
    """Per pixel: how alike luma structure is, and how much the pixel counts."""

    local: Tensor
    weight: Tensor


def features(planes: Planes) -> Features:
    """Phase congruency and Scharr gradient of the reduced luma."""
    luma = reduced(planes.luma_bt601)
    if min(luma.shape[-2:]) < 2:
        raise ValueError(f"FSIM needs at least 2x2 pixels, the picture has {luma.shape[-1]}x{luma.shape[-2]}")
    return Features(phase_congruency(luma), gradient(luma))


def similarity(enhanced: Planes, reference: Planes) -> Similarity:
    """Product of the similarities of phase congruency and gradient; the weight is the larger phase congruency."""
    one, other = side_by_side([partial(planes.derived, features) for planes in (enhanced, reference)])
    structure = _alike(one.congruency, other.congruency, T1)
    edges = _alike(one.gradient, other.gradient, T2)
    return Similarity(structure.mul_(edges), torch.maximum(one.congruency, other.congruency))


def chroma_similarity(enhanced: Planes, reference: Planes) -> Tensor:
    """FSIMc's factor: the product of the similarities of I and Q to the power .03, real part."""
    product = torch.ones((), dtype=torch.float64, device=enhanced.rgb.device)
    for weights in (IN_PHASE_WEIGHTS, QUADRATURE_WEIGHTS):
        one, other = (reduced(weighted(planes.rgb255, weights)) for planes in (enhanced, reference))
        product = product * _alike(one, other, T3)
    turn = torch.where(product < 0, math.cos(math.pi * CHROMA_EXPONENT), 1.0)
    return product.abs() ** CHROMA_EXPONENT * turn


def pooled(similar: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean per picture, (N, 1, h, w) -> (N,)."""
    return (similar * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))


def reduced(plane: Tensor) -> Tensor:
    """Box means of about short side / 256 pixels, one for each such block; zeros beyond the border."""
    height, width = plane.shape[-2:]
    factor = max(1, math.floor(min(height, width) / 256 + 0.5))  # MATLAB rounds halves up, Python to even
    if factor == 1:
        return plane
    # The window of MATLAB's conv2 'same' starts (factor - 1) - factor // 2 pixels before its pixel.
    before = factor - 1 - factor // 2
    after = (-(-size // factor) * factor - size - before for size in (width, height))
    right, bottom = after
    if before or right or bottom:
        plane = functional.pad(plane, (before, right, before, bottom))
    # Rows first: a fraction of the time of avg_pool2d in float64.
    rows = plane.reshape(*plane.shape[:-2], -1, factor, plane.shape[-1]).sum(-2)
    total = sum((rows[..., start::factor] for start in range(1, factor)), rows[..., ::factor])
    return total / factor**2


def gradient(luma: Tensor) -> Tensor:
    """Magnitude of the Scharr gradient [3 10 3] x [1 0 -1] / 16, zeros beyond the border."""
    padded = functional.pad(luma, (1, 1, 1, 1))
    smooth, step = (3 / 16, 10 / 16, 3 / 16), (-1.0, 0.0, 1.0)
    across = correlate(correlate(padded, smooth, -2), step, -1)
    down = correlate(correlate(padded, smooth, -1), step, -2)
    return across.square_().addcmul_(down, down).sqrt_()


def phase_congruency(luma: Tensor) -> Tensor:
    """Kovesi's phase congruency of (N, 1, h, w), noise-compensated, summed over orientations; NaN for a constant."""
    # Picture by picture on a processor: the responses of one orientation then stay in its cache between the passes.
    pieces = torch.split(luma, 1) if luma.device.type == "cpu" else (luma,)
    congruency = torch.cat([_congruency(piece) for piece in pieces])
    lowest, highest = luma.flatten(1).aminmax(dim=1)
    constant = (highest - lowest <= 1e-9).view(-1, 1, 1, 1)  # box means of equal values differ by rounding
    return congruency.masked_fill_(constant, math.nan)


def _congruency(luma: Tensor) -> Tensor:
    # The forward transform in float64, because the mean dwarfs a dark picture's structure; once the filters have taken
    # the mean out, float32 keeps FSIM within 1e-8.
    bank = _bank(luma.shape[-2], luma.shape[-1], luma.device)
    spectrum = torch.fft.fft2(luma)
    spectrum[..., 0, 0] = 0
    spectrum = torch.view_as_real(spectrum).to(torch.float32)
    energies = torch.zeros_like(luma)
    amplitudes = torch.zeros_like(luma)
    for filters, noise_gain in zip(bank.filters, bank.noise_gains, strict=True):
        responses = torch.fft.ifft2(torch.view_as_complex(spectrum * filters))  # (N, scales, h, w)
        even, odd = responses.real.contiguous(), responses.imag.contiguous()
        amplitude = (even * even).addcmul_(odd, odd).sqrt_()
        total_even, total_odd = even.sum(1, keepdim=True), odd.sum(1, keepdim=True)
        strength = (total_even * total_even).addcmul_(total_odd, total_odd)
        length = strength.sqrt().add_(EPSILON)
        across = even.mul_(total_odd).addcmul_(odd, total_even, value=-1).abs_().sum(1, keepdim=True)
        energy = strength.sub_(across).div_(length)
        # Rayleigh noise: its power is estimated from the median response of the smallest scale.
        power = _median_of_squares(amplitude[:, 0].flatten(1)) / math.log(2) * noise_gain
        tau = power.sqrt_()
        threshold = tau * (math.sqrt(math.pi / 2) + NOISE_DEVIATIONS * math.sqrt(2 - math.pi / 2)) / NOISE_DIVISOR
        energies += energy.sub_(threshold.view(-1, 1, 1, 1)).clamp_(min=0)
        amplitudes += amplitude.sum(1, keepdim=True)
    return energies.div_(amplitudes)


class _Bank(NamedTuple):
    filters: Tensor
    """(orientations, scales, h, w, 2), the DC component first; twice, for the real and the imaginary part."""
    noise_gains: tuple[float, ...]
    """By orientation: tau^2 of the summed noise response for unit noise power at the smallest scale."""


@lru_cache(maxsize=8)
def _bank(height: int, width: int, device: torch.device) -> _Bank:
    """Log-Gabor filters of one picture size; kept because a data set repeats its sizes."""
    down, across = torch.meshgrid(_frequencies(height), _frequencies(width), indexing="ij")
    radius = (across.square() + down.square()).sqrt()
    angle = torch.atan2(-down, across)
    low_pass = 1 / (1 + (radius / CUTOFF) ** (2 * ORDER))
    radius[0, 0] = 1  # the logarithm needs a number; the component itself is set to zero below
    radial = []
    for scale in range(SCALES):
        centre = 1 / (SHORTEST_WAVELENGTH * WAVELENGTH_STEP**scale)
        ring = torch.exp(-(torch.log(radius / centre) ** 2) / (2 * math.log(RADIAL_SIGMA) ** 2)) * low_pass
        ring[0, 0] = 0
        radial.append(ring)
    rings = torch.stack(radial)
    filters, gains = [], []
    for orientation in range(ORIENTATIONS):
        turned = angle - orientation * math.pi / ORIENTATIONS
        distance = torch.atan2(turned.sin(), turned.cos()).abs()
        spread = torch.exp(-distance.square() / (2 * ANGULAR_SIGMA**2))
        ones = rings * spread
        spatial = torch.fft.ifft2(ones).real * math.sqrt(height * width)
        gains.append(float(spatial.sum(0).square().sum() / ones[0].square().sum()))
        filters.append(ones)
    # Repeated in memory: a product with a broadcast last axis of two takes three times as long.
    repeated = torch.stack(filters).to(device, torch.float32).unsqueeze(-1).repeat(1, 1, 1, 1, 2)
    return _Bank(repeated, tuple(gains))


def _frequencies(size: int) -> Tensor:
    """Kovesi's frequency axis, zero first: an odd axis is divided by size - 1, so that it reaches one half."""
    if size % 2:
        axis = torch.arange(-(size - 1) // 2, (size - 1) // 2 + 1, dtype=torch.float64) / (size - 1)
    else:
        axis = torch.arange(-size // 2, size // 2, dtype=torch.float64) / size
    shifted: Tensor = torch.fft.ifftshift(axis)
    return shifted


def _alike(one: Tensor, other: Tensor, constant: float) -> Tensor:
    return (2 * one * other).add_(constant).div_(one.square().addcmul_(other, other).add_(constant))


def _median_of_squares(values: Tensor) -> Tensor:
    """Median of the squares of each row (N, L) of values that are not negative, float64 (N,)."""
    length = values.shape[1]
    if values.device.type == "cpu":
        middles = torch.tensor([_middle(row) for row in values.numpy()], dtype=torch.float64)
        upper, lower = middles[:, 0], middles[:, 1]
    else:
        ordered = values.sort(dim=1).values
        upper, lower = ordered[:, length // 2], ordered[:, (length - 1) // 2]
    squares = upper.to(torch.float64).square()
    return squares if length % 2 else squares.add_(lower.to(torch.float64).square()).div_(2)


def _middle(values: np.ndarray) -> tuple[float, float]:
    """The upper and the lower of the two values in the middle; of an odd number twice the same."""
    upper, lower = len(values) // 2, (len(values) - 1) // 2
    # A sorted sample brackets them, so that a tenth of the values has to be ordered: a quarter of the time of all.
    sample = np.sort(values[::SAMPLING])
    centre, reach = len(sample) // 2, math.ceil(2 * math.sqrt(len(sample)))
    low, high = sample[max(0, centre - reach)], sample[min(len(sample) - 1, centre + reach)]
    below = int(np.count_nonzero(values < low))
    between = values[(values >= low) & (values <= high)]
    if not below <= lower <= upper < below + len(between):
        below, between = 0, values
    ordered = np.partition(between, (lower - below, upper - below))
    return float(ordered[upper - below]), float(ordered[lower - below])
