"""LW-DRGN: DRGN with two light single-branch networks, fused densely under channel attention."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ._blocks import ChannelAttention, down, rcabs, up
from ._degradation import DegradationAdapter, DegradationRecipe, DegradationToRefinement
from ._options import unknown_option

WIDTH = 32
STAGES = 4
OPTIONS = {"budget": "both networks together have the published operations: bodies at a quarter of the size"}


class DenseFusion(nn.Module):
    """Attention over everything found so far, then 1x1 back to one width."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.attention = ChannelAttention(parts * WIDTH, parts * WIDTH // 16)
        self.merge = nn.Conv2d(parts * WIDTH, WIDTH, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """(N, 32, H, W) from several of that shape."""
        merged: Tensor = self.merge(self.attention(torch.cat(features, dim=1)))
        return merged


class LightNet(nn.Module):
    """Head at full size, four stages of three RCABs at a reduced size, tail at full size; 329,928 parameters.

    The paper says 'single-branch residual network' and 'attention-guided dense fusion', with 0.660 M parameters for
    both networks; the layout is ours.
    """

    def __init__(self, head: int, halvings: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.head = rcabs(WIDTH, head)
        self.down = nn.Sequential(*(down(WIDTH, WIDTH) for _ in range(halvings)))
        self.stages = nn.ModuleList(rcabs(WIDTH, 3) for _ in range(STAGES))
        self.fusions = nn.ModuleList(DenseFusion(parts) for parts in range(2, STAGES + 2))
        self.up = nn.Sequential(*(up(WIDTH, WIDTH) for _ in range(halvings)))
        self.merge = nn.Conv2d(2 * WIDTH, WIDTH, 1)
        self.tail = rcabs(WIDTH, 1)
        self.last = nn.Conv2d(WIDTH, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to the same shape, unbounded."""
        head = self.head(self.first(images))
        features = self.down(head)
        found = [features]
        for stage, fusion in zip(self.stages, self.fusions, strict=True):
            found.append(stage(features))
            features = fusion(found)
        merged = self.merge(torch.cat((self.up(features), head), dim=1))
        output: Tensor = self.last(self.tail(merged))
        return output


class LWDRGNRecipe(DegradationRecipe):
    """The recipe of DRGN."""

    @staticmethod
    def build(option: str) -> DegradationToRefinement:
        """Two networks of the same layout."""
        if option not in ("", *OPTIONS):
            raise unknown_option("lw_drgn", option, OPTIONS)
        head, halvings = (1, 2) if option == "budget" else (2, 1)
        return DegradationToRefinement(LightNet(head, halvings), LightNet(head, halvings))


class LWDRGN(DegradationAdapter):
    """Jiang et al.: I* = G_re(I_L - G_de(I_L)), both networks light; G_de learns degradation from unpaired pictures."""

    label = "LW-DRGN"
    source = "Jiang et al. 2022, Degrade is Upgrade, AAAI"
    options = OPTIONS
    memory_per_pixel = 750  # measured on 1024x1024 in float32
    weights_file = "lw_drgn.safetensors"
    recipe: ClassVar[type[DegradationRecipe]] = LWDRGNRecipe
