from __future__ import annotations

import inspect
import socket
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from _pictures import darkened, from_8bit, photographs
from PIL import ImageFile

from bench.contracts import Metric
from bench.metrics.fsimc import FSIMc
from bench.metrics.psnr import PSNR
from bench.metrics.pyiqa import Pyiqa, configurations, facts
from bench.metrics.ssim import SSIM
from bench.planes import Planes

CPU = torch.device("cpu")


@pytest.fixture
def empty_cache(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of pyiqa's on this machine, wherever its cache is."""
    Pyiqa("psnr", {}, CPU)
    monkeypatch.setattr("pyiqa.utils.download_util.DEFAULT_CACHE_DIR", str(tmp_path))


def test_facts_are_the_ones_pyiqa_states() -> None:
    assert (facts("niqe").higher_is_better, facts("niqe").needs_reference) == (False, False)
    assert (facts("vif").higher_is_better, facts("vif").needs_reference) == (True, True)
    assert (facts("gmsd").higher_is_better, facts("gmsd").needs_reference) == (False, True)
    assert (facts("musiq").higher_is_better, facts("musiq").needs_reference) == (True, False)


def test_every_metric_of_pyiqa_has_facts_or_a_stated_reason() -> None:
    refused = {}
    for name in configurations():
        try:
            facts(name)
        except ValueError as error:
            refused[name] = str(error)
    assert set(refused) == {"fid", "sfid", "fid_dinov2", "inception_score", "clipscore"}
    assert "two sets of pictures" in refused["fid"]


def test_a_variant_carries_the_named_metrics_facts_and_pyiqas_version() -> None:
    kind = Pyiqa.variant("gmsd")
    assert issubclass(kind, Pyiqa)
    assert (kind.label, kind.higher_is_better, kind.needs_reference) == ("gmsd (pyiqa)", False, True)
    assert kind.definition.startswith("gmsd of pyiqa 0.")
    assert Pyiqa.variant("gmsd") is kind
    assert inspect.getfile(kind) == inspect.getfile(Pyiqa)


def test_an_unknown_name_is_refused_with_near_ones() -> None:
    with pytest.raises(ValueError, match=r"has no metric 'muisq'; did you mean 'musiq'"):
        Pyiqa.variant("muisq")


def test_a_missing_name_is_refused_with_all_of_them() -> None:
    with pytest.raises(ValueError, match=r"pyiqa needs a name, pyiqa:NAME; there are ahiq, .*\bmusiq\b"):
        Pyiqa.variant("")


def test_the_colon_takes_names_and_says_which() -> None:
    assert "NAME" in Pyiqa.options


@pytest.mark.parametrize(("name", "ours"), [("psnr", PSNR), ("ssimc", SSIM), ("fsim", FSIMc)])
def test_what_both_compute_agrees(name: str, ours: type[Metric], device: torch.device) -> None:
    photograph = photographs()[0]
    enhanced, reference = (Planes(from_8bit(one).rgb.to(device)) for one in (darkened(photograph), photograph))
    value = Pyiqa(name, {}, device).score(enhanced, reference)
    assert value.dtype == torch.float64
    # pyiqa computes in float32
    assert value.tolist() == pytest.approx(ours("", {}, device).score(enhanced, reference).tolist(), rel=1e-5)


def test_each_picture_is_scored_on_its_own() -> None:
    one, other = photographs()
    metric = Pyiqa("piqe", {}, CPU)
    alone = [metric.score(from_8bit(picture), None).item() for picture in (one, other)]
    assert metric.score(from_8bit(one, other), None).tolist() == alone
    assert alone[0] != alone[1]


def test_a_metric_that_compares_refuses_a_missing_reference() -> None:
    with pytest.raises(ValueError, match="pyiqa:gmsd needs a reference"):
        Pyiqa("gmsd", {}, CPU).score(from_8bit(photographs()[0]), None)


def test_importing_pyiqa_changes_nothing_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "pyiqa"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    filters, resolve, draws = list(warnings.filters), socket.getaddrinfo, torch.random.get_rng_state()
    np.random.seed(7)
    expected = np.random.rand()
    np.random.seed(7)
    Pyiqa("psnr", {}, CPU).score(from_8bit(photographs()[0]), from_8bit(photographs()[1]))
    assert "pyiqa.data" in sys.modules  # it was imported anew, with all it does at import
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert warnings.filters == filters
    assert socket.getaddrinfo is resolve
    assert torch.equal(torch.random.get_rng_state(), draws)
    assert np.random.rand() == expected


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str], empty_cache: None) -> None:
    with pytest.raises(FileNotFoundError):
        Pyiqa("niqe", {}, CPU)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["musiq", "lpips", "topiq_nr", "compare2score"])
def test_weights_that_are_not_there_are_a_reason_and_no_download(
    name: str, empty_cache: None, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError, match=rf"not in pyiqa's cache .*create_metric\('{name}'\)"):
        Pyiqa(name, {}, CPU)
    assert time.perf_counter() - start < 10  # the libraries' own retries take 15 seconds and more
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
