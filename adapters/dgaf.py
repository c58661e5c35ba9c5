"""DGAF: one network learns to make photographs look like real nights, a second one to undo it.

The paper writes x^r for two things. Here `synthetic` is the low-light picture that belongs to a `reference` y^r (x^s),
`night` a real one that belongs to none (x^n), and `darkened` is x^g = DN(y^r).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from bench.contracts import Adapter, Pair
from bench.image import pad_to_multiple
from bench.training import Kind, Recipe, Settings

from ._losses import cosine, judged_fake, judged_real, set_learning_rate, ssim
from ._options import unknown_option
from ._patches import patches, read_pair
from ._weights import load_weights, shipped

WIDTH = 64
BLOCKS = 8
FIRST_GREY = 0.05
"""What the Darkening Network's sigmoid starts from. From 0.5 the way to a night's grey levels is so long and straight
that Adam, at rates above 1e-4, overshoots to where a sigmoid has no slope: all black, for good, after ten steps."""
UNET_WIDTHS = (32, 64, 128, 256)
JUDGE_WIDTHS = (64, 128, 256)
HALVINGS = 5
"""Pieces of a stage, each with half the learning rate of the one before: every 10 of 50 epochs."""
DISPLAY_GAMMA = 2.2
"""Light doubles with one stop, and a grey level with 2.2 of them."""
LAST_RATE = 0.01
"""Learning rate at the end of a cosine, relative to the first."""

VGG_CONVOLUTIONS = {
    **{0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256},
    **{17: 512, 19: 512, 21: 512, 24: 512, 26: 512, 28: 512},
}
"""Width of each convolution by its place in torchvision's `features`."""
AFTER_POOLING = (5, 10, 17, 24)
CONV5_3 = 28
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALLEST_CROP = 16
RANDOM = "random"
"""The setting `vgg` where no weights are given."""

DARKENING_LOSSES = {
    "recons": ("recons",),
    "recons_ssim": ("recons", "ssim"),
    "recons_adv": ("recons", "adv"),
    "recons_ssim_adv": ("recons", "ssim", "adv"),
    "recons_adv_percept": ("recons", "percept", "adv"),
}
"""What the Darkening Network learns from in each row of Table 1; in every other variant from all four."""

_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, UnpicklingError)
"""What torch.load, its zip reader and its unpickler raise for files that are no state dicts, and wrong names."""


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), 3x3, without normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Same shape."""
        changed: Tensor = self.second(F.relu(self.first(features)))
        return features + changed


class ResidualNet(nn.Module):
    """Darkening and Enlightening Network: eight residual blocks at full size, 594,371 parameters.

    The paper says eight blocks, 3x3, ReLU; what a block is follows the generator of DASR, which the method builds on.
    The Enlightening Network is never described and takes the same form.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock() for _ in range(BLOCKS)))
        self.tail = nn.Conv2d(WIDTH, 3, 3, padding=1)

    def start_at(self, grey: float) -> None:
        """Let an untrained network's output lie near a grey level instead of 0.5."""
        assert self.tail.bias is not None
        nn.init.constant_(self.tail.bias, math.log(grey / (1 - grey)))

    def forward(self, picture: Tensor) -> Tensor:
        """(N, 3, H, W) in, the same in (0, 1) out."""
        # float32: near 1, neighbouring values of bfloat16 are an 8-bit level apart.
        return torch.sigmoid(self.tail(self.blocks(F.relu(self.head(picture)))).float())


class UNet(nn.Module):
    """Enlightening Network of `dgaf:unet`: four scales, two convolutions each, skips concatenated; 1.9 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *UNET_WIDTHS)
        self.down = nn.ModuleList(_two_convolutions(*both) for both in pairwise(widths))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(deep, shallow, 2, stride=2) for shallow, deep in pairwise(UNET_WIDTHS)
        )
        self.merge = nn.ModuleList(_two_convolutions(2 * width, width) for width in UNET_WIDTHS[:-1])
        self.tail = nn.Conv2d(UNET_WIDTHS[0], 3, 1)

    def forward(self, picture: Tensor) -> Tensor:
        """(N, 3, H, W) of any size in, the same in (0, 1) out."""
        height, width = picture.shape[-2:]
        features = pad_to_multiple(picture, 2 ** len(self.up))
        skips: list[Tensor] = []
        for convolutions in self.down:
            features = convolutions(F.max_pool2d(features, 2) if skips else features)
            skips.append(features)
        for up, merge, skip in zip(reversed(self.up), reversed(self.merge), skips[-2::-1], strict=True):
            features = merge(torch.cat((skip, up(features)), dim=1))
        return torch.sigmoid(self.tail(features).float())[..., :height, :width]


def _two_convolutions(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()
    )


class PatchDiscriminator(nn.Module):
    """Does the patch around each pixel, 13 wide, come from a real night? Four layers as in DASR, 1,029,505 parameters.

    Fed RGB and not, as DASR, high frequencies: brightness and white balance are the very gap to close.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third = JUDGE_WIDTHS
        self.layers = nn.Sequential(
            nn.Conv2d(3, first, 5, padding=2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(first, second, 5, padding=2),
            nn.InstanceNorm2d(second),
            nn.LeakyReLU(0.2),
            nn.Conv2d(second, third, 5, padding=2),
            nn.InstanceNorm2d(third),
            nn.LeakyReLU(0.2),
            nn.Conv2d(third, 1, 1),
        )

    def forward(self, picture: Tensor) -> Tensor:
        """Logits of D(x), (N, 1, H, W)."""
        logits: Tensor = self.layers(picture)
        return logits


class VGG16(nn.Module):
    """conv5_3 of VGG-16 before its ReLU, frozen: torchvision's vgg16 state dict, or random where there is none.

    The random trunk (He initialisation, always the same one) is a stated substitute: its features are edges and
    textures at five scales that nobody chose. Its weights are not part of a checkpoint.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        generator = Generator().manual_seed(0)
        before, start = 3, {}
        for index, width in VGG_CONVOLUTIONS.items():
            # fan_out and the gain of ReLU, as torchvision starts its VGG
            start[f"{index}.weight"] = torch.randn(width, before, 3, 3, generator=generator).mul(
                math.sqrt(2 / (9 * width))
            )
            start[f"{index}.bias"] = torch.zeros(width)
            before = width
        for name, tensor in (start if source == RANDOM else _read_vgg(Path(source), start)).items():
            self.register_buffer(name.replace(".", "_"), tensor, persistent=False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION).view(3, 1, 1), persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        """Features of pictures in [0, 1]: (N, 512, H / 16, W / 16), rounded down."""
        features = (picture - self.get_buffer("mean")) / self.get_buffer("deviation")
        for index in VGG_CONVOLUTIONS:
            if index in AFTER_POOLING:
                features = F.max_pool2d(features, 2)
            weight, bias = self.get_buffer(f"{index}_weight"), self.get_buffer(f"{index}_bias")
            features = F.conv2d(features, weight, bias, padding=1)
            if index != CONV5_3:
                features = F.relu(features)
        return features


def _read_vgg(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The convolutions of a torchvision vgg16 state dict ('features.28.bias' is '28.bias' here)."""
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        found = {name: stored[f"features.{name}"].float() for name in expected}
    except _UNREADABLE as error:
        raise ValueError(
            f"vgg={path} is no state dict of torchvision's vgg16 ({type(error).__name__}: {error}); name "
            f"vgg16-397923af.pth, or write vgg={RANDOM} for a trunk that nobody trained"
        ) from error
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise ValueError(
                f"vgg={path} is not vgg16: features.{name} has shape {tuple(found[name].shape)}, expected "
                f"{tuple(tensor.shape)}"
            )
    return found


@dataclass(frozen=True, kw_only=True)
class DGAFSettings(Settings):
    """Batch, rate, decay and weights are the paper's; lengths, crops and stage 2's weights, unsaid there, are ours."""

    batch_size: int = 16
    steps: int = 25_000
    """50 epochs of 4,000 pairs for each of the two stages."""
    darkening_share: float = 0.5
    """Part of the steps that the Darkening Network learns in; the Enlightening Network has the others."""
    crop: int = 256
    """Side in pixels, after reduction."""
    largest_scale: int = 1
    """A batch is cut out this many times as large at most, and reduced by averaging areas."""
    learning_rate: float = 1e-4
    schedule: str = "paper"
    """'paper': halved after each fifth of a stage; 'cosine': to a hundredth along half a cosine in each stage."""
    weight_decay: float = 1e-3
    """L2, as Adam has it."""
    exposure_jitter: float = 0.0
    """Stops by which a picture is exposed more or less, at most, for the Enlightening Network; 0 as published. Real
    nights are of many exposures, and a Darkening Network, which does not draw, knows one."""
    noise: float = 0.0
    """Standard deviation, in 8-bit levels, of Gaussian noise on what the Enlightening Network sees; 0 as published."""
    weight_recons: float = 1.0
    weight_ssim: float = 1.0
    weight_percept: float = 0.02
    """In both stages; with 0, VGG-16 is neither built nor computed."""
    weight_adv: float = 0.02
    vgg: str = RANDOM
    """Path of torchvision's vgg16-397923af.pth, or 'random': a seeded trunk that nobody trained in its place."""
    weighting: str = "distance"
    """'distance': by 1 - D(x), as published; 'normalised': by that over its mean in the batch."""


class DGAFRecipe(Recipe):
    """Stage 1: Darkening Network against patch discriminator. Stage 2, both frozen: Enlightening Network on their x^g.

    The discriminator learns in every variant, for stage 2 asks it; a variant of Table 1 only hides losses from the
    Darkening Network. Table 2's variants differ in stage 2 alone.
    """

    defaults = DGAFSettings()
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.PAIR, Kind.NIGHT)

    def __init__(self, option: str, settings: Settings) -> None:
        super().__init__(option, settings)
        assert isinstance(settings, DGAFSettings)
        _check(option, settings)
        self._settings = settings
        parts = DARKENING_LOSSES.get(option, ("recons", "ssim", "percept", "adv"))
        weights = settings.as_dict()
        self._weights = {part: float(weights[f"weight_{part}"]) for part in parts}
        self._learns_from = "synthetic" if option in ("source", "source_wo_rddg") else "darkened"
        self._weighting = "none" if option in ("wo_rddg", "source_wo_rddg") else settings.weighting
        self._darkening = ResidualNet()
        self._darkening.start_at(FIRST_GREY)
        self._discriminator = PatchDiscriminator()
        self._enlightening = network_of(option)
        self._vgg = VGG16(settings.vgg) if settings.weight_percept else None
        self._adams = [
            Adam(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
            for network in (self._darkening, self._discriminator, self._enlightening)
        ]
        self.to(memory_format=torch.channels_last)

    @property
    def network(self) -> nn.Module:
        """The Enlightening Network."""
        return self._enlightening

    @property
    def optimisers(self) -> Sequence[Optimizer]:
        """Of the Darkening Network, the discriminator and the Enlightening Network."""
        return self._adams

    def read(self, pair: Pair) -> tuple[Tensor, ...]:
        """The low picture, and the reference where there is one; 8 bit."""
        return read_pair(pair)

    def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
        """(synthetic, reference, night), each (batch_size, 3, crop, crop), at one scale; then exposures and noise."""
        settings = self._settings
        count = settings.batch_size
        # A night picture may be the low one of another pair, whose reference is none of our business.
        scenes, nights = pictures[:count], [picture[:1] for picture in pictures[count:]]
        scale = 1 + int(torch.randint(settings.largest_scale, (), generator=generator))
        drawn = [patches(kind, settings.crop * scale, generator) for kind in (scenes, nights)]
        synthetic, reference, night = (F.avg_pool2d(squares, scale) for kind in drawn for squares in kind)
        stops = settings.exposure_jitter * (2 * torch.rand(count, 1, 1, 1, generator=generator) - 1)
        noise = settings.noise / 255 * torch.randn(synthetic.shape, generator=generator)
        return synthetic, reference, night, torch.exp2(stops / DISPLAY_GAMMA), noise

    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        """One step of the Darkening Network and the discriminator, or of the Enlightening Network."""
        synthetic, reference, night, exposure, noise = batch
        first = self._settings.darkening_share
        learns_darkening = share < first
        stage_share = share / first if learns_darkening else (share - first) / (1 - first)
        for adam in self._adams:
            set_learning_rate(adam, learning_rate(self._settings, stage_share))
        if learns_darkening:
            return self._learn_darkening(synthetic, reference, night)
        return self._learn_enlightening(synthetic, reference, exposure, noise)

    def enhance(self, low: Tensor) -> Tensor:
        """One pass of the Enlightening Network."""
        return self.mixed(self._enlightening, low)

    def _learn_darkening(self, synthetic: Tensor, reference: Tensor, night: Tensor) -> Mapping[str, Tensor]:
        darken_adam, judge_adam, _ = self._adams
        darkened = self.mixed(self._darkening, reference)
        parts = {
            part: weight * self._darkening_loss(part, darkened, synthetic)
            for part, weight in self._weights.items()
            if weight
        }
        loss = torch.stack(list(parts.values())).sum()
        darken_adam.zero_grad()
        # Named inputs: the discriminator judges here and does not learn.
        torch.autograd.backward(loss, inputs=list(self._darkening.parameters()))
        darken_adam.step()

        real, fake = self.mixed(self._discriminator, torch.cat((night, darkened.detach()))).chunk(2)
        judged = judged_real(real) + judged_fake(fake)
        judge_adam.zero_grad()
        torch.autograd.backward(judged)
        judge_adam.step()
        return {
            "loss": loss.detach(),
            **{part: value.detach() for part, value in parts.items()},
            "judged": judged.detach(),
        }

    def _darkening_loss(self, part: str, darkened: Tensor, synthetic: Tensor) -> Tensor:
        """A part of the Darkening Network's loss, unweighted."""
        if part == "recons":
            return (synthetic - darkened).abs().mean()
        if part == "ssim":
            return 1 - ssim(darkened, synthetic)
        if part == "adv":
            return judged_real(self.mixed(self._discriminator, darkened))
        features, expected = self._features(darkened, synthetic)
        return (features - expected).abs().mean()

    def _learn_enlightening(
        self, synthetic: Tensor, reference: Tensor, exposure: Tensor, noise: Tensor
    ) -> Mapping[str, Tensor]:
        _, _, adam = self._adams
        settings = self._settings
        with torch.no_grad():
            dark = synthetic if self._learns_from == "synthetic" else self.mixed(self._darkening, reference)
            omega = None if self._weighting == "none" else torch.sigmoid(self.mixed(self._discriminator, dark))
        weight = torch.ones_like(dark[:, :1]) if omega is None else distance_weight(omega, self._weighting)
        enlightened = self.mixed(self._enlightening, (exposure * dark + noise).clamp(0, 1))
        parts = {"content": (weight * (enlightened - reference).abs()).mean()}
        if settings.weight_percept:
            features, expected = self._features(enlightened, reference)
            coarse = F.interpolate(weight, features.shape[-2:], mode="area")
            parts["percept"] = settings.weight_percept * (coarse * (features - expected).abs()).mean()
        loss = torch.stack(list(parts.values())).sum()
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        # At the adversarial equilibrium omega is 0.5 everywhere and the weighting a constant: its spread tells.
        seen = {} if omega is None else {"omega_mean": omega.mean(), "omega_std": omega.std()}
        return {"loss": loss.detach(), **{part: value.detach() for part, value in parts.items()}, **seen}

    def _features(self, picture: Tensor, expected: Tensor) -> tuple[Tensor, Tensor]:
        assert self._vgg is not None
        with torch.no_grad():
            fixed = self.mixed(self._vgg, expected)
        return self.mixed(self._vgg, picture), fixed


def distance_weight(omega: Tensor, weighting: str) -> Tensor:
    """1 - omega: patches count more, the less real the discriminator finds them (DASR weights by omega instead).

    The paper prints its weighted losses with a minus before them, which would raise the error; it is left out here.
    """
    distance = 1 - omega
    return distance / distance.mean() if weighting == "normalised" else distance


def learning_rate(settings: DGAFSettings, stage_share: float) -> float:
    """When `stage_share` (0 to below 1) of a stage is done."""
    if settings.schedule == "cosine":
        return cosine(stage_share, settings.learning_rate, LAST_RATE * settings.learning_rate)
    return settings.learning_rate * 0.5 ** int(HALVINGS * stage_share)


def network_of(option: str) -> nn.Module:
    """The Enlightening Network of a variant."""
    return UNet() if option == "unet" else ResidualNet()


def _check(option: str, settings: DGAFSettings) -> None:
    """Raise ValueError for what the recipe cannot do."""
    if option and option not in DGAF.options:
        raise unknown_option("dgaf", option, DGAF.options)
    for name, known in (("schedule", ("paper", "cosine")), ("weighting", ("distance", "normalised"))):
        value = settings.as_dict()[name]
        if value not in known:
            raise ValueError(f"{name}={value}: expected {' or '.join(known)}")
    if settings.crop < SMALLEST_CROP:
        raise ValueError(f"crop={settings.crop}: VGG-16 halves it four times, it has to be {SMALLEST_CROP} at least")
    if settings.darkening_share > 1:
        raise ValueError(f"darkening_share={settings.darkening_share}: a part of the steps, 1 at most")
    if settings.largest_scale < 1:
        raise ValueError(f"largest_scale={settings.largest_scale}: 1 for no reduction, or more")


class DGAF(Adapter):
    """Enlightening Network, learned to undo the Darkening Network's nights; what these lack of real ones counts most.

    Not settled by the paper and chosen here: the form of the Enlightening Network, what the discriminator is fed (RGB),
    VGG features before the ReLU.
    """

    label = "DGAF"
    kind = "paired"
    source = "Chen et al. 2023, Frontiers in Physics 11:1147031; networks as in DASR, Wei et al. 2021, CVPR"
    options: ClassVar[Mapping[str, str]] = {
        "unet": "the Enlightening Network is a U-Net of four scales",
        "recons": "Table 1: the Darkening Network learns from the reconstruction loss alone",
        "recons_ssim": "Table 1: from reconstruction and SSIM",
        "recons_adv": "Table 1: from reconstruction and the discriminator",
        "recons_ssim_adv": "Table 1: from reconstruction, SSIM and the discriminator",
        "recons_adv_percept": "Table 1: from reconstruction, the discriminator and VGG features",
        "wo_rddg": "Table 2: darkened pictures x^g, every pixel weighted alike",
        "source": "Table 2: the pairs themselves (x^s) in the place of x^g, weighted by domain distance",
        "source_wo_rddg": "Table 2: the pairs themselves, every pixel weighted alike",
    }
    memory_per_pixel = 1100  # measured on 512x512 in float32: 1020, and dgaf:unet 1100
    weights_file = "dgaf.safetensors"
    recipe: ClassVar[type[Recipe]] = DGAFRecipe

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        if option and option not in self.options:
            raise unknown_option("dgaf", option, self.options)
        weights = weights or shipped(self.weights_name(option))
        super().__init__(option, weights)
        self._network = network_of(option)
        load_weights(self._network, weights, f"dgaf:{option}" if option else "dgaf")
        self._network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @property
    def module(self) -> nn.Module:
        """The Enlightening Network, for counting parameters and operations."""
        return self._network

    def to(self, device: torch.device) -> None:
        """Move the network."""
        self._network.to(device)

    def enhance(self, low: Tensor) -> Tensor:
        """One pass."""
        enlightened: Tensor = self._network(low.contiguous(memory_format=torch.channels_last))
        return enlightened.contiguous().clamp(0, 1)
