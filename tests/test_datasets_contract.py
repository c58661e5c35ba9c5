"""Every data set plug-in keeps the contract: its facts, its errors and its samples."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from bench import plugins
from bench.contracts import Dataset, Sample
from bench.image import natural_key
from bench.plugins import Spec

NAMES = plugins.names(Dataset)


def kind_of(name: str) -> type[Dataset]:
    return plugins.load(Dataset, Spec.parse(name))


ROOTED = [name for name in NAMES if kind_of(name).needs_root]
DIRECTORIES = ["darkened", "folder"]
"""Data sets whose option is the user's folder."""
BUILT_IN = ["demo", "nightscenes"]
"""Data sets that need no files of the user's; theirs are installed ones, never to be written to."""
UNPAIRED = ["dicm", "fusion", "lime", "mef", "npe", "vv"]


def fill(folder: Path, *stems: str, size: tuple[int, int] = (8, 6)) -> Path:
    """A folder with one small picture per stem, each of another grey."""
    folder.mkdir(parents=True, exist_ok=True)
    for level, stem in enumerate(stems):
        Image.new("RGB", size, (level, level, level)).save(folder / f"{stem}.png")
    return folder


def annotate_exdark(folder: Path) -> None:
    (folder / "imageclasslist.txt").write_text("".join(f"{stem}.png 1 1 1 3\n" for stem in (1, 2, 10)))
    (folder / "annotations").mkdir()
    for stem in (1, 2, 10):
        (folder / "annotations" / f"{stem}.png.txt").write_text("% bbGt version=3\nDog 1 2 3 4 0 0 0 0 0 0 0\n")


def annotate_coco(folder: Path) -> None:
    (folder / "annotations").mkdir()
    content = {
        "images": [{"id": stem, "file_name": f"{stem}.png"} for stem in (1, 2, 10)],
        "annotations": [{"id": 7, "image_id": 1, "category_id": 18, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 18, "name": "dog"}],
    }
    (folder / "annotations" / "mine.json").write_text(json.dumps(content))


def annotate_ecssd(folder: Path) -> None:
    (folder / "masks").mkdir()
    for stem in (1, 2, 10):
        Image.new("L", (8, 6), 255).save(folder / "masks" / f"{stem}.png")


WITH_TRUTH = {
    "coco_dark": annotate_coco,
    "ecssd": annotate_ecssd,
    "exdark": annotate_exdark,
}
"""What lies beside images/ in the sets that tasks are scored on."""
DIVIDED = ["ecssd", "exdark"]
"""Sets whose small stand-in is taken whole."""


def laid_out(name: str, folder: Path) -> Dataset:
    """The data set over a small folder of its layout."""
    if name == "lol":
        fill(folder / "eval15" / "low", "10", "2", "1")
        fill(folder / "eval15" / "high", "10", "2", "1")
    elif name in (*UNPAIRED, *DIRECTORIES):
        fill(folder, "10", "2", "1")
    elif name in WITH_TRUTH:
        fill(folder / "images", "10", "2", "1")
        WITH_TRUTH[name](folder)
    kind = kind_of(name)
    if name in DIRECTORIES:
        return kind(option=str(folder))
    if name in DIVIDED:
        return kind(option="all", root=folder)
    return kind(root=folder if kind.needs_root else None)


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_says_what_it_is(name: str) -> None:
    kind = kind_of(name)
    assert kind.label.strip() and kind.layout.strip() and kind.origin.strip()
    assert len(inspect.getdoc(kind) or "") > 40
    assert "\n" not in kind.label + kind.layout + kind.origin


def test_no_two_data_sets_share_a_label() -> None:
    labels = [kind_of(name).label for name in NAMES]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("name", ROOTED)
def test_without_a_root_the_error_names_all_three_ways_to_give_one(name: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        kind_of(name)().samples()
    text = str(caught.value)
    assert text.startswith(f"{kind_of(name).label} needs ")
    for way in (f"[datasets.{name}] root in bench.toml", f"--root {name}=PATH", f"BENCH_DATA/{name}"):
        assert way in text
    assert f"see datasets/{name}.py for where to get it" in text


@pytest.mark.parametrize("name", ROOTED)
def test_a_root_that_does_not_exist_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        kind_of(name)(root=tmp_path / "nowhere").samples()
    assert f"needs {tmp_path / 'nowhere'}" in str(caught.value)
    assert f"(from [datasets.{name}] root in bench.toml, --root {name}=PATH or BENCH_DATA/{name});" in str(caught.value)


@pytest.mark.parametrize("name", ROOTED)
def test_an_empty_root_is_an_error_with_its_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        kind_of(name)(root=tmp_path).samples()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*DIRECTORIES, "coco_dark")])
def test_an_unknown_option_is_refused_with_the_way_out(name: str) -> None:
    with pytest.raises(ValueError, match=rf"nonsense.*write {name}"):
        kind_of(name)(option="nonsense")


@pytest.mark.filterwarnings("ignore:.*known distributions have")
@pytest.mark.parametrize("name", NAMES)
def test_samples_are_unique_in_natural_order_and_load_as_the_convention_says(name: str, tmp_path: Path) -> None:
    dataset = laid_out(name, tmp_path)
    samples = dataset.samples()
    ids = [sample.id for sample in samples]
    assert ids == sorted(set(ids), key=natural_key) and ids
    assert ids == ["1", "2", "10"] or name in BUILT_IN
    assert samples == dataset.samples()
    pair = dataset.load(samples[0])
    assert (pair.reference is not None) == (samples[0].reference is not None) == dataset.paired
    for picture in (pair.low, pair.reference):
        if picture is not None:
            assert picture.dtype == torch.float32 and picture.shape == (3, *pair.low.shape[1:])
            assert float(picture.min()) >= 0 and float(picture.max()) <= 1
    assert all(file.is_file() for sample in samples for file in sample.files)


@pytest.mark.filterwarnings("ignore:.*known distributions have")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in BUILT_IN])
def test_a_damaged_file_is_an_error_of_its_own_picture(name: str, tmp_path: Path) -> None:
    dataset = laid_out(name, tmp_path)
    first, second, _ = dataset.samples()
    second.low.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{second.low.name} is empty"):
        dataset.load(second)
    assert dataset.load(first).low.shape == (3, 6, 8)


@pytest.mark.filterwarnings("ignore:.*known distributions have")
@pytest.mark.parametrize("name", NAMES)
def test_a_set_has_a_truth_of_its_pictures_exactly_where_it_names_tasks(name: str, tmp_path: Path) -> None:
    dataset = laid_out(name, tmp_path)
    sample = dataset.samples()[0]
    assert bool(dataset.tasks) == bool(sample.truth)
    if not dataset.tasks:
        with pytest.raises(ValueError, match="no truth for any task"):
            dataset.truth(sample)
        return
    truth = dataset.truth(sample)
    assert truth.size == dataset.load(sample).low.shape[:0:-1]
    assert (truth.boxes is not None) == ("detection" in dataset.tasks) == bool(dataset.classes)
    assert (truth.mask is not None) == ("saliency" in dataset.tasks)
    assert all(file.is_file() for file in sample.truth)


# The unpaired sets share their layout.


@pytest.mark.parametrize("name", UNPAIRED)
def test_a_set_of_an_unknown_number_of_pictures_is_announced(name: str, tmp_path: Path) -> None:
    fill(tmp_path, "1", "2", "3")
    with pytest.warns(UserWarning, match="has 3 pictures; known distributions have"):
        assert len(kind_of(name)(root=tmp_path).samples()) == 3


@pytest.mark.parametrize("depth", ["DICM", "testdata/DICM"])
def test_pictures_in_the_only_folder_below_the_root_are_found(depth: str, tmp_path: Path) -> None:
    folder = fill(tmp_path / depth, *map(str, range(44)))
    (tmp_path / "readme.txt").touch()
    fill(tmp_path / "__MACOSX", "._1")
    fill(tmp_path / ".cache", "1")
    samples = kind_of("dicm")(root=tmp_path).samples()
    assert samples[10] == Sample(id="10", low=folder / "10.png")


def test_pictures_in_several_folders_are_ambiguous(tmp_path: Path) -> None:
    fill(tmp_path / "DICM", "1")
    fill(tmp_path / "LIME", "1")
    with pytest.raises(ValueError, match=r"pictures in several folders \(.*DICM, .*LIME\); name one of them as root"):
        kind_of("dicm")(root=tmp_path).samples()


@pytest.mark.parametrize(("name", "count"), [("dicm", 64), ("fusion", 14), ("lime", 9), ("mef", 17), ("npe", 8)])
def test_known_distributions_load_without_a_warning(name: str, count: int, shared_data: Path) -> None:
    dataset = kind_of(name)(root=shared_data / "unpaired" / name)
    samples = dataset.samples()
    assert len(samples) == count
    low, reference = dataset.load(samples[0])
    assert low.shape[0] == 3 and reference is None


def test_an_incomplete_vv_is_announced(shared_data: Path) -> None:
    dataset = kind_of("vv")(root=shared_data / "unpaired" / "vv")
    with pytest.warns(UserWarning, match="VV in .* has 7 pictures; known distributions have 24"):
        assert len(dataset.samples()) == 7


def test_loading_every_data_set_imports_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "from bench import plugins\n"
        "from bench.contracts import Dataset\n"
        "kinds = [plugins.load(Dataset, plugins.Spec.parse(name)) for name in plugins.names(Dataset)]\n"
        "next(kind for kind in kinds if kind.__name__ == 'Demo')().samples()\n"
        "print(sorted({'ultralytics', 'skimage', 'sklearn', 'pyiqa', 'cv2'} & set(sys.modules)))\n"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
