"""SSEQ with machines that this project fitted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from bench.contracts import Metric
from bench.planes import Planes

from ._shipped import read_machines
from .sseq import SSEQ, sseq

DIGEST = "de0d99d0cda68c203c55337eb911297cdd1e24dd5521ebdf776eb7435ecf04a4"
"""SHA-256 of weights/sseq_refit.safetensors; _refit.py prints it."""


class SSEQRefit(Metric):
    """SSEQ's features under other machines, lower is better; for machines without the release's file.

    Two stages as in the release, fitted to FSIM instead of opinions and with four distortions instead of five (fast
    fading is left out); typically 0 .. 100, not clipped. Measured against the release in docs/refit.md.
    """

    label = "SSEQ (refit)"
    higher_is_better = False
    needs_reference = False
    decimals = 2
    noise = 0.03
    definition = (
        "SSEQ's features; machines fitted by this project on 342 COCO and ECSSD photographs with noise, blur, JPEG and "
        "JPEG 2000, labelled 100 (1 - FSIM)^0.5; not comparable with published SSEQ values"
    )
    source = "Liu et al., Signal Processing: Image Communication 2014, for the method; bench/metrics/_refit.py"
    undefined: ClassVar[str] = SSEQ.undefined

    def __init__(self, option: str, files: Mapping[str, Path], device: torch.device) -> None:
        """Read the shipped machines."""
        super().__init__(option, files, device)
        self.machines = read_machines("sseq_refit", DIGEST)

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """SSEQ of each picture under the shipped machines."""
        return sseq(enhanced.grey, self.machines)
