"""Facts about coco_dark: photographs darkened with their boxes, and what becomes of files that do not fit together."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from bench import plugins
from bench.contracts import Dataset, Truth
from bench.image import read_rgb
from bench.plugins import Spec

CocoDark = plugins.load(Dataset, Spec.parse("coco_dark"))
Darkened = plugins.load(Dataset, Spec.parse("darkened"))

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]
BOX = {"id": 7, "image_id": 1, "category_id": 18, "bbox": [10, 20, 30, 40], "area": 600.0, "iscrowd": 0}


def image_entry(identifier: int, name: str, size: tuple[int, int] = (100, 80)) -> dict[str, Any]:
    return {"id": identifier, "file_name": name, "width": size[0], "height": size[1]}


def add_picture(file: Path, size: tuple[int, int] = (100, 80)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 150, 100)).save(file)


def write_json(root: Path, images: list[Any], annotations: list[Any], name: str = "instances_val2017") -> Path:
    file = root / "annotations" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pictures of 100x80 pixels in val2017/, one dog in the first."""
    for name in ("000009.jpg", "000010.jpg"):
        add_picture(tmp_path / "val2017" / name)
    write_json(tmp_path, [image_entry(2, "000010.jpg"), image_entry(1, "000009.jpg")], [BOX])
    return tmp_path


def ids(root: Path, option: str = "") -> list[str]:
    return [sample.id for sample in CocoDark(option, root).samples()]


def truth_of(root: Path, stem: str, option: str = "") -> Truth:
    dataset = CocoDark(option, root)
    (sample,) = (sample for sample in dataset.samples() if sample.id == stem)
    return dataset.truth(sample)


def corners(truth: Truth) -> list[list[float]]:
    assert truth.boxes is not None
    places: list[list[float]] = truth.boxes.corners.tolist()
    return places


def test_every_photograph_is_a_pair_with_itself_in_natural_order(root: Path) -> None:
    dataset = CocoDark(root=root)
    assert dataset.paired and dataset.tasks == ("detection",)
    assert [sample.id for sample in dataset.samples()] == ["000009", "000010"]
    assert all(sample.files == (sample.low,) == (sample.reference,) for sample in dataset.samples())
    assert {sample.truth for sample in dataset.samples()} == {(root / "annotations" / "instances_val2017.json",)}


def test_a_photograph_becomes_the_picture_that_darkened_makes_of_it(root: Path) -> None:
    ours, other = CocoDark(root=root), Darkened(str(root / "val2017"))
    for mine, its in zip(ours.samples(), other.samples(), strict=True):
        mine_pair, its_pair = ours.load(mine), other.load(its)
        assert torch.equal(mine_pair.low, its_pair.low)
        assert mine_pair.reference is not None and its_pair.reference is not None
        assert torch.equal(mine_pair.reference, its_pair.reference)


def test_boxes_have_corners_names_and_the_area_of_the_outline(root: Path) -> None:
    truth = truth_of(root, "000009")
    assert truth.boxes is not None and truth.size == (100, 80)
    assert corners(truth) == [[10, 20, 40, 60]]
    assert truth.boxes.names == ("dog",) and truth.boxes.areas.tolist() == [600]
    assert truth.boxes.ignored.tolist() == [False]


def test_a_picture_without_annotations_stays_in_without_boxes(root: Path) -> None:
    assert corners(truth_of(root, "000010")) == []


def test_classes_are_the_categories_by_id(root: Path) -> None:
    assert CocoDark(root=root).classes == ("car", "dog")


def test_boxes_shrink_with_a_photograph_that_is_reduced(tmp_path: Path) -> None:
    # 1280x800 becomes 640x400: lengths are halved, areas quartered.
    add_picture(tmp_path / "a.jpg", (1280, 800))
    write_json(tmp_path, [image_entry(1, "a.jpg", (1280, 800))], [BOX])
    dataset = CocoDark(root=tmp_path)
    (sample,) = dataset.samples()
    truth = dataset.truth(sample)
    assert dataset.load(sample).low.shape == (3, 400, 640) and truth.size == (640, 400)
    assert corners(truth) == [[5, 10, 20, 30]]
    assert truth.boxes is not None and truth.boxes.areas.tolist() == [150]


@pytest.mark.parametrize("size", [(1000, 667), (667, 1000), (1283, 777), (3001, 2999)])
def test_a_box_of_the_whole_photograph_is_one_of_the_whole_reduced_picture(
    size: tuple[int, int], tmp_path: Path
) -> None:
    add_picture(tmp_path / "a.jpg", size)
    write_json(tmp_path, [image_entry(1, "a.jpg", size)], [{**BOX, "bbox": [0, 0, *size]}])
    truth = truth_of(tmp_path, "a")
    (corner,) = corners(truth)
    assert corner == pytest.approx([0, 0, *truth.size]) and corner[2] <= truth.size[0] and corner[3] <= truth.size[1]
    assert CocoDark(root=tmp_path).load(CocoDark(root=tmp_path).samples()[0]).low.shape[:0:-1] == truth.size


@pytest.mark.parametrize("option", ["clean", "clean:instances_val2017"])
def test_clean_photographs_keep_their_size_and_have_no_reference(option: str, tmp_path: Path) -> None:
    add_picture(tmp_path / "a.png", (1280, 800))
    write_json(tmp_path, [image_entry(1, "a.png", (1280, 800))], [BOX])
    dataset = CocoDark(option, tmp_path)
    (sample,) = dataset.samples()
    assert not dataset.paired and sample.reference is None
    low, reference = dataset.load(sample)
    assert torch.equal(low, read_rgb(tmp_path / "a.png")) and reference is None
    assert dataset.truth(sample).size == (1280, 800) and corners(dataset.truth(sample)) == [[10, 20, 40, 60]]


def test_labels_say_which_annotations_and_whether_darkened() -> None:
    options = ["", "instances_val2017", "clean", "clean:instances_val2017"]
    assert [CocoDark(option).label for option in options] == [
        "COCO (darkened)",
        "COCO instances_val2017 (darkened)",
        "COCO (as photographed)",
        "COCO instances_val2017 (as photographed)",
    ]


def test_of_several_files_the_only_instances_are_taken(root: Path) -> None:
    (root / "annotations" / "captions_val2017.json").write_text("{}")
    assert ids(root) == ["000009", "000010"]


def test_several_instances_must_be_chosen_from(root: Path) -> None:
    write_json(root, [image_entry(1, "000010.jpg")], [], "instances_part")
    with pytest.raises(ValueError, match=r"instances_part, instances_val2017; name one: coco_dark:instances_part"):
        ids(root)
    with pytest.raises(ValueError, match=r"name one: coco_dark:clean:instances_part"):
        ids(root, "clean")
    assert ids(root, "instances_part") == ["000010"]


def test_an_unknown_stem_is_answered_with_those_there_are(root: Path) -> None:
    with pytest.raises(ValueError, match=r"has no val.json, there are instances_val2017"):
        ids(root, "val")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("val2017/a.jpg", "val2017/a.jpg"),
        ("a.jpg", "val2017/a.jpg"),
        ("a.jpg", "images/a.jpg"),
        ("a.jpg", "images/val2017/a.jpg"),
        ("a.jpg", "elsewhere/deeper/a.jpg"),
    ],
)
def test_a_picture_is_found_in_the_usual_places(name: str, place: str, tmp_path: Path) -> None:
    add_picture(tmp_path / place)
    write_json(tmp_path, [image_entry(1, name)], [])
    assert CocoDark(root=tmp_path).samples()[0].low == tmp_path / place


def test_a_picture_in_two_unusual_places_is_ambiguous(tmp_path: Path) -> None:
    for place in ("x/a.jpg", "y/a.jpg"):
        add_picture(tmp_path / place)
    write_json(tmp_path, [image_entry(1, "a.jpg")], [])
    with pytest.raises(ValueError, match=r"a.jpg is in .*x/a.jpg and .*y/a.jpg; remove all but one"):
        ids(tmp_path)


@pytest.mark.parametrize("line", ["000010.jpg", "000010", "val2017/000010.png"])
def test_a_list_restricts_the_set_to_its_names(line: str, root: Path) -> None:
    (root / "list.txt").write_text(f"{line}\n\n")
    (root / "val2017" / "000009.jpg").unlink()
    assert ids(root) == ["000010"]


@pytest.mark.parametrize(
    ("text", "expected"), [("000010\n11.jpg\n", r"list.txt:2 names 11"), ("\n", "names no picture")]
)
def test_a_list_of_unknown_names_is_an_error(text: str, expected: str, root: Path) -> None:
    (root / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=expected):
        ids(root)


def test_missing_pictures_are_counted(root: Path) -> None:
    (root / "val2017" / "000009.jpg").unlink()
    with pytest.warns(UserWarning, match=r"1 of 2 pictures are not on disk and left out: 000009"):
        assert ids(root) == ["000010"]
    (root / "val2017" / "000010.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"has none of the 2 pictures .*instances_val2017.json names"):
        ids(root)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"image_id": 99}, r"instances_val2017.json: annotation 7 has image_id 99, which the file does not list"),
        ({"category_id": 4}, r"instances_val2017.json: annotation 7 has category_id 4, which the file does not list"),
        ({"bbox": [1, 2, 3]}, r"instances_val2017.json: annotation 7 has bbox \[1, 2, 3\]; it must be"),
        ({"bbox": [1, 2, 3, None]}, r"annotation 7 has bbox"),
        ({"bbox": [1, 2, 3, math.nan]}, r"annotation 7 has bbox"),
        ({"bbox": None}, r"annotation 7 has bbox None"),
        ({"area": -1}, r"annotation 7 has area -1; it must be square pixels"),
        ({"area": "big"}, r"annotation 7 has area 'big'"),
    ],
)
def test_a_malformed_annotation_names_file_and_id(change: dict[str, Any], expected: str, root: Path) -> None:
    write_json(root, [image_entry(1, "000009.jpg")], [{**BOX, **change}])
    with pytest.raises(ValueError, match=expected):
        ids(root)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([image_entry(1, "a.jpg"), image_entry(2, "b/a.jpg")], "two pictures are called a "),
        ([image_entry(1, "a.jpg"), image_entry(1, "b.jpg")], "have the id 1;"),
        ([{"id": 1}], "picture number 0 needs file_name and id, has None and 1"),
        ([image_entry(1, "a.jpg", (0, 9))], "a.jpg has width 0 and height 9"),
        ([], "lists no picture"),
    ],
)
def test_a_malformed_picture_entry_is_named(images: list[Any], expected: str, tmp_path: Path) -> None:
    write_json(tmp_path, images, [])
    with pytest.raises(ValueError, match=rf"instances_val2017.json.*{expected}"):
        ids(tmp_path)


@pytest.mark.parametrize(
    "categories", [[{"id": 1, "name": "dog"}] * 2, [{"id": 1, "name": "dog"}, {"id": 2, "name": "dog"}], [{"id": 1}]]
)
def test_categories_need_one_id_and_one_name_each(categories: list[Any], root: Path) -> None:
    content = {"images": [image_entry(1, "000009.jpg")], "annotations": [], "categories": categories}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"instances_val2017.json: category"):
        ids(root)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"images": [', "is not valid JSON"),
        (b"\xff\xfe\xfd", "is not valid JSON"),
        (b"", "is not valid JSON"),
        (b"[]", "has no list 'images' of objects"),
        (b'{"images": []}', "has no list 'annotations' of objects"),
        (b'{"images": [3]}', "has no list 'images' of objects"),
    ],
)
def test_a_file_that_is_no_annotations_says_why(content: bytes, expected: str, root: Path) -> None:
    (root / "annotations" / "instances_val2017.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"instances_val2017.json {expected}"):
        ids(root)


def test_a_picture_of_another_size_than_stated_has_no_truth(root: Path) -> None:
    add_picture(root / "val2017" / "000009.jpg", (80, 100))
    with pytest.raises(ValueError, match=r"000009.jpg has 100x80 pixels but .*000009.jpg has 80x100"):
        truth_of(root, "000009")


def test_sizes_crowds_and_areas_may_be_left_out(root: Path) -> None:
    bare = {key: BOX[key] for key in ("id", "image_id", "category_id", "bbox")}
    write_json(root, [{"id": 1, "file_name": "000009.jpg"}], [bare])
    truth = truth_of(root, "000009")
    assert truth.size == (100, 80) and truth.boxes is not None
    assert truth.boxes.areas.tolist() == [30 * 40] and truth.boxes.ignored.tolist() == [False]


def test_a_crowd_is_ignored(root: Path) -> None:
    write_json(root, [image_entry(1, "000009.jpg")], [BOX, {**BOX, "iscrowd": 1}])
    boxes = truth_of(root, "000009").boxes
    assert boxes is not None and boxes.ignored.tolist() == [False, True]


def test_a_box_is_cut_at_the_edge_and_left_out_aloud_beyond_it(root: Path) -> None:
    boxes = [[-5, 70, 10, 20], [100, 0, 5, 5], [0, 0, 0, 5]]
    write_json(root, [image_entry(1, "000009.jpg")], [{**BOX, "bbox": box} for box in boxes])
    with pytest.warns(UserWarning, match=r"2 boxes are left out, .*: 000009$"):
        truth = truth_of(root, "000009")
    assert corners(truth) == [[0, 70, 5, 80]]


# YOLO labels


def yolo(root: Path, label: str | None) -> Path:
    add_picture(root / "images" / "val" / "1.jpg")
    (root / "labels" / "val").mkdir(parents=True)
    if label is not None:
        (root / "labels" / "val" / "1.txt").write_text(label)
    return root


def test_yolo_labels_are_read_where_there_is_no_json(tmp_path: Path) -> None:
    # On 100x80 pixels: centre (50, 40), 20x40 wide and high. Number 16 of the 80 is dog, 0 person.
    truth = truth_of(yolo(tmp_path, "16 0.5 0.5 0.2 0.5\n0 0 0 0.2 0.1\n"), "1")
    assert truth.boxes is not None and truth.boxes.names == ("dog", "person")
    assert np.allclose(truth.boxes.corners, [[40, 20, 60, 60], [0, 0, 10, 4]], atol=1e-9)
    assert np.allclose(truth.boxes.areas, [800, 40])


def test_the_80_classes_are_those_of_a_real_annotation_file(shared_data: Path, tmp_path: Path) -> None:
    content = json.loads((shared_data / "coco/coco128/annotations/instances_train2017.json").read_text())
    by_id = sorted(content["categories"], key=lambda category: category["id"])
    assert CocoDark(root=yolo(tmp_path, "")).classes == tuple(category["name"] for category in by_id)


def test_a_picture_without_label_file_is_empty_and_counted(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="1 pictures have no label file: taken as empty: 1"):
        truth = truth_of(yolo(tmp_path, None), "1")
    assert corners(truth) == []


def test_a_label_file_without_picture_is_counted(tmp_path: Path) -> None:
    yolo(tmp_path, "")
    (tmp_path / "labels" / "2.txt").touch()
    with pytest.warns(UserWarning, match="1 label files have no picture: 2"):
        assert ids(tmp_path) == ["1"]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("0 0.5 0.5 0.2 0.5\n80 0.5 0.5 0.2 0.5", r"1.txt:2 has class 80; COCO's are 0 to 79"),
        ("1.5 0.5 0.5 0.2 0.5", r"1.txt:1 has class 1.5"),
        ("0 0.5 0.5 0.2", r"1.txt:1 must be class, centre x"),
        ("dog 0.5 0.5 0.2 0.5", r"1.txt:1 must be class, centre x"),
    ],
)
def test_a_malformed_label_names_file_and_line(label: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=expected):
        truth_of(yolo(tmp_path, label), "1")


def test_two_pictures_of_one_stem_are_ambiguous_to_their_labels(tmp_path: Path) -> None:
    add_picture(yolo(tmp_path, "") / "images" / "train" / "1.jpg")
    with pytest.raises(ValueError, match=r"train/1.jpg and .*val/1.jpg have one stem"):
        ids(tmp_path)


# Real annotations


@pytest.mark.parametrize("option", ["", "clean"])
def test_coco128_holds_what_the_coco_api_reads(option: str, shared_data: Path) -> None:
    root = shared_data / "coco" / "coco128"
    api = COCO(str(root / "annotations" / "instances_train2017.json"))
    dataset = CocoDark(option, root)
    samples = dataset.samples()
    assert len(samples) == 128
    for sample in samples:
        expected = api.loadAnns(api.getAnnIds(int(sample.id)))
        boxes = dataset.truth(sample).boxes
        assert boxes is not None
        places = [[x, y, x + width, y + height] for x, y, width, height in (each["bbox"] for each in expected)]
        assert np.allclose(boxes.corners, np.reshape(places, (-1, 4)))
        assert boxes.names == tuple(api.cats[each["category_id"]]["name"] for each in expected)
        assert boxes.areas.tolist() == [each["area"] for each in expected]
        assert boxes.ignored.tolist() == [bool(each["iscrowd"]) for each in expected]


def test_real_yolo_labels_give_the_boxes_of_their_pictures(shared_data: Path) -> None:
    dataset = CocoDark("clean", shared_data / "coco" / "val30")
    samples = {sample.id: sample for sample in dataset.samples()}
    assert len(samples) == 30
    # 000000000285 is a bear that fills the picture; width and height are those of its only line.
    boxes = dataset.truth(samples["000000000285"]).boxes
    assert boxes is not None and boxes.names == ("bear",)
    with Image.open(samples["000000000285"].low) as picture:
        width, height = picture.size
    assert np.allclose(boxes.areas, 0.99756 * width * 0.881156 * height)
