"""A baseline is saved, something goes wrong, `bench check` says what: with real runs on eight small photographs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from bench import image
from bench.cli import Exit, app

Bench = Callable[..., Result]
SHIPPED = Path(__file__).resolve().parent.parent / "adapters" / "weights" / "zero_dce.safetensors"

METHOD = """
import time
from torch import Tensor
from bench.contracts import Adapter

class Mine(Adapter):
    label = "Mine"
    kind = "classical"
    source = "a test"

    def enhance(self, low: Tensor) -> Tensor:
        time.sleep(0.02)
        return low.pow(0.5)
"""
METRIC = """
import torch
from torch import Tensor
from bench.contracts import Metric
from bench.planes import Planes

class Level(Metric):
    label = "Level"
    higher_is_better = True
    needs_reference = False
    definition = "mean of all values times a constant"
    source = "a test"
    noise = 1e-4

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        return enhanced.rgb.double().mean(dim=(1, 2, 3)) * 1.00
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photograph: torch.Tensor) -> Bench:
    """Runs `bench` in a folder with eight pairs, a method and a metric of the user's."""
    for name, views in {"low": photograph / 4, "high": photograph}.items():
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for index in range(8):
            image.write_png(tmp_path / "pairs" / name / f"{index}.png", views.roll(index * 7, dims=2))
    (tmp_path / "mine.py").write_text(METHOD)
    (tmp_path / "level.py").write_text(METRIC)
    (tmp_path / "bench.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def run(bench: Bench, out: str, *more: str, expected: Exit = Exit.OK) -> None:
    words = {
        "methods": "mine.py,zero_dce",
        "datasets": "folder:pairs",
        "metrics": "psnr,ssim,level.py",
        "reports": "csv",
        "thumbnails": "0",
        "out": out,
    }
    done = bench("run", *(part for name, value in words.items() for part in (f"--{name}", value)), *more)
    assert done.exit_code == expected, done.output


def check(bench: Bench, *more: str) -> tuple[int, str]:
    # Speed is for the test that is about it: on a busy machine it would be a matter of luck here.
    words = ("check", "later", "--baseline", "saved.json", *more)
    done = bench(*words, *(() if "--slower" in more else ("--slower", "0")))
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def saved(bench: Bench) -> Path:
    run(bench, "first")
    done = bench("baseline", "save", "first", "saved.json")
    assert done.exit_code == Exit.OK, done.output
    return Path("saved.json")


def test_an_unchanged_rerun_passes(bench: Bench, saved: Path) -> None:
    run(bench, "later")
    code, output = check(bench)
    assert code == Exit.OK, output
    assert "nothing changed" in output


def test_a_rerun_on_another_number_of_threads_passes(bench: Bench, saved: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        run(bench, "later")
    finally:
        torch.set_num_threads(before)
    code, output = check(bench)
    assert code == Exit.OK, output
    assert f"threads: {before} in the baseline" in output


def test_a_method_one_percent_darker_is_caught(bench: Bench, saved: Path) -> None:
    Path("mine.py").write_text(METHOD.replace("low.pow(0.5)", "low.pow(0.5) * 0.99"))
    run(bench, "later")
    code, output = check(bench)
    assert code == Exit.FAILURES
    assert "worse mine.py · folder:pairs · PSNR" in output
    assert "method mine.py: its code or option differs" in output
    assert "zero_dce" not in output


def test_a_changed_constant_of_a_metric_is_caught(bench: Bench, saved: Path) -> None:
    Path("level.py").write_text(METRIC.replace("1.00", "1.01"))
    run(bench, "later")
    code, output = check(bench)
    assert code == Exit.FAILURES
    assert output.count("metric changed") == 3 + 1  # three methods, and the summary
    assert "mine.py · folder:pairs · Level" in output
    assert "PSNR" not in output


def test_a_deleted_picture_is_caught(bench: Bench, saved: Path) -> None:
    for folder in ("low", "high"):
        Path("pairs", folder, "3.png").unlink()
    run(bench, "later")
    code, output = check(bench)
    assert code == Exit.FAILURES
    assert "missing folder:pairs" in output
    assert "3 no longer in the data set" in output


def test_swapped_weights_are_caught_and_named(bench: Bench, saved: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    swapped = {
        name: value.float() + 0.05 * torch.randn(value.shape, generator=generator)
        for name, value in load_file(SHIPPED).items()
    }
    save_file(swapped, "other.safetensors")
    run(bench, "later", "--weights", "zero_dce=other.safetensors")
    code, output = check(bench)
    assert code == Exit.FAILURES
    assert "other weights zero_dce" in output
    assert "zero_dce · folder:pairs · SSIM" in output


def test_a_method_that_became_slower_is_caught(bench: Bench, saved: Path) -> None:
    # Ten times as slow: the test has to hold on a machine that others make slower by a few times as well.
    Path("mine.py").write_text(METHOD.replace("sleep(0.02)", "sleep(0.2)"))
    run(bench, "later")
    code, output = check(bench, "--slower", "1.5")
    assert code == Exit.FAILURES
    assert "slower mine.py · folder:pairs · seconds per picture" in output


def test_a_method_that_fails_on_a_picture_is_caught(bench: Bench, saved: Path) -> None:
    broken = METHOD.replace(
        "return low",
        "if abs(float(low[0, 0, 0, 0]) - PIXEL) < 1e-6: raise ValueError('lost')\n        return low",
    )
    first = image.read_rgb(Path("pairs/low/5.png"))
    Path("mine.py").write_text(broken.replace("PIXEL", repr(float(first[0, 0, 0]))))
    run(bench, "later", expected=Exit.FAILURES)
    code, output = check(bench)
    assert code == Exit.FAILURES
    assert "failing mine.py" in output
    assert "lost" in output


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--rounding", "none"), "protocol: rounding is '8bit' in the baseline and 'none' in the run"),
        (("--size", "64x48"), "protocol: size is 'native' in the baseline and '64x48' in the run"),
        (("--seed", "1"), "seed: 0 in the baseline, 1 in the run"),
    ],
)
def test_another_protocol_cannot_be_compared(bench: Bench, saved: Path, flags: tuple[str, ...], reason: str) -> None:
    run(bench, "later", *flags)
    code, output = check(bench)
    assert code == Exit.USAGE
    assert reason in output


def test_another_picture_of_the_same_name_cannot_be_compared(bench: Bench, saved: Path) -> None:
    image.write_png(Path("pairs/high/3.png"), image.read_rgb(Path("pairs/high/4.png")))
    run(bench, "later")
    code, output = check(bench)
    assert code == Exit.USAGE
    assert "data: 3 of folder:pairs is not the same picture" in output


def test_a_run_may_be_checked_against_another_run(bench: Bench, saved: Path) -> None:
    run(bench, "later")
    assert bench("check", "later", "--baseline", "first", "--slower", "0").exit_code == Exit.OK


def test_an_improvement_passes_unless_any_change_is_to_fail(bench: Bench, saved: Path) -> None:
    Path("mine.py").write_text(METHOD.replace("low.pow(0.5)", "(low * 4).clamp(0, 1)"))  # nearly the reference
    run(bench, "later")
    code, output = check(bench)
    assert code == Exit.OK
    assert "better mine.py · folder:pairs · PSNR" in output
    assert check(bench, "--any-change")[0] == Exit.FAILURES


def test_reports_are_written_and_annotations_printed_inside_github(
    bench: Bench, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.py").write_text(METHOD.replace("low.pow(0.5)", "low.pow(0.5) * 0.9"))
    run(bench, "later")
    monkeypatch.setitem(os.environ, "GITHUB_ACTIONS", "true")
    code, output = check(bench, "--markdown", "out/check.md", "--junit", "out/check.xml")
    assert code == Exit.FAILURES
    assert "::error title=bench check later::worse: mine.py · folder:pairs · PSNR, " in output
    assert Path("out/check.md").read_text().startswith("## ❌ bench check later: regressed")
    suite = ElementTree.parse("out/check.xml").getroot()[0]
    assert int(str(suite.get("failures"))) >= 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("not json", "saved.json is no baseline"),
        ("{}", "saved.json has format None, this version reads 1"),
        ('{"format": 1}', "saved.json: provenance: Field required"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(bench: Bench, saved: Path, content: str, reason: str) -> None:
    saved.write_text(content)
    run(bench, "later")
    code, output = check(bench)
    assert code == Exit.USAGE
    assert reason in output


def test_a_tolerance_of_no_metric_is_refused_with_the_nearest_name(bench: Bench, saved: Path) -> None:
    run(bench, "later")
    code, output = check(bench, "--tolerance", "pnsr=0.1")
    assert code == Exit.USAGE
    assert "'pnsr' is of no metric" in output
    assert "psnr" in output
    assert check(bench, "--tolerance", "psnr=much")[0] == Exit.USAGE


def test_the_file_is_small_and_reviewable(bench: Bench, saved: Path) -> None:
    content = json.loads(saved.read_text())
    (series,) = [one for one in content["series"] if (one["method"], one["metric"]) == ("mine.py", "psnr")]
    lines = saved.read_text().splitlines()
    assert sum('"method": "mine.py"' in line and '"metric": "psnr"' in line for line in lines) == 1
    assert len(series["values"]) == series["n"] == 8
    assert saved.stat().st_size < 20_000
    assert str(Path.cwd()) not in saved.read_text()
