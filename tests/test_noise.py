"""A metric names how far machines move its values: threads, kernels and GPUs move them no further, real changes do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pytest
import torch
from _pictures import photographs
from torch import Tensor

from bench import image, plugins
from bench.contracts import Adapter, Metric
from bench.planes import Planes
from bench.plugins import Spec
from bench.work import enhance

CPU = torch.device("cpu")
SCORED = [
    name for name in plugins.names(Metric) if name != "pyiqa" and not plugins.load(Metric, Spec.parse(name)).files
]
"""Metrics that need no file."""


@pytest.fixture(autouse=True)
def settings_as_before() -> Iterator[None]:
    threads, onednn = torch.get_num_threads(), torch.backends.mkldnn.enabled
    yield
    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = onednn


@lru_cache(maxsize=1)
def pictures() -> tuple[Tensor, Tensor]:
    """A photograph at a quarter of its light, and the photograph: (1, 3, 224, 256) in [0, 1]."""
    photograph = photographs()[0]
    low, reference = (
        torch.from_numpy(levels).permute(2, 0, 1)[None].float() / 255
        for levels in (np.round(photograph * 0.25), photograph)
    )
    return low, reference


def enhanced(threads: int = 1, onednn: bool = True, device: torch.device = CPU) -> Tensor:
    """What a run scores of LIME, the method whose pictures differ most between kernels."""
    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = onednn
    method = plugins.load(Adapter, Spec.parse("lime"))()
    low = pictures()[0].to(device)
    with torch.no_grad():
        return image.round_8bit(enhance(method, low, "set", ["1"], 0))


@lru_cache(maxsize=1)
def first() -> Tensor:
    return enhanced()


def value(name: str, picture: Tensor) -> float:
    kind = plugins.load(Metric, Spec.parse(name))
    low, reference = (Planes(one.to(picture.device)) for one in pictures())
    with torch.no_grad():
        return kind("", {}, picture.device).score(Planes(picture), low if kind.needs_low else reference).item()


def noise(name: str) -> float:
    return plugins.load(Metric, Spec.parse(name)).noise


@pytest.mark.parametrize("name", [name for name in plugins.names(Metric) if name != "pyiqa"])
def test_every_metric_names_its_noise(name: str) -> None:
    assert 0 < noise(name) < float("inf")


@pytest.mark.parametrize("name", SCORED)
def test_threads_move_no_value_further_than_its_noise(name: str) -> None:
    one = value(name, first())
    two = value(name, enhanced(threads=2))
    assert abs(one - two) <= noise(name)


@pytest.mark.parametrize("name", SCORED)
def test_other_convolutions_move_no_value_further_than_its_noise(name: str) -> None:
    assert abs(value(name, first()) - value(name, enhanced(onednn=False))) <= noise(name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("name", SCORED)
def test_a_gpu_moves_no_value_further_than_its_noise(name: str) -> None:
    assert abs(value(name, first()) - value(name, enhanced(device=torch.device("cuda")))) <= noise(name)


@pytest.mark.parametrize("name", [name for name in SCORED if plugins.load(Metric, Spec.parse(name)).needs_reference])
def test_one_percent_less_light_moves_every_value_further_than_its_noise(name: str) -> None:
    darker = image.round_8bit(first() * 0.99)
    assert abs(value(name, first()) - value(name, darker)) > noise(name)
