"""A photograph taken in good light as a pair: itself, and the same darkened by the simulated camera."""

from __future__ import annotations

from torch import Tensor

from bench.contracts import Pair

from ._camera import Camera, darken, draw_exposure, generator_for

SEED = 2018
"""Changing it changes every dark picture; the demo's, so that the same photograph gives the same picture there."""
LONG_SIDE = 640
"""Larger photographs are reduced to this where a set reduces them: a camera's own noise is averaged away."""


def reduced_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height whose longer side is LONG_SIDE at most; the shorter one keeps a pixel."""
    width, height = size
    scale = min(1.0, LONG_SIDE / max(size))
    return max(1, round(width * scale)), max(1, round(height * scale))


def darkened_pair(photograph: Tensor, name: str) -> Pair:
    """The darkened photograph and the photograph, (3, H, W) each; exposure, tint and noise depend on `name` alone.

    `photograph` must be 8-bit exact, for the two to be equally fine.
    """
    generator = generator_for(SEED, name)
    return Pair(darken(photograph, draw_exposure(generator), Camera(), generator), photograph)
