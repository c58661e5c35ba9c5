"""A pack holds the same pictures in fewer bytes, and is a data set itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from bench import packing, plugins
from bench.cli import Exit, app
from bench.contracts import Dataset
from bench.image import write_png
from bench.plugins import Spec


@pytest.fixture
def shelf(tmp_path: Path) -> Dataset:
    """Six pairs of noisy pictures of 64x48."""
    generator = torch.Generator().manual_seed(0)
    for part in ("low", "high"):
        (tmp_path / "set" / part).mkdir(parents=True)
        for number in range(6):
            write_png(tmp_path / "set" / part / f"{number}.png", torch.rand(3, 48, 64, generator=generator))
    return folder_set(tmp_path / "set")


def folder_set(folder: Path) -> Dataset:
    return plugins.load(Dataset, Spec.parse("folder"))(str(folder), None)


def test_with_room_enough_every_value_is_kept(shelf: Dataset, tmp_path: Path) -> None:
    samples = shelf.samples()
    assert packing.choose_quality(shelf, samples, 10**7) == packing.LOSSLESS
    assert len(list(packing.pack(shelf, samples, tmp_path / "pack", packing.LOSSLESS))) == 6
    packed = folder_set(tmp_path / "pack")
    for before, after in zip(samples, packed.samples(), strict=True):
        assert after.id == before.id
        for mine, theirs in zip(packed.load(after), shelf.load(before), strict=True):
            assert mine is not None
            assert theirs is not None
            assert torch.equal(mine, theirs)


def test_with_less_room_the_quality_falls_and_the_pack_fits(shelf: Dataset, tmp_path: Path) -> None:
    samples = shelf.samples()
    whole = sum(one.size for one in packing.pack(shelf, samples, tmp_path / "whole", packing.LOSSLESS))
    limit = whole * 2 // 3
    quality = packing.choose_quality(shelf, samples, limit)
    assert quality < packing.LOSSLESS
    written = sum(one.size for one in packing.pack(shelf, samples, tmp_path / "pack", quality))
    assert written <= limit
    assert written == sum(file.stat().st_size for file in (tmp_path / "pack").rglob("*.webp"))


def test_too_little_room_says_how_many_pictures_fit(shelf: Dataset) -> None:
    with pytest.raises(
        ValueError, match=r"6 pictures take about .* MB at WebP quality 80, and the limit is 0 MB; about \d"
    ):
        packing.choose_quality(shelf, shelf.samples(), 8000)


def test_pictures_without_reference_are_a_folder_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "nights").mkdir()
    write_png(tmp_path / "nights" / "a.png", torch.full((3, 8, 8), 0.1))
    nights = folder_set(tmp_path / "nights")
    list(packing.pack(nights, nights.samples(), tmp_path / "pack", 90))
    (sample,) = folder_set(tmp_path / "pack").samples()
    assert (sample.low, sample.reference) == (tmp_path / "pack" / "a.webp", None)


def test_a_folder_with_files_is_not_filled(shelf: Dataset, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="is not empty"):
        list(packing.pack(shelf, shelf.samples(), tmp_path / "set", 90))


def test_the_command_says_what_it_kept_and_how_to_train_on_it(
    shelf: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["data", "pack", "folder:set", "pack", "--limit", "3"], catch_exceptions=False)
    assert done.exit_code == Exit.OK, done.output
    said = " ".join(done.output.split())
    assert "3 pictures without loss" in said
    assert "train with --dataset folder:pack" in said
    assert [sample.id for sample in folder_set(tmp_path / "pack").samples()] == ["1", "3", "5"]
