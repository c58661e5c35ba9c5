from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from _pictures import darkened, from_8bit, grey, photographs, picture, rows
from scipy.io import savemat
from scipy.ndimage import correlate1d

from bench.metrics import _filters as filters
from bench.metrics import _scene_statistics as statistics
from bench.metrics.niqe import NIQE, PRISTINE, Pristine, niqe, niqe_features

CPU = torch.device("cpu")
STANDARD = Pristine(torch.zeros(36, dtype=torch.float64), torch.eye(36, dtype=torch.float64))


def test_niqe_of_a_picture_against_its_own_statistics_is_zero() -> None:
    planes = from_8bit(photographs()[0])
    features = niqe_features(planes.grey)[0]
    assert niqe(planes.grey, Pristine(features.mean(0), torch.eye(36, dtype=torch.float64))).item() < 1e-6


def test_niqe_is_the_mahalanobis_distance_of_the_block_means(device: torch.device) -> None:
    planes = from_8bit(photographs()[0])
    features = niqe_features(planes.grey)[0].numpy()
    distance = features.mean(0)
    expected = math.sqrt(distance @ np.linalg.inv((np.cov(features.T) + np.eye(36)) / 2) @ distance)
    pristine = Pristine(*(value.to(device) for value in STANDARD))
    assert niqe(planes.grey.to(device), pristine).item() == pytest.approx(expected, rel=1e-6)


def test_niqe_below_two_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="two whole 96x96 blocks, the picture has 191x120"):
        niqe(from_8bit(grey(3, 120, 191)).grey, STANDARD)


def test_niqe_of_a_constant_picture_is_nan_and_its_neighbour_keeps_its_value() -> None:
    photograph = photographs()[0]
    values = niqe(from_8bit(photograph, grey(80)).grey, STANDARD)
    assert values.isnan().tolist() == [False, True]
    assert values[0].item() == pytest.approx(niqe(from_8bit(photograph).grey, STANDARD).item(), rel=1e-9)
    assert "contrast" in NIQE.undefined


def test_niqe_does_not_depend_on_batch_order_or_threads() -> None:
    low = [darkened(one) for one in photographs()]
    alone = [niqe(from_8bit(one).grey, STANDARD).item() for one in low]
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert niqe(from_8bit(*low).grey, STANDARD).tolist() == pytest.approx(alone, rel=1e-6)
            assert niqe(from_8bit(*low[::-1]).grey, STANDARD).tolist() == pytest.approx(alone[::-1], rel=1e-6)
    finally:
        torch.set_num_threads(threads)


def test_a_file_without_the_model_is_refused_by_name(tmp_path) -> None:
    file = tmp_path / PRISTINE.name
    savemat(file, {"other": np.zeros(3)})
    with pytest.raises(ValueError, match=r"niqe_modelparameters.mat is not a NIQE model: it has no 'mu_prisparam'"):
        NIQE("", {PRISTINE.name: file}, CPU)


def test_the_asymmetric_fit_finds_the_shape_it_was_drawn_from() -> None:
    draws = np.random.default_rng(0)
    shape, left, right = 1.5, 0.7, 1.3
    side = draws.random(400_000) < left / (left + right)
    size = draws.gamma(1 / shape, 1, 400_000) ** (1 / shape)
    fit = statistics.asymmetric_fit(torch.from_numpy(np.where(side, -left, right) * size))
    assert fit.alpha.item() == pytest.approx(shape, abs=0.02)
    scale = math.sqrt(math.gamma(1 / shape) / math.gamma(3 / shape))
    assert (fit.left * scale).item() == pytest.approx(left, rel=0.01)
    assert (fit.right * scale).item() == pytest.approx(right, rel=0.01)


def test_the_fit_without_positive_samples_takes_the_first_shape_and_has_no_right_side() -> None:
    fit = statistics.asymmetric_fit(torch.tensor([[-1.0, -2.0, 0.0]], dtype=torch.float64))
    assert fit.alpha.item() == 0.2
    assert fit.right.isnan().all()
    assert fit.left.item() == pytest.approx(math.sqrt(2.5))


def test_contrast_is_exactly_zero_in_constant_windows_and_only_there() -> None:
    plane = torch.full((1, 1, 20, 20), 77.0, dtype=torch.float64)
    plane[..., 10, 10] = 78
    contrast = statistics.normalised(plane, border="replicate")[0, 0]
    reach = torch.zeros(20, 20, dtype=torch.bool)
    reach[7:14, 7:14] = True  # every window of 7x7 that holds the odd pixel
    assert torch.equal(contrast != 0, reach)


# x - conv2(x, window, shape) in GNU Octave 7.3.0, in units of 2^-47, on the fourth row of 5 * column + 11 * row + 7
# (rows and columns from 0, columns 3 to 26), where every window is antisymmetric about its centre.
VALID = (0, -1, 0, 2, 2, 0, 0, 0, 6, 0, -4, 2, 4, 0, -4, 4, -8, -8, -4, 8, 4, 8, 4, 0)
SAME = (-1, 1, 2, 0, 0, 0, 6, 2, -6, -4, -2, 4, -4, -2, 2, 4, 8, 4, 4, 0, -4, -8, -4, -4)


@pytest.mark.parametrize(("border", "rests"), [("replicate", VALID), ("constant", SAME)])
def test_contrast_of_antisymmetric_windows_is_the_rounding_rest_of_the_releases(border, rests, device) -> None:
    row, column = (torch.arange(length, dtype=torch.float64, device=device) for length in (14, 30))
    slope = (5 * column + 11 * row[:, None] + 7)[None, None]
    contrast = statistics.normalised(slope, border)[0, 0, 3, 3:-3]
    variance = sum(tap * (5 * x + 11 * y) ** 2 for x, y, tap in gaussian_window())
    assert (contrast * (math.sqrt(variance) + 1) * 2**47).tolist() == pytest.approx(rests, rel=1e-9, abs=0)


def test_contrast_of_antisymmetric_windows_does_not_depend_on_the_batch(monkeypatch) -> None:
    column = torch.arange(40, dtype=torch.float64)
    slopes = torch.stack([2 * column + step * column[:, None] for step in range(1, 7)]).unsqueeze(1)
    slopes[:, :, 20] += 1
    alone = [statistics.normalised(slope[None], "replicate") for slope in slopes]
    monkeypatch.setattr(statistics, "CHUNK", 100)
    together = statistics.normalised(slopes, "replicate")
    assert (together.abs() < 1e-12).sum() > 1000
    assert torch.equal(together.sign(), torch.cat(alone).sign())


def gaussian_window() -> list[tuple[int, int, float]]:
    """Column, row, tap of a 7x7 Gaussian of deviation 7/6 with sum 1."""
    taps = {offset: math.exp(-(offset**2) / (2 * (7 / 6) ** 2)) for offset in range(-3, 4)}
    return [(x, y, taps[x] * taps[y] / sum(taps.values()) ** 2) for x in taps for y in taps]


@pytest.mark.parametrize("shape", [(2, 1, 900, 41), (1, 3, 23, 1500)])
def test_filters_agree_with_scipy_where_the_window_lies_inside(shape: tuple[int, ...]) -> None:
    planes = np.random.default_rng(2).normal(size=shape)
    taps = np.arange(1.0, 8.0)  # not symmetric
    for axis, inside in ((-2, np.s_[..., 3:-3, :]), (-1, np.s_[..., 3:-3])):
        expected = correlate1d(planes, taps, axis)[inside]
        filtered = filters.correlate(torch.from_numpy(planes), tuple(taps), axis).numpy()
        np.testing.assert_allclose(filtered, expected, rtol=0, atol=1e-12)


def test_halving_a_ramp_gives_the_points_between_its_pairs() -> None:
    ramp = torch.arange(16, dtype=torch.float64).repeat(16, 1)[None, None]
    assert filters.halve(ramp)[0, 0, 3, 2:6].tolist() == pytest.approx([4.5, 6.5, 8.5, 10.5])


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8])
def test_halving_keeps_a_constant_and_rounds_the_size_up(length: int) -> None:
    halved = filters.halve(torch.full((1, 1, length, 9), 7.0, dtype=torch.float64))
    assert halved.shape == (1, 1, (length + 1) // 2, 5)
    assert torch.equal(halved, torch.full_like(halved, 7.0))


def test_halving_mirrors_the_border_with_the_edge_repeated() -> None:
    plane = torch.zeros(1, 1, 1, 8, dtype=torch.float64)
    plane[..., 0] = 256
    # Taps -3 -9 29 111 111 29 -9 -3 of inputs 2k-3 .. 2k+4; input -1 mirrors to 0, so output 0 sees it twice.
    assert filters.halve(plane)[0, 0, 0].tolist() == [111 + 29, -9 - 3, 0, 0]


def test_constant_windows_agree_with_the_range_of_each_window() -> None:
    plane = torch.from_numpy(np.random.default_rng(1).integers(0, 2, (1, 1, 40, 40))).double()
    plane[..., 5:25, 8:30] = 1
    windows = plane.unfold(2, 7, 1).unfold(3, 7, 1)
    expected = windows.amax((-1, -2)) == windows.amin((-1, -2))
    assert expected.any() and not expected.all()
    assert torch.equal(filters.constant_windows(plane, 7), expected)


def test_niqe_agrees_with_the_authors_code(shared_data, device: torch.device) -> None:
    metric = NIQE("", {PRISTINE.name: shared_data / "metrics" / "niqe" / PRISTINE.name}, device)
    for image in sorted({row.image for row in rows("niqe")}):
        planes = picture(shared_data / image)
        value = niqe(planes.grey.to(device), metric.pristine).item()
        for row in (row for row in rows("niqe") if row.image == image):
            assert value == pytest.approx(row.value, rel=row.tolerance), row


def test_the_flat_share_counts_constant_windows_that_are_not_black() -> None:
    half = grey(0, 40, 60)
    half[:, 30:] = 90
    ramp = np.repeat(np.arange(60, dtype=np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    shares = [float(statistics.flat_share(from_8bit(one))) for one in (half, ramp, grey(0, 40, 60), grey(7, 40, 60))]
    # Of the 54 columns of windows, those at 30 to 53 lie wholly in the grey half.
    assert shares == [24 / 54, 0, 0, 1]
