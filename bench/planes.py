"""Derived planes of a batch (8-bit values, luma, grey), computed once and shared by all metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Value = TypeVar("Value")

# First row of the inverse of MATLAB's YIQ matrix [1 .956 .621; 1 -.272 -.647; 1 -1.106 1.703], as its rgb2gray uses it.
GREY_WEIGHTS = (0.298936021293775, 0.587043074451121, 0.114020904255103)
LUMA_BT601_WEIGHTS = (0.299, 0.587, 0.114)


class Planes:
    """A batch of pictures and what several metrics derive from it."""

    def __init__(self, rgb: Tensor) -> None:
        """Take RGB float32 (N, 3, H, W) in [0, 1], already rounded to 8 bit where the protocol says so."""
        self.rgb = rgb
        self._derived: dict[Callable[[Planes], Any], Any] = {}

    @cached_property
    def rgb255(self) -> Tensor:
        """RGB scaled to 0..255, float32 (N, 3, H, W); whole numbers, exactly, for an 8-bit picture."""
        # The float32 product of float32(k / 255) with 255 is k for every k of 0..255; a float64 product is not.
        return self.rgb.to(torch.float32, memory_format=torch.contiguous_format) * 255

    @cached_property
    def luma_bt601(self) -> Tensor:
        """Full-range luma .299 R + .587 G + .114 B, 0..255, not rounded, float64 (N, 1, H, W)."""
        return weighted(self.rgb255, LUMA_BT601_WEIGHTS)

    @cached_property
    def grey(self) -> Tensor:
        """MATLAB's rgb2gray of the 8-bit picture: whole numbers 0..255, half rounded up, float64 (N, 1, H, W)."""
        return weighted(self.rgb255, GREY_WEIGHTS).add_(0.5).floor_()

    def derived(self, function: Callable[[Planes], Value]) -> Value:
        """`function(self)`, computed at its first call only; for what several metrics or methods ask of a batch."""
        if function not in self._derived:
            self._derived[function] = function(self)
        return cast(Value, self._derived[function])


def weighted(rgb: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """Weighted sum of the channels in float64, (N, 3, H, W) -> (N, 1, H, W)."""
    total = rgb[:, 0:1].to(torch.float64, memory_format=torch.contiguous_format, copy=True).mul_(weights[0])
    return total.add_(rgb[:, 1:2], alpha=weights[1]).add_(rgb[:, 2:3], alpha=weights[2])
