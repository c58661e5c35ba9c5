"""Facts about darkened:DIR, the user's own photographs made dark."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from bench import plugins
from bench.contracts import Dataset, Pair
from bench.image import round_8bit, write_png
from bench.plugins import Spec

Darkened = plugins.load(Dataset, Spec.parse("darkened"))
Demo = plugins.load(Dataset, Spec.parse("demo"))
camera = sys.modules["bench.datasets._camera"]


@pytest.fixture
def photographs(tmp_path: Path, photograph: torch.Tensor) -> Path:
    """A folder with three small photographs."""
    folder = tmp_path / "day"
    folder.mkdir()
    for shift, name in enumerate(("10", "9", "dog")):
        write_png(folder / f"{name}.png", photograph.roll(shift * 7, dims=2))
    return folder


def pairs_by_id(folder: Path) -> dict[str, Pair]:
    dataset = Darkened(str(folder))
    return {sample.id: dataset.load(sample) for sample in dataset.samples()}


def only_pair(folder: Path) -> Pair:
    (pair,) = pairs_by_id(folder).values()
    return pair


def reference_of(pair: Pair) -> torch.Tensor:
    assert pair.reference is not None
    return pair.reference


def test_the_set_has_the_folders_name_and_says_what_was_done_to_it(photographs: Path) -> None:
    assert Darkened(str(photographs)).label == "day (darkened)"


def test_every_photograph_is_a_pair_with_itself_in_natural_order(photographs: Path) -> None:
    dataset = Darkened(str(photographs))
    assert dataset.paired
    assert [sample.id for sample in dataset.samples()] == ["9", "10", "dog"]
    assert all(sample.files == (sample.low,) == (sample.reference,) for sample in dataset.samples())


def test_the_reference_is_the_photograph(photographs: Path, photograph: torch.Tensor) -> None:
    assert torch.equal(reference_of(pairs_by_id(photographs)["10"]), round_8bit(photograph))


def test_the_low_picture_is_dark_8_bit_exact_and_of_the_same_size(photographs: Path) -> None:
    for low, reference in pairs_by_id(photographs).values():
        assert reference is not None
        assert low.shape == reference.shape
        assert torch.equal(low, round_8bit(low))
        assert float(low.mean()) < 0.4 * float(reference.mean())


def test_a_grey_card_is_as_dark_as_the_exposure_drawn_for_its_name(tmp_path: Path) -> None:
    # Linear light of level 200, times the brightness drawn, encoded again (IEC 61966-2-1); tint and noise spread it.
    Image.new("RGB", (64, 64), (200, 200, 200)).save(tmp_path / "card.png")
    drawn = camera.draw_exposure(camera.generator_for(2018, "card"))
    light = ((200 / 255 + 0.055) / 1.055) ** 2.4 * drawn.ratio * drawn.gain
    expected = 1.055 * light ** (1 / 2.4) - 0.055
    assert float(only_pair(tmp_path).low[1].mean()) == pytest.approx(expected, abs=1.5 / 255)


def test_a_picture_depends_on_its_name_and_not_on_its_neighbours(photographs: Path) -> None:
    before = pairs_by_id(photographs)["dog"].low
    (photographs / "9.png").unlink()
    assert torch.equal(pairs_by_id(photographs)["dog"].low, before)
    (photographs / "dog.png").rename(photographs / "cat.png")
    assert not torch.equal(pairs_by_id(photographs)["cat"].low, before)


def test_the_demos_photograph_gives_the_demos_picture(tmp_path: Path) -> None:
    demo = Demo()
    chelsea = next(sample for sample in demo.samples() if sample.id == "chelsea")
    (tmp_path / "chelsea.png").write_bytes(chelsea.low.read_bytes())
    assert torch.equal(only_pair(tmp_path).low, demo.load(chelsea).low)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1280, 720), (640, 360)), ((810, 1080), (480, 640)), ((640, 10), (640, 10)), ((2000, 1), (640, 1))],
    ids=["landscape", "portrait", "small enough", "a line"],
)
def test_a_large_photograph_is_reduced_to_640_pixels_keeping_its_shape(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    Image.new("RGB", size, (200, 150, 100)).save(tmp_path / "large.png")
    width, height = expected
    assert reference_of(only_pair(tmp_path)).shape == (3, height, width)


def test_a_16_bit_photograph_becomes_an_8_bit_reference(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((8, 8, 3), 40_000, np.uint16))
    # 40000 / 65535 * 255 = 155.6
    reference = reference_of(only_pair(tmp_path))
    assert torch.equal(reference, torch.full((3, 8, 8), 156.0) / 255)


def test_a_folder_must_be_named_exist_and_hold_pictures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="write darkened:DIR"):
        Darkened()
    with pytest.raises(FileNotFoundError, match=r"darkened:.*nowhere is not a folder"):
        Darkened(str(tmp_path / "nowhere")).samples()
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        Darkened(str(tmp_path)).samples()
