"""The composite action: its steps are run here as GitHub would run them, with `bench` on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
ACTION = ROOT / ".github" / "actions" / "check" / "action.yml"


def step(name: str) -> str:
    """The script of a step."""
    steps = yaml.safe_load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"]
    (script,) = [each["run"] for each in steps if each.get("name") == name]
    return str(script)


def checked(folder: Path, pairs: Path, methods: str) -> tuple[int, str]:
    """Exit status and job summary of the step 'Check'."""
    temporary = folder / methods
    temporary.mkdir()
    variables = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RUNNER_TEMP": str(temporary),
        "GITHUB_STEP_SUMMARY": str(temporary / "summary.md"),
        "BENCH_RUN": f"--methods {methods} --datasets folder:{pairs} --metrics psnr,ssim --reports csv --thumbnails 0",
        "BENCH_CHECK": "--slower 0",
        "BENCH_BASELINE": str(folder / "baseline.json"),
    }
    # GitHub runs bash steps with these options.
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step("Check")],
        env={**os.environ, **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    summary = temporary / "summary.md"
    return done.returncode, summary.read_text() if summary.exists() else done.stdout + done.stderr


def test_the_step_passes_fails_and_writes_the_summary(tmp_path: Path, pairs: Path) -> None:
    bench = [sys.executable, "-m", "bench.cli"]
    words = ["--methods", "gamma", "--datasets", f"folder:{pairs}", "--metrics", "psnr,ssim", "--thumbnails", "0"]
    for command in (["run", *words, "--out", "first"], ["baseline", "save", "first", "baseline.json"]):
        subprocess.run([*bench, *command], cwd=tmp_path, check=True, capture_output=True)
    status, summary = checked(tmp_path, pairs, "gamma")
    assert (status, summary.startswith("## ✅")) == (0, True), summary
    status, summary = checked(tmp_path, pairs, "clahe")
    assert (status, summary.startswith("## ❌")) == (1, True), summary
    assert "the run has no Gamma" in summary


@pytest.mark.parametrize("file", ["constraints.txt", "pyproject.toml"])
def test_the_action_installs_the_checkout_it_lies_in(file: str) -> None:
    assert 'root="$GITHUB_ACTION_PATH/../../.."' in step("Install")
    assert (ACTION.parent / "../../.." / file).is_file()
