from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from _pictures import darkened, from_8bit, grey, photographs, picture
from skimage.metrics import peak_signal_noise_ratio

from bench.metrics.psnr import PSNR
from bench.metrics.psnr_gtmean import PSNRGTMean
from bench.metrics.psnr_y import PSNRY

CPU = torch.device("cpu")


def test_psnr_of_equal_pictures_is_infinite() -> None:
    planes = from_8bit(photographs()[0])
    assert PSNR("", {}, CPU).score(planes, planes).tolist() == [math.inf]


def test_psnr_is_symmetric_and_falls_with_the_error(device: torch.device) -> None:
    photograph, metric = photographs()[0], PSNR("", {}, device)
    reference = from_8bit(photograph)
    near, far = (from_8bit(np.clip(photograph.astype(int) + step, 0, 255).astype(np.uint8)) for step in (2, 20))
    assert metric.score(near, reference) == metric.score(reference, near)
    assert metric.score(near, reference) > metric.score(far, reference)


def test_psnr_of_a_2x2_picture_is_the_value_by_hand() -> None:
    # One of the 12 values differs by 12: MSE = 144 / 12.
    one, other = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 100, np.uint8)
    other[0, 1, 2] = 112
    value = PSNR("", {}, CPU).score(from_8bit(one), from_8bit(other))
    assert value.item() == pytest.approx(10 * math.log10(255**2 / 12), abs=1e-9)


def test_psnr_without_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="PSNR needs a reference"):
        PSNR("", {}, CPU).score(from_8bit(grey(3)), None)


def test_psnr_agrees_with_scikit_image(device: torch.device) -> None:
    photograph = photographs()[0]
    dark = darkened(photograph)
    value = PSNR("", {}, device).score(_on(device, dark), _on(device, photograph))
    assert value.dtype == torch.float64
    assert value.item() == pytest.approx(peak_signal_noise_ratio(photograph, dark, data_range=255), abs=1e-6)


def test_psnr_scores_each_picture_of_a_batch_on_its_own() -> None:
    one, other = photographs()
    low = [darkened(one), darkened(other)]
    metric = PSNR("", {}, CPU)
    together = metric.score(from_8bit(*low), from_8bit(one, other)).tolist()
    turned = metric.score(from_8bit(*low[::-1]), from_8bit(other, one)).tolist()
    alone = [metric.score(from_8bit(a), from_8bit(b)).item() for a, b in zip(low, (one, other), strict=True)]
    assert together == pytest.approx(alone, rel=1e-9)
    assert turned == pytest.approx(alone[::-1], rel=1e-9)


def test_psnr_y_is_the_psnr_of_luma_by_hand() -> None:
    # Only red differs, by 10: luma differs by 2.99 everywhere.
    one, other = grey(100, 4, 4), grey(100, 4, 4)
    other[..., 0] += 10
    value = PSNRY("", {}, CPU).score(from_8bit(one), from_8bit(other))
    assert value.item() == pytest.approx(20 * math.log10(255 / 2.99), abs=1e-6)


def test_psnr_gtmean_forgives_a_wrong_brightness_and_nothing_else() -> None:
    photograph = (photographs()[0] // 2 * 2).clip(0, 254)
    half = (photograph // 2).astype(np.uint8)
    metric = PSNRGTMean("", {}, CPU)
    assert metric.score(from_8bit(half), from_8bit(photograph)).item() > 100
    assert metric.score(from_8bit(half[::-1].copy()), from_8bit(photograph)).item() < 20


def test_psnr_gtmean_of_a_black_picture_is_nan_with_a_stated_reason() -> None:
    assert PSNRGTMean("", {}, CPU).score(from_8bit(grey(0)), from_8bit(grey(9))).isnan().all()
    assert "black" in PSNRGTMean.undefined


def test_mean_psnr_of_lol_is_the_known_figure(shared_data) -> None:
    low = sorted((shared_data / "lol" / "eval15" / "low").glob("*.png"))
    values = [PSNR("", {}, CPU).score(picture(one), picture(one.parent.parent / "high" / one.name)) for one in low]
    assert len(values) == 15
    assert torch.cat(values).mean().item() == pytest.approx(7.7733, abs=5e-5)  # data/SOURCES.md, four decimals


def _on(device: torch.device, photograph: np.ndarray):
    from bench.planes import Planes

    return Planes(from_8bit(photograph).rgb.to(device))
