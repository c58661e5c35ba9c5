"""The SSIM index of planes in 0..255, whichever planes a metric takes."""

from __future__ import annotations

import torch
from torch import Tensor

from ._filters import correlate2d, gaussian_taps

RADIUS, SIGMA = 5, 1.5
TAPS = gaussian_taps(RADIUS, SIGMA)
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(enhanced255: Tensor, reference255: Tensor) -> Tensor:
    """Mean SSIM per picture of (N, C, H, W) in 0..255, over the channels and the region where the window fits."""
    height, width = enhanced255.shape[-2:]
    if min(height, width) < 2 * RADIUS + 1:
        raise ValueError(f"SSIM's window needs at least 11x11 pixels, the picture has {width}x{height}")
    # Channel by channel: the planes of one channel stay in the processor's cache between the passes.
    channels = range(enhanced255.shape[1])
    return torch.stack([_channel(enhanced255[:, [c]], reference255[:, [c]]) for c in channels]).mean(0)


def _channel(enhanced255: Tensor, reference255: Tensor) -> Tensor:
    # float64: variances are small differences of large moments, dark pictures lose the sixth digit in float32.
    enhanced, reference = enhanced255.to(torch.float64), reference255.to(torch.float64)
    mean_enhanced, mean_reference = correlate2d(enhanced, TAPS), correlate2d(reference, TAPS)
    products = mean_enhanced * mean_reference
    squares = mean_enhanced.square_().addcmul_(mean_reference, mean_reference)
    covariance = correlate2d(enhanced * reference, TAPS).sub_(products)
    # The index needs the two variances as a sum only, so one pass filters both.
    variances = correlate2d(enhanced.square_().addcmul_(reference, reference), TAPS).sub_(squares)
    numerator = products.mul_(2).add_(C1).mul_(covariance.mul_(2).add_(C2))
    denominator = squares.add_(C1).mul_(variances.add_(C2))
    similarity: Tensor = numerator.div_(denominator).mean(dim=(1, 2, 3))
    return similarity
