"""Histogram equalisation of V: brightness is spread evenly, hue and saturation stay."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bench.contracts import Adapter

from ._options import refuse_option

LEVELS = 256


class HE(Adapter):
    """Map V of HSV by its own cumulative histogram of 256 levels, (cdf - cdf_min) / (pixels - cdf_min).

    Three equalised channels of RGB would shift colours; this is one curve, and RGB is scaled by V'/V. A picture with a
    single level stays as it is, as with OpenCV's equalizeHist.
    """

    label = "HE"
    kind = "classical"
    source = "Gonzalez & Woods, Digital Image Processing, Section 3.3, on V of HSV"

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        super().__init__(option, weights)
        refuse_option("he", option)

    def enhance(self, low: Tensor) -> Tensor:
        """Equalise each picture of the batch by its own histogram."""
        value = low.amax(dim=1, keepdim=True)
        levels = value.mul(LEVELS - 1).add(0.5).floor().long()
        count = len(low)
        # One bincount for the batch: the levels of picture i are shifted by 256 i.
        shift = torch.arange(count, device=low.device).view(-1, 1, 1, 1) * LEVELS
        histogram = torch.bincount((levels + shift).flatten(), minlength=count * LEVELS).view(count, LEVELS)
        cumulative = histogram.cumsum(dim=1)
        pixels = cumulative[:, -1:]
        lowest = torch.where(cumulative > 0, cumulative, pixels).amin(dim=1, keepdim=True)
        # Divided in float64 and by at least 1: where one level holds every pixel the curve is replaced below.
        curve = (cumulative - lowest).clamp(min=0).double() / (pixels - lowest).clamp(min=1)
        equalised = torch.gather(curve, 1, levels.flatten(1)).view_as(value).to(low.dtype)
        scale = torch.where(value > 0, equalised / value, torch.ones_like(value))
        single = (lowest == pixels).view(-1, 1, 1, 1)
        return torch.where(single, low, low * scale).clamp(0, 1)
