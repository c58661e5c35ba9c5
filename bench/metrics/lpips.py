"""LPIPS on AlexNet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bench.contracts import Metric, ParameterFile
from bench.planes import Planes

from ._lpips import build, distance, spatial_distance

SMALLEST = 31
"""Pixels per side below which the deepest layer is empty."""

BACKBONE = ParameterFile(
    name="alexnet-owt-7be5be79.pth",
    sha256="7be5be79",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    licence="BSD-3-Clause (torchvision)",
)


class LPIPS(Metric):
    """Learned perceptual distance on AlexNet's features, lower is better."""

    label = "LPIPS"
    higher_is_better = False
    needs_reference = True
    decimals = 4
    noise = 2e-5
    bounds = (0.0, float("inf"))
    definition = "AlexNet backbone, linear weights v0.1, RGB scaled to -1 .. 1, native size"
    source = "Zhang et al., CVPR 2018; the authors' package lpips"
    files = (BACKBONE,)

    def __init__(self, option: str, files: Mapping[str, Path], device: torch.device) -> None:
        """Build the network from the backbone's file."""
        super().__init__(option, files, device)
        self.network = build("alex", files[BACKBONE.name], device)

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """LPIPS of each picture."""
        return distance(self.network, enhanced, reference, SMALLEST)

    def spatial(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """LPIPS at each pixel."""
        return spatial_distance(self.network, enhanced, reference, SMALLEST)
