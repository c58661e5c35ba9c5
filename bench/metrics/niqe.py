"""NIQE with the original release's pristine model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from bench.contracts import Metric, ParameterFile
from bench.planes import Planes

from ._filters import halve
from ._scene_statistics import FLAT, asymmetric_fit, flat_share, normalised

BLOCK = 96
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Neighbours whose products are fitted, as (rows down, columns right)."""
FEATURES = 36
RTOL = FEATURES * torch.finfo(torch.float64).eps
"""Singular values below this part of the largest count as zero, MATLAB's default within a factor of two."""

PRISTINE = ParameterFile(
    name="niqe_modelparameters.mat",
    sha256="fa2aa4d12dd9595c3fb6bf8b4e1a15c79d5d1469238d0901c88dead195be578d",
    url="https://github.com/utlive/niqe/raw/d80aead2/modelparameters.mat",
    licence="LIVE notice: free use with citation of the release and its paper",
)


class Pristine(NamedTuple):
    """Mean (36,) and covariance (36, 36) of the features of undistorted photographs, float64."""

    mean: Tensor
    covariance: Tensor


def read_pristine(file: Path, device: torch.device) -> Pristine:
    """The model as the release stores it, a MATLAB file with mu_prisparam and cov_prisparam."""
    from scipy.io import loadmat

    content = loadmat(file)
    try:
        mean, covariance = content["mu_prisparam"], content["cov_prisparam"]
    except KeyError as error:
        raise ValueError(f"{file} is not a NIQE model: it has no {error}") from error
    return Pristine(
        torch.as_tensor(mean, dtype=torch.float64, device=device).flatten(),
        torch.as_tensor(covariance, dtype=torch.float64, device=device),
    )


def niqe_features(grey: Tensor) -> Tensor:
    """36 features of every whole 96x96 block of grey pictures (N, 1, H, W) in 0..255: (N, blocks, 36)."""
    height, width = (size // BLOCK * BLOCK for size in grey.shape[-2:])
    if height * width < 2 * BLOCK**2:
        size = f"{grey.shape[-1]}x{grey.shape[-2]}"
        raise ValueError(f"NIQE needs at least two whole {BLOCK}x{BLOCK} blocks, the picture has {size} pixels")
    grey = grey[..., :height, :width]
    return torch.cat([_scale(grey, BLOCK), _scale(halve(grey), BLOCK // 2)], dim=-1)


def niqe(grey: Tensor, pristine: Pristine) -> Tensor:
    """Distance of grey pictures (N, 1, H, W) in 0..255 from the pristine model; NaN where it is undefined."""
    features = niqe_features(grey)
    mean = features.nanmean(dim=1)
    complete = ~features.isnan().any(dim=-1, keepdim=True)
    count = complete.sum(dim=1)
    kept = features.where(complete, 0)
    centred = (features - (kept.sum(dim=1) / count).unsqueeze(1)).where(complete, 0)
    covariance = centred.mT @ centred / (count - 1).unsqueeze(-1)
    defined = (count.squeeze(-1) > 1) & ~mean.isnan().any(dim=-1)
    score = torch.full((len(grey),), torch.nan, dtype=torch.float64, device=grey.device)
    if defined.any():
        distance = (mean - pristine.mean)[defined].unsqueeze(1)
        inverse = torch.linalg.pinv((covariance[defined] + pristine.covariance) / 2, rtol=RTOL, hermitian=True)
        score[defined] = (distance @ inverse @ distance.mT).flatten().sqrt()
    return score


class NIQE(Metric):
    """Naturalness image quality evaluator, lower is better.

    Distance between the picture's block features and those of undistorted photographs. Blocks are not selected by
    sharpness, as in the release; windows that are exactly constant count as exactly zero contrast.
    """

    label = "NIQE"
    higher_is_better = False
    needs_reference = False
    decimals = 3
    noise = 0.02
    bounds = (0.0, float("inf"))
    definition = "rgb2gray rounded to 8 bit, whole 96x96 blocks at two scales, the original release's pristine model"
    source = "Mittal et al., IEEE SPL 2013; release utlive/niqe d80aead2, imresize of current MATLAB"
    files = (PRISTINE,)
    caveat: ClassVar[str] = FLAT
    undefined: ClassVar[str] = "fewer than two blocks have contrast of both signs in all features (a constant picture)"

    def __init__(self, option: str, files: Mapping[str, Path], device: torch.device) -> None:
        """Read the pristine model."""
        super().__init__(option, files, device)
        self.pristine = read_pristine(files[PRISTINE.name], device)

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """NIQE of each picture."""
        return niqe(enhanced.grey, self.pristine)

    def caveats(self, enhanced: Planes) -> Tensor:
        """Share of flat windows."""
        return enhanced.derived(flat_share)


def _scale(grey: Tensor, block: int) -> Tensor:
    """18 features of every block at one scale, (N, blocks, 18)."""
    contrast = normalised(grey, border="replicate")
    count, _, height, width = contrast.shape
    blocks = contrast.view(count, height // block, block, width // block, block).transpose(2, 3).flatten(1, 2)
    fit = asymmetric_fit(blocks.flatten(-2))
    scale = (fit.gamma1 / fit.gamma3).sqrt()
    features = [fit.alpha, (fit.left + fit.right) * scale / 2]
    for shift in SHIFTS:
        # Circular inside the block, as the release has it.
        fit = asymmetric_fit((blocks * blocks.roll(shift, dims=(-2, -1))).flatten(-2))
        scale = (fit.gamma1 / fit.gamma3).sqrt()
        left, right = fit.left * scale, fit.right * scale
        features += [fit.alpha, (right - left) * fit.gamma2 / fit.gamma1, left, right]
    return torch.stack(features, dim=-1)
