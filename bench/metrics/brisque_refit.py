"""BRISQUE with a regression that this project fitted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from bench.contracts import Metric
from bench.planes import Planes

from ._shipped import read_scaled_regression
from .brisque import BRISQUE, brisque_features

DIGEST = "1fd0bd2e81975e58898e34e352a0b721dfc8c5652ec0e08d6bc8cdb736669449"
"""SHA-256 of weights/brisque_refit.safetensors; _refit.py prints it."""


class BRISQUERefit(Metric):
    """BRISQUE's features under another regression, lower is better; for machines without the release's files.

    An epsilon-SVR with a Gaussian kernel as in the release, fitted to FSIM instead of opinions; typically 0 .. 100, not
    clipped. Measured against the release in docs/refit.md.
    """

    label = "BRISQUE (refit)"
    higher_is_better = False
    needs_reference = False
    decimals = 2
    noise = 0.05
    definition = (
        "BRISQUE's features; regression fitted by this project on 342 COCO and ECSSD photographs with noise, blur, "
        "JPEG, JPEG 2000 and amplified noise, labelled 100 (1 - FSIM)^0.5; not comparable with published BRISQUE values"
    )
    source = "Mittal et al., IEEE TIP 2012, for the method; bench/metrics/_refit.py for the parameters"
    undefined: ClassVar[str] = BRISQUE.undefined

    def __init__(self, option: str, files: Mapping[str, Path], device: torch.device) -> None:
        """Read the shipped regression."""
        super().__init__(option, files, device)
        self.model = read_scaled_regression("brisque_refit", DIGEST)

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """BRISQUE of each picture under the shipped regression."""
        # The regression is tiny and lies in main memory: only the features leave the device.
        return self.model.predict(brisque_features(enhanced.grey).cpu()).to(enhanced.grey.device)
