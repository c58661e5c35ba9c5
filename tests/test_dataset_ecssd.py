"""Facts about ECSSD: its division by number, its masks, and its photographs made dark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench import plugins
from bench.contracts import Dataset
from bench.plugins import Spec

ECSSD = plugins.load(Dataset, Spec.parse("ecssd"))
Darkened = plugins.load(Dataset, Spec.parse("darkened"))


def lay_out(root: Path, *stems: str, masks: str = "masks") -> Path:
    for stem in stems:
        add(root / "images" / f"{stem}.jpg")
        add(root / masks / f"{stem}.png")
    return root


def add(file: Path, size: tuple[int, int] = (8, 6), level: int = 255) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).convert("RGB" if file.suffix == ".jpg" else "L").save(file)


def ids(root: Path, option: str = "") -> list[str]:
    return [sample.id for sample in ECSSD(option, root).samples()]


def mask_of(root: Path) -> list[list[bool]]:
    dataset = ECSSD("all", root)
    mask = dataset.truth(dataset.samples()[0]).mask
    assert mask is not None and mask.dtype == np.bool_
    rows: list[list[bool]] = mask.tolist()
    return rows


def test_every_fifth_number_is_for_results_and_the_rest_to_learn_from(tmp_path: Path) -> None:
    lay_out(tmp_path, *(f"{number:04d}" for number in range(1, 13)))
    assert ids(tmp_path) == ids(tmp_path, "test") == ["0001", "0006", "0011"]
    assert ids(tmp_path, "train") == [f"{number:04d}" for number in (2, 3, 4, 5, 7, 8, 9, 10, 12)]
    assert len(ids(tmp_path, "all")) == 12
    assert ECSSD.training_split == "train"


def test_a_part_of_the_set_is_divided_as_the_whole(tmp_path: Path) -> None:
    lay_out(tmp_path, "0004", "0006", "0007", "0010")
    assert ids(tmp_path) == ["0006"]


def test_labels_name_the_split() -> None:
    labels = [ECSSD(option).label for option in ("", "test", "train", "all")]
    assert labels == ["ECSSD (darkened)", "ECSSD (darkened)", "ECSSD train (darkened)", "ECSSD all (darkened)"]


def test_every_photograph_is_a_pair_with_itself_and_for_saliency(tmp_path: Path) -> None:
    dataset = ECSSD(root=lay_out(tmp_path, "1"))
    assert dataset.paired and dataset.tasks == ("saliency",) and dataset.classes == ()
    (sample,) = dataset.samples()
    assert sample.files == (tmp_path / "images" / "1.jpg",)
    assert sample.truth == (tmp_path / "masks" / "1.png",)


def test_a_photograph_becomes_the_picture_that_darkened_makes_of_it(tmp_path: Path, photograph: torch.Tensor) -> None:
    lay_out(tmp_path, "1")
    levels = (photograph.permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(levels).save(tmp_path / "images" / "1.jpg")
    ours, other = ECSSD(root=tmp_path), Darkened(str(tmp_path / "images"))
    mine, its = ours.load(ours.samples()[0]), other.load(other.samples()[0])
    assert mine.reference is not None and its.reference is not None
    assert torch.equal(mine.low, its.low) and torch.equal(mine.reference, its.reference)


@pytest.mark.parametrize("masks", ["masks", "ground_truth_mask", "gt"])
def test_masks_lie_in_one_of_three_folders(masks: str, tmp_path: Path) -> None:
    assert ids(lay_out(tmp_path, "1", masks=masks)) == ["1"]


def test_masks_in_two_folders_are_ambiguous(tmp_path: Path) -> None:
    lay_out(tmp_path, "1")
    lay_out(tmp_path, "1", masks="gt")
    with pytest.raises(ValueError, match="has masks in masks and gt; remove one"):
        ids(tmp_path)


def test_the_object_is_where_the_mask_is_128_or_brighter(tmp_path: Path) -> None:
    lay_out(tmp_path, "1")
    add(tmp_path / "images" / "1.jpg", (4, 1))
    Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8)).save(tmp_path / "masks" / "1.png")
    assert mask_of(tmp_path) == [[False, False, True, True]]


def test_an_all_black_mask_is_a_picture_without_object(tmp_path: Path) -> None:
    add(lay_out(tmp_path, "1") / "masks" / "1.png", level=0)
    assert mask_of(tmp_path) == [[False] * 8] * 6


def test_a_mask_of_zeros_and_ones_is_refused_and_not_taken_for_black(tmp_path: Path) -> None:
    add(lay_out(tmp_path, "1") / "masks" / "1.png", level=1)
    with pytest.raises(
        ValueError, match=r"masks/1.png is nowhere brighter than 1 of 255, .* save the mask as 0 and 255"
    ):
        mask_of(tmp_path)


def test_a_mask_of_another_size_names_both_files(tmp_path: Path) -> None:
    add(lay_out(tmp_path, "1") / "masks" / "1.png", (6, 8))
    with pytest.raises(ValueError, match=r"masks/1.png is 6x8 but .*images/1.jpg is 8x6; they must have one size"):
        mask_of(tmp_path)


@pytest.mark.parametrize("alone", ["images/2.jpg", "masks/2.png"])
def test_a_file_without_partner_is_an_error(alone: str, tmp_path: Path) -> None:
    add(lay_out(tmp_path, "1") / alone)
    with pytest.raises(ValueError, match=rf"{alone} has no partner in"):
        ids(tmp_path)


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_missing_folder_is_named(part: str, tmp_path: Path) -> None:
    (lay_out(tmp_path, "1") / part).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=rf"ECSSD \(darkened\) needs .*{part}"):
        ids(tmp_path)


def test_a_split_without_pictures_and_names_without_number_lead_to_all(tmp_path: Path) -> None:
    lay_out(tmp_path, "2")
    with pytest.raises(ValueError, match="no picture of test among 1; write ecssd:all"):
        ids(tmp_path)
    lay_out(tmp_path, "dog")
    with pytest.raises(ValueError, match=r"dog.jpg has no number as its name, .*; write ecssd:all"):
        ids(tmp_path)
    assert ids(tmp_path, "all") == ["2", "dog"]


def test_the_real_photographs_and_masks_fit(shared_data: Path) -> None:
    root = shared_data / "saliency" / "ecssd"
    test, train = ids(root), ids(root, "train")
    assert (len(test), len(train)) == (64, 256) and not set(test) & set(train)
    dataset = ECSSD(root=root)
    for sample in dataset.samples()[:8]:
        truth = dataset.truth(sample)
        with Image.open(root / "masks" / f"{sample.id}.png") as picture:
            expected = np.asarray(picture) == 255
        assert truth.mask is not None and np.array_equal(truth.mask, expected) and truth.mask.any()
        assert truth.size == dataset.load(sample).low.shape[:0:-1]
