"""Degradation-to-refinement: what DRGN and LW-DRGN share, namely two networks in a row and their training."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from bench.contracts import Adapter, Pair
from bench.image import pad_to_multiple
from bench.training import Recipe, Settings

from ._losses import charbonnier, cosine, judged_fake, judged_real, set_learning_rate, ssim
from ._patches import patches, read_pair
from ._weights import load_weights, shipped

PAD_MULTIPLE = 4
"""Both networks work on down to a quarter of the size."""
DEGRADATION_STEPS, REFINEMENT_STEPS = 14_400, 28_800
"""The paper's 20 and 40 epochs of 720 steps: what its learning rate is counted on."""
DECAY, DECAY_EVERY = 0.9, 6_000
"""The paper's learning rate: times 0.9 every 6,000 steps."""
LAST_RATE = 0.01
"""Learning rate at the end of a stage, relative to its first, with schedule=cosine."""
JUDGES = (64, 128, 256, 512)
"""Widths of the discriminators, two convolutions each: SRGAN's."""

# Variants that change the recipe; which of them a method offers, its adapter says.
WITHOUT_DLDA, WITHOUT_KL, WITHOUT_SSIM = "wo_dlda", "wo_kl", "wo_ssim"


class DegradationToRefinement(nn.Module):
    """I* = refinement(I_L - degradation(I_L)); both networks map (N, 3, H, W) to the same shape, unbounded."""

    def __init__(self, degradation: nn.Module, refinement: nn.Module) -> None:
        super().__init__()
        self.degradation = degradation
        self.refinement = refinement

    def forward(self, low: Tensor) -> Tensor:
        """The enhanced picture, not clipped; sides are multiples of 4."""
        enhanced: Tensor = self.refinement(low - self.degradation(low))
        return enhanced


class Discriminator(nn.Module):
    """SRGAN's: eight 3x3 convolutions, each second one halving; one logit per picture.

    Ours: group instead of batch normalisation, so that real and generated pictures do not share statistics, and a
    global mean before the linear layers, so that any size is judged.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in JUDGES:
            for stride in (1, 2):
                layers.append(nn.Conv2d(before, width, 3, stride=stride, padding=1))
                if before != 3:
                    layers.append(nn.GroupNorm(32, width))
                layers.append(nn.LeakyReLU(0.2))
                before = width
        self.trunk = nn.Sequential(*layers)
        self.judge = nn.Sequential(nn.Linear(before, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1): above 0 for real."""
        logits: Tensor = self.judge(self.trunk(images).mean(dim=(2, 3)))
        return logits


@dataclass(frozen=True, kw_only=True)
class DegradationSettings(Settings):
    """The paper's, for both networks; what it leaves open is said."""

    batch_size: int = 16
    """In the second stage, half of a batch are pairs of the data set and half are synthetic pairs."""
    steps: int = DEGRADATION_STEPS + REFINEMENT_STEPS
    crops: int = 24
    """A 600x400 picture holds 4x6 squares of 96x96."""
    crop: int = 96
    """Side in pixels of what a network sees."""
    largest_scale: float = 2.0
    """Squares of up to so many times the side are cut out and reduced; the paper says 'random scaling', no range."""
    degradation_share: float = 1 / 3
    """Share of the steps for the first stage."""
    learning_rate: float = 5e-4
    """Of both networks, at the start of each stage."""
    learning_rate_discriminator: float = 1e-4
    """Ours: the paper names none."""
    schedule: str = "paper"
    """'paper': times 0.9 every 6,000 of its 14,400 and 28,800 steps; 'cosine': down to a hundredth in each stage."""
    weight_kl: float = 1
    weight_adversarial: float = 1e-5
    weight_ssim: float = 0.2
    """What the paper calls lambda = -0.2: SSIM is raised."""


def divergence(degradation: Tensor, synthetic: Tensor) -> Tensor:
    """Mean over the batch of KL(p(I_D) || p(I_D,ref)), p a softmax over all values of a picture (ours: p is unsaid)."""
    target, found = (F.log_softmax(one.flatten(1), dim=1) for one in (degradation, synthetic))
    return F.kl_div(found, target, reduction="batchmean", log_target=True)


class DegradationRecipe(Recipe):
    """First the degradation generator, against two discriminators; then the refinement generator, DeG frozen.

    As in the paper: losses, weights, batch, crops, flips, Adam, learning rate. The paper's generator loss for Eq. 5
    and 6 is that of a discriminator; ours is the non-saturating one. Its reference pictures are unnamed; ours are the
    references of the other pairs in a batch.
    """

    defaults = DegradationSettings()

    def __init__(self, option: str, settings: DegradationSettings) -> None:
        super().__init__(option, settings)
        if settings.schedule not in ("paper", "cosine"):
            raise ValueError(f"schedule is 'paper' or 'cosine', found {settings.schedule!r}")
        if settings.batch_size < 2:
            raise ValueError("batch_size is 2 or more, because half of a batch are synthetic pairs; found 1")
        if settings.largest_scale < 1:
            raise ValueError(f"largest_scale is 1 or more, found {settings.largest_scale}")
        if settings.degradation_share >= 1:
            raise ValueError(f"degradation_share leaves steps to the refinement, found {settings.degradation_share}")
        self._settings = settings
        self._first_share = 0.0 if option == WITHOUT_DLDA else settings.degradation_share
        self._weight_kl = 0.0 if option == WITHOUT_KL else settings.weight_kl
        self._weight_ssim = 0.0 if option == WITHOUT_SSIM else settings.weight_ssim
        self._end_to_end = option == WITHOUT_DLDA
        self._network = self.build(option)
        self._judge_low, self._judge_degradation = Discriminator(), Discriminator()
        learning = self._network if self._end_to_end else self._network.refinement
        self._first = Adam(self._network.degradation.parameters(), lr=settings.learning_rate)
        self._second = Adam(learning.parameters(), lr=settings.learning_rate)
        judges = [*self._judge_low.parameters(), *self._judge_degradation.parameters()]
        self._judging = Adam(judges, lr=settings.learning_rate_discriminator)

    @staticmethod
    @abstractmethod
    def build(option: str) -> DegradationToRefinement:
        """The networks of a variant; raises ValueError for an unknown option."""

    @property
    def network(self) -> DegradationToRefinement:
        """Both networks in a row."""
        return self._network

    @property
    def optimisers(self) -> Sequence[Optimizer]:
        """One Adam for each stage and one for the discriminators."""
        return self._first, self._second, self._judging

    def read(self, pair: Pair) -> tuple[Tensor, ...]:
        """The pair in 8 bit."""
        return read_pair(pair)

    def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
        """Low pictures, their references, and the same references in another order: (batch, 3, crop, crop) each."""
        squares = [self._square(scene, generator) for scene in pictures]
        low, reference = (torch.cat(column) for column in zip(*squares, strict=True))
        # The pictures of a batch come in random order, so a rotation of it pairs at random, but not with its own.
        shift = 1 + int(torch.randint(len(pictures) - 1, (), generator=generator))
        return low, reference, reference.roll(shift, dims=0)

    def _square(self, scene: tuple[Tensor, ...], generator: Generator) -> tuple[Tensor, ...]:
        """The same random square of a scene's pictures, (1, 3, crop, crop).

        Half of them are as in the picture, with its noise; the others are reduced from up to `largest_scale`.
        """
        crop = self._settings.crop
        largest = min(int(self._settings.largest_scale * crop), *scene[0].shape[-2:])
        room = max(largest - crop, 0)
        side = crop + max(int(torch.randint(-room, room + 1, (), generator=generator)), 0)
        return tuple(
            F.interpolate(square, (crop, crop), mode="bilinear", antialias=True) if side > crop else square
            for square in patches([scene], side, generator)
        )

    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        """One step of the stage that `share` falls into."""
        first = self._first_share
        if share < first:
            return self._learn_degradation(batch, share / first)
        return self._learn_refinement(batch, (share - first) / (1 - first))

    def _learn_degradation(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        """Make I_D, put onto other references, look like the low pictures and be found again in them."""
        low, _, other = batch
        settings = self._settings
        set_learning_rate(self._first, self._rate(share, DEGRADATION_STEPS))
        degradation = self.mixed(self._network.degradation, low)
        synthetic = (other + degradation).clamp(0, 1)
        found = self.mixed(self._network.degradation, synthetic)

        judging = self._judged(self._judge_low, low, synthetic.detach()) + self._judged(
            self._judge_degradation, degradation.detach(), found.detach()
        )
        self._judging.zero_grad()
        torch.autograd.backward(judging)
        self._judging.step()

        kl = divergence(degradation, found)
        adversarial = judged_real(self.mixed(self._judge_low, synthetic)) + judged_real(
            self.mixed(self._judge_degradation, found)
        )
        loss = self._weight_kl * kl + settings.weight_adversarial * adversarial
        self._first.zero_grad()
        torch.autograd.backward(loss, inputs=list(self._network.degradation.parameters()))
        self._first.step()
        return {
            "loss": loss.detach(),
            "kl": kl.detach(),
            "adversarial": adversarial.detach(),
            "discriminators": judging.detach(),
            # Near 0 after two epochs, the generator has collapsed: nothing is taken from the picture any more.
            "degradation": degradation.detach().mean(),
        }

    def _judged(self, judge: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return judged_real(self.mixed(judge, real)) + judged_fake(self.mixed(judge, fake))

    def _learn_refinement(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        """Bring the enhanced pictures near their references: Charbonnier and SSIM."""
        low, reference, other = batch
        if self._end_to_end:
            set_learning_rate(self._second, self._rate(share, DEGRADATION_STEPS + REFINEMENT_STEPS))
            pairs = [(self.mixed(self._network, low), reference)]
        else:
            set_learning_rate(self._second, self._rate(share, REFINEMENT_STEPS))
            originals = (len(low) + 1) // 2
            enhanced = self.mixed(self._network.refinement, self._bases(low, other[originals:]))
            pairs = [(enhanced[:originals], reference[:originals]), (enhanced[originals:], other[originals:])]
        distances = [charbonnier(one, target) for one, target in pairs]
        likenesses = [ssim(one, target) for one, target in pairs]
        loss = torch.stack(distances).sum() - self._weight_ssim * torch.stack(likenesses).sum()
        self._second.zero_grad()
        torch.autograd.backward(loss)
        self._second.step()
        return {"loss": loss.detach(), "charbonnier": distances[0].detach(), "ssim": likenesses[0].detach()}

    @torch.no_grad()
    def _bases(self, low: Tensor, other: Tensor) -> Tensor:
        """I_B: of the first low pictures, and of as many synthetic ones as `other` holds, made with the last."""
        degradation = self.mixed(self._network.degradation, low)
        synthetic = (other + degradation[-len(other) :]).clamp(0, 1)
        found = self.mixed(self._network.degradation, synthetic)
        return torch.cat(((low - degradation)[: -len(other)], synthetic - found))

    def _rate(self, share: float, steps: int) -> float:
        """Learning rate of a generator when `share` of a stage of so many of the paper's steps is done."""
        rate = self._settings.learning_rate
        if self._settings.schedule == "cosine":
            return cosine(share, rate, LAST_RATE * rate)
        return rate * float(DECAY ** (share * steps // DECAY_EVERY))

    def enhance(self, low: Tensor) -> Tensor:
        """Both networks, on sides made multiples of 4 by reflection."""
        height, width = low.shape[-2:]
        return self.mixed(self._network, pad_to_multiple(low, PAD_MULTIPLE))[..., :height, :width]


class DegradationAdapter(Adapter):
    """Both networks, whatever they are made of, applied to a picture."""

    kind = "paired"
    pad_multiple = PAD_MULTIPLE
    recipe: ClassVar[type[DegradationRecipe]]

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        network = self.recipe.build(option)
        weights = weights or shipped(self.weights_name(option))
        super().__init__(option, weights)
        self._network = network
        method = str(self.weights_file).partition(".")[0]
        load_weights(self._network, weights, f"{method}:{option}" if option else method)
        self._network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @property
    def module(self) -> nn.Module:
        """Both networks, for counting parameters and operations."""
        return self._network

    def to(self, device: torch.device) -> None:
        """Move both networks."""
        self._network.to(device)

    def enhance(self, low: Tensor) -> Tensor:
        """One pass of each network."""
        height, width = low.shape[-2:]
        padded = pad_to_multiple(low, PAD_MULTIPLE).contiguous(memory_format=torch.channels_last)
        enhanced: Tensor = self._network(padded)[..., :height, :width]
        return enhanced.clamp(0, 1).contiguous()
