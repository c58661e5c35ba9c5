"""LPIPS on VGG16."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bench.contracts import Metric, ParameterFile
from bench.planes import Planes

from ._lpips import build, distance, spatial_distance

SMALLEST = 16
"""Pixels per side below which the deepest layer is empty."""

BACKBONE = ParameterFile(
    name="vgg16-397923af.pth",
    sha256="397923af",
    url="https://download.pytorch.org/models/vgg16-397923af.pth",
    licence="VGG16 weights, CC BY 4.0 (torchvision: BSD-3-Clause)",
)


class LPIPSVGG(Metric):
    """Learned perceptual distance on VGG16's features, lower is better."""

    label = "LPIPS-VGG"
    higher_is_better = False
    needs_reference = True
    decimals = 4
    noise = 2e-5
    bounds = (0.0, float("inf"))
    definition = "VGG16 backbone, linear weights v0.1, RGB scaled to -1 .. 1, native size"
    source = "Zhang et al., CVPR 2018; the authors' package lpips"
    files = (BACKBONE,)

    def __init__(self, option: str, files: Mapping[str, Path], device: torch.device) -> None:
        """Build the network from the backbone's file."""
        super().__init__(option, files, device)
        self.network = build("vgg", files[BACKBONE.name], device)

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """LPIPS of each picture."""
        return distance(self.network, enhanced, reference, SMALLEST)

    def spatial(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """LPIPS at each pixel."""
        return spatial_distance(self.network, enhanced, reference, SMALLEST)
