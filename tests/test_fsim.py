from __future__ import annotations

import numpy as np
import pytest
import torch
from _pictures import darkened, from_8bit, grey, photographs, picture, rows

from bench.metrics import _phase_congruency as pc
from bench.metrics.fsim import FSIM
from bench.metrics.fsimc import FSIMc
from bench.planes import Planes

CPU = torch.device("cpu")


@pytest.mark.parametrize("metric", [FSIM, FSIMc])
def test_fsim_of_equal_pictures_is_one(metric, device: torch.device) -> None:
    planes = Planes(from_8bit(photographs()[0]).rgb.to(device))
    assert metric("", {}, device).score(planes, planes).item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("metric", [FSIM, FSIMc])
def test_fsim_is_symmetric_and_falls_with_noise(metric) -> None:
    photograph, scorer = photographs()[0], metric("", {}, CPU)
    noise = np.random.default_rng(0).normal(0, 1, photograph.shape)
    little, much = (from_8bit(np.clip(photograph + s * noise, 0, 255).astype(np.uint8)) for s in (4, 25))
    reference = from_8bit(photograph)
    assert scorer.score(little, reference).item() == pytest.approx(scorer.score(reference, little).item(), rel=1e-9)
    assert scorer.score(little, reference) > scorer.score(much, reference)


def test_fsim_ignores_colour_and_fsimc_does_not() -> None:
    photograph = photographs()[0].astype(float)
    # Red and blue move against each other so that .299 R + .114 B stays: the luma is the same within rounding.
    shifted = photograph * 0.5 + 60
    other = shifted + np.array([11.4, 0, -29.9])
    one, two = (Planes(torch.from_numpy(p).permute(2, 0, 1)[None].float() / 255) for p in (shifted, other))
    assert FSIM("", {}, CPU).score(one, two).item() == pytest.approx(1, abs=1e-5)
    assert FSIMc("", {}, CPU).score(one, two).item() < 0.999


def test_gradient_of_a_ramp_is_its_slope_inside() -> None:
    ramp = torch.arange(8, dtype=torch.float64).repeat(8, 1)[None, None] * 3
    # Scharr's taps [3 10 3] / 16 over two steps of 3 each.
    assert torch.allclose(pc.gradient(ramp)[..., 1:-1, 1:-1], torch.tensor(6.0, dtype=torch.float64))


@pytest.mark.parametrize(("side", "factor"), [(383, 1), (384, 2), (640, 3)])
def test_pictures_are_reduced_by_the_rounded_half_up_factor(side: int, factor: int) -> None:
    plane = torch.ones(1, 1, side, side + 1, dtype=torch.float64)
    reduced = pc.reduced(plane)
    assert reduced.shape[-2:] == (-(-side // factor), -(-(side + 1) // factor))
    assert reduced[0, 0, 1, 1].item() == pytest.approx(1)


def test_reduction_by_three_starts_one_pixel_before_the_picture() -> None:
    plane = torch.arange(640, dtype=torch.float64).repeat(640, 1)[None, None]
    # Windows at columns -1..1, 2..4, ...; zeros beyond the border.
    assert pc.reduced(plane)[0, 0, 1, :3].tolist() == pytest.approx([1 / 3, 3, 6])


@pytest.mark.parametrize("length", [1, 2, 5, 1000, 20_001, 60_000])
def test_the_median_of_squares_is_numpys(length: int) -> None:
    values = np.random.default_rng(3).rayleigh(size=(3, length)).astype(np.float32)
    values[1] = np.round(values[1])  # many equal ones
    values[2, :: pc.SAMPLING] += 9  # a sample that says nothing about the rest
    medians = pc._median_of_squares(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(medians, np.median(values.astype(np.float64) ** 2, axis=1), rtol=1e-15)


def test_fsim_of_a_constant_picture_is_nan_with_a_stated_reason() -> None:
    photograph = photographs()[0]
    for level in (0, 77):
        flat_beside_good = from_8bit(grey(level), darkened(photograph))
        values = FSIM("", {}, CPU).score(flat_beside_good, from_8bit(photograph, photograph))
        assert values.isnan().tolist() == [True, False]
    assert "constant" in FSIM.undefined


def test_fsim_of_a_single_row_is_refused() -> None:
    row = from_8bit(grey(3, 1, 40))
    with pytest.raises(ValueError, match="2x2 pixels, the picture has 40x1"):
        FSIM("", {}, CPU).score(row, row)


def test_fsim_does_not_depend_on_the_batch_or_its_order() -> None:
    one, other = photographs()
    low, metric = [darkened(one), darkened(other)], FSIM("", {}, CPU)
    alone = [metric.score(from_8bit(a), from_8bit(b)).item() for a, b in zip(low, (one, other), strict=True)]
    assert metric.score(from_8bit(*low), from_8bit(one, other)).tolist() == pytest.approx(alone, rel=1e-9)
    assert metric.score(from_8bit(*low[::-1]), from_8bit(other, one)).tolist() == pytest.approx(alone[::-1], rel=1e-9)


@pytest.mark.parametrize("metric", [FSIM, FSIMc])
def test_fsim_agrees_with_the_authors_code(metric, shared_data) -> None:
    for row in rows(metric.__name__.lower()):
        value = metric("", {}, CPU).score(picture(shared_data / row.image), picture(shared_data / row.reference))
        assert value.item() == pytest.approx(row.value, rel=row.tolerance), row.image
