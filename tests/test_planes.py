from __future__ import annotations

import numpy as np
import torch
from _pictures import from_8bit

from bench.planes import Planes


def test_every_8bit_value_comes_back_as_a_whole_number(device: torch.device) -> None:
    levels = torch.arange(256, dtype=torch.float32, device=device)
    rgb = (levels / 255).view(1, 1, 1, 256).expand(1, 3, 1, 256)
    assert torch.equal(Planes(rgb).rgb255[0, 1, 0], levels)


def test_grey_of_a_grey_pixel_is_that_pixel() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    assert from_8bit(levels).grey.flatten().tolist() == list(range(256))


def test_grey_is_matlabs_rounded_value_by_hand() -> None:
    # .298936 * 255 = 76.23, .587043 * 255 = 149.70, .114021 * 255 = 29.08
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert from_8bit(pixels).grey.flatten().tolist() == [76, 150, 29]


def test_luma_is_not_rounded() -> None:
    luma = from_8bit(np.array([[[1, 1, 0]]], np.uint8)).luma_bt601
    assert luma.dtype == torch.float64
    assert abs(luma.item() - 0.886) < 1e-12


def test_derived_values_are_computed_once() -> None:
    calls = []

    def mean(planes: Planes) -> float:
        calls.append(planes)
        return float(planes.rgb.mean())

    planes = from_8bit(np.full((2, 2, 3), 255, np.uint8))
    assert planes.derived(mean) == planes.derived(mean) == 1.0
    assert len(calls) == 1
