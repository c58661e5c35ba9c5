"""SSEQ with the original release's machines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from bench.contracts import Metric, ParameterFile
from bench.planes import Planes

from ._filters import halve
from ._support_vectors import Classification, Regression, pair_coefficients

BLOCK = 8
SCALES = 3
FEATURES = 12
DISTORTIONS = 5
SMALLEST_POWER = 1e-8
"""Stands for an exact zero of a block's spectrum, and for the mean (DC) before normalising, as in the release."""

MODEL = ParameterFile(
    name="sseq_model.mat",
    sha256="69c1472fbabb10714ecea21cebbf84c08580cacb4bb9858a8a231aabf124561e",
    url="https://github.com/utlive/SSEQ/raw/21e98c95/model.mat",
    licence="BIT and LIVE notice: free use with citation of the release and its paper",
)


@dataclass(frozen=True, slots=True)
class Machines:
    """The release's two stages: which distortion, then how strong it is in each case."""

    low: Tensor
    """Smallest training value of each feature (12,); becomes -1."""
    high: Tensor
    """Largest training value of each feature (12,); becomes 1."""
    distortion: Classification
    strengths: tuple[Regression, ...]
    """One for each distortion, in the order of the classifier's labels."""

    def predict(self, features: Tensor) -> Tensor:
        """Score of each row of features (N, 12): 50 + 50 times the expected strength."""
        scaled = -1 + 2 * (features - self.low) / (self.high - self.low)
        strengths = torch.stack([machine.predict(scaled) for machine in self.strengths], dim=1)
        return 50 * (self.distortion.probabilities(scaled) * strengths).sum(1) + 50


def read_machines(file: Path) -> Machines:
    """The release's model.mat: fmin, fmax and libsvm's structures as its MATLAB interface stores them."""
    from scipy.io import loadmat

    content = loadmat(file)
    try:
        low, high = _vector(content["fmin"]), _vector(content["fmax"])
        classifier, regressions = content["svmmodel"][0, 0], content["svrmodel"].ravel()
    except KeyError as error:
        raise ValueError(f"{file} is not an SSEQ model: it has no {error}") from error
    if _vector(classifier["Label"]).tolist() != [1, 2, 3, 4, 5] or len(regressions) != DISTORTIONS:
        raise ValueError(f"{file} is not an SSEQ model: it does not hold {DISTORTIONS} distortions in order")
    counts = [int(count) for count in _vector(classifier["nSV"])]
    dual = torch.as_tensor(classifier["sv_coef"], dtype=torch.float64)
    distortion = Classification(
        vectors=_matrix(classifier["SVs"]),
        coefficients=pair_coefficients(dual, counts),
        rho=_vector(classifier["rho"]),
        slope=_vector(classifier["ProbA"]),
        offset=_vector(classifier["ProbB"]),
        gamma=_gamma(classifier),
        classes=DISTORTIONS,
    )
    strengths = []
    for cell in regressions:
        machine = cell[0, 0]
        rho = float(_vector(machine["rho"])[0])
        strengths.append(Regression(_matrix(machine["SVs"]), _vector(machine["sv_coef"]), rho, _gamma(machine)))
    return Machines(low, high, distortion, tuple(strengths))


def sseq_features(grey: Tensor) -> Tensor:
    """12 features of grey pictures (N, 1, H, W) of whole numbers 0..255, four at each of three scales: (N, 12)."""
    features = []
    for scale in range(SCALES):
        if scale:
            grey = halve(grey, finish=_round_8bit)
        blocks = _blocks(grey)
        if blocks.shape[1] < 2:
            raise ValueError(f"SSEQ needs more than one {BLOCK}x{BLOCK} block at quarter size, that is over 32 pixels")
        features += [*_pooled(spatial_entropy(blocks)), *_pooled(spectral_entropy(blocks))]
    return torch.stack(features, dim=1)


def sseq(grey: Tensor, machines: Machines) -> Tensor:
    """Predicted distortion of grey pictures (N, 1, H, W) in 0..255; NaN where a skewness is undefined."""
    # The machines are tiny: only the features leave the device.
    return machines.predict(sseq_features(grey).cpu()).to(grey.device)


def spatial_entropy(blocks: Tensor) -> Tensor:
    """Shannon entropy in bit of the grey values of each 8x8 block (N, B, 64): (N, B)."""
    rows = blocks.flatten(0, 1).to(torch.int64)
    # One long histogram of all blocks; each pixel then looks up how often its value occurs, 256 bins are never summed.
    bins = rows + 256 * torch.arange(len(rows), device=rows.device).unsqueeze(1)
    counts = torch.bincount(bins.flatten(), minlength=256 * len(rows))
    size = blocks.shape[-1]
    logarithms = torch.arange(size + 1, dtype=torch.float64, device=rows.device).log2()
    entropies: Tensor = math.log2(size) - logarithms[counts[bins]].mean(-1)
    return entropies.view(blocks.shape[:2])


def spectral_entropy(blocks: Tensor) -> Tensor:
    """Shannon entropy in bit of the normalised power of each 8x8 block's cosine transform (N, B, 64): (N, B)."""
    # The transform of a difference from one pixel has the same alternating part, and a constant block is exactly zero.
    centred = (blocks - blocks[..., :1]).view(*blocks.shape[:2], BLOCK, BLOCK)
    transform = _cosines(blocks.device)
    power = (transform @ centred @ transform.T).flatten(-2)
    # What symmetry makes zero leaves a rest of 1e-14 here; a true coefficient of whole numbers is far above 1e-9.
    power = power.masked_fill_(power.abs() < 1e-9, 0).square_()
    power[..., 0] = SMALLEST_POWER**2
    share = power.div_(power.sum(-1, keepdim=True))
    share.masked_fill_(share == 0, SMALLEST_POWER)
    return -(share * share.log2()).sum(-1)


class SSEQ(Metric):
    """Spatial-spectral entropy-based quality, lower is better; typically 0 .. 100, not clipped."""

    label = "SSEQ"
    higher_is_better = False
    needs_reference = False
    decimals = 2
    noise = 0.05
    definition = "rgb2gray rounded to 8 bit, entropies of 8x8 blocks at three scales, the original release's machines"
    source = "Liu et al., Signal Processing: Image Communication 2014; utlive/SSEQ 21e98c95, imresize of current MATLAB"
    files = (MODEL,)
    undefined: ClassVar[str] = "all blocks have the same entropy, so their skewness is undefined (a constant picture)"

    def __init__(self, option: str, files: Mapping[str, Path], device: torch.device) -> None:
        """Read the machines."""
        super().__init__(option, files, device)
        self.machines = read_machines(files[MODEL.name])

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """SSEQ of each picture."""
        return sseq(enhanced.grey, self.machines)


def _blocks(grey: Tensor) -> Tensor:
    """All 8x8 blocks (N, B, 64), partial ones at the right and the bottom completed with zeros."""
    height, width = grey.shape[-2:]
    padded = functional.pad(grey, (0, -width % BLOCK, 0, -height % BLOCK))
    count, _, height, width = padded.shape
    tiles = padded.view(count, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(2, 3)
    return tiles.reshape(count, -1, BLOCK**2)


def _pooled(entropies: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the middle 60 % and skewness of all blocks (N, B); the skewness of equal values is NaN."""
    count = entropies.shape[1]
    # ceil(0.2 n) .. ceil(0.8 n), counted from 1, in whole numbers: 0.2 n in floating point may lie just above n / 5.
    first, last = -(-count // 5), -(-4 * count // 5)
    middle = entropies.sort(dim=1).values[:, first - 1 : last].mean(1)
    centred = entropies - entropies.mean(1, keepdim=True)
    skewness = centred.pow(3).mean(1) / centred.square().mean(1) ** 1.5
    same = entropies.amax(1) == entropies.amin(1)
    return middle, skewness.masked_fill(same, torch.nan)


def _round_8bit(values: Tensor) -> Tensor:
    return values.add_(0.5).floor_().clamp_(0, 255)


@lru_cache(maxsize=8)
def _cosines(device: torch.device) -> Tensor:
    """Matrix of the orthonormal DCT-II of 8 samples."""
    step = torch.arange(BLOCK, dtype=torch.float64)
    matrix = torch.cos(math.pi / BLOCK * step.unsqueeze(1) * (step + 0.5)) * math.sqrt(2 / BLOCK)
    matrix[0] = math.sqrt(1 / BLOCK)
    return matrix.to(device)


def _vector(values: Any) -> Tensor:
    return torch.as_tensor(values.ravel(), dtype=torch.float64)


def _matrix(values: Any) -> Tensor:
    return torch.as_tensor(values.toarray() if hasattr(values, "toarray") else values, dtype=torch.float64)


def _gamma(machine: Any) -> float:
    _, kernel, _, gamma, _ = _vector(machine["Parameters"]).tolist()
    if kernel != 2:
        raise ValueError(f"an SSEQ machine has kernel type {kernel:.0f}, only 2 (Gaussian) is known")
    return float(gamma)
