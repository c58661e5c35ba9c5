from __future__ import annotations

import math
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from bench.metrics import _refit, _shipped
from bench.metrics.niqe import NIQE, PRISTINE, niqe_features
from bench.metrics.niqe_refit import DIGEST, NIQERefit
from tests._pictures import from_8bit, photographs
from tests._spoilt import CPU, STEPS, rank_correlation_on_eval15, worse_and_worse

FILE = _shipped.FOLDER / "niqe_refit.safetensors"


@pytest.mark.parametrize("distortion", STEPS)
def test_niqe_refit_rises_with_every_step_of_a_distortion(distortion: str) -> None:
    metric = NIQERefit("", {}, CPU)
    for planes in worse_and_worse(distortion):
        scores = metric.score(planes, None).tolist()
        assert scores == sorted(scores)


def test_niqe_refit_is_the_mahalanobis_distance_from_the_shipped_model(device: torch.device) -> None:
    stored = load_file(FILE)
    planes = from_8bit(photographs()[0])
    features = niqe_features(planes.grey)[0].numpy()
    gap = features.mean(0) - stored["mean"]
    expected = math.sqrt(gap @ np.linalg.inv((np.cov(features.T) + stored["covariance"]) / 2) @ gap)
    on_device = from_8bit(photographs()[0])
    on_device.rgb = on_device.rgb.to(device)
    assert NIQERefit("", {}, device).score(on_device, None).item() == pytest.approx(expected, rel=1e-6)


def test_the_shipped_model_holds_what_its_metadata_says() -> None:
    facts, stored = _shipped.read_facts("niqe_refit"), load_file(FILE)
    assert sha256(FILE.read_bytes()).hexdigest() == DIGEST
    assert FILE.stat().st_size < 300_000
    assert sum(facts["photographs"].values()) == facts["fitted"] + facts["held_out"]
    assert f"{facts['fitted']} COCO and ECSSD photographs" in NIQERefit.definition
    # Fewer blocks than features would leave directions in which the model knows nothing.
    assert facts["blocks"] > 10 * len(stored["mean"]) == 360
    assert np.linalg.eigvalsh(stored["covariance"])[0] > 0
    assert facts["spearman_held_out"]["all"] > 0.8


def test_the_refit_metrics_need_neither_network_nor_scikit_learn_nor_files() -> None:
    program = """
import socket, sys
def refuse(*words, **named): raise AssertionError("a connection was opened")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import torch
from bench.contracts import Metric
from bench.plugins import Spec, load
for name in ("niqe_refit", "brisque_refit", "sseq_refit"):
    metric = load(Metric, Spec.parse(name))
    assert metric.files == ()
    metric("", {}, torch.device("cpu"))
print("sklearn" in sys.modules, "bench.metrics._refit" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_a_changed_file_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "niqe_refit.safetensors").write_bytes(FILE.read_bytes() + b" ")
    monkeypatch.setattr(_shipped, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"niqe_refit\.py expects .* install the project again"):
        NIQERefit("", {}, CPU)


def test_only_blocks_near_the_sharpest_one_are_fitted() -> None:
    picture = torch.full((3, 96, 288), 0.5)
    noise = torch.randn(96, 96, generator=torch.Generator().manual_seed(0))
    for block, contrast in enumerate((0.12, 0.02, 0.11)):
        picture[:, :, 96 * block : 96 * (block + 1)] += contrast * noise
    picture = (picture.clamp(0, 1) * 255).round() / 255
    features = niqe_features(from_8bit((picture.permute(1, 2, 0) * 255).round().byte().numpy()).grey)[0]
    assert _refit.sharp_blocks(picture).tolist() == features[[0, 2]].tolist()


def test_niqe_refit_ranks_eval15_nearly_as_the_release_does(shared_data: Path) -> None:
    official = NIQE("", {PRISTINE.name: shared_data / "metrics" / "niqe" / PRISTINE.name}, CPU)
    assert rank_correlation_on_eval15(shared_data, NIQERefit("", {}, CPU), official) > 0.9
