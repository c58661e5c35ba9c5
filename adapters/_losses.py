"""Losses and learning-rate schedules that several recipes share."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

CHARBONNIER = 1e-3
"""Epsilon of the Charbonnier loss in DRGN and JCRNet."""


def charbonnier(enhanced: Tensor, reference: Tensor) -> Tensor:
    """Mean of sqrt(difference^2 + 1e-3^2) over all values: an L1 norm with a slope at 0."""
    return ((enhanced - reference).square() + CHARBONNIER**2).sqrt().mean()


def ssim(enhanced: Tensor, reference: Tensor) -> Tensor:
    """Mean SSIM of (N, C, H, W) batches in [0, 1], over channels too; to learn with, not to report.

    Wang et al. 2004: Gaussian window of 11x11, sigma 1.5, K = 0.01 and 0.03, range 1; windows inside the picture only.
    """
    window = _gaussian(11, 1.5).to(enhanced)

    def smooth(images: Tensor) -> Tensor:
        channels = images.shape[1]
        rows = F.conv2d(images, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return F.conv2d(rows, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

    mean1, mean2 = smooth(enhanced), smooth(reference)
    variance1 = smooth(enhanced * enhanced) - mean1 * mean1
    variance2 = smooth(reference * reference) - mean2 * mean2
    covariance = smooth(enhanced * reference) - mean1 * mean2
    luminance = (2 * mean1 * mean2 + 0.01**2) / (mean1 * mean1 + mean2 * mean2 + 0.01**2)
    return (luminance * (2 * covariance + 0.03**2) / (variance1 + variance2 + 0.03**2)).mean()


def judged_real(logits: Tensor) -> Tensor:
    """-log D, mean: what a generator lowers for its pictures and a discriminator for real ones."""
    return F.softplus(-logits).mean()


def judged_fake(logits: Tensor) -> Tensor:
    """-log(1 - D), mean: what a discriminator lowers for generated pictures."""
    return F.softplus(logits).mean()


def cosine(share: float, first: float, last: float) -> float:
    """Learning rate that falls along half a cosine while share goes from 0 to 1."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))


def set_learning_rate(optimiser: Optimizer, rate: float) -> None:
    """Give every group of an optimiser the rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def _gaussian(size: int, sigma: float) -> Tensor:
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-offsets.square() / (2 * sigma * sigma))
    return (weights / weights.sum()).float()
