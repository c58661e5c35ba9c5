"""Tiles put together: what looks only near is the same as on the whole, and the protocol tells of tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from typer.testing import CliRunner

from bench import work
from bench.cli import Exit, app
from bench.contracts import Adapter, Protocol
from bench.tiling import OVERLAP, in_tiles

SIZES = [(300, 400), (129, 1000), (128, 128), (511, 130), (90, 700)]


def blurred(low: Tensor) -> Tensor:
    """A mean over 31x31 pixels, edges reflected: looks 15 pixels far."""
    return functional.avg_pool2d(functional.pad(low, (15, 15, 15, 15), mode="reflect"), 31, stride=1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tile", [128, 200, 1024])
def test_what_looks_near_is_the_same_as_on_the_whole(size: tuple[int, int], tile: int) -> None:
    low = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(in_tiles(blurred, low, tile), blurred(low), rtol=0, atol=2e-6)


def test_no_tile_is_larger_than_asked_and_neighbours_overlap() -> None:
    seen: list[tuple[int, int]] = []

    def note(low: Tensor) -> Tensor:
        seen.append((low.shape[-2], low.shape[-1]))
        return low

    in_tiles(note, torch.zeros(1, 3, 200, 500), 200)
    # 500 pixels by tiles of 200 that share 64: from 0, 136, 272 and 300
    assert seen == [(200, 200)] * 4
    assert OVERLAP == 200 - 136


class Level(Adapter):
    """Replaces a picture by its mean: the extreme of a method that looks at everything."""

    label = "Level"
    kind = "classical"
    source = "a test"
    memory_per_pixel: ClassVar[int] = 1

    def enhance(self, low: Tensor) -> Tensor:
        return low.mean(dim=(2, 3), keepdim=True).expand_as(low)


class Small(Level):
    memory_per_pixel: ClassVar[int] = 0


@pytest.mark.parametrize(
    ("adapter", "tile", "flat"),
    [(Level, 0, True), (Level, 400, True), (Level, 128, False), (Small, 128, True)],
    ids=["whole", "fits into a tile", "tiled", "no network"],
)
def test_only_networks_on_larger_pictures_see_tiles(adapter: type[Adapter], tile: int, flat: bool) -> None:
    low = torch.linspace(0, 1, 400).expand(1, 3, 128, 400)
    enhanced = work.enhance(adapter(), low, "set", ["a"], 0, tile)
    assert (enhanced.std() < 1e-6) == flat


@pytest.mark.parametrize(("tile", "name"), [(0, "native-8bit"), (1024, "native-8bit-tile1024")])
def test_tiles_are_part_of_the_protocol(tile: int, name: str) -> None:
    assert Protocol(tile=tile).name == name


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["run", *words], catch_exceptions=False)
        return done.exit_code, " ".join(done.output.split())

    return run


def test_a_tile_too_small_to_overlap_is_refused(bench: Callable[..., tuple[int, str]], pairs: Path) -> None:
    code, output = bench("--datasets", f"folder:{pairs}", "--tile", "100", "--out", "x")
    assert code == Exit.USAGE
    assert "tile: must be 0 or at least 128 pixels, not 100" in output


def test_another_precision_is_another_row_with_its_own_values(
    bench: Callable[..., tuple[int, str]], pairs: Path, tmp_path: Path
) -> None:
    words = ("--methods", "zero_dce", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    (tmp_path / "bench.toml").write_text("")
    code, plain = bench(*words)
    assert code == Exit.OK
    (tmp_path / "bench.toml").write_text('[methods.zero_dce]\nprecision = "bfloat16"\n')
    code, mixed = bench(*words)
    assert code == Exit.OK
    assert "Zero-DCE (bfloat16)" in mixed
    assert "bfloat16" not in plain
    (tmp_path / "bench.toml").write_text('[methods.zero_dce]\nprecision = "float8"\n')
    code, output = bench(*words)
    assert code == Exit.USAGE
    assert "methods.zero_dce.precision" in output
