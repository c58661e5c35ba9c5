"""Free memory is what the system's own files say, and a picture that does not fit is refused by size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench import work
from bench.contracts import Adapter
from bench.memory import free_bytes

CPU = torch.device("cpu")


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    file = tmp_path / "meminfo"
    file.write_text(
        "MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\nHugePages_Total:  0\n"
    )
    return file


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    folder = tmp_path / "cgroup"
    folder.mkdir()
    (folder / "memory.max").write_text("4000000000\n")
    (folder / "memory.current").write_text("3000000000\n")
    (folder / "memory.stat").write_text("anon 100\ninactive_file 500000000\n")
    return folder


def test_without_a_limit_it_is_what_the_kernel_calls_available(meminfo: Path, tmp_path: Path) -> None:
    assert free_bytes(CPU, meminfo, tmp_path / "absent") == 8_000_000 * 1024


def test_a_containers_limit_counts_and_its_idle_file_cache_is_free(meminfo: Path, cgroup: Path) -> None:
    assert free_bytes(CPU, meminfo, cgroup) == 1_500_000_000


def test_a_container_without_limit_does_not_count(meminfo: Path, cgroup: Path) -> None:
    (cgroup / "memory.max").write_text("max\n")
    assert free_bytes(CPU, meminfo, cgroup) == 8_000_000 * 1024


def test_a_system_that_does_not_tell_gives_none(tmp_path: Path) -> None:
    assert free_bytes(CPU, tmp_path / "absent", tmp_path / "absent") is None


class Hungry(Adapter):
    """Says that it needs a gigabyte for each pixel."""

    label, kind, source = "Hungry", "none", "made by the test"
    memory_per_pixel = 10**9

    def enhance(self, low: torch.Tensor) -> torch.Tensor:
        return low


def test_a_picture_that_does_not_fit_is_refused_with_the_size_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "free_bytes", lambda device: 3 * 2**30)
    with pytest.raises(
        ValueError, match=r"Hungry would need about 89\.4 GiB for 12x8, and 3\.0 GiB are free; .*--size"
    ) as error:
        work.enhance(Hungry(), torch.zeros(1, 3, 8, 12), "set", ["a"], 0)
    assert "up to 0.0 megapixels" in str(error.value)


def test_a_picture_that_fits_is_enhanced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "free_bytes", lambda device: 10**12)
    low = torch.rand(1, 3, 8, 12)
    assert torch.equal(work.enhance(Hungry(), low, "set", ["a"], 0), low)
