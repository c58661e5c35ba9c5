"""Facts about ExDark: its list, its boxes, and what becomes of files that do not fit together."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from PIL import Image

from bench import plugins
from bench.contracts import Dataset, Truth
from bench.plugins import Spec

ExDark = plugins.load(Dataset, Spec.parse("exdark"))

HEADER = "Name | Class | Light | In/Out | Train/Val/Test\r\n"
BBGT = "% bbGt version=3\n"
REST = " 0 0 0 0 0 0 0\n"

UNTIDY = pytest.mark.filterwarnings("ignore:ExDark")
"""For tests of one fact over a folder that gives warnings which other tests are about."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four pictures of 20x10 pixels: two of test, one of train, one of val, each with a dog."""
    write_list(tmp_path, "2015_10.png 9 10 2 3", "2015_9.jpg 9 1 1 3", "2015_1.png 9 4 1 1", "2015_2.png 9 5 2 2")
    for name in ("2015_10.png", "2015_9.jpg", "2015_1.png", "2015_2.png"):
        add_picture(tmp_path, name)
        annotate(tmp_path, name, "Dog 1 2 3 4" + REST)
    return tmp_path


def write_list(root: Path, *rows: str) -> None:
    (root / "imageclasslist.txt").write_bytes((HEADER + "".join(f"{row}\r\n" for row in rows)).encode())


def add_picture(root: Path, name: str, folder: str = "images/Dog") -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10), (9, 9, 9)).save(root / folder / name)


def annotate(root: Path, name: str, text: str, header: str = BBGT, folder: str = "annotations/Dog") -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / f"{name}.txt").write_text(header + text)


def ids(root: Path, option: str = "") -> list[str]:
    return [sample.id for sample in ExDark(option, root).samples()]


def truth_of(root: Path, stem: str, option: str = "") -> Truth:
    dataset = ExDark(option, root)
    (sample,) = (sample for sample in dataset.samples() if sample.id == stem)
    return dataset.truth(sample)


def corners(truth: Truth) -> list[list[float]]:
    assert truth.boxes is not None
    places: list[list[float]] = truth.boxes.corners.tolist()
    return places


def test_the_bare_name_is_the_official_test_split(root: Path) -> None:
    assert ids(root) == ids(root, "test") == ["2015_9", "2015_10"]
    assert ids(root, "train") == ["2015_1"]
    assert ids(root, "val") == ["2015_2"]
    assert ids(root, "all") == ["2015_1", "2015_2", "2015_9", "2015_10"]


def test_results_of_another_split_bear_its_name() -> None:
    labels = [ExDark(option).label for option in ("", "test", "train", "all")]
    assert labels == ["ExDark", "ExDark", "ExDark train", "ExDark all"]
    assert ExDark.training_split == "train"


def test_it_is_unpaired_and_for_detection_of_twelve_classes_under_coco_names() -> None:
    dataset = ExDark()
    assert not dataset.paired and dataset.tasks == ("detection",)
    assert dataset.classes == (
        *("bicycle", "boat", "bottle", "bus", "car", "cat", "chair", "cup", "dog", "motorcycle", "person"),
        "dining table",
    )


def test_boxes_are_left_top_width_height_with_coco_names_in_any_case(root: Path) -> None:
    annotate(root, "2015_9.jpg", f"People 1 2 3 4{REST}MOTORBIKE 0 0 5 6{REST}\ntable 10 1 4 2{REST}")
    truth = truth_of(root, "2015_9")
    assert truth.size == (20, 10) and truth.boxes is not None
    assert truth.boxes.names == ("person", "motorcycle", "dining table")
    assert corners(truth) == [[1, 2, 4, 6], [0, 0, 5, 6], [10, 1, 14, 3]]
    assert truth.boxes.areas.tolist() == [12, 30, 8]
    assert truth.boxes.ignored.tolist() == [False] * 3


def test_light_and_place_are_named_as_the_official_readme_numbers_them(root: Path) -> None:
    # Groundtruth/README.md: Low(1) ... Single(4), Weak(5) ... Twilight(10); Indoor(1), Outdoor(2)
    groups = {stem: truth_of(root, stem, "all").groups for stem in ids(root, "all")}
    assert groups == {
        "2015_1": {"light": "single", "place": "indoor"},
        "2015_2": {"light": "weak", "place": "outdoor"},
        "2015_9": {"light": "low", "place": "indoor"},
        "2015_10": {"light": "twilight", "place": "outdoor"},
    }


def test_an_annotation_without_lines_is_a_picture_without_objects(root: Path) -> None:
    annotate(root, "2015_9.jpg", "")
    assert corners(truth_of(root, "2015_9")) == []


def test_the_archives_own_folder_names_will_do(root: Path) -> None:
    before = truth_of(root, "2015_9")
    (root / "images").rename(root / "ExDark")
    (root / "annotations").rename(root / "ExDark_Annno")
    after = truth_of(root, "2015_9")
    assert corners(after) == corners(before) == [[1, 2, 4, 6]]


def test_annotations_are_read_from_the_archive_where_it_is_not_unpacked(root: Path) -> None:
    with zipfile.ZipFile(root / "ExDark_Annno.zip", "w") as archive:
        for file in sorted((root / "annotations" / "Dog").iterdir()):
            archive.write(file, f"ExDark_Annno/Dog/{file.name}")
            archive.writestr(f"__MACOSX/ExDark_Annno/Dog/._{file.name}", "")
            file.unlink()
    (root / "annotations" / "Dog").rmdir()
    (root / "annotations").rmdir()
    assert corners(truth_of(root, "2015_9")) == [[1, 2, 4, 6]]
    assert ExDark(root=root).samples()[0].truth == (root / "ExDark_Annno.zip",)


def test_a_line_of_the_archive_is_named_with_archive_member_and_line(root: Path) -> None:
    annotate(root, "2015_9.jpg", "Dog 1 2" + "\n")
    with zipfile.ZipFile(root / "ExDark_Annno.zip", "w") as archive:
        archive.write(root / "annotations/Dog/2015_9.jpg.txt", "ExDark_Annno/Dog/2015_9.jpg.txt")
    (root / "annotations").rename(root / "elsewhere")
    dataset = ExDark(root=root)
    sample = dataset.samples()[0]
    with pytest.raises(ValueError, match=r"ExDark_Annno.zip/ExDark_Annno/Dog/2015_9.jpg.txt:2 must be a class"):
        dataset.truth(sample)


def test_a_damaged_archive_is_named(root: Path) -> None:
    (root / "annotations").rename(root / "elsewhere")
    (root / "ExDark_Annno.zip").write_bytes(b"PK but no more")
    with pytest.raises(ValueError, match=r"ExDark_Annno.zip cannot be unpacked"):
        ExDark(root=root).samples()


def test_upper_and_lower_case_do_not_part_files_that_belong_together(root: Path) -> None:
    (root / "images/Dog/2015_9.jpg").rename(root / "images/Dog/2015_9.JPEG")
    (root / "annotations/Dog/2015_10.png.txt").rename(root / "annotations/Dog/2015_10.PNG.txt")
    assert ids(root) == ["2015_9", "2015_10"]
    assert corners(truth_of(root, "2015_9")) == corners(truth_of(root, "2015_10")) == [[1, 2, 4, 6]]


def test_two_pictures_of_one_stem_are_ambiguous(root: Path) -> None:
    add_picture(root, "2015_9.png", "images/Cat")
    with pytest.raises(ValueError, match=r"Cat/2015_9.png and .*Dog/2015_9.jpg have one stem"):
        ids(root)


def test_two_annotations_of_one_stem_are_ambiguous(root: Path) -> None:
    annotate(root, "2015_9.JPG", "", folder="annotations/Cat")
    with pytest.raises(ValueError, match=r"Cat/2015_9.JPG.txt and .*Dog/2015_9.jpg.txt have one stem"):
        ids(root)


def test_both_names_of_a_folder_are_ambiguous(root: Path) -> None:
    (root / "ExDark").mkdir()
    with pytest.raises(ValueError, match="has both images and ExDark; remove one"):
        ids(root)


def test_a_split_without_pictures_names_the_splits_that_have_some(root: Path) -> None:
    for name in ("2015_10.png", "2015_9.jpg"):
        (root / "images/Dog" / name).unlink()
    with pytest.raises(ValueError, match=r"no picture of test, .* 1 of train and 1 of val; write exdark:all"):
        ids(root)


def test_pictures_of_no_list_at_all_are_an_error(root: Path) -> None:
    write_list(root, "2015_77.png 1 1 1 3")
    with pytest.raises(FileNotFoundError, match=r"holds no picture that imageclasslist.txt names"):
        ids(root)


def test_absent_pictures_are_counted_with_those_that_have_an_annotation(root: Path) -> None:
    (root / "images/Dog/2015_9.jpg").unlink()
    expected = r"found 1 of 2 pictures; absent are 2015_9; annotations without their picture: 1"
    with pytest.warns(UserWarning, match=expected):
        assert ids(root) == ["2015_10"]


@pytest.mark.parametrize("what", ["pictures", "annotations"])
def test_files_that_the_list_does_not_name_are_left_out_aloud(what: str, root: Path) -> None:
    if what == "pictures":
        add_picture(root, "2015_8.png")
    else:
        annotate(root, "2015_8.png", "")
    with pytest.warns(UserWarning, match=rf"1 {what} are left out, imageclasslist.txt does not name them: 2015_8"):
        assert ids(root) == ["2015_9", "2015_10"]


def test_a_picture_without_annotation_is_scored_without_truth(root: Path) -> None:
    (root / "annotations/Dog/2015_9.jpg.txt").unlink()
    dataset = ExDark(root=root)
    first, second = dataset.samples()
    assert first.truth == () and dataset.load(first).low.shape == (3, 10, 20)
    with pytest.raises(ValueError, match=r"2015_9.jpg has no annotation; add annotations/\*/2015_9.jpg.txt"):
        dataset.truth(first)
    assert len(corners(dataset.truth(second))) == 1


def test_a_box_is_cut_at_the_edge_of_the_picture(root: Path) -> None:
    annotate(root, "2015_9.jpg", f"Dog -2 -1 5 4{REST}Dog 18 8 9 9{REST}")
    truth = truth_of(root, "2015_9")
    assert corners(truth) == [[0, 0, 3, 3], [18, 8, 20, 10]]
    assert truth.boxes is not None and truth.boxes.areas.tolist() == [9, 4]


@pytest.mark.parametrize("box", ["1 2 0 4", "1 2 3 -1", "20 2 3 4", "-3 2 3 4"])
def test_a_box_without_area_in_the_picture_is_left_out_aloud(box: str, root: Path) -> None:
    annotate(root, "2015_9.jpg", f"Dog {box}{REST}Cat 1 1 1 1{REST}")
    with pytest.warns(UserWarning, match=r"1 boxes are left out, .*: 2015_9$"):
        truth = truth_of(root, "2015_9")
    assert corners(truth) == [[1, 1, 2, 2]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dog 1 2 3 4" + REST + "Wolf 1 2 3 4" + REST, r":3 has the class 'Wolf'; ExDark's are bicycle, .* table"),
        ("Dog 1 2 3\n", r":2 must be a class, left, top, width and height, is 'Dog 1 2 3'"),
        ("Dog 1 2 three 4" + REST, r":2 must be a class"),
        ("Dog 1 2 nan 4" + REST, r":2 must be a class"),
    ],
    ids=["unknown class", "short", "no number", "not finite"],
)
def test_a_malformed_line_is_an_error_of_its_own_picture_with_file_and_line(
    text: str, expected: str, root: Path
) -> None:
    annotate(root, "2015_9.jpg", text)
    dataset = ExDark(root=root)
    first, second = dataset.samples()
    with pytest.raises(ValueError, match=r"annotations/Dog/2015_9.jpg.txt" + expected):
        dataset.truth(first)
    assert len(corners(dataset.truth(second))) == 1


@pytest.mark.parametrize("header", ["", "% bbGt version=2\n", "Dog 1 2 3 4\n"])
def test_an_annotation_without_its_first_line_is_not_taken_for_an_empty_picture(header: str, root: Path) -> None:
    annotate(root, "2015_9.jpg", "", header=header)
    with pytest.raises(ValueError, match=r"2015_9.jpg.txt:1 must be '% bbGt version=3'"):
        truth_of(root, "2015_9")


@pytest.mark.parametrize("row", ["2015_9.jpg 9 11 1 3", "2015_9.jpg 9 0 1 3", "2015_9.jpg 9 1 1", "2015_9.jpg a 1 1 3"])
def test_a_malformed_list_names_the_line(row: str, root: Path) -> None:
    write_list(root, "2015_10.png 9 10 2 3", row)
    with pytest.raises(ValueError, match=r"imageclasslist.txt:3 must be a file's name and four numbers"):
        ids(root)


def test_a_picture_listed_twice_is_an_error(root: Path) -> None:
    write_list(root, "2015_9.jpg 9 1 1 3", "2015_9.JPG 9 2 1 1")
    with pytest.raises(ValueError, match=r"imageclasslist.txt:3 names 2015_9, as line 2 does"):
        ids(root)


@pytest.mark.parametrize("part", ["images", "annotations", "imageclasslist.txt"])
def test_a_missing_part_is_named(part: str, root: Path) -> None:
    (root / part).rename(root / "elsewhere")
    with pytest.raises(FileNotFoundError, match=rf"ExDark needs .*{part}"):
        ids(root)


# The real files


def test_the_official_list_has_3000_1800_and_2563_pictures(shared_data: Path) -> None:
    for option, count in (("train", "3,000"), ("val", "1,800"), ("all", "7,363")):
        with pytest.warns(UserWarning, match=rf"of {count} pictures"):
            ExDark(option, shared_data / "exdark").samples()


def test_photographs_of_other_splits_lead_to_all(shared_data: Path) -> None:
    with pytest.raises(ValueError, match=r"no picture of test, .* 6 of train and 2 of val; write exdark:all"):
        ExDark(root=shared_data / "exdark").samples()


@UNTIDY
def test_a_real_photograph_has_the_boxes_of_its_file(shared_data: Path) -> None:
    truth = truth_of(shared_data / "exdark", "2015_02243", "all")
    assert truth.size == (1023, 612) and truth.boxes is not None
    assert truth.boxes.names == ("bus", "car")
    assert corners(truth) == [[204, 62, 765, 410], [84, 223, 142, 309]]
    assert truth.groups == {"light": "strong", "place": "outdoor"}


@UNTIDY
def test_the_complete_archive_holds_the_same_boxes_as_the_unpacked_files(shared_data: Path, tmp_path: Path) -> None:
    real = shared_data / "exdark"
    for part in ("images", "imageclasslist.txt", "ExDark_Annno.zip"):
        (tmp_path / part).symlink_to(real / part)
    packed = ExDark("all", tmp_path)
    unpacked = ExDark("all", real)
    with pytest.warns(UserWarning, match="annotations without their picture: 7,355"):
        samples = packed.samples()
    assert len(samples) == 8
    for one, other in zip(samples, unpacked.samples(), strict=True):
        assert corners(packed.truth(one)) == corners(unpacked.truth(other)) != []
