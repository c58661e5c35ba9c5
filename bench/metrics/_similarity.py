"""The SSIM index of planes in 0..255, whichever planes a metric takes."""

from __future__ import annotations

import torch
from torch import Tensor

from ._filters import correlate2d, gaussian_taps

RADIUS, SIGMA = 5, 1.5
TAPS = gaussian_taps(RADIUS, SIGMA)
STRIP = 80_000
"""Pixels that are filtered at a time: what they need stays in a processor's second-level cache between the passes."""
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(enhanced255: Tensor, reference255: Tensor) -> Tensor:
    """Mean SSIM per picture of (N, C, H, W) in 0..255, over the channels and the region where the window fits."""
    height, width = enhanced255.shape[-2:]
    if min(height, width) < 2 * RADIUS + 1:
        raise ValueError(f"SSIM's window needs at least 11x11 pixels, the picture has {width}x{height}")
    reach = 2 * RADIUS
    windows = (height - reach) * (width - reach)
    if enhanced255.device.type != "cpu":
        return _index(enhanced255, reference255).sum(1) / (windows * enhanced255.shape[1])
    step = max(1, STRIP // width)
    strips = [
        _index(enhanced[top : top + step + reach], reference[top : top + step + reach])
        for enhanced, reference in zip(enhanced255.flatten(0, 1), reference255.flatten(0, 1), strict=True)
        for top in range(0, height - reach, step)
    ]
    sums = torch.stack(strips).view(len(enhanced255), -1)
    return sums.sum(1) / (windows * enhanced255.shape[1])


def _index(enhanced255: Tensor, reference255: Tensor) -> Tensor:
    """Sum of the index over all windows that fit, (..., H, W) -> (...)."""
    # float64: variances are small differences of large moments, dark pictures lose the sixth digit in float32.
    moments = torch.empty((4, *enhanced255.shape), dtype=torch.float64, device=enhanced255.device)
    enhanced, reference = moments[0].copy_(enhanced255), moments[1].copy_(reference255)
    torch.mul(enhanced, reference, out=moments[2])
    # The index needs the two variances as a sum only, so one pass filters both.
    torch.mul(enhanced, enhanced, out=moments[3]).addcmul_(reference, reference)
    mean_enhanced, mean_reference, covariance, variances = correlate2d(moments, TAPS)
    products = mean_enhanced * mean_reference
    squares = mean_enhanced.square_().addcmul_(mean_reference, mean_reference)
    covariance, variances = covariance.sub_(products), variances.sub_(squares)
    numerator = products.mul_(2).add_(C1).mul_(covariance.mul_(2).add_(C2))
    denominator = squares.add_(C1).mul_(variances.add_(C2))
    similarity: Tensor = numerator.div_(denominator).sum(dim=(-2, -1))
    return similarity
