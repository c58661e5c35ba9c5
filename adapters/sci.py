"""SCI: a tiny network estimates the illumination; a second one calibrates it in training and is then dropped."""

from __future__ import annotations

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

from ._losses import cosine
from ._options import refuse_option
from ._patches import patches
from ._weights import load_weights, shipped

DARKEST = 1e-4
"""Smallest illumination; what is darker is not divided further."""
PASSES = 3
"""How often the calibration network goes through its one double block."""
LAST_RATE = 0.01
"""Learning rate at the end of the schedule 'cosine', relative to the first."""
_SCHEDULES = ("paper", "cosine")

# BT.601 in video range, without the offsets, which differences lose.
_YCBCR = ((0.257, 0.504, 0.098), (-0.148, -0.291, 0.439), (0.439, -0.368, -0.071))
_OFFSETS = tuple((down, right) for down in range(3) for right in range(-2, 3) if down > 0 or right > 0)
"""Half of a 5x5 window's 24 neighbours; the other half are the same pairs of pixels, seen from the other side."""


class IlluminationNet(nn.Module):
    """Three 3x3 convolutions of three channels, the middle one residual with batch normalisation; 258 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        self.last = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, low: Tensor) -> Tensor:
        """Illumination in [1e-4, 1], as (N, 3, H, W) as its input and never darker than that."""
        features = F.relu(self.first(low))
        features = features + self.block(features)
        return (low + torch.sigmoid(self.last(features))).clamp(DARKEST, 1)


class CalibrationNet(nn.Module):
    """Turns a stage's result into what the next stage's input differs by; 16 channels, 5,619 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        layers = [(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()) for _ in range(2)]
        self.block = nn.Sequential(*(layer for group in layers for layer in group))
        self.last = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, enhanced: Tensor) -> Tensor:
        """What is added to the low picture, (N, 3, H, W) in (-1, 1)."""
        features = self.first(enhanced)
        for _ in range(PASSES):
            features = features + self.block(features)
        return enhanced - torch.sigmoid(self.last(features))


class SCINet(nn.Module):
    """Both networks, as they are trained and as the authors publish them."""

    def __init__(self) -> None:
        super().__init__()
        self.illumination = IlluminationNet()
        self.calibration = CalibrationNet()


def divide(low: Tensor, illumination: Tensor) -> Tensor:
    """Retinex: what is left of a picture without its illumination, in [0, 1]."""
    return (low / illumination).clamp(0, 1)


class Losses(NamedTuple):
    """The two losses of Section 2.3, unweighted."""

    fidelity: Tensor
    smoothness: Tensor


def losses(stage_input: Tensor, illumination: Tensor, sigma: float) -> Losses:
    """Means over pixels: the illumination stays near a stage's input, and near its neighbours where that does too."""
    return Losses(
        fidelity=(illumination - stage_input).square().mean(), smoothness=_smoothness(stage_input, illumination, sigma)
    )


def _smoothness(stage_input: Tensor, illumination: Tensor, sigma: float) -> Tensor:
    """Sum over the 24 neighbours of the mean absolute difference, all channels added.

    Weighted by the likeness in YCbCr. The released code converts with channels and pixels mixed up; we convert colours.
    At its sigma of 10 every weight lies between 0.99 and 1, so nothing depends on it.
    """
    colours = torch.einsum("ij,njhw->nihw", stage_input.new_tensor(_YCBCR), stage_input)
    total = stage_input.new_zeros(())
    for down, right in _OFFSETS:
        distance = _difference(colours, down, right).square().sum(dim=1)
        weight = torch.exp(distance / (-2 * sigma * sigma))
        total = total + 2 * (weight * _difference(illumination, down, right).abs().sum(dim=1)).mean()
    return total


def _difference(images: Tensor, down: int, right: int) -> Tensor:
    """Each pixel minus its neighbour so many rows below and columns to the right, where both exist."""
    height, width = images.shape[-2:]
    here = images[..., : height - down, max(-right, 0) : width - max(right, 0)]
    there = images[..., down:, max(right, 0) : width - max(-right, 0)]
    return here - there


@dataclass(frozen=True, kw_only=True)
class SCISettings(Settings):
    """Values of the released training code."""

    batch_size: int = 1
    steps: int = 485_000
    """1000 epochs of the 485 pictures of LOL."""
    crop: int = 0
    """Side of the squares in pixels; 0 for whole pictures, as the authors do."""
    stages: int = 3
    weight_fidelity: float = 1.5
    weight_smoothness: float = 1.0
    sigma: float = 10.0
    """Of the likeness in the smoothness loss, in units of the range [0, 1]."""
    learning_rate: float = 3e-4
    weight_decay: float = 3e-4
    gradient_norm: float = 5.0
    schedule: str = "paper"
    """'paper': one learning rate; 'cosine': falling to a hundredth of it."""


class SCIRecipe(Recipe):
    """Training of SCI from low pictures alone.

    Each stage estimates the illumination of its input, which is the low picture, from the second stage on changed by
    the calibration network; the two networks are the same in all stages. As in the released code: Adam, clipping, one
    whole picture a step.
    """

    defaults = SCISettings()
    kinds = (Kind.ANY,)

    def __init__(self, option: str, settings: SCISettings) -> None:
        super().__init__(option, settings)
        refuse_option("sci", option)
        if settings.schedule not in _SCHEDULES:
            raise ValueError(f"--set schedule={settings.schedule}: expected {' or '.join(_SCHEDULES)}")
        if settings.crop == 0 and settings.batch_size != 1:
            raise ValueError(f"--set batch_size={settings.batch_size}: whole pictures come one a step; give a crop too")
        self._settings = settings
        self._net = SCINet()
        for module in self._net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.02)
                nn.init.zeros_(module.bias) if module.bias is not None else None
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1, 0.02)
        self._adam = Adam(self._net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)

    @property
    def network(self) -> nn.Module:
        """The illumination network; the calibration network ends with the training."""
        return self._net.illumination

    @property
    def optimisers(self) -> Sequence[Optimizer]:
        """One Adam for both networks."""
        return (self._adam,)

    def read(self, pair: Pair) -> tuple[Tensor, ...]:
        """The low picture in 8 bit."""
        return (to_uint8(pair.low),)

    def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
        """A whole picture, or a square of each, (N, 3, H, W)."""
        if self._settings.crop:
            return patches(pictures, self._settings.crop, generator)
        ((low,),) = pictures
        return (low[None].float().div(255),)

    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        """Lower the weighted losses of all stages together."""
        (low,) = batch
        settings = self._settings
        first = settings.learning_rate
        for group in self._adam.param_groups:
            group["lr"] = cosine(share, first, LAST_RATE * first) if settings.schedule == "cosine" else first
        illumination = self.mixed(self._net.illumination, low)
        stages = [losses(low, illumination, settings.sigma)]
        for _ in range(1, settings.stages):
            stage_input = low + self.mixed(self._net.calibration, divide(low, illumination))
            illumination = self.mixed(self._net.illumination, stage_input)
            stages.append(losses(stage_input, illumination, settings.sigma))
        fidelity = settings.weight_fidelity * torch.stack([one.fidelity for one in stages]).sum()
        smoothness = settings.weight_smoothness * torch.stack([one.smoothness for one in stages]).sum()
        loss = fidelity + smoothness
        self._adam.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._net.parameters(), settings.gradient_norm)
        self._adam.step()
        return {"loss": loss.detach(), "fidelity": fidelity.detach(), "smoothness": smoothness.detach()}

    def enhance(self, low: Tensor) -> Tensor:
        """The first stage alone."""
        return divide(low, self.mixed(self._net.illumination, low))


class SCI(Adapter):
    """Ma et al.: the picture divided by its illumination, estimated by 258 parameters; trained without any reference.

    The shipped weights come from the recipe above; the authors' easy.pt, medium.pt and difficult.pt load as well.
    """

    label = "SCI"
    kind = "zero-reference"
    source = "Ma et al. 2022, CVPR, Section 2; released code for the sizes of the networks"
    weights_file = "sci.safetensors"
    recipe: ClassVar[type[Recipe]] = SCIRecipe

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        weights = weights or shipped(self.weights_name(""))
        super().__init__(option, weights)
        refuse_option("sci", option)
        self._network = _load(weights)
        # Not channels last: with three channels that takes twice as long on a CPU.
        self._network.eval().requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        """The illumination network, for counting parameters and operations."""
        return self._network

    def to(self, device: torch.device) -> None:
        """Move the network."""
        self._network.to(device)

    def enhance(self, low: Tensor) -> Tensor:
        """One pass of the network, one division."""
        return divide(low, self._network(low))


def _load(weights: Path) -> IlluminationNet:
    """From a file of ours, which holds the one network, or of the authors, which holds both."""
    if weights.suffix in (".pt", ".pth"):
        net = SCINet()
        load_weights(net, weights, "sci", rename=_from_authors)
        return net.illumination
    network = IlluminationNet()
    load_weights(network, weights, "sci")
    return network


_AUTHORS = {
    r"enhance\.in_conv\.0": "illumination.first",
    r"enhance\.(conv|blocks\.\d)": "illumination.block",
    r"enhance\.out_conv\.0": "illumination.last",
    r"calibrate\.in_conv": "calibration.first",
    r"calibrate\.(convs|blocks\.\d)": "calibration.block",
    r"calibrate\.out_conv\.0": "calibration.last",
}
"""The authors' modules and ours. Theirs list a shared block under its own name and once more for every pass."""


def _from_authors(name: str) -> str:
    """'enhance.in_conv.0.weight' of the authors' state dict is 'illumination.first.weight' here; other names stay."""
    for theirs, ours in _AUTHORS.items():
        if match := re.fullmatch(rf"{theirs}((?:\.\d)?\.\w+)", name):
            return ours + match[match.lastindex or 0]
    return name
