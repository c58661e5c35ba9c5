"""Zero-DCE: a small network draws eight light curves per pixel and channel; trained without references."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from bench.contracts import Adapter, Pair
from bench.image import to_uint8
from bench.training import Kind, Recipe, Settings

from ._options import refuse_option
from ._weights import load_weights, shipped

ITERATIONS = 8
REDUCTIONS = (1, 2, 4)
"""Crops are taken at full, half and quarter size."""
LAST_RATE = 0.05
"""Learning rate at the end, relative to the first."""


class DCENet(nn.Module):
    """Seven 3x3 convolutions with symmetric concatenations; 79,416 parameters. Paper, Section 3.2."""

    def __init__(self) -> None:
        super().__init__()
        widths = [(3, 32), (32, 32), (32, 32), (32, 32), (64, 32), (64, 32), (64, 3 * ITERATIONS)]
        self.convs = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in widths)

    def forward(self, low: Tensor) -> Tensor:
        """Curve parameters in [-1, 1]: (N, 24, H, W), three channels for each iteration."""
        conv1, conv2, conv3, conv4, conv5, conv6, conv7 = self.convs
        first = F.relu(conv1(low))
        second = F.relu(conv2(first))
        third = F.relu(conv3(second))
        fourth = F.relu(conv4(third))
        fifth = F.relu(conv5(torch.cat((third, fourth), dim=1)))
        sixth = F.relu(conv6(torch.cat((second, fifth), dim=1)))
        return torch.tanh(conv7(torch.cat((first, sixth), dim=1)))


def apply_curves(low: Tensor, curves: Tensor) -> Tensor:
    """Eq. 3: LE_n = LE_(n-1) + A_n LE_(n-1) (1 - LE_(n-1)), with A of the other sign, as the released code has it."""
    enhanced = low
    for curve in curves.chunk(ITERATIONS, dim=1):
        enhanced = enhanced + curve * (enhanced * enhanced - enhanced)
    return enhanced


class Losses(NamedTuple):
    """The four losses of Section 3.3, unweighted."""

    spatial: Tensor
    exposure: Tensor
    colour: Tensor
    smoothness: Tensor


@dataclass(frozen=True, kw_only=True)
class ZeroDCESettings(Settings):
    """Loss weights are those of the released code; the paper names 1, 1, 0.5, 20, a tenth of these except the first."""

    batch_size: int = 8
    steps: int = 1200
    crop: int = 96
    """Side in pixels, after reduction."""
    bright_share: float = 0.25
    """Share of crops from the normal-light picture of a pair. Chosen on 32 pairs of our485 that were held out for it:
    without any, the network learns one strong curve for whatever it sees and loses more than 1 dB."""
    exposure: float = 0.6
    """Mean brightness that 16x16 regions are drawn to."""
    weight_spatial: float = 1
    weight_exposure: float = 10
    weight_colour: float = 5
    weight_smoothness: float = 200
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    gradient_norm: float = 0.1


def losses(low: Tensor, enhanced: Tensor, curves: Tensor, exposure: float) -> Losses:
    """Means over the batch; regions are 4x4 for contrast and 16x16 for exposure."""
    return Losses(
        spatial=_spatial_consistency(low, enhanced),
        exposure=(F.avg_pool2d(enhanced.mean(dim=1, keepdim=True), 16) - exposure).square().mean(),
        colour=_colour_constancy(enhanced),
        smoothness=_illumination_smoothness(curves),
    )


def _spatial_consistency(low: Tensor, enhanced: Tensor) -> Tensor:
    """Eq. 4 as the released code has it: signed differences to the four neighbours, zero beyond the border."""
    # The difference of differences is linear, so one map of the change carries both pictures.
    change = F.pad(F.avg_pool2d((enhanced - low).mean(dim=1, keepdim=True), 4), (1, 1, 1, 1))
    rows, columns = change[..., 1:-1, :].diff(dim=-1).square(), change[..., 1:-1].diff(dim=-2).square()
    return (rows[..., 1:] + rows[..., :-1] + columns[..., 1:, :] + columns[..., :-1, :]).mean()


def _colour_constancy(enhanced: Tensor) -> Tensor:
    """Eq. 6 with the square root over fourth powers that the released code takes."""
    means = enhanced.mean(dim=(2, 3))
    gaps = means - means.roll(1, dims=1)
    # Kept off 0, where the root has no slope.
    return (gaps.pow(4).sum(dim=1) + 1e-12).sqrt().mean()


def _illumination_smoothness(curves: Tensor) -> Tensor:
    """Eq. 7: squared gradients of the curve maps; as released, summed over 24 maps, averaged over pixels, doubled."""
    return 2 * curves.shape[1] * (curves.diff(dim=-1).square().mean() + curves.diff(dim=-2).square().mean())


class ZeroDCERecipe(Recipe):
    """Training of Zero-DCE without references.

    As in the paper: losses, weights, batch of 8, Adam, clipping, and pictures of several exposures - where the data set
    is paired, a quarter of the crops come from the normal-light picture, as one more exposure and never as a target.
    Ours, for a CPU: 96x96 crops at full, half and quarter size instead of 512x512 pictures; a learning rate that starts
    ten times as high and falls along a cosine.
    """

    defaults = ZeroDCESettings()
    kinds = (Kind.ANY,)

    def __init__(self, option: str, settings: ZeroDCESettings) -> None:
        super().__init__(option, settings)
        refuse_option("zero_dce", option)
        self._settings = settings
        self._network = DCENet()
        for parameter in self._network.parameters():
            # Small curves at the beginning: the network starts close to the identity.
            nn.init.normal_(parameter, 0, 0.02) if parameter.ndim > 1 else nn.init.zeros_(parameter)
        self._adam = Adam(self._network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)

    @property
    def network(self) -> nn.Module:
        """DCE-Net."""
        return self._network

    @property
    def optimisers(self) -> Sequence[Optimizer]:
        """One Adam."""
        return (self._adam,)

    def read(self, pair: Pair) -> tuple[Tensor, ...]:
        """The exposures of a scene in 8 bit: the low picture and, where there is one, the reference."""
        return tuple(to_uint8(picture) for picture in pair if picture is not None)

    def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
        """One crop of each scene, (batch, 3, crop, crop)."""
        return (torch.stack([_crop(exposures, self._settings, generator) for exposures in pictures]),)

    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        """Lower the weighted sum of the four losses."""
        (low,) = batch
        settings = self._settings
        for group in self._adam.param_groups:
            group["lr"] = settings.learning_rate * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * share)))
        curves = self._network(low)
        parts = losses(low, apply_curves(low, curves), curves, settings.exposure)
        weighted = Losses(
            spatial=settings.weight_spatial * parts.spatial,
            exposure=settings.weight_exposure * parts.exposure,
            colour=settings.weight_colour * parts.colour,
            smoothness=settings.weight_smoothness * parts.smoothness,
        )
        loss = torch.stack(weighted).sum()
        self._adam.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._network.parameters(), settings.gradient_norm)
        self._adam.step()
        return {"loss": loss.detach(), **{name: part.detach() for name, part in weighted._asdict().items()}}

    def enhance(self, low: Tensor) -> Tensor:
        """Eight curves."""
        return apply_curves(low, self._network(low))


def _crop(exposures: Sequence[Tensor], settings: ZeroDCESettings, generator: Generator) -> Tensor:
    """A square of a random exposure at a random place and reduction, mirrored half of the time."""

    def chance() -> float:
        return float(torch.rand((), generator=generator))

    low, *brighter = exposures
    picture = brighter[0] if brighter and chance() < settings.bright_share else low
    height, width = picture.shape[-2:]
    reduction = REDUCTIONS[int(chance() * len(REDUCTIONS))]
    side = min(settings.crop * reduction, height, width)
    top, left = int(chance() * (height - side + 1)), int(chance() * (width - side + 1))
    square = picture[:, top : top + side, left : left + side].float().div(255)
    square = F.interpolate(square[None], (settings.crop, settings.crop), mode="area")[0]
    return square.flip(-1) if chance() < 0.5 else square


class ZeroDCE(Adapter):
    """Guo et al.: x + A(x^2 - x) applied eight times, A from DCE-Net; trained without any reference.

    The shipped weights come from the recipe above; the authors' published state dict (Epoch99.pth) loads as well.
    """

    label = "Zero-DCE"
    kind = "zero-reference"
    source = "Guo et al. 2020, CVPR, Sections 3.1-3.3"
    weights_file = "zero_dce.safetensors"
    recipe: ClassVar[type[Recipe]] = ZeroDCERecipe

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        weights = weights or shipped(self.weights_file)
        super().__init__(option, weights)
        refuse_option("zero_dce", option)
        self._network = DCENet()
        load_weights(self._network, weights, "zero_dce", rename=_from_authors)
        # Channels last: a fifth faster on a CPU, equal within 3e-7.
        self._network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @property
    def module(self) -> nn.Module:
        """The network, for counting parameters and operations."""
        return self._network

    def to(self, device: torch.device) -> None:
        """Move the network."""
        self._network.to(device)

    def enhance(self, low: Tensor) -> Tensor:
        """One pass of the network, eight curves."""
        curves = self._network(low.contiguous(memory_format=torch.channels_last)).contiguous()
        return apply_curves(low, curves).clamp(0, 1)


def _from_authors(name: str) -> str:
    """'e_conv3.weight' of the authors' state dict is 'convs.2.weight' here; other names stay."""
    match = re.fullmatch(r"(?:module\.)?e_conv([1-7])\.(weight|bias)", name)
    return f"convs.{int(match[1]) - 1}.{match[2]}" if match else name
