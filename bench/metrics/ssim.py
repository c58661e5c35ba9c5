"""SSIM of the RGB channels, averaged."""

from __future__ import annotations

from torch import Tensor

from bench.contracts import Metric
from bench.planes import Planes

from ._similarity import ssim
from ._threads import unsplit


class SSIM(Metric):
    """Structural similarity, higher is better; the mean of the three channels' values without down-sampling."""

    label = "SSIM"
    higher_is_better = True
    needs_reference = True
    decimals = 4
    noise = 3e-6
    bounds = (-1.0, 1.0)
    definition = "RGB, Gaussian 11x11 (sigma 1.5), K 0.01/0.03, range 255, valid region, mean of the channels"
    source = "Wang et al., IEEE TIP 2004; authors' ssim_index.m on each channel"

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """SSIM of each picture."""
        if reference is None:
            raise ValueError("SSIM needs a reference picture")
        with unsplit(enhanced.rgb):
            return ssim(enhanced.rgb255, reference.rgb255)
