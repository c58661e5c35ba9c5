"""A small network that marks what stands out in a photograph, and how it is trained from scratch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer

from bench.contracts import Dataset, Pair, Sample
from bench.image import to_uint8
from bench.training import Kind, Recipe, Settings, read_metadata

WIDTHS = (16, 32, 64, 112, 160)
"""Channels at a half, a quarter, … a 32nd of the picture's size."""
DILATIONS: tuple[tuple[int, ...], ...] = ((), (1,), (1, 1), (1, 1), (1, 2))
"""A residual block for each number, level by level."""
INPUT = (256, 256)
"""Height and width that pictures are resized to, whatever their proportions, as the field does."""


class Residual(nn.Module):
    """Two 3x3 convolutions with batch normalisation around a shortcut (He et al. 2016)."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = _convolution(width, width, dilation=dilation)
        self.second = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, features: Tensor) -> Tensor:
        """Same shape in and out."""
        return F.relu(features + self.norm(self.second(self.first(features))))


class GlobalContext(nn.Module):
    """Adds to every place what the mean over the picture says: an object stands out from the rest of its picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.says = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Same shape in and out."""
        said: Tensor = self.says(features.mean(dim=(2, 3), keepdim=True))
        return features + said


class SaliencyNetwork(nn.Module):
    """Residual U-Net over five levels with a pooled branch at the coarsest; 2.2 M parameters, 0.8 GMACs at 256x256.

    Every pixel's place in the picture goes in with its colour (Liu et al. 2018, CoordConv): what is salient tends to
    lie in the middle, and a network without pretraining learns that from few photographs only if it is told the place.
    """

    def __init__(self) -> None:
        super().__init__()
        before = (6, *WIDTHS[:-1])
        self.levels = nn.ModuleList(
            nn.Sequential(_convolution(narrow, wide, stride=2), *(Residual(wide, dilation) for dilation in dilations))
            for narrow, wide, dilations in zip(before, WIDTHS, DILATIONS, strict=True)
        )
        self.context = GlobalContext(WIDTHS[-1])
        coarser = zip(WIDTHS[1:], WIDTHS[:-1], strict=True)
        self.narrow = nn.ModuleList(_convolution(wide, narrow, kernel=1) for wide, narrow in coarser)
        self.merge = nn.ModuleList(Residual(width) for width in WIDTHS[:-1])
        self.head = nn.Conv2d(WIDTHS[0], 1, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """RGB (N, 3, H, W) in [0, 1] of any size to logits (N, 1, H, W), computed at half the size."""
        features = [torch.cat((2 * pictures - 1, _places(pictures)), dim=1)]
        for level in self.levels:
            features.append(level(features[-1]))
        found = self.context(features.pop())
        for narrow, merge, skipped in zip(
            reversed(self.narrow), reversed(self.merge), reversed(features[1:]), strict=True
        ):
            found = merge(_enlarged(narrow(found), skipped) + skipped)
        return _enlarged(self.head(found), pictures)


def saliency(network: nn.Module, pictures: Tensor, size: tuple[int, int] = INPUT) -> Tensor:
    """Saliency in [0, 1], (N, 1, *size), of pictures (N, 3, H, W) that are resized to `size` (height, width) first."""
    return torch.sigmoid(network(resized(pictures, size))).float()


def resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) in [0, 1] by antialiased bilinear interpolation; height and width are `size`."""
    if pictures.shape[-2:] == size:
        return pictures
    return F.interpolate(pictures, size, mode="bilinear", antialias=True).clamp(0, 1)


def load_network(path: Path) -> SaliencyNetwork:
    """The network with the weights that `bench train saliency` wrote, ready to predict.

    Raises FileNotFoundError for a missing file and ValueError for one that is damaged or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; train it with 'bench train saliency --dataset ecssd:train', or name a model of "
            f"your own"
        )
    method = read_metadata(path).get("method", "saliency")
    if method != "saliency":
        raise ValueError(f"{path} holds the weights of {method!r}, not of the saliency network; name the right file")
    network = SaliencyNetwork()
    try:
        state = load_file(path)
        network.load_state_dict(
            {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        )
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path} does not fit the saliency network: {error}") from error
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _convolution(before: int, after: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )


def _places(pictures: Tensor) -> Tensor:
    """(N, 3, H, W): column and row from -1 to 1, and the square of the distance from the centre."""
    count, _, height, width = pictures.shape
    rows = torch.linspace(-1, 1, height, device=pictures.device)[:, None].expand(height, width)
    columns = torch.linspace(-1, 1, width, device=pictures.device).expand(height, width)
    return torch.stack((columns, rows, rows.square() + columns.square())).expand(count, 3, height, width)


def _enlarged(coarse: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(coarse, like.shape[-2:], mode="bilinear")


@dataclass(frozen=True, kw_only=True)
class SaliencySettings(Settings):
    """Ours; chosen for a training of about 20 minutes on one core of a CPU (bfloat16)."""

    batch_size: int = 8
    steps: int = 4000
    side: int = 224
    """Of the squares that learn, in pixels; smaller than INPUT, as random crops show objects larger than they are."""
    smallest_area: float = 0.6
    """Share of the picture that a random crop has at least."""
    jitter: float = 0.3
    """Brightness, contrast and saturation are multiplied by 1 - jitter to 1 + jitter, each by chance."""
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    weight_iou: float = 1
    """Of the soft IoU beside the cross-entropy."""


class SaliencyRecipe(Recipe):
    """Training on normal-light photographs and masks: binary cross-entropy and soft IoU (as Qin et al. 2019, BASNet).

    The mask is the reference, so the PSNR of held-out pairs that training logs is that of the map against the mask.
    """

    defaults = SaliencySettings()
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.ANY,)

    def __init__(self, option: str, settings: SaliencySettings) -> None:
        super().__init__(option, settings)
        if option:
            raise ValueError(f"saliency:{option} is not trained here; 'saliency' alone names the network that is")
        if settings.side < 32:
            raise ValueError(f"saliency: side has to be 32 pixels or more, found {settings.side}")
        if not 0 < settings.smallest_area <= 1:
            raise ValueError(f"saliency: smallest_area has to be in (0, 1], found {settings.smallest_area}")
        if settings.jitter >= 1:
            raise ValueError(f"saliency: jitter has to be below 1, found {settings.jitter}")
        self._settings = settings
        self._network = SaliencyNetwork().to(memory_format=torch.channels_last)
        self._adam = AdamW(self._network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self._network

    @property
    def optimisers(self) -> Sequence[Optimizer]:
        """One AdamW."""
        return (self._adam,)

    def load(self, dataset: Dataset, sample: Sample) -> Pair:
        """The photograph in normal light and, in the place of the reference, its mask as (3, H, W) of 0 and 1."""
        pair = dataset.load(sample)
        photograph = pair.low if pair.reference is None else pair.reference
        mask = dataset.truth(sample).mask
        if mask is None:
            raise ValueError(f"picture {sample.id!r} of {dataset.label} has no mask; saliency is learned from masks")
        if mask.shape != photograph.shape[-2:]:
            raise ValueError(
                f"picture {sample.id!r} of {dataset.label} has shape {tuple(photograph.shape[-2:])} and its mask "
                f"{mask.shape}; the files do not belong together"
            )
        return Pair(photograph, torch.from_numpy(mask).float().expand(3, -1, -1))

    def read(self, pair: Pair) -> tuple[Tensor, ...]:
        """Photograph (3, H, W) and mask (1, H, W) in 8 bit."""
        assert pair.reference is not None
        return to_uint8(pair.low), to_uint8(pair.reference[:1])

    def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
        """Random crops resized to squares, mirrored, their light and colour changed: (B, 3, S, S) and (B, 1, S, S)."""
        drawn = [self._drawn(picture, generator) for picture in pictures]
        photographs, masks = zip(*drawn, strict=True)
        return torch.cat(photographs), torch.cat(masks)

    def _drawn(self, picture: tuple[Tensor, ...], generator: Generator) -> tuple[Tensor, Tensor]:
        settings = self._settings
        photograph, mask = _cropped(picture, settings.smallest_area, settings.side, generator)
        if _chance(0, 1, generator) < 0.5:
            photograph, mask = photograph.flip(-1), mask.flip(-1)
        brightness, contrast, saturation = (
            _chance(1 - settings.jitter, 1 + settings.jitter, generator) for _ in range(3)
        )
        photograph = photograph * brightness
        photograph = photograph.mean().lerp(photograph, contrast)
        photograph = photograph.mean(dim=1, keepdim=True).lerp(photograph, saturation)
        return photograph.clamp(0, 1), mask

    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        """Lower the cross-entropy and the soft IoU; the rate falls along half a cosine to a hundredth."""
        photographs, masks = batch
        settings = self._settings
        for group in self._adam.param_groups:
            group["lr"] = settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        logits = self.mixed(self._network, photographs)
        entropy = F.binary_cross_entropy_with_logits(logits, masks)
        overlap = settings.weight_iou * soft_iou_loss(torch.sigmoid(logits), masks)
        loss = entropy + overlap
        self._adam.zero_grad()
        torch.autograd.backward(loss)
        self._adam.step()
        return {"loss": loss.detach(), "entropy": entropy.detach(), "iou": overlap.detach()}

    def enhance(self, low: Tensor) -> Tensor:
        """The saliency map three times over, (N, 3, H, W) at the pictures' size; compared with the mask."""
        found = saliency(self._network, low)
        return resized(found, (low.shape[-2], low.shape[-1])).expand(-1, 3, -1, -1)


def soft_iou_loss(found: Tensor, masks: Tensor) -> Tensor:
    """1 - (intersection + 1) / (union + 1) of (N, 1, H, W) in [0, 1], mean over pictures; in [0, 1]."""
    intersection = (found * masks).sum(dim=(1, 2, 3))
    union = (found + masks).sum(dim=(1, 2, 3)) - intersection
    return (1 - (intersection + 1) / (union + 1)).mean()


def _cropped(
    picture: tuple[Tensor, ...], smallest_area: float, side: int, generator: Generator
) -> tuple[Tensor, Tensor]:
    """The same random part of photograph and mask as (1, C, side, side) float32 in [0, 1].

    Its proportions are the picture's, changed by up to 3:4 or 4:3.
    """
    height, width = picture[0].shape[-2:]
    area = _chance(smallest_area, 1, generator)
    stretch = math.exp(_chance(math.log(3 / 4), math.log(4 / 3), generator))
    rows = min(height, max(1, round(height * math.sqrt(area * stretch))))
    columns = min(width, max(1, round(width * math.sqrt(area / stretch))))
    top = int(torch.randint(height - rows + 1, (), generator=generator))
    left = int(torch.randint(width - columns + 1, (), generator=generator))
    photograph, mask = (
        resized(one[None, :, top : top + rows, left : left + columns].float().div(255), (side, side)) for one in picture
    )
    return photograph, mask


def _chance(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
