from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench import plugins
from bench.contracts import Adapter
from bench.image import write_png
from bench.plugins import Spec

Outputs = plugins.load(Adapter, Spec.parse("outputs"))


def flat(level: int, height: int = 6, width: int = 8) -> Tensor:
    return torch.full((3, height, width), level / 255)


def save(path: Path, picture: Tensor) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, picture)
    return path


def test_pictures_are_found_in_the_data_sets_folder(tmp_path: Path) -> None:
    save(tmp_path / "lol" / "1.png", flat(10))
    save(tmp_path / "dicm" / "1.png", flat(20))
    outputs = Outputs(str(tmp_path))
    low = torch.zeros(1, 3, 6, 8)
    assert torch.equal(outputs.enhance_named(low, "lol", ["1"])[0], flat(10))
    assert torch.equal(outputs.enhance_named(low, "dicm", ["1"])[0], flat(20))


def test_pictures_of_a_single_set_may_lie_in_the_folder_itself(tmp_path: Path) -> None:
    save(tmp_path / "a.png", flat(1))
    save(tmp_path / "b.png", flat(2))
    enhanced = Outputs(str(tmp_path)).enhance_named(torch.zeros(2, 3, 6, 8), "lol", ["b", "a"])
    assert torch.equal(enhanced, torch.stack([flat(2), flat(1)]))


def test_an_underscore_stands_for_the_colon_of_a_data_set(tmp_path: Path) -> None:
    save(tmp_path / "lol_our485" / "2.png", flat(3))
    enhanced = Outputs(str(tmp_path)).enhance_named(torch.zeros(1, 3, 6, 8), "lol:our485", ["2"])
    assert torch.equal(enhanced[0], flat(3))


def test_an_id_with_a_dot_keeps_it(tmp_path: Path) -> None:
    save(tmp_path / "img.v2.png", flat(5))
    assert torch.equal(Outputs(str(tmp_path)).enhance_named(torch.zeros(1, 3, 6, 8), "x", ["img.v2"])[0], flat(5))


def test_every_picture_counts_as_a_file_of_the_method(tmp_path: Path) -> None:
    expected = (save(tmp_path / "lol" / "2.png", flat(1)), save(tmp_path / "lol" / "10.png", flat(1)))
    (tmp_path / "notes.txt").write_text("not a picture")
    assert Outputs(str(tmp_path)).files == expected


def test_a_missing_picture_is_named_with_the_expected_place(tmp_path: Path) -> None:
    save(tmp_path / "lol" / "1.png", flat(1))
    with pytest.raises(ValueError, match=r"'7' of lol has no output: expected .*lol/7\.png"):
        Outputs(str(tmp_path)).enhance_named(torch.zeros(1, 3, 6, 8), "lol", ["7"])


@pytest.mark.parametrize("twins", [("1.png", "1.jpg"), ("lol/1.png", "1.png")])
def test_a_picture_that_is_there_twice_is_refused(tmp_path: Path, twins: tuple[str, str]) -> None:
    for name in twins:
        save(tmp_path / name, flat(1))
    with pytest.raises(ValueError, match=r"'1' of lol has 2 outputs, .*; keep one"):
        Outputs(str(tmp_path)).enhance_named(torch.zeros(1, 3, 6, 8), "lol", ["1"])


def test_a_picture_of_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    save(tmp_path / "1.png", flat(1, height=5, width=9))
    with pytest.raises(ValueError, match=r"1\.png has 9x5 pixels, picture '1' of lol has 8x6"):
        Outputs(str(tmp_path)).enhance_named(torch.zeros(1, 3, 6, 8), "lol", ["1"])


def test_enhancing_without_names_says_what_to_call(tmp_path: Path) -> None:
    save(tmp_path / "1.png", flat(1))
    with pytest.raises(RuntimeError, match="enhance_named"):
        Outputs(str(tmp_path)).enhance(torch.zeros(1, 3, 6, 8))


def test_a_folder_is_needed() -> None:
    with pytest.raises(ValueError, match="outputs:DIR"):
        Outputs("")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        Outputs(str(tmp_path / "absent"))


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        Outputs(str(tmp_path))
