from __future__ import annotations

import numpy as np
import pytest
import torch
from _pictures import darkened, from_8bit, grey, photographs

from bench.metrics.loe import LOE, lightness, loe, order_errors
from bench.planes import Planes

CPU = torch.device("cpu")


def halves(left: int, right: int, size: int = 50) -> np.ndarray:
    picture = grey(left, size, size)
    picture[:, size // 2 :] = right
    return picture


def by_the_papers_words(enhanced: np.ndarray, original: np.ndarray) -> float:
    """All pairs in one array, the sum over y of U(x, y) xor U_e(x, y), the mean over x."""
    sampled = []
    for picture in (enhanced, original):
        brightest = picture.max(axis=2)
        step = min(brightest.shape) // 50
        rows, columns = (range(step - 1, size, step) for size in brightest.shape)
        sampled.append(
            np.array(
                [brightest[max(0, r - 7) : r + 8, max(0, c - 7) : c + 8].max() for r in rows for c in columns], int
            )
        )
    one, other = (values[None, :] >= values[:, None] for values in sampled)
    return float((one ^ other).sum(axis=1).mean())


def test_loe_of_equal_pictures_is_zero(device: torch.device) -> None:
    planes = Planes(from_8bit(photographs()[0]).rgb.to(device))
    assert LOE("", {}, device).score(planes, planes).tolist() == [0]


def test_loe_forgives_every_change_that_keeps_the_order() -> None:
    photograph = photographs()[0]
    inverse = np.argsort(np.random.default_rng(0).permutation(256))
    curve = np.sort(inverse[:128])[np.minimum(np.arange(256), 127)].astype(np.uint8)  # strictly rising up to 127
    dark = (photograph // 2).astype(np.uint8)
    assert loe(from_8bit(curve[dark]).rgb255, from_8bit(dark).rgb255).tolist() == [0]


def test_loe_is_symmetric_and_rises_with_the_disorder() -> None:
    photograph, other = photographs()
    little, much = from_8bit(darkened(photograph)).rgb255, from_8bit(other).rgb255
    original = from_8bit(photograph).rgb255
    assert 0 < loe(little, original).item() < loe(much, original).item()
    assert loe(much, original).tolist() == loe(original, much).tolist()


def test_loe_of_a_lost_edge_is_the_value_by_hand() -> None:
    # The maximum over 15 columns widens the bright half from 25 to 32 columns. Only pairs of a bright x and a dark y
    # are ordered differently once all is grey: 32 * 50 times 18 * 50 of them, shared out over 50 * 50 places.
    value = LOE("", {}, CPU).score(from_8bit(grey(100, 50, 50)), from_8bit(halves(10, 20)))
    assert value.tolist() == [32 * 50 * 18 * 50 / 2500]


def test_two_levels_in_reversed_order_count_both_ways() -> None:
    one, other = torch.tensor([[0, 5]]), torch.tensor([[9, 3]])
    assert order_errors(one, other).tolist() == [2]
    assert order_errors(one, torch.tensor([[7, 7]])).tolist() == [1]


@pytest.mark.parametrize("size", [(224, 256), (50, 50), (149, 203), (256, 101)])
def test_loe_agrees_with_all_pairs_written_out(size: tuple[int, int], device: torch.device) -> None:
    one, other = (picture[: size[0], : size[1]] for picture in photographs(256, 256))
    value = loe(from_8bit(darkened(one)).rgb255.to(device), from_8bit(other).rgb255.to(device))
    assert value.dtype == torch.float64
    assert value.item() == pytest.approx(by_the_papers_words(darkened(one), other), rel=1e-12)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"), [(400, 600, 50, 75), (384, 384, 54, 54), (50, 99, 50, 99)]
)
def test_the_places_are_every_so_manieth_pixel(height: int, width: int, rows: int, columns: int) -> None:
    assert lightness(torch.zeros(2, 3, height, width)).shape == (2, rows, columns)


def test_loe_does_not_depend_on_the_batch() -> None:
    one, other = photographs()
    alone = [loe(from_8bit(darkened(a)).rgb255, from_8bit(a).rgb255).item() for a in (one, other)]
    together = loe(from_8bit(darkened(one), darkened(other)).rgb255, from_8bit(one, other).rgb255)
    assert together.tolist() == alone


def test_loe_of_floats_rounds_them_as_the_release_does() -> None:
    exact = from_8bit(photographs()[0])
    nearly = Planes((exact.rgb + 0.3 / 255).clamp(0, 1))
    assert loe(nearly.rgb255, exact.rgb255).tolist() == [0]


def test_loe_below_50_pixels_is_refused() -> None:
    small = from_8bit(grey(3, 49, 64))
    with pytest.raises(ValueError, match="LOE needs at least 50x50 pixels, the picture has 64x49"):
        LOE("", {}, CPU).score(small, small)


def test_loe_without_the_low_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the low-light picture"):
        LOE("", {}, CPU).score(from_8bit(grey(3)), None)


def test_the_definition_says_what_is_compared() -> None:
    assert LOE.needs_low and not LOE.needs_reference
    assert "against the low-light picture" in LOE.definition
