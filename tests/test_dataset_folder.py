"""Facts about folder:DIR, the user's own pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from bench import plugins
from bench.contracts import Dataset
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
