"""BRISQUE with the original release's regression."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from bench.contracts import Metric, ParameterFile
from bench.planes import Planes

from ._filters import halve
from ._scene_statistics import FLAT, WINDOW, flat_share, neighbour_fits, normalised, symmetric_fit
from ._support_vectors import Regression, read_regression
from ._threads import side_by_side, unsplit

SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))
"""Neighbours whose products are fitted, as (rows down, columns right)."""
FEATURES = 36

LICENCE = "LIVE notice: free use with citation of the release and its paper"
MODEL = ParameterFile(
    name="allmodel",
    sha256="8b04d6045f1b27261610c8ab1730fdcc14ec80bfab0f1ab5f703bbc2927314de",
    url="https://github.com/utlive/BRISQUE/raw/2e2a5ac0/MATLAB/allmodel",
    licence=LICENCE,
)
RANGES = ParameterFile(
    name="allrange",
    sha256="e47d753d96b631e1aa2dbac8c4e51ade767f2def8ce678c7130b6b3f90ee915f",
    url="https://github.com/utlive/BRISQUE/raw/2e2a5ac0/MATLAB/allrange",
    licence=LICENCE,
)


class Ranges(NamedTuple):
    """Smallest and largest training value of each feature (36,); they become -1 and 1."""

    low: Tensor
    high: Tensor


def read_ranges(file: Path) -> Ranges:
    """The range file of svm-scale: 'x', the line '-1 1', then feature, smallest, largest."""
    lines = [line.split() for line in file.read_text(encoding="ascii").splitlines() if line.strip()]
    if lines[:2] != [["x"], ["-1", "1"]] or [int(line[0]) for line in lines[2:]] != list(range(1, FEATURES + 1)):
        raise ValueError(f"{file} is not a range file of {FEATURES} features scaled to -1 .. 1")
    low, high = torch.tensor([[float(value) for value in line[1:]] for line in lines[2:]], dtype=torch.float64).T
    return Ranges(low, high)


def brisque_features(grey: Tensor) -> Tensor:
    """36 features of grey pictures (N, 1, H, W) in 0..255, 18 at each of two scales: (N, 36)."""
    smallest = 2 * WINDOW - 1
    if min(grey.shape[-2:]) < smallest:
        size = f"{grey.shape[-1]}x{grey.shape[-2]}"
        raise ValueError(
            f"BRISQUE's {WINDOW}x{WINDOW} window at half size needs {smallest}x{smallest} pixels, not {size}"
        )
    return torch.cat(side_by_side([lambda: _scale(grey), lambda: _scale(halve(grey))]), dim=-1)


def brisque(grey: Tensor, model: Regression, ranges: Ranges) -> Tensor:
    """Predicted distortion of grey pictures (N, 1, H, W) in 0..255; NaN where a feature is undefined."""
    # The regression is tiny and its files lie in main memory: only the features leave the device.
    features = brisque_features(grey).cpu()
    scaled = -1 + 2 * (features - ranges.low) / (ranges.high - ranges.low)
    return model.predict(scaled).to(grey.device)


class BRISQUE(Metric):
    """Blind image spatial quality evaluator, lower is better; typically 0 .. 100, not clipped, may be negative.

    Features keep all digits (the release's detour over text files, which rounds them to six, is left out: up to a few
    1e-4 of the score); windows that are exactly constant count as exactly zero contrast.
    """

    label = "BRISQUE"
    higher_is_better = False
    needs_reference = False
    decimals = 2
    noise = 0.05
    definition = "rgb2gray rounded to 8 bit, 36 features at two scales, the original release's regression, not clipped"
    source = "Mittal et al., IEEE TIP 2012; release utlive/BRISQUE 2e2a5ac0, imresize of current MATLAB"
    files = (MODEL, RANGES)
    caveat: ClassVar[str] = FLAT
    undefined: ClassVar[str] = "the picture has no contrast of one sign (an all-black picture)"

    def __init__(self, option: str, files: Mapping[str, Path], device: torch.device) -> None:
        """Read the regression and the ranges of its features."""
        super().__init__(option, files, device)
        self.model = read_regression(files[MODEL.name])
        self.ranges = read_ranges(files[RANGES.name])

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """BRISQUE of each picture."""
        with unsplit(enhanced.rgb):
            return brisque(enhanced.grey, self.model, self.ranges)

    def caveats(self, enhanced: Planes) -> Tensor:
        """Share of flat windows."""
        return enhanced.derived(flat_share)


def _scale(grey: Tensor) -> Tensor:
    """18 features at one scale, (N, 18)."""
    contrast = normalised(grey, border="constant").squeeze(1)
    fit = neighbour_fits(contrast, SHIFTS)
    mean = (fit.right - fit.left) * fit.gamma2 / fit.gamma1 * (fit.gamma1 / fit.gamma3).sqrt()
    of_products = torch.stack([fit.alpha, mean, fit.left.square(), fit.right.square()], dim=-1)
    return torch.cat([torch.stack(symmetric_fit(contrast.flatten(1)), dim=-1), of_products.flatten(1)], dim=-1)
