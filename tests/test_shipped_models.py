"""The whole path without any file of the user's: street scenes, the shipped detector, the shipped saliency network."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from bench import plugins
from bench.cli import Exit, app
from bench.contracts import Dataset, Task
from bench.plugins import Spec

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "bench" / "tasks" / "weights"
NIGHTSCENES = plugins.load(Dataset, Spec.parse("nightscenes"))
detection = plugins.load(Task, Spec.parse("detection"))


def about(name: str) -> dict[str, object]:
    with safe_open(WEIGHTS / name, "pt") as stored:
        told: dict[str, object] = json.loads(stored.metadata()["training"])
    return told


def test_the_detector_is_below_6_mb_and_says_how_it_was_made() -> None:
    assert (WEIGHTS / "nightscenes.safetensors").stat().st_size < 6_000_000
    told = about("nightscenes.safetensors")
    assert told["classes"] == list(NIGHTSCENES().classes)
    assert told["stored"] == "float16"
    assert {"settings", "files", "seed", "commit", "pictures", "validation", "ultralytics"} <= set(told)


def test_the_saliency_network_has_not_seen_a_test_picture(shared_data: Path) -> None:
    told = about("saliency.safetensors")
    test = plugins.load(Dataset, Spec.parse("ecssd"))("", shared_data / "saliency" / "ecssd")
    assert told["data"] == "ecssd:train"
    assert not {sample.id for sample in test.samples()} & set(told["held_out"])  # type: ignore[call-overload]


def test_the_detector_finds_by_day_what_is_lost_by_night() -> None:
    dataset = NIGHTSCENES()
    predictor = detection().load(dataset, "input", torch.device("cpu"))
    truths, said = [], {"day": [], "night": []}
    for sample in dataset.samples()[:12]:
        pair, truth = dataset.load(sample), dataset.truth(sample)
        assert pair.reference is not None
        truths.append(detection().keep(truth, dataset.classes))
        for name, picture in (("day", pair.reference), ("night", pair.low)):
            said[name] += predictor.predict(picture[None], [truth], [sample.id])
    scores = {}
    for name, answers in said.items():
        measured = {one.name: one for one in detection.measure(truths, answers, dataset.classes, {})}
        scores[name] = float(measured["map50"].statistic(np.ones((1, len(truths))))[0])
    assert scores["day"] > 0.8
    assert scores["night"] < scores["day"] - 0.1


def test_a_run_needs_no_file_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "--methods", "gamma", "--datasets", "nightscenes", "--metrics", "psnr", "--limit", "3"]
    done = CliRunner().invoke(app, [*words, "--out", "r"], catch_exceptions=False)
    assert done.exit_code == Exit.OK, done.output
    with Path("r/summary.csv").open(newline="") as stream:
        rows = {(row["method"], row["metric"]): row for row in csv.DictReader(stream)}
    for metric in ("psnr", "map", "map50", "precision", "recall", "mae", "maxf"):
        assert rows["gamma", metric]["mean"], metric
        assert rows["gamma", metric]["gain_low"], metric
    assert rows["gamma", "map"]["protocol"] == "native-8bit+pretrained-nightscenes-480x320"
    assert rows["gamma", "mae"]["protocol"] == "native-8bit+saliency-bench_sod-256x256"
