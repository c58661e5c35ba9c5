"""The wheel, installed beside Hugging Face's `datasets`, runs away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy so that the checkout stays as it is."""
    source = tmp_path_factory.mktemp("source") / "project"
    hidden = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(ROOT, source, ignore=hidden)
    target = source / "wheels"
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), "."]
    done = subprocess.run([sys.executable, *words], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [built] = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment that holds the wheel and, read-only, this one's dependencies."""
    folder = tmp_path_factory.mktemp("clean") / "env"
    venv.create(folder, with_pip=False)
    words = ["-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-deps", str(wheel)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [packages] = folder.glob("lib/python3*/site-packages")
    # A folder named in a .pth file is searched, but its own .pth files (this checkout's editable install) are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "BENCH_"))}
    return subprocess.run([str(word) for word in words], cwd=cwd, env=plain, capture_output=True, text=True)


def test_the_wheel_holds_every_plug_in_template_and_weights_file(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"bench/{path.relative_to(ROOT)}" for room in ("adapters", "datasets", "reports", "reports/tables")
              for pattern in ("*.py", "*.j2", "*.toml", "reported.csv", "weights/*.safetensors")
              for path in (ROOT / room).glob(pattern)}  # fmt: skip
    for room in ("metrics", "tasks"):
        wanted |= {f"bench/{room}/weights/{path.name}" for path in (ROOT / "bench" / room / "weights").iterdir()}
    wanted |= {f"bench/{path.name}" for path in (ROOT / "bench").glob("*.j2")}
    wanted |= {"bench/selfcheck.csv", "bench/fingerprints.json", "bench/py.typed"} | {
        str(path.relative_to(ROOT)) for path in (ROOT / "bench").rglob("*.py")
    }
    assert wanted - held == set()
    assert not [name for name in held if name.startswith(("adapters/", "datasets/", "reports/", "tests/"))]


def test_both_datasets_packages_are_where_they_belong(installed: Path, tmp_path: Path) -> None:
    code = "import datasets, bench.datasets.demo as ours; print(datasets.Dataset.__module__, ours.__file__)"
    done = run(installed / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    theirs, ours = done.stdout.split()
    assert theirs == "datasets.arrow_dataset"
    assert str(installed.parent) in ours


def test_the_installed_command_runs_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    words = (
        "run",
        "--methods",
        "gamma,zero_dce",
        "--datasets",
        "demo",
        "--metrics",
        "psnr",
        "--limit",
        "1",
        "--out",
        "x",
    )
    done = run(installed / "bench", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    written = {path.name for path in (tmp_path / "x").iterdir()}
    assert {"records.sqlite", "manifest.json", "report.html", "tables.tex", "tables.md", "summary.csv"} <= written
    assert (tmp_path / "x" / "records.csv").read_text().count("\n") == 4
