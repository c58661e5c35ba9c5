"""JCRNet: a first image with features, its division by a learned colour map, and a synthesis of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from bench.contracts import Adapter, Pair
from bench.image import pad_to_multiple
from bench.training import Recipe, Settings

from ._jcrnet_blocks import (
    CAB,
    AffineSFT,
    BackProjection,
    ColourCorrection,
    DataStep,
    EdgeCondition,
    EncoderDecoder,
    MixingSFT,
    conv3,
)
from ._losses import charbonnier, cosine, set_learning_rate
from ._options import unknown_option
from ._patches import patches, read_pair
from ._weights import load_weights, shipped

MULTIPLE = 8
"""Sides are padded to a multiple of this: 4 for the encoder and decoder, twice that so that the smallest picture still
has the several values per channel that instance normalisation needs at the bottom."""
FIRST_WIDTH, SECOND_WIDTH = 0.4412, 0.4965
"""Where the step widths of the two data steps start, in the repository."""
TAIL_GROWTH = 16
"""Channels that the tail adds."""
SMALLEST_RATIO = 1e-2
"""Added to the divisor of Eq. 6: the gain stays below 100; the 1e-5 of the repository's comment would allow 1e5."""
BRIGHTEST = 1.5
"""The divided image is kept in [0, 1.5]."""


def divided(image: Tensor, ratio: Tensor) -> Tensor:
    """Eq. 6: x_A / R."""
    return (image / (ratio + SMALLEST_RATIO)).clamp(0, BRIGHTEST)


def replaced(image: Tensor, ratio: Tensor) -> Tensor:
    """The repository's code: R itself is the image."""
    return ratio.expand_as(image)


class Layout(NamedTuple):
    """What a variant is built of; the defaults keep every explicit statement of the paper."""

    channels: int = 32
    """n. With 32 the paper's IAS fits the published parameters and operations; the repository has 40."""
    modulation: type[AffineSFT] = MixingSFT
    separated: Callable[[Tensor, Tensor], Tensor] = divided
    """x_J from x_A and R."""
    projected: int = 2
    """What the back-projection sees: the low picture alone (1), or x_J too (2)."""
    projection_width: int = 64
    """Channels of the back-projection, 64 -> 32 -> 64 in the paper; the repository's stays at 3."""
    without: str = ""
    """The part that an ablation takes away, by its name in Table VI."""


class Variant(NamedTuple):
    """What may follow the colon."""

    meaning: str
    layout: Layout


BASE = "base"
VARIANTS: Mapping[str, Variant] = {
    "repository": Variant(
        "as the repository has it: 40 channels, R is the image, back-projection of the low picture alone",
        Layout(channels=40, separated=replaced, projected=1, projection_width=3),
    ),
    "undivided": Variant("R is the image instead of the divisor", Layout(separated=replaced)),
    "eq5": Variant("scale and shift as Eq. 5 prints them", Layout(modulation=AffineSFT)),
    "wo_fes": Variant("without the stage FES: x_A is the low picture", Layout(without="fes")),
    "wo_jrs": Variant("without the stage JRS: x_J is x_A", Layout(without="jrs")),
    "wo_ias": Variant("without the back-projection of IAS", Layout(without="ias")),
    BASE: Variant("channel attention, encoder and decoder alone", Layout()),
    "wo_ed": Variant("without encoder and decoder", Layout(without="ed")),
    "wo_cab": Variant("without channel attention", Layout(without="cab")),
    "wo_ssb": Variant("without the supervised block: x_A has no loss", Layout(without="ssb")),
    "wo_l_rgb": Variant("R is one map for all colours", Layout(without="l_rgb")),
    "wo_l_m": Variant("without scale and shift by the edges", Layout(without="l_m")),
}


class Extraction(nn.Module):
    """FES: a data step, then features F and the first image x_A."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        channels = layout.channels
        self.data_step = DataStep(FIRST_WIDTH)
        self.shallow = _shallow(layout)
        self.trunk = nn.Identity() if layout.without == "ed" else EncoderDecoder(channels)
        supervised = layout.without != "ssb"
        self.refine = nn.Conv2d(channels, channels, 1) if supervised else None
        self.to_image = nn.Conv2d(channels, 3, 1) if supervised else conv3(channels, 3)

    def forward(self, low: Tensor) -> tuple[Tensor, Tensor]:
        """x_A (N, 3, H, W) and F (N, n, H, W)."""
        stepped = self.data_step(low, low)
        features = self.trunk(self.shallow(stepped))
        image = stepped + self.to_image(features)
        return image, features if self.refine is None else features + self.refine(features)


class Separation(nn.Module):
    """JRS: structure features modulated by edges, a colour map R made of them, x_J = x_A / R."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self._separated = layout.separated
        self.first = conv3(3, 64)
        self.edges = None if layout.without == "l_m" else EdgeCondition()
        self.modulations = nn.ModuleList(() if self.edges is None else (layout.modulation(), layout.modulation()))
        self.convs = nn.ModuleList((conv3(64, 64), conv3(64, 64)))
        self.correction = ColourCorrection(1 if layout.without == "l_rgb" else 3)

    def forward(self, image: Tensor) -> Tensor:
        """x_A to x_J, both (N, 3, H, W)."""
        first = self.first(image)
        return self._separated(image, self.correction(first + self._structure(first, image)))

    def _structure(self, features: Tensor, image: Tensor) -> Tensor:
        conv1, conv2 = self.convs
        if self.edges is None:
            second: Tensor = conv2(F.relu(conv1(features)))
            return second
        modulation1, modulation2 = self.modulations
        condition = self.edges(image)
        inner = F.relu(conv1(modulation1(features, condition)))
        structure: Tensor = conv2(modulation2(inner, condition))
        return structure


class Synthesis(nn.Module):
    """IAS: a second data step, its features with F, and the back-projection of low picture and x_J."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        channels = layout.channels
        self._projected = 3 * layout.projected
        self.data_step = DataStep(SECOND_WIDTH)
        self.shallow = _shallow(layout)
        self.fuse = conv3(channels if layout.without == "fes" else 2 * channels, channels + TAIL_GROWTH)
        self.to_image = conv3(channels + TAIL_GROWTH, 3, bias=False)
        self.projection = None if layout.without == "ias" else BackProjection(self._projected, layout.projection_width)

    def forward(self, low: Tensor, separated: Tensor, features: Tensor) -> Tensor:
        """The enhanced picture, not clipped."""
        shallow = self.shallow(self.data_step(separated, low))
        enhanced: Tensor = low + self.to_image(self.fuse(torch.cat((shallow, features), dim=1)))
        if self.projection is None:
            return enhanced
        pictures = torch.cat((low, separated), dim=1)[:, : self._projected]
        corrected: Tensor = enhanced + self.projection(pictures)
        return corrected


class JCRNetwork(nn.Module):
    """FES, JRS and IAS in a row; 1.929 M parameters against 2.01 M published."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.extraction = None if layout.without == "fes" else Extraction(layout)
        self.separation = nn.Identity() if layout.without == "jrs" else Separation(layout)
        self.synthesis = Synthesis(layout)
        self._supervised = layout.without not in ("fes", "ssb")

    def forward(self, low: Tensor) -> Tensor:
        """The enhanced picture (N, 3, H, W), not clipped; sides have to be multiples of 4."""
        return self.images(low)[0]

    def images(self, low: Tensor) -> tuple[Tensor, ...]:
        """Every image that has a loss: the enhanced one, then x_A."""
        # Without FES, F has no channels.
        first, features = (low, low[:, :0]) if self.extraction is None else self.extraction(low)
        enhanced = self.synthesis(low, self.separation(first), features)
        return (enhanced, first) if self._supervised else (enhanced,)


class Base(nn.Module):
    """Fig. 13's starting point: channel attention, encoder and decoder, an image from their features."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.shallow = _shallow(layout)
        self.trunk = EncoderDecoder(layout.channels)
        self.to_image = conv3(layout.channels, 3)

    def forward(self, low: Tensor) -> Tensor:
        """The enhanced picture (N, 3, H, W), not clipped; sides have to be multiples of 4."""
        enhanced: Tensor = low + self.to_image(self.trunk(self.shallow(low)))
        return enhanced

    def images(self, low: Tensor) -> tuple[Tensor, ...]:
        """The enhanced picture alone."""
        return (self(low),)


class Supervised(nn.Module):
    """A network whose output is every image that has a loss."""

    def __init__(self, network: JCRNetwork | Base) -> None:
        super().__init__()
        self.network = network

    def forward(self, low: Tensor) -> Tensor:
        """(images, N, 3, H, W), the enhanced one first."""
        return torch.stack(self.network.images(low))


def build(option: str) -> JCRNetwork | Base:
    """The network of a variant, '' for the method itself; raises ValueError for a name that is none."""
    if not option:
        return JCRNetwork(Layout())
    if option not in VARIANTS:
        raise unknown_option("jcrnet", option, JCRNet.options)
    layout = VARIANTS[option].layout
    return Base(layout) if option == BASE else JCRNetwork(layout)


def _shallow(layout: Layout) -> nn.Sequential:
    """RGB to n channels with their attention."""
    attention = nn.Identity() if layout.without == "cab" else CAB(layout.channels)
    return nn.Sequential(conv3(3, layout.channels, bias=False), attention)


@dataclass(frozen=True, kw_only=True)
class JCRNetSettings(Settings):
    """The paper's where it says; ours are the epochs (300 of 1,400 pairs), the clipping and the rotations."""

    batch_size: int = 10
    steps: int = 42_000
    crop: int = 256
    """Side in pixels, after reduction."""
    largest_scale: float = 1
    """Half of the crops show up to this many times their side of a picture, reduced; above 1 for short trainings on
    small crops, which else never see how bright a whole picture becomes. The other half stay as they are: reduction
    takes the noise away, and a network that rarely saw it loses 3 dB at full size."""
    learning_rate: float = 2e-4
    schedule: str = "paper"
    """'paper': along a cosine to 1e-6; 'cosine': to 0.01 of the first rate."""
    weight_edge: float = 0.05
    weight_first: float = 1
    """Of the loss of x_A, relative to that of the enhanced picture."""
    gradient_norm: float = 1
    """Gradients are clipped to it: the division by R gives a few that are very long."""


def laplacian(images: Tensor) -> Tensor:
    """What the first level of a Laplacian pyramid keeps: images minus themselves reduced by 2 and enlarged again."""
    reduced = torch.zeros_like(images)
    # Three of four values become 0; the factor keeps the mean.
    reduced[..., ::2, ::2] = 4 * _smooth(images)[..., ::2, ::2]
    return images - _smooth(reduced)


class Losses(NamedTuple):
    """Of one image, unweighted."""

    pixel: Tensor
    edge: Tensor


def losses(image: Tensor, reference: Tensor) -> Losses:
    """Charbonnier and edge loss. Eq. 8 takes a norm over the whole picture, the code a mean over values: the mean."""
    # The pyramid is linear, so the difference goes through it once.
    edges = laplacian(image - reference)
    return Losses(charbonnier(image, reference), charbonnier(edges, torch.zeros_like(edges)))


def _smooth(images: Tensor) -> Tensor:
    """5x5 kernel of the pyramid, edges repeated."""
    channels = images.shape[1]
    weights = torch.tensor((0.05, 0.25, 0.4, 0.25, 0.05)).to(images)
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    rows = F.conv2d(padded, weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


class JCRNetRecipe(Recipe):
    """Training on pairs: Charbonnier and edge loss of the enhanced picture and of x_A.

    The sum over both images is DGUNet's, on which the repository builds; the paper says "local supervision".
    """

    defaults = JCRNetSettings()

    def __init__(self, option: str, settings: JCRNetSettings) -> None:
        super().__init__(option, settings)
        last = {"paper": 1e-6, "cosine": 0.01 * settings.learning_rate}
        if settings.schedule not in last:
            raise ValueError(f"schedule is {settings.schedule!r}; JCRNet knows {' and '.join(map(repr, last))}")
        if settings.largest_scale < 1:
            raise ValueError(f"largest_scale is {settings.largest_scale}; crops are reduced, never enlarged: 1 or more")
        self._settings = settings
        self._last_rate = last[settings.schedule]
        self._supervised = Supervised(build(option)).to(memory_format=torch.channels_last)
        self._adam = Adam(self._supervised.parameters(), lr=settings.learning_rate)

    @property
    def network(self) -> nn.Module:
        """The variant's network."""
        return self._supervised.network

    @property
    def optimisers(self) -> Sequence[Optimizer]:
        """One Adam."""
        return (self._adam,)

    def read(self, pair: Pair) -> tuple[Tensor, ...]:
        """Low picture and reference in 8 bit."""
        return read_pair(pair)

    def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
        """Low and reference crops (batch, 3, crop, crop), each pair at a reduction of its own."""
        scenes = [self._reduced(scene, generator) for scene in pictures]
        return tuple(torch.cat(column) for column in zip(*scenes, strict=True))

    def _reduced(self, scene: tuple[Tensor, ...], generator: Generator) -> list[Tensor]:
        crop = self._settings.crop
        place = float(torch.rand((), generator=generator))
        scale = 1 + (self._settings.largest_scale - 1) * max(2 * place - 1, 0)
        squares = patches([scene], round(crop * scale), generator, rotate=True)
        return [F.interpolate(square, (crop, crop), mode="area") for square in squares]

    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        """Lower the weighted sum of both losses of both images."""
        low, reference = batch
        settings = self._settings
        set_learning_rate(self._adam, cosine(share, settings.learning_rate, self._last_rate))
        parts = [losses(image, reference) for image in self.mixed(self._supervised, low)]
        # A variant may have the enhanced picture alone.
        weighted = [
            weight * (part.pixel + settings.weight_edge * part.edge)
            for weight, part in zip((1, settings.weight_first), parts, strict=False)
        ]
        loss = torch.stack(weighted).sum()
        self._adam.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._supervised.parameters(), settings.gradient_norm)
        self._adam.step()
        return {"loss": loss.detach(), "pixel": parts[0].pixel.detach(), "edge": parts[0].edge.detach()}

    def enhance(self, low: Tensor) -> Tensor:
        """One pass over the padded picture."""
        height, width = low.shape[-2:]
        return self.mixed(self.network, pad_to_multiple(low, MULTIPLE))[..., :height, :width]


class JCRNet(Adapter):
    """Yu et al.: a first image and features (FES), division by a learned colour map (JRS), synthesis of both (IAS).

    What the paper leaves open follows its repository where that agrees with the published parameters and operations.
    """

    label = "JCRNet"
    kind = "paired"
    source = "Yu, Shi and Han 2023, IEEE Transactions on Multimedia, arXiv 2309.16128"
    options: ClassVar[Mapping[str, str]] = {name: variant.meaning for name, variant in VARIANTS.items()}
    pad_multiple = MULTIPLE
    weights_file = "jcrnet.safetensors"
    memory_per_pixel = 2750  # in float32; the six layers of 128 channels
    recipe: ClassVar[type[Recipe]] = JCRNetRecipe

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        weights = weights or shipped(self.weights_name(option))
        super().__init__(option, weights)
        self._network = build(option)
        load_weights(self._network, weights, f"jcrnet:{option}" if option else "jcrnet")
        self._network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @property
    def module(self) -> nn.Module:
        """The network, for counting parameters and operations."""
        return self._network

    def to(self, device: torch.device) -> None:
        """Move the network."""
        self._network.to(device)

    def enhance(self, low: Tensor) -> Tensor:
        """One pass of the network."""
        enhanced: Tensor = self._network(low.contiguous(memory_format=torch.channels_last))
        return enhanced.clamp(0, 1).contiguous()
