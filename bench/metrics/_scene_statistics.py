"""Natural scene statistics that NIQE and BRISQUE share: normalised luminance, generalised Gaussian fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from bench.planes import Planes

from ._filters import constant_windows, correlate2d, gaussian_taps

WINDOW = 7
TAPS = gaussian_taps(WINDOW // 2, WINDOW / 6)
ROUNDING = 1e-10
"""Above every rounding rest of a window's mean (4e-13), below every true difference from it seen (3e-9)."""
RELEASED = tuple(
    tuple(float.fromhex(tap) for tap in taps)
    for taps in (
        ("0x1.e0db00311d7f1p-4",),
        ("0x1.4d06977d8ad64p-4", "0x1.cd496e1480e87p-5"),
        ("0x1.ba83b9de5989ep-6", "0x1.3278d5665da90p-6", "0x1.973b1202ace5bp-8"),
        ("0x1.1a0917e5476acp-8", "0x1.86a8865c4c6d2p-9", "0x1.038c273f9a49cp-10", "0x1.4ad805ce81344p-13"),
    )
)
"""The releases' window, fspecial('gaussian', 7, 7/6) divided by its sum once more, to the bit: taps by the larger and
the smaller distance from the centre along the axes."""
CHUNK = 2**16
"""Windows summed at once in the releases' order, 50 MB."""
STRIP = 60_000
"""Pixels whose products are summed at a time on a processor; four sums of 2^16 NumPy's OpenBLAS keeps in one thread."""
SHAPES = tuple(0.2 + 0.001 * step for step in range(9801))
"""Grid on which both releases look for the shape parameter alpha: 0.2:0.001:10."""


class Asymmetric(NamedTuple):
    """Fit of an asymmetric generalised Gaussian, one value per row of samples; NaN where a side has no sample."""

    alpha: Tensor
    left: Tensor
    """Root mean square of the negative samples."""
    right: Tensor
    """Root mean square of the positive samples."""
    gamma1: Tensor
    """gamma(1 / alpha)."""
    gamma2: Tensor
    gamma3: Tensor


def normalised(luminance: Tensor, border: str) -> Tensor:
    """(x - mean) / (deviation + 1) in a Gaussian 7x7 window; border 'replicate' or 'constant' (zero)."""
    padded = functional.pad(luminance, (WINDOW // 2,) * 4, mode=border)
    mean = correlate2d(padded, TAPS)
    deviation = correlate2d(padded.square(), TAPS).addcmul_(mean, mean, value=-1).abs_().sqrt_()
    contrast = luminance - mean
    # Constant windows leave a rounding rest; there the contrast is exactly zero, which counts on neither side below.
    # Where the window is exactly antisymmetric about its centre x - mean is zero in exact arithmetic, but a sum leaves
    # 1e-14 of either sign, and the fits below count signs. There the mean is summed as the releases do it.
    resting = contrast.abs()
    if resting.min() < ROUNDING:
        constant = constant_windows(padded, WINDOW)
        doubtful = (resting < ROUNDING).logical_and_(~constant).nonzero(as_tuple=True)
        if len(doubtful[0]):
            contrast[doubtful] = luminance[doubtful] - _released_mean(padded, doubtful, border)
        contrast.masked_fill_(constant, 0)
    return contrast.div_(deviation.add_(1))


def _released_mean(padded: Tensor, where: tuple[Tensor, ...], border: str) -> Tensor:
    """Weighted means of the windows at `where` (picture, plane, top, left), to the bit the releases' in GNU Octave."""
    # conv2 adds tap by tap without fused operations: NIQE's way, 'valid' on a padded plane, from the last column,
    # BRISQUE's, 'same' on the plane itself, from the first; both up the columns.
    columns = range(WINDOW) if border == "constant" else reversed(range(WINDOW))
    order = [(row, column) for column in columns for row in reversed(range(WINDOW))]
    distances = [sorted((abs(row - WINDOW // 2), abs(column - WINDOW // 2))) for row, column in order]
    taps = torch.tensor([[RELEASED[far][near]] for near, far in distances], dtype=padded.dtype, device=padded.device)
    planes, height, width = padded.shape[1:]
    steps = torch.tensor([[row * width + column] for row, column in order], device=padded.device)
    picture, plane, top, left = where
    corners = ((picture * planes + plane) * height + top) * width + left
    means = []
    for corner in torch.split(corners, CHUNK):
        # Products and sums are separate operations, each rounded once: the same bits on every device.
        first, *others = padded.take(corner + steps).mul_(taps)
        for product in others:
            first = first + product
        means.append(first)
    return torch.cat(means)


FLAT = (
    "flat windows, whose contrast is rounding noise in every implementation: NIQE and BRISQUE differ there between "
    "programs by up to several per cent; here flat counts as exactly zero"
)
"""What `flat_share` above zero means for a value."""


def flat_share(planes: Planes) -> Tensor:
    """Share of the 7x7 windows of each picture that are constant and not black, (N,) float64."""
    grey = planes.grey
    if min(grey.shape[-2:]) < WINDOW:
        return torch.zeros(len(grey), dtype=torch.float64, device=grey.device)
    inner = grey[..., WINDOW // 2 : -(WINDOW // 2), WINDOW // 2 : -(WINDOW // 2)]
    # Black is harmless: sums of zeros are exactly zero everywhere.
    return (constant_windows(grey, WINDOW) & (inner > 0)).to(torch.float64).mean(dim=(1, 2, 3))


def asymmetric_fit(samples: Tensor) -> Asymmetric:
    """Moment fit of each row of samples (..., L), alpha being the nearest value of the grid."""
    absolute = samples.abs().sum(-1)
    squares = torch.stack([_squares(samples.clamp(max=0)), _squares(samples.clamp(min=0))])
    # Counts from signs: twice as fast as sums of flags.
    signs = samples.sign()
    surplus, counted = signs.sum(-1), _squares(signs).round()
    counts = torch.stack([counted - surplus, counted + surplus]) / 2
    return _asymmetric(absolute, squares, counts, samples.shape[-1])


def neighbour_fits(contrast: Tensor, shifts: Sequence[tuple[int, int]]) -> Asymmetric:
    """Asymmetric fits of the products of each pixel with its neighbour in each direction, (N, H, W) -> (N, shifts).

    `shifts` are (rows down, columns right) of -1, 0 or 1; the picture is circular. The products are never formed: a
    sum over them is a sum over products of the signed parts of the two pixels.
    """
    _, height, width = contrast.shape
    # Picture by picture, on a processor in strips; so the sums do not depend on the batch.
    step = max(1, STRIP // (width + 2)) if contrast.device.type == "cpu" else height
    strips = [_neighbour_sums(plane, top, step, shifts) for plane in contrast for top in range(0, height, step)]
    sums = torch.stack(strips).view(len(contrast), -1, len(shifts), 9).sum(1)
    absolute, *products = sums.unbind(-1)
    both_positive, *opposite, both_negative = products[:4]
    count_positive, *count_opposite, count_negative = products[4:]
    squares = torch.stack([opposite[0] + opposite[1], both_positive + both_negative])
    counts = torch.stack([-count_opposite[0] - count_opposite[1], count_positive + count_negative])
    return _asymmetric(absolute, squares, counts, height * width)


def _neighbour_sums(plane: Tensor, top: int, count: int, shifts: Sequence[tuple[int, int]]) -> Tensor:
    """Sums over `count` rows of |a b|, then of (a b)^2 and of sign(a b), each by the signs ++ +- -+ --: (shifts, 9)."""
    rows = plane[top : top + count + 1]
    if top + count >= len(plane):
        rows = torch.cat([rows, plane[:1]])
    # With the row below and a column on either side, circular.
    strip = torch.cat([rows[:, -1:], rows, rows[:, :1]], dim=1)
    pitch = strip.shape[1]
    values = strip.flatten()
    parts = torch.stack([values.clamp(min=0), values.clamp(max=0)])
    signs = parts.to(torch.float32).sign_()  # sums of up to 2^24 ones are exact
    fields = (values.abs_().unsqueeze(0), parts.square_(), signs)
    # The pixels themselves: zero in the added columns, so that one offset reaches every pixel's neighbour.
    own = [_without_added_columns(field, pitch)[:, 1:-1] for field in fields]
    length = own[0].shape[1]
    # Opposite directions give the same products.
    offsets = [1 + abs(down * pitch + right) for down, right in shifts]
    sums = [
        [_inner(mine, field[:, first : first + length]).flatten() for mine, field in zip(own, fields, strict=True)]
        for first in offsets
    ]
    return torch.stack([torch.cat(each) for each in sums])


def _inner(rows: Tensor, others: Tensor) -> Tensor:
    """Inner products of every row of one matrix with every row of the other."""
    if rows.device.type != "cpu" or len(rows) == 1:
        return rows @ others.T
    # NumPy's OpenBLAS takes half the time of torch's MKL on two rows; on a single one it would start threads.
    return torch.from_numpy(rows.numpy() @ others.numpy().T)


def _without_added_columns(fields: Tensor, pitch: int) -> Tensor:
    """A copy of all rows but the last, zero in the first and the last column; (F, L) -> (F, L - pitch)."""
    rows = fields[:, :-pitch].clone().view(len(fields), -1, pitch)
    rows[..., :: pitch - 1] = 0
    return rows.flatten(1)


def _asymmetric(absolute: Tensor, squares: Tensor, counts: Tensor, length: int) -> Asymmetric:
    """The fit from sums over samples: of absolutes; of squares, counts of the negative and the positive, (2, ...)."""
    # 0 / 0 is NaN where the side is empty, as in MATLAB.
    left, right = (squares / counts).sqrt()
    ratio = left / right
    moments = (absolute / length).square() / (squares.sum(0) / length)
    wanted = moments * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    grid = _grid(absolute.device)
    index = _nearest(wanted, grid.asymmetric)
    return Asymmetric(grid.alpha[index], left, right, grid.gamma1[index], grid.gamma2[index], grid.gamma3[index])


def symmetric_fit(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Shape and variance of a zero-mean generalised Gaussian for each row of samples (..., L)."""
    length = samples.shape[-1]
    variance = _squares(samples) / length
    ratio = variance / samples.abs().mean(-1).square()
    grid = _grid(samples.device)
    return grid.alpha[_nearest(-ratio, grid.symmetric_negated)], variance


class _Grid(NamedTuple):
    alpha: Tensor
    gamma1: Tensor
    gamma2: Tensor
    gamma3: Tensor
    asymmetric: Tensor
    symmetric_negated: Tensor


@lru_cache(maxsize=8)
def _grid(device: torch.device) -> _Grid:
    gammas = [tuple(math.gamma(order / shape) for order in (1, 2, 3)) for shape in SHAPES]
    gamma1, gamma2, gamma3 = torch.tensor(gammas, dtype=torch.float64).T.contiguous()
    rising = gamma2.square() / (gamma1 * gamma3)
    falling = gamma1 * gamma3 / gamma2.square()
    alpha = torch.tensor(SHAPES, dtype=torch.float64)
    return _Grid(*(values.to(device) for values in (alpha, gamma1, gamma2, gamma3, rising, -falling)))


def _nearest(wanted: Tensor, rising: Tensor) -> Tensor:
    """Index of the nearest grid value, the first of two equally near ones; 0 for NaN as MATLAB's min gives."""
    above = torch.searchsorted(rising, wanted.contiguous()).clamp(max=len(rising) - 1)
    below = (above - 1).clamp(min=0)
    index = torch.where((rising[below] - wanted).abs() <= (rising[above] - wanted).abs(), below, above)
    return torch.where(wanted.isnan(), 0, index)


def _squares(samples: Tensor) -> Tensor:
    squares: Tensor = torch.linalg.vector_norm(samples, 2, dim=-1).square()
    return squares
