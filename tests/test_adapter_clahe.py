from __future__ import annotations

import pytest
import torch
from skimage.color import rgb2lab

from bench import plugins
from bench.contracts import Adapter
from bench.plugins import Spec

CLAHE = plugins.load(Adapter, Spec.parse("clahe"))


def dark_ramp() -> torch.Tensor:
    """32x32 pixels a tile, so that clip limits of 1.5 and 2 are different counts."""
    return torch.linspace(0.05, 0.15, 256).view(1, 1, 1, -1).repeat(1, 3, 256, 1)


def contrast(picture: torch.Tensor) -> float:
    return float(picture.std())


def test_contrast_grows_with_the_clip_limit() -> None:
    low = dark_ramp()
    mild, default, strong = (contrast(CLAHE(option).enhance(low)) for option in ("1.5", "", "8"))
    assert contrast(low) < mild < default < strong


def test_the_clip_limit_is_2_if_nothing_is_said() -> None:
    assert torch.equal(CLAHE().enhance(dark_ramp()), CLAHE("2.0").enhance(dark_ramp()))


def test_grey_stays_grey() -> None:
    enhanced = CLAHE().enhance(dark_ramp())
    # 8-bit Lab cannot hold every grey exactly.
    assert float((enhanced.amax(dim=1) - enhanced.amin(dim=1)).max()) <= 1.5 / 255


def test_lightness_changes_and_colour_stays() -> None:
    low = dark_ramp() * torch.tensor([1.0, 0.8, 0.6]).view(1, 3, 1, 1)
    before, after = (rgb2lab(x[0].permute(1, 2, 0).numpy()) for x in (low, CLAHE().enhance(low)))
    assert (after[..., 0] - before[..., 0]).max() > 3
    # One step of 8-bit a and b is 1; a dark picture's own rounding adds as much.
    assert abs(after[..., 1:] - before[..., 1:]).max() < 3


@pytest.mark.parametrize("option", ["0", "-2", "nan", "strong"])
def test_a_clip_limit_that_is_no_positive_number_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=rf"'{option}'; accepted: .*clahe:NUMBER \(clip limit"):
        CLAHE(option)
