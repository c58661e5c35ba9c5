"""A manifest holds what a run can be repeated from, as plain JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import bench
from bench import image, lineup, provenance
from bench.cli import app
from bench.config import Config

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, photograph: torch.Tensor) -> Path:
    """Where a run was asked for with relative paths, with settings from bench.toml and the command line."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "bench.toml").write_text("[run]\nthumbnails = 0\nreports = []\nseed = 5\n")
    shutil.copy(shipped_weights(), folder / "mine.safetensors")
    for name, picture in {"low": photograph / 4, "high": photograph}.items():
        (folder / "pairs" / name).mkdir(parents=True)
        image.write_png(folder / "pairs" / name / "1.png", picture)
    words = ("run", "--methods", "zero_dce,gamma:1.8", "--datasets", "folder:pairs,demo", "--limit", "2", "--out", "x",
             "--metrics", "psnr,lpips", "--tasks", "none", "--weights", "zero_dce=mine.safetensors")  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def manifest(folder: Path) -> dict[str, Any]:
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    found: dict[str, Any] = json.loads((folder / "x" / "manifest.json").read_text(), parse_constant=refuse)
    return found


def shipped_weights() -> Path:
    return Path(bench.__file__).parent.parent / "adapters" / "weights" / "zero_dce.safetensors"


def test_the_whole_configuration_is_kept(manifest: dict[str, Any], folder: Path) -> None:
    kept = manifest["configuration"]
    expected = {
        "methods": ["zero_dce", "gamma:1.8"],
        "datasets": ["folder:pairs", "demo"],
        "metrics": ["psnr", "lpips"],
        "tasks": ["none"],
        "reports": [],
        "out": "x",
        "device": "auto",
        "size": "native",
        "rounding": "8bit",
        "limit": 2,
        "batch": 0,
        "workers": 2,
        "seed": 5,
        "save_images": False,
        "thumbnails": 0,
    }
    assert {name: kept["run"][name] for name in expected} == expected
    assert kept["methods"] == {"zero_dce": str(folder / "mine.safetensors")}
    assert kept["places"] == {"folder:pairs": str(folder / "pairs")}


def test_files_have_their_own_digests_beside_that_of_the_code(manifest: dict[str, Any]) -> None:
    method = manifest["methods"]["zero_dce"]
    assert method["files"] == {"mine.safetensors": sha256(shipped_weights().read_bytes()).hexdigest()}
    assert len({method["digest"], method["code"], *method["files"].values()}) == 3
    assert manifest["methods"]["gamma:1.8"]["option"] == "1.8"
    assert manifest["methods"]["gamma:1.8"]["files"] == {}


def test_the_code_of_a_method_has_one_digest_whatever_its_option_and_weights(tmp_path: Path) -> None:
    def digests(paths: Any) -> list[str]:
        return [sha256(path.read_bytes()).hexdigest() for path in paths]

    first, second = (lineup.build_method(name, Config(), digests) for name in ("gamma:2", "gamma:3"))
    assert first.code == second.code
    assert first.digest != second.digest


def test_machine_and_libraries_are_those_of_this_process(manifest: dict[str, Any]) -> None:
    assert manifest["threads"] == torch.get_num_threads()
    assert manifest["packages"]["numpy"] == metadata.version("numpy")
    assert manifest["machine"]["capability"] == torch.backends.cpu.get_cpu_capability()
    assert manifest["switches"]["interop threads"] == torch.get_num_interop_threads()
    # What holds while pictures are enhanced: deterministic kernels, whatever the process was started with.
    assert (manifest["switches"]["cuDNN deterministic"], manifest["switches"]["cuDNN benchmark"]) == (True, False)


def test_a_cpu_has_no_driver(device: torch.device) -> None:
    found = provenance.machine(device)
    json.dumps(found)
    assert (found["gpu"] is None) == (device.type == "cpu")
    assert (found["driver"] is None and found["cuda"] is None) == (device.type == "cpu")


def test_a_gpu_is_named_with_its_compute_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(name="NVIDIA H200", major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(provenance, "_driver", lambda: "570.86.15")
    found = provenance.machine(torch.device("cuda:0"))
    assert (found["gpu"], found["compute"], found["driver"]) == ("NVIDIA H200", "9.0", "570.86.15")
    assert found["cuda"] == torch.version.cuda


@pytest.mark.parametrize(
    ("text", "version"),
    [
        # Proprietary and open kernel module, as /proc/driver/nvidia/version has them.
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (x)\n", "570.86.15"),
        ("something else", None),
    ],
)
def test_the_driver_names_its_version(text: str, version: str | None) -> None:
    assert provenance.driver_version(text) == version


def test_variables_that_bear_on_values_or_speed_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/users/somebody")
    variables = {
        "OMP_NUM_THREADS": "2",
        "MKL_CBWR": "AVX2",
        "BENCH_DATA": "/users/somebody/data:/data",
        "CUDA_VISIBLE_DEVICES": "1",
        "ATEN_CPU_CAPABILITY": "avx2",
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "KMP_INIT_AT_FORK": "FALSE",  # scikit-learn's own doing
    }
    assert provenance.environment(variables) == {
        "ATEN_CPU_CAPABILITY": "avx2",
        "BENCH_DATA": "~/data:/data",
        "CUDA_VISIBLE_DEVICES": "1",
        "MKL_CBWR": "AVX2",
        "OMP_NUM_THREADS": "2",
    }


def test_a_path_is_kept_in_full_without_the_name_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert provenance.homely(Path("../data/lol")) == "~/data/lol"
    assert Path(provenance.homely(Path("../data/lol"))).expanduser() == tmp_path / "data" / "lol"
    assert provenance.homely(Path("/data/lol")) == "/data/lol"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of its own that the package seems to run from: one commit of two core files."""
    if shutil.which("git") is None:
        pytest.skip("git is not on this machine")
    folder = tmp_path / "checkout"
    (folder / "bench").mkdir(parents=True)
    for name in ("__init__", "image"):
        (folder / "bench" / f"{name}.py").write_text("first = 1\n")
    git = ["git", "-C", str(folder), "-c", "user.name=T", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    monkeypatch.setattr(bench, "__file__", str(folder / "bench" / "__init__.py"))
    return folder


def test_a_clean_checkout_has_a_commit_and_no_changes(checkout: Path) -> None:
    commit, dirty = provenance.revision()
    head = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert (commit, dirty) == (head.stdout.strip(), False)
    assert provenance.surroundings(CPU)["changes"] is None


def test_changed_files_of_a_checkout_are_named_and_their_changes_digested(checkout: Path) -> None:
    (checkout / "bench" / "new.py").write_text("not tracked")
    (checkout / "bench" / "image.py").write_text("second = 2\n")
    first = provenance.surroundings(CPU)["changes"]
    (checkout / "bench" / "image.py").write_text("third = 3\n")
    second = provenance.surroundings(CPU)["changes"]
    assert first["files"] == second["files"] == ["bench/image.py"]
    assert first["digest"] != second["digest"]


def test_the_source_of_the_core_has_a_digest_without_git(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    before = provenance.core_digest()
    assert provenance.surroundings(CPU)["commit"] is None
    (checkout / "bench" / "image.py").write_text("first = 1.5\n")
    assert provenance.core_digest() != before
    (checkout / "bench" / "image.py").write_text("first = 1\n")
    assert provenance.core_digest() == before


def test_only_what_differs_is_kept_of_earlier_commands() -> None:
    now = {"torch": "2.1", "threads": 2, "seed": 0}
    before = {"created": "yesterday", "command": "bench run", "torch": "2.0", "threads": 2, "seed": 1}
    missing = dict.fromkeys(set(provenance.SURROUNDINGS) - {"torch", "threads"})
    assert provenance.earlier(before | missing, now | missing) == [
        {"created": "yesterday", "command": "bench run", "torch": "2.0"}
    ]
    assert provenance.earlier(now | missing, now | missing) == []
