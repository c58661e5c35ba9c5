"""Tasks in a whole run: predictions are kept, resumed, scored again; what cannot be answered costs one row."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from bench import image, plugins
from bench.cli import Exit, app
from bench.contracts import Predictor, Task, Truth
from bench.plugins import Spec
from bench.store import Store

plugins.load(Task, Spec.parse("detection"))
detection = sys.modules["bench.tasks.detection"]
Run = Callable[..., Result]

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
BOXES = {"a": [[2, 3, 10, 12, 1]], "b": [[5, 5, 20, 10, 3], [30, 8, 12, 12, 1]], "c": []}
"""Left, top, width, height and category of each object of three pictures of 64x48."""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench.toml").write_text("[run]\nthumbnails = 0\nmetrics = ['none']\n")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A folder with pictures, boxes and masks."""
    folder = tmp_path / "scenes"
    for part in ("low", "mask"):
        (folder / part).mkdir(parents=True)
    annotations = []
    for place, (name, boxes) in enumerate(BOXES.items()):
        image.write_png(folder / "low" / f"{name}.png", torch.full((3, 48, 64), 0.1 * (place + 1)))
        mask = np.zeros((48, 64), np.uint8)
        mask[10:30, 10 + place : 40] = 255
        Image.fromarray(mask).save(folder / "mask" / f"{name}.png")
        for left, top, width, height, category in boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": place,
                    "category_id": category,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    images = [{"id": place, "file_name": f"{name}.png", "width": 64, "height": 48} for place, name in enumerate(BOXES)]
    document = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (folder / "boxes.json").write_text(json.dumps(document))
    return folder


class Oracle(Predictor):
    """Finds every object of a bright picture exactly, with confidence 0.4, and nothing in a dark one."""

    asked: Sequence[str] = ()
    failing = ""

    def __init__(self, *_: Any) -> None:
        pass

    def predict(self, enhanced: torch.Tensor, truths: Sequence[Truth], ids: Sequence[str]) -> list[dict[str, Any]]:
        if self.failing and self.failing in ids:
            raise RuntimeError("out of electrons")
        Oracle.asked = [*Oracle.asked, *ids]
        found = []
        for picture, truth in zip(enhanced, truths, strict=True):
            assert truth.boxes is not None
            seen = len(truth.boxes.names) if picture.mean() > 0.25 else 0
            places = [["person", "car"].index(name) for name in truth.boxes.names[:seen]]
            found.append(
                {
                    "corners": truth.boxes.corners[:seen].astype(np.float32),
                    "scores": np.full(seen, 0.4, np.float32),
                    "classes": np.array(places, np.uint16),
                    "known": np.ones(2, bool),
                }
            )
        return found


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(detection, "Detector", Oracle)
    monkeypatch.setattr(Oracle, "asked", ())
    monkeypatch.setattr(Oracle, "failing", "")
    file = tmp_path / "oracle.pt"
    file.write_bytes(b"stands for a detector")
    return file


def summary(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (folder / "summary.csv").open(newline="") as stream:
        return {(row["method"], row["metric"]): row for row in csv.DictReader(stream)}


def detect(bench: Run, scenes: Path, oracle: Path, *more: str) -> Result:
    words = ("run", "--methods", "gamma:4", "--datasets", f"folder:{scenes}", "--tasks", "detection")
    return bench(*words, "--detector", oracle, "--out", "r", *more)


def test_every_object_found_is_an_ap_of_1_and_none_found_is_0(bench: Run, scenes: Path, oracle: Path) -> None:
    assert detect(bench, scenes, oracle).exit_code == Exit.OK
    found = summary(Path("r"))
    # Input levels 0.1, 0.2, 0.3: only c is bright, and it holds nothing. Gamma 4 makes all bright.
    assert float(found["input", "map"]["mean"]) == 0
    assert float(found["gamma:4", "map"]["mean"]) == pytest.approx(1)
    assert float(found["gamma:4", "map"]["gain"]) == pytest.approx(1)
    assert found["input", "precision"]["mean"] == ""
    assert found["input", "precision"]["reason"].startswith("undefined")
    assert found["gamma:4", "map"]["protocol"] == "native-8bit+pretrained-oracle-640x480"


def test_the_row_without_enhancement_is_there_unasked(bench: Run, scenes: Path, oracle: Path) -> None:
    assert "Input" in detect(bench, scenes, oracle).output


def test_a_finished_run_asks_nothing_again(bench: Run, scenes: Path, oracle: Path) -> None:
    detect(bench, scenes, oracle)
    assert sorted(Oracle.asked) == ["a", "a", "b", "b", "c", "c"]
    detect(bench, scenes, oracle)
    assert len(Oracle.asked) == 6


def test_another_detector_file_is_asked_anew(bench: Run, scenes: Path, oracle: Path) -> None:
    detect(bench, scenes, oracle)
    oracle.write_bytes(b"another detector")
    detect(bench, scenes, oracle)
    assert len(Oracle.asked) == 12


def test_an_edited_annotation_is_scored_anew(bench: Run, scenes: Path, oracle: Path) -> None:
    detect(bench, scenes, oracle)
    document = json.loads((scenes / "boxes.json").read_text())
    document["annotations"][0]["bbox"][0] += 1
    (scenes / "boxes.json").write_text(json.dumps(document))
    detect(bench, scenes, oracle)
    assert len(Oracle.asked) == 12


def test_stored_detections_are_scored_again_under_another_threshold(bench: Run, scenes: Path, oracle: Path) -> None:
    detect(bench, scenes, oracle)
    assert float(summary(Path("r"))["gamma:4", "recall"]["mean"]) == 1
    oracle.unlink()
    assert bench("report", "r", "--confidence", "0.5").exit_code == Exit.OK
    assert float(summary(Path("r"))["gamma:4", "recall"]["mean"]) == 0
    assert float(summary(Path("r"))["gamma:4", "map"]["mean"]) == pytest.approx(1)


def test_detections_are_kept_as_numpy_archives(bench: Run, scenes: Path, oracle: Path) -> None:
    detect(bench, scenes, oracle)
    with Store(Path("r"), readonly=True) as store:
        [key] = [job["task_keys"]["detection"] for job in store.noted("plan")["jobs"] if job["method"] == "gamma:4"]
        kept = {image: one.arrays for (image, _), one in store.predictions(key).items()}
    assert kept["b"] is not None
    assert kept["b"]["corners"].tolist() == [[5, 5, 25, 15], [30, 8, 42, 20]]
    assert kept["b"]["classes"].tolist() == [1, 0]


def test_a_picture_that_the_model_fails_on_costs_one_row(
    bench: Run, scenes: Path, oracle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Oracle, "failing", "a")
    assert detect(bench, scenes, oracle).exit_code == Exit.FAILURES
    row = summary(Path("r"))["gamma:4", "map"]
    assert (row["n"], row["failed"], row["reason"]) == ("2", "1", "1 of 3 failed: RuntimeError: out of electrons")
    monkeypatch.setattr(Oracle, "failing", "")
    assert detect(bench, scenes, oracle, "--retry-failed").exit_code == Exit.OK
    assert summary(Path("r"))["gamma:4", "map"]["n"] == "3"


def test_a_model_that_cannot_be_loaded_is_a_column_with_the_reason(bench: Run, scenes: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    assert detect(bench, scenes, broken).exit_code == Exit.OK
    row = summary(Path("r"))["gamma:4", "map"]
    assert row["mean"] == ""
    assert "broken.safetensors is no whole safetensors file" in row["reason"]


def test_without_a_detector_the_column_says_how_to_give_one(bench: Run, scenes: Path) -> None:
    words = ("run", "--methods", "input", "--datasets", f"folder:{scenes}", "--tasks", "detection", "--out", "r")
    assert bench(*words).exit_code == Exit.OK
    assert "needs a detector: --detector FILE" in summary(Path("r"))["input", "map"]["reason"]


def test_a_task_that_no_data_set_has_a_truth_for_is_an_error(bench: Run, pairs: Path) -> None:
    done = bench("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--tasks", "detection", "--out", "r")
    assert done.exit_code == Exit.USAGE
    assert "has a truth for detection" in done.output


def test_left_to_the_harness_every_task_with_a_truth_is_done(bench: Run, scenes: Path, oracle: Path) -> None:
    words = ("run", "--methods", "input", "--datasets", f"folder:{scenes}", "--detector", oracle, "--out", "r")
    assert bench(*words).exit_code == Exit.OK
    assert {"map", "maxf"} <= {metric for _, metric in summary(Path("r"))}
    assert bench(*words[:-1], "none", "--tasks", "none").exit_code == Exit.OK
    assert summary(Path("none")) == {}


def test_maps_equal_to_the_masks_have_no_error(bench: Run, scenes: Path, tmp_path: Path) -> None:
    for method in ("input", "gamma_4-0"):
        (tmp_path / "maps" / method).mkdir(parents=True)
    for name in BOXES:
        content = (scenes / "mask" / f"{name}.png").read_bytes()
        (tmp_path / "maps" / "input" / f"{name}.png").write_bytes(content)
    words = ("run", "--methods", "input,gamma:4", "--datasets", f"folder:{scenes}", "--tasks", "saliency")
    done = bench(*words, "--saliency-model", f"maps:{tmp_path / 'maps'}", "--out", "r")
    found = summary(Path("r"))
    assert float(found["input", "mae"]["mean"]) == pytest.approx(0)
    assert float(found["input", "maxf"]["mean"]) == pytest.approx(1)
    # No maps of gamma were made.
    assert found["gamma:4", "mae"]["mean"] == ""
    assert found["gamma:4", "mae"]["reason"]
    assert done.exit_code in (Exit.OK, Exit.FAILURES)


def test_a_method_of_the_finetuned_protocol_without_detector_is_a_gap(
    bench: Run, scenes: Path, oracle: Path, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "input.pt").write_bytes(b"of the input")
    words = ("run", "--methods", "gamma:4", "--datasets", f"folder:{scenes}", "--tasks", "detection")
    assert bench(*words, "--detector", f"finetuned:{tmp_path / 'own'}", "--out", "r").exit_code == Exit.OK
    found = summary(Path("r"))
    assert float(found["input", "map"]["mean"]) == 0
    assert "holds no detector for gamma:4" in found["gamma:4", "map"]["reason"]
    assert found["input", "map"]["protocol"] == "native-8bit+finetuned-own-640x480"


def test_two_runs_write_the_same_scores(bench: Run, scenes: Path, oracle: Path) -> None:
    detect(bench, scenes, oracle)
    first = (Path("r") / "summary.csv").read_bytes()
    bench("report", "r")
    assert (Path("r") / "summary.csv").read_bytes() == first
