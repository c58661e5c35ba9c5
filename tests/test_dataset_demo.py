"""Facts about the simulated camera and the demonstration set made with it."""

from __future__ import annotations

import importlib.util
import math
import sys
from hashlib import sha256
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from bench import plugins
from bench.contracts import Dataset
from bench.image import round_8bit
from bench.plugins import Spec

Demo = plugins.load(Dataset, Spec.parse("demo"))
demo: ModuleType = sys.modules[Demo.__module__]
camera: ModuleType = sys.modules[demo.darken.__module__]

NOISELESS = camera.Camera(full_well=math.inf, read_noise=0.0)


def random_photograph(height: int = 20, width: int = 30) -> Tensor:
    return round_8bit(torch.rand((3, height, width), generator=torch.Generator().manual_seed(0)))


def grey(level: int, side: int = 200) -> Tensor:
    return torch.full((3, side, side), float(np.float32(level) / np.float32(255)))


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


# The camera.


def test_the_same_exposure_without_noise_repeats_the_photograph() -> None:
    photograph = random_photograph()
    assert torch.equal(camera.darken(photograph, camera.Exposure(), NOISELESS, generator()), photograph)


def test_gain_makes_up_for_exposure_where_there_is_no_noise() -> None:
    photograph = random_photograph()
    taken = camera.darken(photograph, camera.Exposure(ratio=1 / 8, gain=8.0), NOISELESS, generator())
    assert torch.equal(taken, photograph)


def test_an_exposure_of_a_quarter_is_a_quarter_of_the_linear_light() -> None:
    # White at a quarter of the light: 1.055 * 0.25^(1/2.4) - 0.055 = 0.5371, level 137.
    taken = camera.darken(grey(255, 2), camera.Exposure(ratio=0.25), NOISELESS, generator())
    assert (taken * 255).unique().tolist() == [137]


def test_the_mean_of_linear_light_follows_the_exposure() -> None:
    photograph = random_photograph(100, 100)
    light = camera.srgb_to_linear(photograph.double().numpy())
    sensor = camera.Camera(full_well=10_000.0, read_noise=2.0)
    for ratio in (0.5, 0.2):
        taken = camera.darken(photograph, camera.Exposure(ratio=ratio), sensor, generator())
        mean = camera.srgb_to_linear(taken.double().numpy()).mean()
        assert mean == pytest.approx(ratio * light.mean(), rel=0.003)


def test_a_colour_cast_scales_the_linear_light_of_each_channel() -> None:
    taken = camera.darken(grey(128, 2), camera.Exposure(cast=(0.5, 1.0, 2.0)), NOISELESS, generator())
    light = camera.srgb_to_linear(taken[:, 0, 0].double().numpy())
    assert light / light[1] == pytest.approx([0.5, 1.0, 2.0], rel=0.01)


@pytest.mark.parametrize("gain", [1.0, 4.0])
@pytest.mark.parametrize("level", [100, 200])
def test_the_variance_of_the_noise_is_shot_noise_plus_read_noise(level: int, gain: float) -> None:
    sensor = camera.Camera(full_well=1000.0, read_noise=5.0)
    exposure = camera.Exposure(ratio=0.5 / gain, gain=gain)
    taken = camera.srgb_to_linear(camera.darken(grey(level), exposure, sensor, generator()).double().numpy())
    x = ((level / 255 + 0.055) / 1.055) ** 2.4 * 0.5
    variance = gain / 1000 * x + (gain * 5 / 1000) ** 2
    # 120,000 pixels know their variance to 0.4 %; quantisation to 8 bit and the clipped tail add the rest.
    assert taken.var() == pytest.approx(variance, rel=0.03)
    assert taken.mean() == pytest.approx(x, rel=0.01)


def test_black_stays_black_but_for_half_of_the_read_noise() -> None:
    quiet = camera.Camera(full_well=10_000.0, read_noise=0.0)
    assert not camera.darken(grey(0), camera.Exposure(), quiet, generator()).any()
    noisy = camera.darken(grey(0), camera.Exposure(gain=8.0), camera.Camera(10_000.0, 10.0), generator())
    # What lies below black is cut off; 10 electrons amplified to 0.008 are level 21.
    assert float((noisy > 0).double().mean()) == pytest.approx(0.5, abs=0.02)


def test_the_dark_picture_is_8_bit_exact_and_in_range() -> None:
    exposure = camera.Exposure(ratio=0.01, gain=4.0)
    taken = camera.darken(random_photograph(), exposure, camera.Camera(), generator())
    assert taken.dtype == torch.float32
    assert torch.equal(taken, round_8bit(taken))


def test_srgb_decoding_and_encoding_undo_each_other() -> None:
    encoded = np.linspace(0, 1, 1001)
    assert camera.linear_to_srgb(camera.srgb_to_linear(encoded)) == pytest.approx(encoded, abs=1e-6)
    # IEC 61966-2-1: middle grey of 18 % is encoded as 0.4614.
    assert camera.linear_to_srgb(np.array([0.0, 0.18, 1.0])) == pytest.approx([0, 0.46136, 1], abs=1e-5)


def test_random_numbers_depend_on_seed_and_name_and_on_nothing_else() -> None:
    first = camera.generator_for(1, "a").random()
    camera.generator_for(1, "b").random()
    assert camera.generator_for(1, "a").random() == first
    assert len({camera.generator_for(seed, name).random() for seed in (1, 2) for name in "ab"}) == 4


def test_drawn_exposures_stay_in_the_range_they_document() -> None:
    draws = [camera.draw_exposure(camera.generator_for(0, str(name))) for name in range(300)]
    brightness = [draw.ratio * draw.gain for draw in draws]
    assert 0.015 <= min(brightness) < 0.017 and 0.07 < max(brightness) <= 0.08
    assert all(1 <= draw.gain <= 8 for draw in draws)
    assert all(0.9 <= draw.cast[0] <= 1.1 and draw.cast[1] == 1 and 0.8 <= draw.cast[2] <= 1.2 for draw in draws)


# The demonstration set.


def test_the_nine_photographs_are_found_in_installed_packages() -> None:
    samples = Demo().samples()
    names = ["astronaut", "bus", "chelsea", "china", "coffee", "flower", "motorcycle", "rocket", "zidane"]
    assert [sample.id for sample in samples] == names
    assert all(sample.files == (sample.low,) for sample in samples)


def test_every_dark_picture_looks_like_a_short_exposure() -> None:
    dataset = Demo()
    means = []
    for sample in dataset.samples():
        low, reference = dataset.load(sample)
        assert reference is not None
        assert max(low.shape) <= 640 and low.shape == reference.shape
        assert torch.equal(low, round_8bit(low)) and torch.equal(reference, round_8bit(reference))
        # The means of LOL's low pictures are 0.02 to 0.11 (5th to 95th percentile).
        assert 0.02 < float(low.mean()) < 0.15 and float(reference.mean()) > 0.2
        means.append(float(low.mean()))
    assert 0.05 < sum(means) / len(means) < 0.1


def test_a_dark_picture_is_the_same_in_every_run_and_order() -> None:
    def digest(dataset: Dataset, name: str) -> str:
        sample = next(sample for sample in dataset.samples() if sample.id == name)
        return sha256(dataset.load(sample).low.numpy().tobytes()).hexdigest()

    first = digest(Demo(), "chelsea")
    other = Demo()
    coffee = digest(other, "coffee")
    assert digest(other, "chelsea") == first != coffee


def test_a_large_photograph_is_reduced_to_640_pixels_keeping_its_shape() -> None:
    dataset = Demo()
    shapes = {
        sample.id: tuple(dataset.load(sample).low.shape)
        for sample in dataset.samples()
        if sample.id in ("bus", "zidane")
    }
    assert shapes == {"bus": (3, 640, 480), "zidane": (3, 360, 640)}  # from 810x1080 and 1280x720


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in packages else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)


def test_a_missing_package_costs_its_photographs_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "ultralytics")
    with pytest.warns(UserWarning, match=r"without 2 photographs: bus \(ultralytics is not installed\); zidane"):
        samples = Demo().samples()
    assert len(samples) == 7


def test_a_missing_file_costs_its_photograph_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = demo.Photograph("gone", "skimage", "data/gone.png")
    monkeypatch.setattr(demo, "PHOTOGRAPHS", (gone, *demo.PHOTOGRAPHS))
    with pytest.warns(UserWarning, match=r"gone \(.*gone\.png does not exist\)"):
        assert len(Demo().samples()) == 9


def test_without_any_photograph_the_error_gives_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "ultralytics", "skimage", "sklearn")
    with pytest.raises(FileNotFoundError, match=r"astronaut \(skimage is not installed\).*zidane.*reinstall"):
        Demo().samples()


def test_every_photograph_is_credited() -> None:
    for photograph in demo.PHOTOGRAPHS:
        assert photograph.id in (Demo.__doc__ or "")
    assert all(not Path(photograph.file).is_absolute() for photograph in demo.PHOTOGRAPHS)
