"""Gamma: one power curve for the whole picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from bench.contracts import Adapter

from ._options import positive_number, unknown_option

DISPLAY_GAMMA = 2.2
ADAPTIVE = "adaptive"
MIDDLE = 0.5
"""Brightness that the adaptive exponent gives to a pixel of mean V."""


class Gamma(Adapter):
    """Raise every value to 1/gamma, or to the exponent log(0.5)/log(mean V) that maps the mean of V to one half."""

    label = "Gamma"
    kind = "classical"
    source = "power-law transformation, Gonzalez & Woods, Digital Image Processing, Section 3.2"
    options: ClassVar[Mapping[str, str]] = {
        "NUMBER": "values are raised to 1/NUMBER; 2.2 if absent",
        ADAPTIVE: "exponent log(0.5)/log(mean of V)",
    }

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        super().__init__(option, weights)
        gamma = DISPLAY_GAMMA if option in ("", ADAPTIVE) else positive_number(option)
        if gamma is None:
            raise unknown_option("gamma", option, self.options)
        self._exponent = None if option == ADAPTIVE else 1 / gamma

    def enhance(self, low: Tensor) -> Tensor:
        """Apply the curve; black stays black and white stays white."""
        if self._exponent is not None:
            return low.pow(self._exponent)
        # float64: near white the logarithm of the mean is what is left of 1 - mean.
        mean = low.amax(dim=1, keepdim=True).double().mean(dim=(2, 3), keepdim=True)
        exponent = torch.log(torch.full_like(mean, MIDDLE)) / torch.log(mean)
        # All black or all white has no exponent that reaches one half; such a picture stays as it is.
        flat = (mean <= 0) | (mean >= 1)
        return low.pow(torch.where(flat, torch.ones_like(exponent), exponent).to(low.dtype))
