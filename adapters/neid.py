"""NEID: a U-Net brightens the half-size picture and enlarges it, guided by a branch that learns to refine detail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from bench.contracts import Adapter, Pair
from bench.image import pad_to_multiple
from bench.training import Kind, Recipe, Settings

from ._losses import cosine
from ._options import unknown_option
from ._patches import patches, read_pair
from ._weights import load_weights, shipped

OPTIONS: Mapping[str, str] = {
    "unet": "a plain U-Net at full resolution: no up-sampler, no second branch",
    "le": "light enhancement (LE) alone: half-size picture in, up-sampler at the end",
    "le_dr": "detail refinement (DR) learns with it and shares its encoder; nothing passes between the decoders",
    "ff_levels": "features are fused (FF) at each of the four levels of the decoders instead of the finest alone",
}
"""Table 2 of the paper, whose last row is the method itself; and the other place that its text leaves for FF."""

WIDTHS = (32, 64, 128, 256, 512)
"""Channels from the finest level to the coarsest; the paper gives none."""
MULTIPLE = 2 ** len(WIDTHS)
"""Sides that come out even through the halving and four poolings."""
REDUCTION = 8
"""Of the channel attention."""
GREY = 1 / 255
"""Brightness below which a pixel has no saturation worth the name, and chroma below which it has no hue."""


class Encoder(nn.Module):
    """Two 3x3 convolutions with ReLU at each of five levels, 2x2 max-pooling between them."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            _two_convolutions(before, after) for before, after in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True)
        )

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Features of (N, 3, H, W), finest first; the coarsest is (N, 512, H/16, W/16)."""
        features: list[Tensor] = []
        for level in self.levels:
            features.append(level(F.max_pool2d(features[-1], 2) if features else picture))
        return features


class Fusion(nn.Module):
    """Feature fusing (FF): channel attention over both branches weighs what is added to the enhancing one.

    The paper says that DR guides weights of channels and that the weighted sum goes to LE; the layers are ours.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(2 * width, 2 * width // REDUCTION, 1),
            nn.ReLU(),
            nn.Conv2d(2 * width // REDUCTION, 2 * width, 1),
            nn.Sigmoid(),
        )
        self.merge = nn.Conv2d(2 * width, width, 1)

    def forward(self, enhancing: Tensor, guide: Tensor) -> Tensor:
        """Two (N, width, H, W) in, the enhancing branch's next features out."""
        both = torch.cat((enhancing, guide), dim=1)
        added: Tensor = self.merge(both * self.attention(both))
        return enhancing + added


class Rise(nn.Module):
    """One level up: enlarged twice, 2x2 convolution, joined with the encoder's features, two 3x3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(2 * width, width, 2)
        self.convs = _two_convolutions(2 * width, width)

    def forward(self, coarse: Tensor, skipped: Tensor) -> Tensor:
        """(N, 2 width, H, W) and (N, width, 2H, 2W) in, (N, width, 2H, 2W) out."""
        enlarged = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        # One row and column more, so that the even kernel keeps the size; as TensorFlow's SAME pads.
        narrowed = self.narrow(F.pad(enlarged, (0, 1, 0, 1)))
        joined: Tensor = self.convs(torch.cat((skipped, narrowed), dim=1))
        return joined


class Decoder(nn.Module):
    """Four rises from the coarsest features to the finest; with fusions, another decoder's features guide it."""

    def __init__(self, fused: int = 0) -> None:
        """`fused` counts the levels, from the finest on, at which a guide is expected."""
        super().__init__()
        self.rises = nn.ModuleList(Rise(width) for width in reversed(WIDTHS[:-1]))
        self.fusions = nn.ModuleList(Fusion(width) for width in reversed(WIDTHS[:fused]))

    def forward(self, features: Sequence[Tensor], guides: Sequence[Tensor] = ()) -> list[Tensor]:
        """Features of the four levels, coarsest first, as the guides are."""
        found = [features[-1]]
        first = len(self.rises) - len(self.fusions)
        for place, (rise, skipped) in enumerate(zip(self.rises, reversed(features[:-1]), strict=True)):
            risen = rise(found[-1], skipped)
            found.append(self.fusions[place - first](risen, guides[place]) if place >= first else risen)
        return found[1:]


class UNet(nn.Module):
    """The plain U-Net of Table 2, at the picture's own size; 7,760,931 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.head = nn.Conv2d(WIDTHS[0], 3, 3, padding=1)

    def forward(self, low: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H, W), sides multiples of 16; linear, so it may leave [0, 1]."""
        enhanced: Tensor = self.head(self.decoder(self.encoder(low))[-1])
        return enhanced


class HalfSizeUNet(nn.Module):
    """The enhancing branch (LE): a U-Net on the picture at half size, enlarged by sub-pixel convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.head = _up_sampler()

    def forward(self, low: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H, W), sides multiples of 32; linear, so it may leave [0, 1]."""
        enhanced: Tensor = self.head(self.decoder(self.encoder(halved(low)))[-1])
        return enhanced


class GuidedUNet(nn.Module):
    """What enhancing needs of LE+DR+FF: DR's decoder is in it, because FF reads its features, and DR's head is not."""

    def __init__(self, fused: int) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.guide = Decoder()
        self.decoder = Decoder(fused)
        self.head = _up_sampler()

    def forward(self, low: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H, W), sides multiples of 32; linear, so it may leave [0, 1]."""
        features = self.encoder(halved(low))
        enhanced: Tensor = self.head(self.decoder(features, self.guide(features))[-1])
        return enhanced


class TwoBranches(nn.Module):
    """What learns where there is a DR branch: the enhancing network and the parts that are dropped after training."""

    def __init__(self, network: HalfSizeUNet | GuidedUNet) -> None:
        super().__init__()
        self.network = network
        # Without fusion, DR's decoder only helps the encoder to learn.
        self.guide = network.guide if isinstance(network, GuidedUNet) else Decoder()
        self.head = _up_sampler()

    def forward(self, low: Tensor) -> Tensor:
        """(N, 6, H, W): LE's picture, then DR's."""
        features = self.network.encoder(halved(low))
        guides = self.guide(features)
        enhanced = self.network.decoder(features, guides)[-1]
        return torch.cat((self.network.head(enhanced), self.head(guides[-1])), dim=1)


def halved(low: Tensor) -> Tensor:
    """Half the height and width by antialiased bicubic interpolation."""
    return F.interpolate(low, scale_factor=0.5, mode="bicubic", antialias=True)


def build(option: str) -> UNet | HalfSizeUNet | GuidedUNet:
    """The network that enhances in a variant; raises ValueError for one that is not among OPTIONS."""
    if option and option not in OPTIONS:
        raise unknown_option("neid", option, OPTIONS)
    if option == "unet":
        return UNet()
    if option in ("le", "le_dr"):
        return HalfSizeUNet()
    return GuidedUNet(fused=len(WIDTHS) - 1 if option == "ff_levels" else 1)


def enhance(network: nn.Module, low: Tensor) -> Tensor:
    """Any size in, the same size out, in [0, 1]."""
    height, width = low.shape[-2:]
    padded = pad_to_multiple(low, MULTIPLE).contiguous(memory_format=torch.channels_last)
    enhanced: Tensor = network(padded)
    return enhanced[..., :height, :width].clamp(0, 1).contiguous()


def _two_convolutions(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()
    )


def _up_sampler() -> nn.Sequential:
    """Sub-pixel convolution, twice the size; linear."""
    return nn.Sequential(nn.Conv2d(WIDTHS[0], 12, 3, padding=1), nn.PixelShuffle(2))


class HueSaturation(NamedTuple):
    """Two channels of HSV and where they mean something; (N, H, W) each."""

    hue: Tensor
    """In [0, 1), red at 0; 0 for grey."""
    saturation: Tensor
    """In [0, 1]."""
    coloured: Tensor
    """1 where the chroma is large enough for a hue, else 0."""


def hue_saturation(pictures: Tensor) -> HueSaturation:
    """The hexagonal hue of HSV (Smith 1978), its slopes kept finite: no hue without chroma, no saturation of black."""
    red, green, blue = pictures.clamp(0, 1).unbind(dim=1)
    value, smallest = torch.maximum(torch.maximum(red, green), blue), torch.minimum(torch.minimum(red, green), blue)
    chroma = value - smallest
    coloured = chroma >= GREY
    safe = torch.where(coloured, chroma, 1)
    sixths = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = torch.where(coloured, sixths / 6 % 1, 0)
    return HueSaturation(hue, chroma / value.clamp(min=GREY), coloured.float())


def colour_loss(enhanced: Tensor, reference: Tensor) -> Tensor:
    """Hues as vectors of the length of the saturation, (1 - cos) of them and of the saturations; mean over pictures.

    The paper takes the hue itself, a number that jumps from 1 to 0 at red and says nothing for grey.
    """
    found, wanted = hue_saturation(enhanced), hue_saturation(reference)
    return _unlike(_directions(found), _directions(wanted)) + _unlike(found.saturation, wanted.saturation)


def cosine_colour_loss(enhanced: Tensor, reference: Tensor) -> Tensor:
    """As printed: (1 - cos) of the hue channels and of the saturation channels; mean over pictures.

    Hues count where both pictures have one.
    """
    found, wanted = hue_saturation(enhanced), hue_saturation(reference)
    coloured = found.coloured * wanted.coloured
    return _unlike(found.hue * coloured, wanted.hue * coloured) + _unlike(found.saturation, wanted.saturation)


COLOUR_LOSSES = {"safe": colour_loss, "cosine": cosine_colour_loss}


def _directions(colours: HueSaturation) -> Tensor:
    angles, lengths = colours.hue * (2 * math.pi), colours.saturation * colours.coloured
    return torch.stack((lengths * angles.cos(), lengths * angles.sin()), dim=1)


def _unlike(found: Tensor, wanted: Tensor) -> Tensor:
    """1 - cosine of the angle between two pictures as long vectors; 0 where either is zero everywhere."""
    found, wanted = found.flatten(1), wanted.flatten(1)
    lengths = found.norm(dim=1) * wanted.norm(dim=1)
    some = lengths > 0
    cosines = (found * wanted).sum(dim=1) / torch.where(some, lengths, 1)
    return torch.where(some, 1 - cosines, 0).mean()


@dataclass(frozen=True, kw_only=True)
class NEIDSettings(Settings):
    """The paper's numbers; its Huber delta, DR's target and the treatment of hue are unsaid and ours."""

    batch_size: int = 8
    steps: int = 121_250
    """2000 epochs of 485 pairs."""
    crop: int = 256
    """Side in pixels, before it is halved; a multiple of 32."""
    learning_rate: float = 1e-4
    schedule: str = "paper"
    """'paper': a tenth from a quarter of the training on, a hundredth from its half on; or 'cosine', to a hundredth."""
    initialisation: str = "paper"
    """'paper': weights from N(0, 0.02); 'kaiming' (He et al. 2015) gets a short training off the ground sooner."""
    huber_delta: float = 0.1
    """Where the loss of LE turns from square to straight; at 1 it would be the squared error on pictures in [0, 1]."""
    weight_magnified: float = 0.1
    magnified: str = "low"
    """What DR learns to restore at full size: the 'low' picture, as the text says, or the 'reference', as Eq. 3 may."""
    weight_colour: float = 0.1
    colour: str = "safe"
    """'safe': hue as a direction, weighted by saturation; 'cosine': the channel itself, as printed."""


class NEIDRecipe(Recipe):
    """Training on pairs: Huber loss and colour loss of LE's picture, squared error of DR's.

    As in the paper: crops of 256 halved to 128, flips and rotations, batch of 8, Adam and its rates, loss weights. Ours
    where it is silent: Huber delta, DR's target, hue as a direction. With this delta the colour loss weighs several
    times as much as Huber's; a short training scores better with `weight_colour` at 0.01.
    """

    defaults = NEIDSettings()
    kinds = (Kind.PAIR,)

    def __init__(self, option: str, settings: NEIDSettings) -> None:
        super().__init__(option, settings)
        network = build(option)
        _check(settings)
        self._settings = settings
        self._branches = network if isinstance(network, UNet) or option == "le" else TwoBranches(network)
        _initialise(self._branches, settings.initialisation)
        self._adam = Adam(self._branches.parameters(), lr=settings.learning_rate)

    @property
    def network(self) -> nn.Module:
        """What enhances: without DR's up-sampler, and without its decoder where nothing reads it."""
        return self._branches.network if isinstance(self._branches, TwoBranches) else self._branches

    @property
    def optimisers(self) -> Sequence[Optimizer]:
        """One Adam."""
        return (self._adam,)

    def read(self, pair: Pair) -> tuple[Tensor, ...]:
        """Low picture and reference in 8 bit."""
        return read_pair(pair)

    def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
        """Crops of both, (batch, 3, crop, crop), flipped and rotated."""
        return patches(pictures, self._settings.crop, generator, rotate=True)

    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        """Lower the weighted sum of the losses."""
        low, reference = batch
        settings = self._settings
        for group in self._adam.param_groups:
            group["lr"] = learning_rate(settings, share)
        enhanced, *magnified = torch.split(self.mixed(self._branches, low), 3, dim=1)
        parts = {
            "huber": F.huber_loss(enhanced, reference, delta=settings.huber_delta),
            "colour": settings.weight_colour * COLOUR_LOSSES[settings.colour](enhanced, reference),
        }
        if magnified:
            target = low if settings.magnified == "low" else reference
            parts["magnified"] = settings.weight_magnified * F.mse_loss(magnified[0], target)
        loss = torch.stack(list(parts.values())).sum()
        self._adam.zero_grad()
        torch.autograd.backward(loss)
        self._adam.step()
        return {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}}

    def enhance(self, low: Tensor) -> Tensor:
        """As the adapter does."""
        return enhance(self.network, low)


def learning_rate(settings: NEIDSettings, share: float) -> float:
    """The rate when `share` of the training is done; epochs 500 and 1000 of 2000 are its quarter and its half."""
    if settings.schedule == "cosine":
        return cosine(share, settings.learning_rate, settings.learning_rate / 100)
    return settings.learning_rate / (1 if share < 0.25 else 10 if share < 0.5 else 100)


def _check(settings: NEIDSettings) -> None:
    """Raise ValueError naming the setting, its value and what is accepted."""
    words = {
        "schedule": ("paper", "cosine"),
        "initialisation": ("paper", "kaiming"),
        "magnified": ("low", "reference"),
        "colour": tuple(COLOUR_LOSSES),
    }
    for name, accepted in words.items():
        if (found := settings.as_dict()[name]) not in accepted:
            raise ValueError(f"neid: {name} is {' or '.join(map(repr, accepted))}, found {found!r}")
    if settings.crop < MULTIPLE or settings.crop % MULTIPLE:
        raise ValueError(f"neid: crop has to be a multiple of {MULTIPLE}, found {settings.crop}")
    if settings.huber_delta <= 0:
        raise ValueError(f"neid: huber_delta has to be above 0, found {settings.huber_delta}")


def _initialise(network: nn.Module, initialisation: str) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            if initialisation == "kaiming":
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            else:
                nn.init.normal_(module.weight, 0, 0.02)
            assert module.bias is not None
            nn.init.zeros_(module.bias)


class NEID(Adapter):
    """Jiang et al.: a U-Net on the half-size picture with sub-pixel up-sampling, guided by a detail branch.

    The paper gives neither widths nor code: 10.8 M parameters in training, 13.2 GMACs for a 384x384 picture.
    """

    label = "NEID"
    kind = "paired"
    source = "Jiang et al. 2021, arXiv:2101.08039"
    options = OPTIONS
    pad_multiple = MULTIPLE
    memory_per_pixel = 500  # of the method itself, in float32; neid:unet takes 1330
    weights_file = "neid.safetensors"
    recipe: ClassVar[type[Recipe]] = NEIDRecipe

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        network = build(option)
        weights = weights or shipped(self.weights_name(option))
        super().__init__(option, weights)
        self._network = network
        load_weights(network, weights, f"neid:{option}" if option else "neid")
        network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @property
    def module(self) -> nn.Module:
        """The network, for counting parameters and operations; it takes the picture at full size."""
        return self._network

    def to(self, device: torch.device) -> None:
        """Move the network."""
        self._network.to(device)

    def enhance(self, low: Tensor) -> Tensor:
        """One pass of the network."""
        return enhance(self._network, low)
