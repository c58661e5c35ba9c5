"""SSIM of luma."""

from __future__ import annotations

from torch import Tensor

from bench.contracts import Metric
from bench.planes import Planes

from ._similarity import ssim
from ._threads import unsplit


class SSIMY(Metric):
    """Structural similarity of full-range BT.601 luma, higher is better; no down-sampling."""

    label = "SSIM-Y"
    higher_is_better = True
    needs_reference = True
    decimals = 4
    noise = 4e-6
    bounds = (-1.0, 1.0)
    definition = "luma .299/.587/.114 not rounded, Gaussian 11x11 (sigma 1.5), K 0.01/0.03, range 255, valid region"
    source = "Wang et al., IEEE TIP 2004; authors' ssim_index.m"

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """SSIM-Y of each picture."""
        if reference is None:
            raise ValueError("SSIM-Y needs a reference picture")
        with unsplit(enhanced.rgb):
            return ssim(enhanced.luma_bt601, reference.luma_bt601)
