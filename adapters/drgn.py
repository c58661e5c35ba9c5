"""DRGN: a degradation generator and a refinement generator, each a multi-resolution fusion network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ._blocks import down, halved, rcabs, up
from ._degradation import (
    WITHOUT_DLDA,
    WITHOUT_KL,
    WITHOUT_SSIM,
    DegradationAdapter,
    DegradationRecipe,
    DegradationToRefinement,
)
from ._options import unknown_option

DEPTH = 3
"""RCABs of a group."""
LAYOUTS = {"": ((64, 64, 64), (2, 3, 4)), "wo_msr": ((64,), (3,)), "budget": ((32, 60, 80), (2, 3, 4))}
"""Widths and groups of the levels, full size first; other variants are built like the method itself."""
OPTIONS = {
    WITHOUT_DLDA: "no degradation learning and no synthetic pairs: the same two networks learn in a row, end to end",
    "wo_msr": "no multi-resolution fusion: 3 groups of RCABs at full size, as many operations in 0.3 of the parameters",
    WITHOUT_KL: "no KL divergence in the degradation loss",
    WITHOUT_SSIM: "no SSIM in the refinement loss",
    "budget": "both networks together have the published operations: 32, 60 and 80 channels",
}


class FusionNet(nn.Module):
    """Multi-resolution fusion network (MFN): pyramid levels, fused on the way in and at the end.

    One width and one number of groups for each level, full size first; levels halve in size.
    """

    def __init__(self, widths: Sequence[int], groups: Sequence[int]) -> None:
        super().__init__()
        full = widths[0]
        self.first = nn.ModuleList(nn.Conv2d(3, width, 3, padding=1) for width in widths)
        self.down = nn.ModuleList(
            nn.ModuleList(_descent(widths[above], widths[level], level - above) for above in range(level))
            for level in range(1, len(widths))
        )
        self.fuse = nn.ModuleList(nn.Conv2d(count * width, width, 1) for count, width in enumerate(widths[1:], start=2))
        self.groups = nn.ModuleList(
            nn.Sequential(*(rcabs(width, DEPTH) for _ in range(count)))
            for width, count in zip(widths, groups, strict=True)
        )
        self.long = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for width in widths)
        self.up = nn.ModuleList(
            nn.Sequential(*(up(widths[place], widths[place - 1]) for place in range(level, 0, -1)))
            for level in range(1, len(widths))
        )
        self.merge = nn.Conv2d(len(widths) * full, full, 1)
        self.last = nn.Conv2d(full, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to the same shape, unbounded."""
        features: list[Tensor] = []
        for level, first in enumerate(self.first):
            images = halved(images) if level else images
            features.append(first(images))
        found: list[Tensor] = []
        for level, (groups, long) in enumerate(zip(self.groups, self.long, strict=True)):
            inner = features[level]
            if level:
                above = [steps(features[place]) for place, steps in enumerate(self.down[level - 1].children())]
                inner = self.fuse[level - 1](torch.cat((inner, *above), dim=1))
            found.append(long(torch.cat((groups(inner), inner), dim=1)))
        whole = [found[0], *(steps(one) for steps, one in zip(self.up, found[1:], strict=True))]
        output: Tensor = self.last(self.merge(torch.cat(whole, dim=1)))
        return output


def _descent(before: int, after: int, halvings: int) -> nn.Sequential:
    """So many halvings, the last of which changes the width."""
    return nn.Sequential(*(down(before, before) for _ in range(halvings - 1)), down(before, after))


class DRGNRecipe(DegradationRecipe):
    """Both generators are MFNs."""

    @staticmethod
    def build(option: str) -> DegradationToRefinement:
        """Two networks of the same layout."""
        if option not in ("", *OPTIONS):
            raise unknown_option("drgn", option, OPTIONS)
        widths, groups = LAYOUTS.get(option, LAYOUTS[""])
        return DegradationToRefinement(FusionNet(widths, groups), FusionNet(widths, groups))


class DRGN(DegradationAdapter):
    """Jiang et al.: I* = G_re(I_L - G_de(I_L)); G_de learns degradation from unpaired pictures, G_re to undo it."""

    label = "DRGN"
    source = "Jiang et al. 2022, Degrade is Upgrade, AAAI"
    options = OPTIONS
    memory_per_pixel = 2400  # measured on 512x512 in float32; 9 maps of 64 channels
    weights_file = "drgn.safetensors"
    recipe: ClassVar[type[DegradationRecipe]] = DRGNRecipe
