from __future__ import annotations

import numpy as np
import pytest
import torch
from _pictures import darkened, from_8bit, grey, photographs, picture, rows
from skimage.metrics import structural_similarity

from bench.metrics.ssim import SSIM
from bench.metrics.ssim_gray import SSIMGray
from bench.metrics.ssim_y import SSIMY

CPU = torch.device("cpu")


def scikit(one: np.ndarray, other: np.ndarray) -> float:
    channels = -1 if one.ndim == 3 else None
    return structural_similarity(
        one, other, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=channels
    )


@pytest.mark.parametrize("metric", [SSIM, SSIMY, SSIMGray])
def test_ssim_of_equal_pictures_is_one(metric) -> None:
    planes = from_8bit(photographs()[0])
    assert metric("", {}, CPU).score(planes, planes).item() == pytest.approx(1, abs=1e-12)


def test_ssim_is_symmetric_and_falls_with_noise() -> None:
    photograph, metric = photographs()[0], SSIM("", {}, CPU)
    noise = np.random.default_rng(0).normal(0, 1, photograph.shape)
    little, much = (from_8bit(np.clip(photograph + s * noise, 0, 255).astype(np.uint8)) for s in (4, 25))
    reference = from_8bit(photograph)
    assert metric.score(little, reference).item() == pytest.approx(metric.score(reference, little).item(), rel=1e-12)
    assert metric.score(little, reference) > metric.score(much, reference)


def test_ssim_of_two_flat_pictures_is_the_luminance_term_by_hand() -> None:
    c1 = 2.55**2
    expected = (2 * 50 * 100 + c1) / (50**2 + 100**2 + c1)
    value = SSIM("", {}, CPU).score(from_8bit(grey(50, 11, 11)), from_8bit(grey(100, 11, 11)))
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_ssim_of_a_picture_below_the_window_is_refused() -> None:
    small = from_8bit(grey(3, 10, 40))
    with pytest.raises(ValueError, match="11x11 pixels, the picture has 40x10"):
        SSIM("", {}, CPU).score(small, small)


@pytest.mark.parametrize("size", [(224, 256), (11, 11), (37, 60)])
def test_ssim_agrees_with_scikit_image(size: tuple[int, int], device: torch.device) -> None:
    from bench.planes import Planes

    photograph = photographs(*size)[0]
    dark = darkened(photograph)
    one, other = (Planes(from_8bit(each).rgb.to(device)) for each in (dark, photograph))
    value = SSIM("", {}, device).score(one, other)
    assert value.dtype == torch.float64
    assert value.item() == pytest.approx(scikit(photograph, dark), abs=1e-6)


def test_ssim_y_agrees_with_scikit_image_on_luma() -> None:
    photograph = photographs()[0]
    dark = darkened(photograph)
    luma = [each.astype(np.float64) @ [0.299, 0.587, 0.114] for each in (dark, photograph)]
    value = SSIMY("", {}, CPU).score(from_8bit(dark), from_8bit(photograph))
    assert value.item() == pytest.approx(scikit(*luma), abs=1e-6)


def test_ssim_does_not_depend_on_the_batch_or_its_order() -> None:
    one, other = photographs()
    low, metric = [darkened(one), darkened(other)], SSIM("", {}, CPU)
    alone = [metric.score(from_8bit(a), from_8bit(b)).item() for a, b in zip(low, (one, other), strict=True)]
    assert metric.score(from_8bit(*low), from_8bit(one, other)).tolist() == pytest.approx(alone, rel=1e-9)
    assert metric.score(from_8bit(*low[::-1]), from_8bit(other, one)).tolist() == pytest.approx(alone[::-1], rel=1e-9)


@pytest.mark.parametrize("metric", [SSIM, SSIMGray])
def test_ssim_agrees_with_the_authors_code(metric, shared_data) -> None:
    name = {SSIM: "ssim", SSIMGray: "ssim_gray"}[metric]
    for row in rows(name):
        value = metric("", {}, CPU).score(picture(shared_data / row.image), picture(shared_data / row.reference))
        assert value.item() == pytest.approx(row.value, rel=row.tolerance), row.image
