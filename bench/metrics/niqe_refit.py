"""NIQE with a pristine model that this project fitted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from bench.contracts import Metric
from bench.planes import Planes

from ._shipped import read_shipped
from .niqe import NIQE, Pristine, niqe

DIGEST = "6f74fecb0face0c806c2a58ef27b413faf75e790481a9a1ffc1093f0db2bef46"
"""SHA-256 of weights/niqe_refit.safetensors; _refit.py prints it."""


class NIQERefit(Metric):
    """NIQE's features and distance under other parameters, lower is better; for machines without the release's file.

    Mean and covariance come from reduced photographs; unlike in the release's test stage, only blocks sharper than 0.75
    of the sharpest enter them, as in its training stage. Measured against the release in docs/refit.md.
    """

    label = "NIQE (refit)"
    higher_is_better = False
    needs_reference = False
    decimals = 3
    noise = 0.03
    bounds = (0.0, float("inf"))
    definition = (
        "NIQE's features and distance; pristine model fitted by this project on sharp blocks of 342 COCO and ECSSD "
        "photographs (no labels); not comparable with published NIQE values"
    )
    source = "Mittal et al., IEEE SPL 2013, for the method; bench/metrics/_refit.py for the parameters"
    undefined: ClassVar[str] = NIQE.undefined

    def __init__(self, option: str, files: Mapping[str, Path], device: torch.device) -> None:
        """Read the shipped model."""
        super().__init__(option, files, device)
        stored = read_shipped("niqe_refit", DIGEST)
        self.pristine = Pristine(stored["mean"].to(device), stored["covariance"].to(device))

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """NIQE of each picture under the shipped model."""
        return niqe(enhanced.grey, self.pristine)
