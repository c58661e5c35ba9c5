"""Lightness order error: how many pairs of places change their order of brightness."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bench.contracts import Metric
from bench.planes import Planes

WINDOW = 15
"""Side of the window whose largest lightness stands for its middle pixel."""
SHORT_SIDE = 50
"""The shorter side is sampled at this many places, or up to twice as many where it is no multiple."""
LEVELS = 256


def lightness(rgb255: Tensor) -> Tensor:
    """Local maxima of max(R, G, B) at the sampled places of (N, 3, H, W) in 0..255: whole numbers, int64 (N, h, w)."""
    height, width = rgb255.shape[-2:]
    if min(height, width) < SHORT_SIDE:
        raise ValueError(f"LOE needs at least {SHORT_SIDE}x{SHORT_SIDE} pixels, the picture has {width}x{height}")
    step = min(height, width) // SHORT_SIDE
    brightest = rgb255.to(torch.float32).amax(1, keepdim=True)
    # Beyond the border the release mirrors; that adds nothing to a maximum, so cutting the window off is the same.
    reach = WINDOW // 2
    padded = functional.pad(brightest, (reach, reach, reach, reach), value=-torch.inf)
    # The release takes pixels step, 2 step, ... counted from 1.
    maxima = functional.max_pool2d(padded[..., step - 1 :, step - 1 :], WINDOW, stride=step)
    return maxima.squeeze(1).add_(0.5).floor_().clamp_(0, LEVELS - 1).to(torch.int64)


def order_errors(one: Tensor, other: Tensor) -> Tensor:
    """Ordered pairs (x, y) of places of which a(y) >= a(x) holds in one picture only; levels (N, P) -> int64 (N,)."""
    count = len(one)
    # Order depends on levels alone, so pairs are counted between cells of the joint histogram, never pixel by pixel.
    cells = (torch.arange(count, device=one.device).unsqueeze(1) * LEVELS + one) * LEVELS + other
    joint = torch.bincount(cells.flatten(), minlength=count * LEVELS**2).view(count, LEVELS, LEVELS)
    darker_in_one = joint.sum(2).cumsum(1) - joint.sum(2)
    darker_in_other = joint.sum(1).cumsum(1) - joint.sum(1)
    up_to = joint.cumsum(1).cumsum(2)
    darker_in_both = functional.pad(up_to[:, :-1, :-1], (1, 0, 1, 0))
    in_one_only = darker_in_one.unsqueeze(2) + darker_in_other.unsqueeze(1) - 2 * darker_in_both
    return (joint * in_one_only).sum(dim=(1, 2))


def loe(enhanced255: Tensor, original255: Tensor) -> Tensor:
    """LOE of pictures (N, 3, H, W) in 0..255 against what they were made from, float64 (N,)."""
    enhanced, original = lightness(enhanced255).flatten(1), lightness(original255).flatten(1)
    return order_errors(enhanced, original).to(torch.float64) / enhanced.shape[1]


class LOE(Metric):
    """Lightness order error against the low-light picture, lower is better; 0 where no two places swap order.

    The release is followed, and differs from the paper in taking local maxima before sampling. Grows with the number of
    places sampled, that is with the ratio of the sides.
    """

    label = "LOE"
    higher_is_better = False
    needs_reference = False
    needs_low = True
    decimals = 1
    noise = 0.04
    bounds = (0.0, float("inf"))
    definition = (
        "against the low-light picture; 15x15 maxima of max(R, G, B) at every floor(short side / 50)-th "
        "pixel, all pairs of these, mean number of changed orders"
    )
    source = "Wang et al., IEEE TIP 2013; the authors' LOE.m"

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """LOE of each picture; `reference` is the low-light one."""
        if reference is None:
            raise ValueError("LOE needs the low-light picture")
        return loe(enhanced.rgb255, reference.rgb255)
