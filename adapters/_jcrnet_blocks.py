"""Blocks of JCRNet: each takes and returns (N, channels, H, W) at the resolution of its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROWTH = 20
"""Channels that every level of the encoder adds."""
DEPTH = 3
"""Levels of the encoder; the repository calls it with 2, which misses the published parameter count by a fifth."""
REDUCTION = 4
"""Squeeze of the channel attention."""


class Residual(nn.Module):
    """x + conv(PReLU(conv(x))), 3 -> 64 -> 3: one learned operator of the data step."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv3(3, 64), nn.PReLU(), conv3(64, 3))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to the same shape."""
        stepped: Tensor = images + self.body(images)
        return stepped


class DataStep(nn.Module):
    """x - r res'(res(x) - low): a gradient step with learned operators; its learned width r is the repository's."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.forth = Residual()
        self.back = Residual()
        self.width = nn.Parameter(torch.tensor(width))

    def forward(self, images: Tensor, low: Tensor) -> Tensor:
        """Where `images` is left after a step towards `low`."""
        stepped: Tensor = images - self.width * self.back(self.forth(images) - low)
        return stepped


class CAB(nn.Module):
    """Channel attention block: two convolutions whose channels are weighted by their global means, plus identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv3(channels, channels, bias=False), nn.PReLU(), conv3(channels, channels, bias=False)
        )
        self.attention = Attention(channels, channels // REDUCTION)

    def forward(self, features: Tensor) -> Tensor:
        """Weighted body plus the features."""
        attended: Tensor = features + self.attention(self.body(features))
        return attended


class Attention(nn.Module):
    """Squeeze and excite without bias: every channel times a weight in (0, 1) that the channel means decide."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """The weighted features."""
        weighted: Tensor = features * self.weigh(features.mean(dim=(2, 3), keepdim=True))
        return weighted


class Block(nn.Module):
    """Two 3x3 convolutions with LeakyReLU 0.2, plus a 1x1 convolution of the input."""

    def __init__(self, before: int, after: int, norm: nn.Module) -> None:
        super().__init__()
        self.first = conv3(before, after)
        self.norm = norm
        self.second = conv3(after, after)
        self.identity = nn.Conv2d(before, after, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, before, H, W) to (N, after, H, W)."""
        inner = F.leaky_relu(self.norm(self.first(features)), 0.2)
        outer: Tensor = F.leaky_relu(self.second(inner), 0.2) + self.identity(features)
        return outer


class HalfInstanceNorm(nn.Module):
    """Normalises the first half of the channels over each picture, leaves the others. HINet, Section 3.1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # One group per channel is instance norm; this kernel takes channels last and pictures of one pixel.
        self.norm = nn.GroupNorm(channels // 2, channels // 2)

    def forward(self, features: Tensor) -> Tensor:
        """The same shape."""
        first, second = features.chunk(2, dim=1)
        return torch.cat((self.norm(first.contiguous(memory_format=torch.channels_last)), second), dim=1)


class EncoderDecoder(nn.Module):
    """U-Net of three levels with n, n + 20 and n + 40 channels; sides have to be multiples of 4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels + GROWTH * level for level in range(DEPTH)]
        below = [*widths[1:], widths[-1]]
        self.encoders = nn.ModuleList(
            Block(before, after, HalfInstanceNorm(after)) for before, after in zip(widths, below, strict=True)
        )
        self.downs = nn.ModuleList(nn.Conv2d(width, width, 4, 2, 1, bias=False) for width in widths[1:])
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(before, after, 2, 2) for before, after in upwards)
        self.skips = nn.ModuleList(conv3(before, after) for before, after in upwards)
        self.decoders = nn.ModuleList(Block(2 * after, after, nn.Identity()) for _, after in upwards)

    def forward(self, features: Tensor) -> Tensor:
        """(N, n, H, W) to the same shape."""
        passed: list[Tensor] = []
        for encoder, down in zip(self.encoders, self.downs, strict=False):
            passed.append(encoder(features))
            features = down(passed[-1])
        features = self.encoders[-1](features)
        for up, skip, decoder in zip(self.ups, self.skips, self.decoders, strict=True):
            features = decoder(torch.cat((up(features), skip(passed.pop())), dim=1))
        return features


class EdgeCondition(nn.Module):
    """Edges of the picture in one map, and 32 channels made of it that modulate the structure."""

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Sequential(
            *(conv3(3, 32), nn.ReLU(), conv3(32, 32), nn.ReLU(), conv3(32, 64), nn.ReLU(), conv3(64, 64), nn.ReLU()),
            *(nn.Conv2d(64, 1, 1), nn.ReLU()),
        )
        self.condition = nn.Sequential(
            *(conv3(1, 64), nn.ReLU(), nn.Conv2d(64, 64, 1), nn.ReLU(), nn.Conv2d(64, 32, 1)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 32, H, W)."""
        condition: Tensor = self.condition(self.edges(images))
        return condition


class AffineSFT(nn.Module):
    """Eq. 5 as printed: features times S_c plus S_h, both made of the condition."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Sequential(conv3(32, 32), nn.LeakyReLU(0.1), conv3(32, 64))
        self.shift = nn.Sequential(nn.Conv2d(32, 32, 1), nn.LeakyReLU(0.1), nn.Conv2d(32, 64, 1))

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Features (N, 64, H, W) under a condition (N, 32, H, W)."""
        modulated: Tensor = features * self.scale(condition) + self.shift(condition)
        return modulated


class MixingSFT(AffineSFT):
    """The repository's form, which the published parameter count holds: a convolution mixes features and S_c."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Sequential(conv3(128, 64), nn.LeakyReLU(0.1))

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Features (N, 64, H, W) under a condition (N, 32, H, W)."""
        mixed: Tensor = self.mix(torch.cat((features, self.scale(condition)), dim=1)) + self.shift(condition)
        return mixed


class ColourCorrection(nn.Module):
    """R of Eq. 6: seven convolutions, two skips, a sigmoid. Widths and batch normalisation are the repository's."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Sequential(conv3(before, 128, bias=False), nn.BatchNorm2d(128))
            for before in (64, 128, 128, 128, 128, 128)
        )
        self.last = nn.Conv2d(128, maps, 1)
        assert self.last.bias is not None
        # Ours: R starts near 0.88, so that neither its sigmoid nor the clamp after the division stops the gradient.
        nn.init.constant_(self.last.bias, 2)

    def forward(self, structure: Tensor) -> Tensor:
        """(N, 64, H, W) to float32 maps (N, maps, H, W) in (0, 1)."""
        conv1, conv2, conv3, conv4, conv5, conv6 = self.convs
        # In place and under one name: the widest layers, which decide how much memory a picture takes.
        features = F.relu_(conv1(structure))
        features = F.relu_(conv3(F.relu_(conv2(features))).add_(features))
        features = F.relu_(conv5(F.relu_(conv4(features))))
        features = F.relu_(conv6(features).add_(features))
        # float32: half precision has two digits, and what is divided by 0.05 needs them.
        return torch.sigmoid(self.last(features).float())


class BackProjection(nn.Module):
    """What lightening, darkening and lightening again leave over (DLN's block): L2(w(x_F) - D(L1(x_F))), to RGB."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.attention = Attention(channels, max(channels // 2, 1))
        self.fuse = nn.Sequential(nn.Conv2d(channels, width, 1), nn.PReLU())
        self.lighten = Exposing(width)
        self.darken = Exposing(width)
        self.weigh = nn.Sequential(nn.Conv2d(width, width, 1), nn.PReLU())
        self.lighten_residual = Exposing(width)
        self.last = conv3(width, 3)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) to a correction (N, 3, H, W)."""
        fused = self.fuse(images + self.attention(images))
        darkened = self.darken(self.lighten(fused, 1), -1)
        correction: Tensor = self.last(self.lighten_residual(self.weigh(fused) - darkened, 1))
        return correction


class Exposing(nn.Module):
    """To half the channels, where an offset is added (lighten) or taken away (darken), and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        code = width // 2
        self.code = nn.Sequential(conv3(width, code), nn.PReLU())
        self.offset = nn.Sequential(conv3(code, code), nn.PReLU())
        self.decode = nn.Sequential(conv3(code, width), nn.PReLU())

    def forward(self, features: Tensor, sign: int) -> Tensor:
        """(N, width, H, W) to the same shape; sign 1 lightens, -1 darkens."""
        code = self.code(features)
        exposed: Tensor = self.decode(code + sign * self.offset(code))
        return exposed


def conv3(before: int, after: int, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(before, after, 3, padding=1, bias=bias)
