"""Derived planes of a batch (8-bit values, luma, grey), computed once and shared by all metrics."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor


class Planes:
    """A batch of pictures and what several metrics derive from it."""

    def __init__(self, rgb: Tensor) -> None:
        """Take RGB float32 (N, 3, H, W) in [0, 1], already rounded to 8 bit where the protocol says so."""
        self.rgb = rgb

    @cached_property
    def rgb255(self) -> Tensor:
        """RGB scaled to 0..255, float64 (N, 3, H, W)."""
        return self.rgb.to(torch.float64) * 255
