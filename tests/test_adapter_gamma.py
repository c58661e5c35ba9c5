from __future__ import annotations

import pytest
import torch

from bench import plugins
from bench.contracts import Adapter
from bench.plugins import Spec

Gamma = plugins.load(Adapter, Spec.parse("gamma"))


def grey(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, -1).expand(1, 3, 1, -1).clone()


def test_black_and_white_stay() -> None:
    assert torch.equal(Gamma().enhance(grey(0, 1)), grey(0, 1))


def test_gamma_is_2_2_if_nothing_is_said() -> None:
    # 0.25 ** (1 / 2.2) = exp(-1.386294361 / 2.2), with a table of logarithms
    torch.testing.assert_close(Gamma().enhance(grey(0.25)), grey(0.5325205), rtol=0, atol=1e-6)


def test_gamma_2_is_the_square_root() -> None:
    torch.testing.assert_close(Gamma("2").enhance(grey(0.04, 0.25, 0.81)), grey(0.2, 0.5, 0.9), rtol=0, atol=1e-6)


def test_the_adaptive_exponent_maps_the_mean_of_v_to_one_half() -> None:
    # V is 0.0625 everywhere, the exponent log(1/2) / log(1/16) is a quarter; the other channels take the same curve.
    low = torch.tensor([0.0625, 0.0001, 0.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    expected = torch.tensor([0.5, 0.1, 0.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    torch.testing.assert_close(Gamma("adaptive").enhance(low), expected, rtol=0, atol=1e-6)


def test_the_adaptive_curve_darkens_a_bright_picture() -> None:
    torch.testing.assert_close(Gamma("adaptive").enhance(grey(0.9)), grey(0.5), rtol=0, atol=1e-6)


def test_the_adaptive_exponent_belongs_to_each_picture() -> None:
    low = torch.cat([grey(0.0625), grey(0.25)])
    torch.testing.assert_close(Gamma("adaptive").enhance(low), torch.full((2, 3, 1, 1), 0.5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_the_adaptive_curve_leaves_all_black_and_all_white(level: float) -> None:
    assert torch.equal(Gamma("adaptive").enhance(grey(level, level)), grey(level, level))


@pytest.mark.parametrize("option", ["0", "-1", "nan", "inf", "auto"])
def test_an_option_that_is_no_positive_number_is_refused_with_those_accepted(option: str) -> None:
    with pytest.raises(ValueError, match=rf"'{option}'; accepted: .*gamma:NUMBER.*gamma:adaptive"):
        Gamma(option)
