"""Facts about LOL-v1: its splits, its pairs and its mean distance."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import Image

from bench import plugins
from bench.contracts import Dataset
from bench.plugins import Spec

LOL = plugins.load(Dataset, Spec.parse("lol"))


def lay_out(folder: Path, low: list[str], high: list[str]) -> None:
    for part, names in (("low", low), ("high", high)):
        (folder / part).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (6, 4), (9, 9, 9)).save(folder / part / name)


def test_the_default_split_is_eval15(tmp_path: Path) -> None:
    lay_out(tmp_path / "eval15", ["1.png"], ["1.png"])
    lay_out(tmp_path / "our485", ["2.png"], ["2.png"])
    assert [sample.id for sample in LOL(root=tmp_path).samples()] == ["1"]
    assert [sample.id for sample in LOL("eval15", tmp_path).samples()] == ["1"]
    assert [sample.id for sample in LOL("our485", tmp_path).samples()] == ["2"]


def test_the_top_folder_of_the_archive_may_stay(tmp_path: Path) -> None:
    lay_out(tmp_path / "LOLdataset" / "eval15", ["1.png"], ["1.png"])
    (sample,) = LOL(root=tmp_path).samples()
    assert sample.low == tmp_path / "LOLdataset" / "eval15" / "low" / "1.png"


def test_a_split_found_twice_is_ambiguous(tmp_path: Path) -> None:
    for name in ("a", "b"):
        lay_out(tmp_path / name / "eval15", ["1.png"], ["1.png"])
    with pytest.raises(ValueError, match="holds eval15 twice"):
        LOL(root=tmp_path).samples()


def test_a_missing_folder_is_named_with_the_ways_to_give_a_root(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        LOL(root=tmp_path).samples()
    assert str(caught.value) == (
        f"LOL-v1 needs {tmp_path / 'eval15' / 'low'} (from [datasets.lol] root in bench.toml, --root lol=PATH or"
        " BENCH_DATA/lol); see datasets/lol.py for where to get it"
    )


def test_pairs_are_made_by_stem_whatever_the_endings(tmp_path: Path) -> None:
    lay_out(tmp_path / "eval15", ["10.webp", "9.png"], ["9.jpg", "10.png"])
    samples = LOL(root=tmp_path).samples()
    assert [(sample.low.name, sample.reference and sample.reference.name) for sample in samples] == [
        ("9.png", "9.jpg"),
        ("10.webp", "10.png"),
    ]


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (["1.png", "2.png"], ["1.png"], r"low.2\.png has no partner in .*high; add it"),
        (["1.png"], ["1.png", "2.png"], r"high.2\.png has no partner in .*low; add it"),
        (["1.png"], ["2.png", "3.png"], r"low.1\.png has no partner in .*high; add it"),
        (["1.png", "2.png", "3.png"], ["1.png"], r"2\.png has no partner in .*high \(2 such files\)"),
    ],
)
def test_a_file_without_its_partner_is_an_error_with_its_name(
    low: list[str], high: list[str], message: str, tmp_path: Path
) -> None:
    lay_out(tmp_path / "eval15", low, high)
    with pytest.raises(ValueError, match=message):
        LOL(root=tmp_path).samples()


def test_a_pair_of_two_sizes_is_refused_with_both(tmp_path: Path) -> None:
    lay_out(tmp_path / "eval15", ["1.png"], ["1.png"])
    Image.new("RGB", (4, 6)).save(tmp_path / "eval15" / "high" / "1.png")
    dataset = LOL(root=tmp_path)
    with pytest.raises(ValueError, match=r"low.1\.png is 6x4 but .*high.1\.png is 4x6; a pair must have one size"):
        dataset.load(dataset.samples()[0])


def test_the_official_evaluation_split_has_its_15_pairs_and_its_distance(shared_data: Path) -> None:
    dataset = LOL(root=shared_data / "lol")
    samples = dataset.samples()
    numbers = [1, 22, 23, 55, 79, 111, 146, 179, 493, 547, 665, 669, 748, 778, 780]
    assert [sample.id for sample in samples] == [str(number) for number in numbers]
    psnr = []
    for sample in samples:
        low, reference = dataset.load(sample)
        assert reference is not None
        psnr.append(-10 * math.log10(float((low.double() - reference.double()).square().mean())))
    # Mean of per-image PSNR between low and high, measured with an independent tool on the same files.
    assert sum(psnr) / 15 == pytest.approx(7.7733, abs=5e-5)


def test_the_training_split_is_found_too(shared_data: Path) -> None:
    dataset = LOL("our485", shared_data / "lol")
    samples = dataset.samples()
    assert len(samples) == 256
    assert dataset.load(samples[0]).low.shape == (3, 400, 600)
