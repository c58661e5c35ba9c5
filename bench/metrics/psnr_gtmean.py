"""PSNR after the reference's brightness was given to the picture."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bench.contracts import Metric
from bench.planes import Planes

from ._peak_signal import psnr


def psnr_gtmean(enhanced: Planes, reference: Planes) -> Tensor:
    """PSNR in dB of the picture times mean luma of the reference / its own mean luma; NaN for an all-black picture."""
    gain = reference.luma_bt601.mean(dim=(1, 2, 3)) / enhanced.luma_bt601.mean(dim=(1, 2, 3))
    gain = gain.where(gain.isfinite(), torch.nan)
    lit = (enhanced.rgb255 * gain.view(-1, 1, 1, 1)).clamp(0, 255)
    return psnr(lit, reference.rgb255)


class PSNRGTMean(Metric):
    """PSNR with ground-truth brightness in dB, higher is better; does not compare with PSNR, it uses the answer.

    One gain for the whole picture: mean luma (BT.601) of the reference over that of the picture; the scaled picture is
    clipped and not rounded again, as in HVI-CIDNet's script (which rounds the luma to 8 bit). Three others go by this
    name: KinD feeds the ratio to the network instead of scaling its output; LLFlow divides the mean of a BGR grey by
    that of all channels, Retinexformer exchanges the weights of red and blue on both sides; Diff-Retinex takes the
    plain mean over the channels. The scalings differ by hundredths of a decibel; with and without, by several decibels.
    """

    label = "PSNR (GT mean)‡"
    higher_is_better = True
    needs_reference = True
    unit = "dB"
    decimals = 2
    noise = 3e-5
    bounds = (0.0, float("inf"))
    definition = "RGB, peak 255, after scaling to the reference's mean luma (.299/.587/.114); ‡ uses the ground truth"
    source = "Test script of HVI-CIDNet (measure.py)"
    undefined: ClassVar[str] = "the picture is all black and cannot be scaled to a brightness"

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """PSNR of each picture in dB after scaling."""
        if reference is None:
            raise ValueError("PSNR (GT mean) needs a reference picture")
        return psnr_gtmean(enhanced, reference)
