"""A picture that is too large for a network, enhanced in overlapping tiles."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

OVERLAP = 64
"""Pixels that neighbouring tiles share; across them one fades into the other."""
SMALLEST = 2 * OVERLAP
"""Smallest side of a tile: the fades at its two ends do not meet."""


def in_tiles(enhance: Callable[[Tensor], Tensor], low: Tensor, tile: int) -> Tensor:
    """Apply `enhance` to square tiles of (N, 3, H, W) and put them together; same shape out.

    What looks no further than OVERLAP / 2 pixels gives the same as on the whole picture; what takes the mean of a
    picture, say, takes that of a tile, which is why tiles are part of the protocol.
    """
    height, width = low.shape[-2:]
    total = torch.zeros_like(low)
    weight = torch.zeros(1, 1, height, width, dtype=low.dtype, device=low.device)
    for top in _starts(height, tile):
        rows = slice(top, min(top + tile, height))
        fade_down = _fade(rows, height, low)
        for left in _starts(width, tile):
            columns = slice(left, min(left + tile, width))
            share = fade_down[:, None] * _fade(columns, width, low)
            total[..., rows, columns] += share * enhance(low[..., rows, columns]).to(low)
            weight[..., rows, columns] += share
    return total / weight


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along a side; the last ends with it."""
    last = max(length - tile, 0)
    return [*range(0, last, tile - OVERLAP), last]


def _fade(place: slice, length: int, like: Tensor) -> Tensor:
    """Weights along a side of a tile: rising over the overlap from where a neighbour begins, falling where one ends.

    A quarter of the overlap at each end counts for nothing: there the tile knows its border too well.
    """
    size = place.stop - place.start
    ramp = torch.linspace(-0.5, 1.5, OVERLAP, dtype=like.dtype, device=like.device).clamp(1e-6, 1)
    weights = torch.ones(size, dtype=like.dtype, device=like.device)
    if place.start > 0:
        weights[:OVERLAP] *= ramp
    if place.stop < length:
        weights[-OVERLAP:] *= ramp.flip(0)
    return weights
