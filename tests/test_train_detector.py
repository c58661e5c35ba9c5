"""`bench train detector`: daylight or a method's output in, a detector of ours out that a run can use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner, Result

from bench import image
from bench.cli import Exit, app

Run = Callable[..., Result]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Four dark pictures with a bright square each, and the same in daylight."""
    folder = tmp_path / "squares"
    images, annotations = [], []
    for place in range(4):
        day = torch.full((3, 64, 64), 0.5)
        left, top = 8 * place, 20
        day[:, top : top + 24, left : left + 24] = 0.9
        for part, picture in (("low", day / 5), ("high", day)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            image.write_png(folder / part / f"{place}.png", picture)
        images.append({"id": place, "file_name": f"{place}.png", "width": 64, "height": 64})
        box = {"bbox": [left, top, 24, 24], "area": 576, "iscrowd": 0}
        annotations.append({"id": place + 1, "image_id": place, "category_id": 1, **box})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "square"}]}
    (folder / "boxes.json").write_text(json.dumps(document))
    return folder


def train(bench: Run, squares: Path, *more: str) -> Result:
    words = ("train", "detector", "--dataset", f"folder:{squares}", "--device", "cpu", "--held-out", "1")
    return bench(*words, "--epochs", "1", "--set", "size=64", "--set", "batch_size=2", "--out", "out", *more)


def test_a_trained_detector_says_what_it_learned_from_and_runs(bench: Run, squares: Path) -> None:
    done = train(bench, squares, "--enhanced-by", "gamma:3")
    assert done.exit_code == Exit.OK, done.output
    file = Path("out/gamma-3.safetensors")
    with safe_open(file, "pt") as stored:
        about = json.loads(stored.metadata()["training"])
        kinds = {stored.get_tensor(name).dtype for name in stored.keys()}  # noqa: SIM118 - not a mapping
    assert about["classes"] == ["square"]
    assert about["enhanced_by"]["name"] == "gamma:3"
    assert (about["pictures"], about["seed"], about["task"]) == (3, 0, "detection")
    assert torch.float16 in kinds and torch.float32 not in kinds

    # What it learned from is the method's output, saved as PNG.
    learned = image.read_rgb(Path("out/pictures/images/train/0.png"))
    low = image.read_rgb(squares / "low" / "0.png")
    assert learned.numpy() == pytest.approx(np.round(low.numpy() ** (1 / 3) * 255) / 255, abs=1.01 / 255)
    assert Path("out/pictures/labels/train/0.txt").read_text() == "0 0.187500 0.500000 0.375000 0.375000\n"

    words = ("run", "--methods", "gamma:3", "--datasets", f"folder:{squares}", "--metrics", "none", "--out", "r")
    ran = bench(*words, "--detector", "finetuned:out", "--detector-size", "64x64")
    assert ran.exit_code == Exit.OK, ran.output
    assert "finetuned-out-64x64" in Path("r/summary.csv").read_text()


def test_a_detector_is_not_resumed(bench: Run, squares: Path) -> None:
    done = train(bench, squares, "--resume")
    assert done.exit_code == Exit.USAGE
    assert "takes --epochs and --set" in done.output


def test_a_wrong_setting_names_those_there_are(bench: Run, squares: Path) -> None:
    done = train(bench, squares, "--set", "epoch=5")
    assert done.exit_code == Exit.USAGE
    assert "no setting is called 'epoch'; there are architecture=yolo11n.yaml, epochs=100" in done.output.replace(
        "\n", ""
    )


def test_a_set_without_boxes_teaches_nothing(bench: Run, pairs: Path) -> None:
    done = bench("train", "detector", "--dataset", f"folder:{pairs}")
    assert done.exit_code == Exit.USAGE
    assert "has no truth for detection" in done.output


def test_enhanced_by_is_for_the_detector_alone(bench: Run, pairs: Path) -> None:
    done = bench("train", "sci", "--dataset", f"folder:{pairs}", "--enhanced-by", "gamma")
    assert done.exit_code == Exit.USAGE
    assert "is for `bench train detector`" in done.output
