"""Separable filters, window tests, halving as MATLAB does them; float64, batched, on any device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

# MATLAB's imresize(x, 0.5): Keys' cubic (a = -0.5), stretched by two against aliasing; inputs 2k-3 .. 2k+4 of output k.
HALVING_TAPS = tuple(tap / 256 for tap in (-3, -9, 29, 111, 111, 29, -9, -3))
BLOCK = 16
"""Outputs per product with a band matrix; the fastest for 7 and 11 taps among 8, 12, ... 32."""
UNSPLIT = 2**18
"""Multiplications per product up to which NumPy's OpenBLAS stays in the calling thread, whatever torch may use."""


def gaussian_taps(radius: int, sigma: float) -> tuple[float, ...]:
    """A sampled Gaussian of 2 * radius + 1 taps with sum 1."""
    taps = [math.exp(-(offset**2) / (2 * sigma**2)) for offset in range(-radius, radius + 1)]
    return tuple(tap / math.fsum(taps) for tap in taps)


def correlate(planes: Tensor, taps: Sequence[float], dim: int, stride: int = 1) -> Tensor:
    """Correlation along the rows (dim -1) or down the columns (dim -2), only where the window lies inside."""
    if not any(taps):
        raise ValueError("a filter needs at least one tap that is not zero")
    # Convolutions of torch are many times slower in float64 than either of these.
    if planes.device.type == "cpu" and len(taps) > 3:
        return _band_products(planes, tuple(taps), dim, stride)
    return _shifted_sums(planes, taps, dim, stride)


def correlate2d(planes: Tensor, taps: Sequence[float]) -> Tensor:
    """The same taps down the columns and along the rows, only where the window lies inside."""
    return correlate(correlate(planes, taps, -1), taps, -2)


def _shifted_sums(planes: Tensor, taps: Sequence[float], dim: int, stride: int) -> Tensor:
    """One pass over memory per tap that is not zero."""
    length = (planes.shape[dim] - len(taps)) // stride + 1
    total = torch.zeros((), dtype=planes.dtype, device=planes.device)
    for offset, tap in enumerate(taps):
        if tap == 0:
            continue
        shifted = planes.narrow(dim, offset, stride * (length - 1) + 1)
        if stride > 1:
            shifted = shifted[..., ::stride] if dim == -1 else shifted[..., ::stride, :]
        total = total.add_(shifted, alpha=tap) if total.dim() else shifted * tap
    return total


def _band_products(planes: Tensor, taps: tuple[float, ...], dim: int, stride: int) -> Tensor:
    """Products with a band matrix, a block of outputs at a time: more operations, a part of a processor's time."""
    length = (planes.shape[dim] - len(taps)) // stride + 1
    if dim == -1:
        filtered = planes.new_empty(*planes.shape[:-1], length)
        pieces = [(planes.reshape(-1, planes.shape[-1]).T.numpy(), filtered.view(-1, length).T.numpy())]
    else:
        filtered = planes.new_empty(*planes.shape[:-2], length, planes.shape[-1])
        flat = (each.reshape(-1, *each.shape[-2:]).numpy() for each in (planes, filtered))
        pieces = list(zip(*flat, strict=True))
    # In NumPy: its OpenBLAS takes half the time of torch's MKL for matrices as small as these, if the band lies in
    # memory as the planes do.
    band = _band(taps, stride, planes.dtype, "F" if dim == -1 else "C")
    step = UNSPLIT // band.size
    for piece, target in pieces:
        for first in range(0, length, BLOCK):
            count = min(BLOCK, length - first)
            block = band[:count, : stride * (count - 1) + len(taps)]
            inputs = piece[stride * first : stride * first + block.shape[1]]
            outputs = target[first : first + count]
            for line in range(0, piece.shape[1], step):
                np.matmul(block, inputs[:, line : line + step], out=outputs[:, line : line + step])
    return filtered


@lru_cache(maxsize=16)
def _band(taps: tuple[float, ...], stride: int, dtype: torch.dtype, order: Literal["C", "F"]) -> np.ndarray:
    """Row i holds the taps from column stride * i on; its upper left corner serves smaller blocks."""
    band = np.zeros((BLOCK, stride * (BLOCK - 1) + len(taps)), torch.empty(0, dtype=dtype).numpy().dtype, order)
    for row in range(BLOCK):
        band[row, stride * row : stride * row + len(taps)] = taps
    return band


def constant_windows(planes: Tensor, size: int) -> Tensor:
    """Where all values of a size x size window are equal, (..., H, W) -> bool (..., H - size + 1, W - size + 1)."""
    across = planes[..., 1:] == planes[..., :-1]
    rows = _all_of(_all_of(across, size - 1, -1), size, -2)
    width = planes.shape[-1] - size + 1
    down = planes[..., 1:, :width] == planes[..., :-1, :width]
    return rows & _all_of(down, size - 1, -2)


def _all_of(flags: Tensor, size: int, dim: int) -> Tensor:
    """Running AND over `size` neighbours, in as many steps as the size has binary digits."""
    width = 1
    while width < size:
        step = min(width, size - width)
        length = flags.shape[dim] - step
        flags = flags.narrow(dim, 0, length) & flags.narrow(dim, step, length)
        width += step
    return flags


def halve(planes: Tensor, finish: Callable[[Tensor], Tensor] = lambda values: values) -> Tensor:
    """MATLAB's imresize(x, 0.5) with mirrored borders, rows first; `finish` follows each of the two passes."""
    for dim in (-2, -1):
        before, after = _mirror(planes.shape[dim], planes.device)
        mirrored = torch.cat([planes.index_select(dim, before), planes, planes.index_select(dim, after)], dim)
        planes = finish(correlate(mirrored, HALVING_TAPS, dim, stride=2))
    return planes


@lru_cache(maxsize=32)
def _mirror(length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Indices of the 3 samples to put before and the 3 or 4 to put after `length` ones, the edge sample repeated."""
    beyond = torch.tensor([-3, -2, -1, *range(length, 2 * ((length + 1) // 2) + 3)], device=device) % (2 * length)
    inside = torch.minimum(beyond, 2 * length - 1 - beyond)
    return inside[:3], inside[3:]
