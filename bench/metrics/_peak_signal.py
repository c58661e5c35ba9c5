"""The peak signal-to-noise ratio of planes in 0..255, whichever planes a metric takes."""

from __future__ import annotations

import torch
from torch import Tensor


def psnr(enhanced255: Tensor, reference255: Tensor) -> Tensor:
    """10 log10(255^2 / MSE) in dB per picture of (N, C, H, W) in 0..255; infinite for identical pictures."""
    # Differences of 8-bit values are exact in float32, their squares are summed in float64.
    difference = (enhanced255 - reference255).flatten(1)
    squares = torch.linalg.vector_norm(difference, 2, dim=1, dtype=torch.float64).square()
    return 10 * torch.log10(255**2 * difference.shape[1] / squares)
