"""Blocks of restoration networks that several methods are built from; any size, NCHW."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REDUCTION = 4
"""Channel attention narrows to a quarter, as in the house style of DRGN's authors (MSPFN)."""
BLUR = 1.0
"""Sigma in pixels of the 5x5 Gaussian before a pyramid level is halved."""


class ChannelAttention(nn.Module):
    """Scales each channel by a factor in (0, 1) that a bottleneck of `narrow` values takes from the global means."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, narrow, 1)
        self.excite = nn.Conv2d(narrow, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        means = features.mean(dim=(2, 3), keepdim=True)
        return features * torch.sigmoid(self.excite(F.relu(self.squeeze(means))))


class RCAB(nn.Module):
    """Residual channel-attention block: 3x3, PReLU, 3x3, channel attention, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = nn.PReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.attention = ChannelAttention(channels, channels // REDUCTION)

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        inner: Tensor = self.attention(self.conv2(self.act(self.conv1(features))))
        return features + inner


def rcabs(channels: int, count: int) -> nn.Sequential:
    """A chain of RCABs."""
    return nn.Sequential(*(RCAB(channels) for _ in range(count)))


def down(before: int, after: int) -> nn.Sequential:
    """Half the size: 3x3 convolution of stride 2 and PReLU."""
    return nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.PReLU())


def up(before: int, after: int) -> nn.Sequential:
    """Twice the size: 3x3 transposed convolution of stride 2 and PReLU."""
    return nn.Sequential(nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1), nn.PReLU())


def halved(images: Tensor) -> Tensor:
    """The next level of a Gaussian pyramid, (N, C, H/2, W/2) for even sides: 5x5 Gaussian, then means of 2x2 pixels."""
    offsets = torch.arange(-2, 3, dtype=torch.float32, device=images.device)
    weights = torch.exp(-offsets.square() / (2 * BLUR**2))
    weights = weights / weights.sum()
    channels = images.shape[1]
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    rows = F.conv2d(padded, weights.view(1, 1, 5, 1).expand(channels, 1, 5, 1), groups=channels)
    blurred = F.conv2d(rows, weights.view(1, 1, 1, 5).expand(channels, 1, 1, 5), groups=channels)
    return F.avg_pool2d(blurred, 2)
