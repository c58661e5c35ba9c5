"""LIME: divide by an illumination map that is smooth inside surfaces and keeps their edges."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from bench.contracts import Adapter

from ._options import refuse_option

SMOOTHNESS = 0.15
"""lambda of Eq. 19."""
SIGMA = 2.0
"""Standard deviation, in pixels, of the window over which a gradient counts as structure."""
GAMMA = 0.8
"""The map is raised to this power before the division; below 1 darkness is lifted less than fully."""
GRADIENT_FLOOR = 1e-3
ILLUMINATION_FLOOR = 1e-3
"""Keeps the division finite; a quarter of an 8-bit level."""
TOLERANCE = 1e-5
"""Residual, relative to the right-hand side, at which the solver stops: 2e-6 of the map, hundredths of a level."""
MAX_STEPS = 2000


class LIME(Adapter):
    """Guo et al.: T0 = max(R, G, B); T solves (Id + lambda sum D'WD) T = T0; the output is I / T^0.8.

    W = 1 / (|G_sigma * gradient of T0| + 0.001), the sped-up form of Section III-C with the gradients' own factor left
    out, as in public code. The optional denoising of the paper is left out as well.
    """

    label = "LIME"
    kind = "classical"
    source = "Guo, Li & Ling 2017, IEEE TIP 26(2), sped-up solver; lambda 0.15, sigma 2, gamma 0.8"

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        super().__init__(option, weights)
        refuse_option("lime", option)

    def enhance(self, low: Tensor) -> Tensor:
        """One sparse system per picture, solved where the picture lies."""
        return torch.stack([self._enhance_one(picture) for picture in low])

    def _enhance_one(self, low: Tensor) -> Tensor:
        brightest = low.amax(dim=0)
        illumination = smooth(brightest, edge_weights(brightest))
        return (low / illumination.clamp(ILLUMINATION_FLOOR, 1).pow(GAMMA)).clamp(0, 1)


class EdgeWeights(NamedTuple):
    """How strongly neighbours are tied: (H, W-1) along rows and (H-1, W) along columns."""

    horizontal: Tensor
    vertical: Tensor


def edge_weights(illumination: Tensor) -> EdgeWeights:
    """W of both directions for a map (H, W): large where the gradient's local mean is small."""
    return EdgeWeights(
        horizontal=1 / (_blurred(illumination.diff(dim=1)).abs() + GRADIENT_FLOOR),
        vertical=1 / (_blurred(illumination.diff(dim=0)).abs() + GRADIENT_FLOOR),
    )


def smooth(illumination: Tensor, weights: EdgeWeights, smoothness: float = SMOOTHNESS) -> Tensor:
    """Solve (Id + smoothness * sum D'WD) T = illumination by conjugate gradients on the symmetrically scaled system.

    The matrix is never built: it is a stencil of five pixels. A direct sparse factorisation takes 5 to 10 times as long
    at 600x400 and agrees within 2e-6.
    """
    across, down = smoothness * weights.horizontal, smoothness * weights.vertical
    diagonal = torch.ones_like(illumination)
    diagonal[:, :-1] += across
    diagonal[:, 1:] += across
    diagonal[:-1] += down
    diagonal[1:] += down
    # Scaled to a unit diagonal (Jacobi preconditioning); without it the condition number is that of the weights.
    scale = diagonal.rsqrt()
    across = across * scale[:, :-1] * scale[:, 1:]
    down = down * scale[:-1] * scale[1:]

    def apply(field: Tensor, out: Tensor) -> Tensor:
        out.copy_(field)
        out[:, :-1].addcmul_(across, field[:, 1:], value=-1)
        out[:, 1:].addcmul_(across, field[:, :-1], value=-1)
        out[:-1].addcmul_(down, field[1:], value=-1)
        out[1:].addcmul_(down, field[:-1], value=-1)
        return out

    target = illumination * scale
    solution = illumination / scale  # T0 itself is the first guess
    product = torch.empty_like(target)
    residual = target - apply(solution, product)
    direction = residual.clone()
    energy = _dot(residual, residual)
    enough = TOLERANCE**2 * _dot(target, target)
    for _ in range(MAX_STEPS):
        if energy <= enough:
            return solution * scale
        length = energy / _dot(direction, apply(direction, product))
        solution.add_(direction, alpha=length)
        residual.add_(product, alpha=-length)
        before, energy = energy, _dot(residual, residual)
        direction.mul_(energy / before).add_(residual)
    raise ArithmeticError(
        f"the illumination of a {illumination.shape[1]}x{illumination.shape[0]} picture is not found within "
        f"{MAX_STEPS} steps of the solver"
    )


def _dot(one: Tensor, other: Tensor) -> float:
    return float(torch.dot(one.view(-1), other.view(-1)))


def _blurred(field: Tensor) -> Tensor:
    """Gaussian mean with repeated edges; a field without pixels (of a picture one pixel wide) stays empty."""
    if not field.numel():
        return field
    radius = round(4 * SIGMA)
    offsets = torch.arange(-radius, radius + 1, device=field.device, dtype=field.dtype)
    kernel = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(field[None, None], (radius,) * 4, mode="replicate")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return functional.conv2d(rows, kernel.view(1, 1, -1, 1))[0, 0]
