"""Facts about folder:DIR, the user's own pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench import plugins
from bench.contracts import Dataset, Truth
from bench.plugins import Spec

Folder = plugins.load(Dataset, Spec.parse("folder"))


def fill(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (6, 4), (9, 9, 9)).save(folder / name)


def test_a_folder_of_pictures_is_an_unpaired_set_with_its_own_name(tmp_path: Path) -> None:
    fill(tmp_path / "night", "10.png", "9.jpg")
    dataset = Folder(str(tmp_path / "night"))
    assert dataset.label == "night"
    assert not dataset.paired
    assert [sample.id for sample in dataset.samples()] == ["9", "10"]
    assert dataset.load(dataset.samples()[0]).reference is None


@pytest.mark.parametrize("reference", ["high", "reference", "gt", "normal", "GT"])
def test_low_beside_a_folder_of_references_is_a_paired_set(reference: str, tmp_path: Path) -> None:
    fill(tmp_path / "low", "1.png")
    fill(tmp_path / reference, "1.jpg")
    dataset = Folder(str(tmp_path))
    assert dataset.paired
    (sample,) = dataset.samples()
    assert sample.reference == tmp_path / reference / "1.jpg"
    assert dataset.load(sample).reference is not None


def test_two_folders_of_references_are_ambiguous(tmp_path: Path) -> None:
    for name in ("low", "high", "gt"):
        fill(tmp_path / name, "1.png")
    with pytest.raises(ValueError, match="found high and gt"):
        Folder(str(tmp_path)).samples()


def test_low_without_references_is_an_error_that_offers_the_unpaired_set(tmp_path: Path) -> None:
    fill(tmp_path / "low", "1.png")
    with pytest.raises(ValueError, match=r"found none; for pictures alone write folder:.*low"):
        Folder(str(tmp_path)).samples()
    assert len(Folder(str(tmp_path / "low")).samples()) == 1


def test_the_same_folder_can_be_named_relative_to_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "night", "1.png")
    monkeypatch.chdir(tmp_path / "night")
    assert Folder(".").label == "night"
    assert len(Folder(".").samples()) == 1


def test_a_folder_must_be_named_exist_and_hold_pictures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="write folder:DIR"):
        Folder()
    with pytest.raises(FileNotFoundError, match=r"folder:.*nowhere is not a folder"):
        Folder(str(tmp_path / "nowhere")).samples()
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        Folder(str(tmp_path)).samples()


def test_the_name_of_one_folder_does_not_leak_into_another(tmp_path: Path) -> None:
    fill(tmp_path / "a", "1.png")
    fill(tmp_path / "b", "1.png")
    first, second = Folder(str(tmp_path / "a")), Folder(str(tmp_path / "b"))
    assert (first.label, second.label, Folder.label) == ("a", "b", "folder")


# What is in the pictures


def add(file: Path, array: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(array, np.uint8)).save(file)


def write_boxes(folder: Path, *names: str, box: Any = (1, 1, 2, 2), **image: Any) -> None:
    """COCO's format: each picture has one cat."""
    content = {
        "images": [{"id": number, "file_name": name, **image} for number, name in enumerate(names)],
        "annotations": [{"image_id": number, "category_id": 17, "bbox": box} for number in range(len(names))],
        "categories": [{"id": 17, "name": "cat"}],
    }
    (folder / "boxes.json").write_text(json.dumps(content))


def only_truth(folder: Path) -> Truth:
    dataset = Folder(str(folder))
    (sample,) = dataset.samples()
    return dataset.truth(sample)


def test_without_a_truth_beside_low_there_is_no_task(tmp_path: Path) -> None:
    fill(tmp_path / "low", "1.png")
    fill(tmp_path / "high", "1.png")
    dataset = Folder(str(tmp_path))
    (sample,) = dataset.samples()
    assert dataset.tasks == () and dataset.classes == () and sample.truth == ()
    with pytest.raises(ValueError, match="has no truth for any task"):
        dataset.truth(sample)


@pytest.mark.parametrize("name", ["mask", "masks", "Masks"])
def test_masks_beside_pairs_make_a_paired_set_for_saliency(name: str, tmp_path: Path) -> None:
    fill(tmp_path / "low", "1.png")
    fill(tmp_path / "high", "1.png")
    add(tmp_path / name / "1.png", [[0, 127, 128, 255, 0, 0]] * 4)
    dataset = Folder(str(tmp_path))
    assert dataset.paired and dataset.tasks == ("saliency",)
    truth = only_truth(tmp_path)
    assert truth.size == (6, 4) and truth.boxes is None and truth.second is None
    assert truth.mask is not None and truth.mask.tolist() == [[False, False, True, True, False, False]] * 4


def test_masks_without_references_make_an_unpaired_set(tmp_path: Path) -> None:
    fill(tmp_path / "low", "2.png", "10.png")
    fill(tmp_path / "mask", "2.png", "10.png")
    dataset = Folder(str(tmp_path))
    assert not dataset.paired and dataset.tasks == ("saliency",)
    assert [sample.id for sample in dataset.samples()] == ["2", "10"]
    assert dataset.load(dataset.samples()[0]).reference is None


@pytest.mark.parametrize("name", ["depth", "thermal"])
def test_depth_or_heat_is_the_second_picture_with_grey_repeated(name: str, tmp_path: Path) -> None:
    fill(tmp_path / "low", "1.png")
    add(tmp_path / "masks" / "1.png", [[255] * 6] * 4)
    add(tmp_path / name / "1.png", [[51] * 6] * 4)
    second = only_truth(tmp_path).second
    assert second is not None and torch.equal(second, torch.full((3, 4, 6), 51 / 255))


@pytest.mark.parametrize("names", [("mask", "masks"), ("depth", "thermal")])
def test_two_folders_for_one_thing_are_ambiguous(names: tuple[str, str], tmp_path: Path) -> None:
    for name in ("low", "high", *names):
        fill(tmp_path / name, "1.png")
    with pytest.raises(ValueError, match=rf"has {names[0]} and {names[1]} beside low/; remove one"):
        Folder(str(tmp_path)).samples()


@pytest.mark.parametrize("name", ["masks", "depth"])
def test_a_second_picture_or_mask_of_another_size_names_both_files(name: str, tmp_path: Path) -> None:
    fill(tmp_path / "low", "1.png")
    add(tmp_path / "masks" / "1.png", [[255] * 6] * 4)
    add(tmp_path / name / "1.png", [[255] * 5] * 4)
    with pytest.raises(ValueError, match=rf"{name}/1.png is 5x4 but .*low/1.png is 6x4"):
        only_truth(tmp_path)


@pytest.mark.parametrize("alone", ["low/2.png", "masks/2.png", "depth/2.png"])
def test_a_stem_without_partner_is_an_error_as_for_pairs(alone: str, tmp_path: Path) -> None:
    for name in ("low", "masks", "depth"):
        fill(tmp_path / name, "1.png")
    fill(tmp_path / Path(alone).parent, "2.png")
    with pytest.raises(ValueError, match=rf"{alone} has no partner in"):
        Folder(str(tmp_path)).samples()


@pytest.mark.parametrize("paired", [True, False])
def test_boxes_in_coco_format_make_a_set_for_detection(paired: bool, tmp_path: Path) -> None:
    for name in ("low", "high") if paired else ("low",):
        fill(tmp_path / name, "1.png")
    write_boxes(tmp_path, "photos/1.jpg", box=[1, 1, 9, 2], width=6, height=4)
    dataset = Folder(str(tmp_path))
    assert dataset.paired == paired and dataset.tasks == ("detection",) and dataset.classes == ("cat",)
    truth = only_truth(tmp_path)
    assert truth.mask is None and truth.boxes is not None and truth.boxes.names == ("cat",)
    assert truth.boxes.corners.tolist() == [[1, 1, 6, 3]] and truth.boxes.areas.tolist() == [10]
    assert dataset.samples()[0].truth == (tmp_path / "boxes.json",)


def test_a_box_without_area_in_the_picture_is_left_out_aloud(tmp_path: Path) -> None:
    fill(tmp_path / "low", "1.png")
    write_boxes(tmp_path, "1.png", box=[6, 0, 3, 3])
    with pytest.warns(UserWarning, match=r"1 boxes are left out, .*: 1$"):
        truth = only_truth(tmp_path)
    assert truth.boxes is not None and truth.boxes.corners.shape == (0, 4)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("1.png",), r"boxes.json does not list 2; add"),
        (("1.png", "2.png", "3.png"), r"boxes.json lists 3, which .*low lacks"),
    ],
)
def test_boxes_must_be_of_the_pictures_in_low(names: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    fill(tmp_path / "low", "1.png", "2.png")
    write_boxes(tmp_path, *names)
    with pytest.raises(ValueError, match=expected):
        Folder(str(tmp_path)).samples()


def test_boxes_of_pictures_of_another_size_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "low", "1.png")
    write_boxes(tmp_path, "1.png", width=60, height=40)
    with pytest.raises(ValueError, match=r"1.png has 60x40 pixels but .*low/1.png has 6x4"):
        only_truth(tmp_path)


def test_boxes_mask_and_second_picture_go_together(tmp_path: Path) -> None:
    fill(tmp_path / "low", "1.png")
    fill(tmp_path / "depth", "1.png")
    add(tmp_path / "mask" / "1.png", [[255] * 6] * 4)
    write_boxes(tmp_path, "1.png")
    assert Folder(str(tmp_path)).tasks == ("detection", "saliency")
    truth = only_truth(tmp_path)
    assert truth.boxes is not None and truth.mask is not None and truth.second is not None
