from __future__ import annotations

import cv2
import numpy as np
import torch

from bench import plugins
from bench.contracts import Adapter
from bench.plugins import Spec

HE = plugins.load(Adapter, Spec.parse("he"))


def random_picture(height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(1, 3, height, width, generator=generator).pow(3) * 120).floor() / 255


def test_four_levels_are_spread_evenly() -> None:
    # cdf 1 2 3 4 of 4 pixels, cdf_min 1: levels go to 0, 1/3, 2/3, 1
    low = (torch.tensor([10.0, 20.0, 30.0, 40.0]) / 255).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    expected = torch.tensor([0, 1 / 3, 2 / 3, 1]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    torch.testing.assert_close(HE().enhance(low), expected, rtol=0, atol=1e-6)


def test_a_picture_of_one_level_stays() -> None:
    low = torch.full((1, 3, 4, 4), 0.2)
    assert torch.equal(HE().enhance(low), low)


def test_ratios_of_the_channels_stay() -> None:
    low = random_picture(16, 16)
    enhanced = HE().enhance(low)
    lit = enhanced.amax(dim=1, keepdim=True) > 0
    ratio = low / low.amax(dim=1, keepdim=True).clamp(min=1e-6)
    after = enhanced / enhanced.amax(dim=1, keepdim=True).clamp(min=1e-6)
    torch.testing.assert_close(torch.where(lit, after, ratio), ratio, rtol=0, atol=1e-5)


def test_v_agrees_with_opencv() -> None:
    low = random_picture(40, 52)
    value = (low.amax(dim=1)[0] * 255).round().to(torch.uint8).numpy()
    ours = HE().enhance(low).amax(dim=1)[0].mul(255).numpy()
    # OpenCV rounds its table to 8 bit.
    assert np.abs(ours - cv2.equalizeHist(value).astype(np.float64)).max() <= 0.5 + 1e-3


def test_each_picture_of_a_batch_has_its_own_curve() -> None:
    low = random_picture(8, 8)
    both = torch.cat([low, low / 2])
    torch.testing.assert_close(HE().enhance(both)[:1], HE().enhance(low), rtol=0, atol=0)
