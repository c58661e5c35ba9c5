"""SSIM of grey pictures as the authors' first code takes them."""

from __future__ import annotations

from torch import Tensor

from bench.contracts import Metric
from bench.planes import Planes

from ._similarity import ssim
from ._threads import unsplit


class SSIMGray(Metric):
    """Structural similarity of the 8-bit grey picture, higher is better; no down-sampling."""

    label = "SSIM-grey"
    higher_is_better = True
    needs_reference = True
    decimals = 4
    noise = 6e-6
    bounds = (-1.0, 1.0)
    definition = "rgb2gray rounded to 8 bit, Gaussian 11x11 (sigma 1.5), K 0.01/0.03, range 255, valid region"
    source = "Wang et al., IEEE TIP 2004; authors' ssim_index.m"

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """SSIM-grey of each picture."""
        if reference is None:
            raise ValueError("SSIM-grey needs a reference picture")
        with unsplit(enhanced.rgb):
            return ssim(enhanced.grey, reference.grey)
