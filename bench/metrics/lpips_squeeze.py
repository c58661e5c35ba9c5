"""LPIPS on SqueezeNet 1.1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bench.contracts import Metric, ParameterFile
from bench.planes import Planes

from ._lpips import build, distance, spatial_distance

SMALLEST = 17
"""Pixels per side below which the deepest layer is empty."""

BACKBONE = ParameterFile(
    name="squeezenet1_1_features.pth",
    sha256="435cedb387e95bc8291893f61a3a64f0345b8c23a05139aceef43947efb3d52d",
    url="https://github.com/delldu/LPIPS/raw/a8276318/project/image_likeness/models/squeeze.backbone.pth",
    licence="BSD-2-Clause (delldu/LPIPS)",
)


class LPIPSSqueeze(Metric):
    """Learned perceptual distance on SqueezeNet 1.1's features, lower is better."""

    label = "LPIPS-Squeeze"
    higher_is_better = False
    needs_reference = True
    decimals = 4
    noise = 2e-5
    bounds = (0.0, float("inf"))
    definition = "SqueezeNet 1.1 backbone, linear weights v0.1, RGB scaled to -1 .. 1, native size"
    source = "Zhang et al., CVPR 2018; the authors' package lpips"
    files = (BACKBONE,)

    def __init__(self, option: str, files: Mapping[str, Path], device: torch.device) -> None:
        """Build the network from the backbone's file."""
        super().__init__(option, files, device)
        self.network = build("squeeze", files[BACKBONE.name], device)

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """LPIPS of each picture."""
        return distance(self.network, enhanced, reference, SMALLEST)

    def spatial(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """LPIPS at each pixel."""
        return spatial_distance(self.network, enhanced, reference, SMALLEST)
