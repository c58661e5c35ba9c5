"""PSNR over all three channels."""

from __future__ import annotations

from torch import Tensor

from bench.contracts import Metric
from bench.planes import Planes

from ._peak_signal import psnr


class PSNR(Metric):
    """Peak signal-to-noise ratio in dB, higher is better; the mean square error runs over R, G and B together."""

    label = "PSNR"
    higher_is_better = True
    needs_reference = True
    unit = "dB"
    decimals = 2
    noise = 3e-5
    bounds = (0.0, float("inf"))
    definition = "RGB, peak 255, mean square error over all pixels and channels of one picture"
    source = "Definition; agrees with scikit-image's peak_signal_noise_ratio"

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """PSNR of each picture in dB."""
        if reference is None:
            raise ValueError("PSNR needs a reference picture")
        return psnr(enhanced.rgb255, reference.rgb255)
