from __future__ import annotations

import numpy as np
import pytest
import torch
from _pictures import darkened, from_8bit, grey, photographs, picture, rows

from bench.metrics import _scene_statistics as statistics
from bench.metrics._support_vectors import Regression
from bench.metrics.brisque import BRISQUE, MODEL, RANGES, Ranges, brisque, brisque_features, read_ranges

CPU = torch.device("cpu")
RANGE = Ranges(torch.zeros(36, dtype=torch.float64), torch.full((36,), 4.0, dtype=torch.float64))


def machine() -> Regression:
    draws = torch.Generator().manual_seed(0)
    vectors = torch.rand(20, 36, dtype=torch.float64, generator=draws) * 2 - 1
    coefficients = torch.rand(20, dtype=torch.float64, generator=draws) * 100
    return Regression(vectors, coefficients, rho=-3.0, gamma=0.05)


def test_brisque_is_the_regression_of_the_scaled_features(device: torch.device) -> None:
    planes = from_8bit(photographs()[0])
    scaled = brisque_features(planes.grey).numpy()[0] / 2 - 1
    model = machine()
    kernel = np.exp(-0.05 * ((model.vectors.numpy() - scaled) ** 2).sum(1))
    expected = kernel @ model.coefficients.numpy() + 3
    assert brisque(planes.grey.to(device), model, RANGE).item() == pytest.approx(expected, rel=1e-9)


def test_the_symmetric_fit_finds_the_shape_it_was_drawn_from() -> None:
    draws = np.random.default_rng(0)
    alpha, variance = statistics.symmetric_fit(torch.from_numpy(draws.laplace(0, 2, 400_000)))
    assert alpha.item() == pytest.approx(1, abs=0.01)
    assert variance.item() == pytest.approx(8, rel=0.02)


def test_noise_raises_the_fitted_variance() -> None:
    photograph = photographs()[0]
    noisy = np.clip(photograph + np.random.default_rng(0).normal(0, 30, photograph.shape), 0, 255).astype(np.uint8)
    clean, rough = brisque_features(from_8bit(photograph, noisy).grey)
    assert rough[1] > clean[1]


def test_brisque_below_its_window_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 13x13 pixels, not 40x12"):
        brisque(from_8bit(grey(3, 12, 40)).grey, machine(), RANGE)


def test_brisque_of_a_black_picture_is_nan_and_its_neighbour_keeps_its_value() -> None:
    photograph = photographs()[0]
    values = brisque(from_8bit(photograph, grey(0)).grey, machine(), RANGE)
    assert values.isnan().tolist() == [False, True]
    assert values[0].item() == pytest.approx(brisque(from_8bit(photograph).grey, machine(), RANGE).item(), rel=1e-9)
    assert "black" in BRISQUE.undefined


def test_brisque_does_not_depend_on_batch_order_or_threads() -> None:
    low = [darkened(one) for one in photographs()]
    alone = [brisque(from_8bit(one).grey, machine(), RANGE).item() for one in low]
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert brisque(from_8bit(*low).grey, machine(), RANGE).tolist() == pytest.approx(alone, rel=1e-6)
            turned = brisque(from_8bit(*low[::-1]).grey, machine(), RANGE)
            assert turned.tolist() == pytest.approx(alone[::-1], rel=1e-6)
    finally:
        torch.set_num_threads(threads)


def test_a_range_file_of_another_scaling_is_refused_by_name(tmp_path) -> None:
    file = tmp_path / RANGES.name
    file.write_text("x\n0 1\n1 0.3 10\n", encoding="ascii")
    with pytest.raises(ValueError, match=r"allrange is not a range file of 36 features"):
        read_ranges(file)


def test_brisque_agrees_with_the_authors_code(shared_data, device: torch.device) -> None:
    folder = shared_data / "metrics" / "brisque"
    metric = BRISQUE("", {MODEL.name: folder / MODEL.name, RANGES.name: folder / RANGES.name}, device)
    for image in sorted({row.image for row in rows("brisque")}):
        value = brisque(picture(shared_data / image).grey.to(device), metric.model, metric.ranges).item()
        for row in (row for row in rows("brisque") if row.image == image):
            assert value == pytest.approx(row.value, rel=row.tolerance), row


@pytest.mark.parametrize(("height", "width"), [(2, 3), (7, 9), (301, 257)])
def test_fits_of_neighbours_are_the_fits_of_the_products_written_out(height: int, width: int) -> None:
    from bench.metrics._scene_statistics import asymmetric_fit, neighbour_fits
    from bench.metrics.brisque import SHIFTS

    contrast = torch.randn(2, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    contrast[:, 0] = 0
    fits = neighbour_fits(contrast, SHIFTS)
    for place, shift in enumerate(SHIFTS):
        direct = asymmetric_fit((contrast * contrast.roll(shift, dims=(-2, -1))).flatten(1))
        for ours, written_out in zip(fits, direct, strict=True):
            torch.testing.assert_close(ours[:, place], written_out, rtol=1e-12, atol=0, equal_nan=True)
