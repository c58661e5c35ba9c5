"""PSNR of luma."""

from __future__ import annotations

from torch import Tensor

from bench.contracts import Metric
from bench.planes import Planes

from ._peak_signal import psnr


class PSNRY(Metric):
    """Peak signal-to-noise ratio of full-range BT.601 luma in dB, higher is better; not MATLAB's 16..235 luma."""

    label = "PSNR-Y"
    higher_is_better = True
    needs_reference = True
    unit = "dB"
    decimals = 2
    noise = 3e-5
    bounds = (0.0, float("inf"))
    definition = "luma .299/.587/.114 of 0..255, not rounded, peak 255"
    source = "Definition; luma of ITU-R BT.601 at full range"

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """PSNR-Y of each picture in dB."""
        if reference is None:
            raise ValueError("PSNR-Y needs a reference picture")
        return psnr(enhanced.luma_bt601, reference.luma_bt601)
