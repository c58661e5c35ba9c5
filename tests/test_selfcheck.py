from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from _pictures import VALUES
from skimage import data as photographs
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bench import plugins, selfcheck
from bench.contracts import Metric
from bench.selfcheck import Check, Expected

CPU = torch.device("cpu")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with this package and nothing else."""
    monkeypatch.delenv("BENCH_PARAMETERS", raising=False)
    monkeypatch.delenv("BENCH_SHARED_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put other rows in the place of selfcheck.csv."""

    def replace(*rows: str) -> None:
        file = tmp_path / "selfcheck.csv"
        file.write_text("\n".join(["what,picture,reference,metric,value,tolerance,source", *rows]) + "\n")
        monkeypatch.setattr(selfcheck, "EXPECTED", file)

    return replace


def made(state: str, deviation: float | None, tolerance: float = 1.0, reason: str = "") -> Check:
    return Check("score", "psnr", f"{deviation}", 1.0, None, deviation, tolerance, "somebody", state, reason)


def test_a_bare_machine_checks_what_needs_no_material(bare: None) -> None:
    checks = list(selfcheck.rows({}, None))
    assert [check for check in checks if check.state == "off"] == []
    done = {check.metric for check in checks if check.state == "ok"}
    assert done == {"psnr", "psnr_y", "ssim", "ssim_y", "ssim_gray", "fsim", "fsimc", "loe", "brisque"}
    assert all("BENCH_" in check.reason for check in checks if check.state == "skipped")


def test_every_value_whose_material_is_here_is_reproduced(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PARAMETERS", str(shared_data / "metrics"))
    checks = list(selfcheck.rows({}, shared_data))
    assert [check for check in checks if check.state == "off"] == []
    skipped = {check.metric for check in checks if check.state == "skipped"}
    assert skipped <= {"lpips"}  # AlexNet's weights are not among the reference data


def test_scikit_images_values_are_those_it_gives() -> None:
    measured = 0
    for row in selfcheck.expected():
        if row.source.startswith("scikit-image"):
            photograph = getattr(photographs, row.reference.partition(":")[2])()
            one, other = photograph // 2, photograph
            channels: dict[str, int] = {"channel_axis": 2}
            if row.metric.endswith("_y"):
                one, other = (picture.astype(float) @ [0.299, 0.587, 0.114] for picture in (one, other))
                channels = {}
            if row.metric.startswith("psnr"):
                value = peak_signal_noise_ratio(other, one, data_range=255)
            else:
                window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
                value = structural_similarity(one, other, data_range=255, **window, **channels)
            assert row.value == pytest.approx(value, rel=1e-9), row
            measured += 1
    assert measured == 8


def test_the_authors_values_are_those_of_the_reference_table() -> None:
    with VALUES.open(encoding="utf-8", newline="") as file:
        known = {
            (row["metric"], row["image"], row["reference_image"], float(row["value"])) for row in csv.DictReader(file)
        }
    rows = [row for row in selfcheck.expected() if "Octave" in row.source]
    assert len(rows) > 30
    assert [row for row in rows if (row.metric, row.picture, row.reference, row.value) not in known] == []


def test_every_row_names_a_metric_a_tolerance_and_a_source() -> None:
    rows = selfcheck.expected()
    known = {*plugins.names(Metric), "AP", "AP50", "AP75"}
    assert {row.metric for row in rows} <= known
    assert all(row.source and row.tolerance >= 0 for row in rows)
    assert len({(row.metric, row.picture, row.reference, row.value) for row in rows}) == len(rows)


def test_a_wrong_value_is_off_by_its_deviation(bare: None, write) -> None:
    write("score,constant:110,constant:100,psnr,28.0,0.1,a misprint")
    [check] = selfcheck.rows({}, None)
    assert check.state == "off"
    assert check.deviation == pytest.approx(20 * np.log10(25.5) - 28)
    assert check.source == "a misprint"


def test_a_metric_that_fails_is_off_with_the_reason(bare: None, write) -> None:
    write("score,constant:7,,psnr,28.0,0.1,x", "score,constant:7,constant:7,psnr,28.0,0.1,x")
    fails, infinite = selfcheck.rows({}, None)
    assert (fails.state, fails.reason) == ("off", "ValueError: PSNR needs a reference picture")
    assert (infinite.state, infinite.got, infinite.reason) == ("off", None, "the computed value is inf")


def test_what_is_missing_is_skipped_by_name(bare: None, tmp_path: Path) -> None:
    reasons = {check.metric: check.reason for check in selfcheck.rows({}, tmp_path) if check.state == "skipped"}
    assert "niqe_modelparameters.mat was not found" in reasons["niqe"]
    assert f"{tmp_path / 'lol/eval15/low'} does not exist; BENCH_SHARED_DATA names" in reasons["psnr"]


def test_another_machine_than_scikit_learns_is_noticed(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.metrics import _support_vectors

    right = _support_vectors.Regression.predict
    monkeypatch.setattr(_support_vectors.Regression, "predict", lambda self, features: right(self, features) * 1.000001)
    [check] = [check for check in selfcheck.rows({}, None) if check.what == "regression"]
    assert check.state == "off"


def test_the_folder_of_pictures_is_the_one_the_variable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_SHARED_DATA", str(tmp_path))
    assert selfcheck.find_data() == tmp_path
    monkeypatch.setenv("BENCH_SHARED_DATA", str(tmp_path / "none"))
    assert selfcheck.find_data() is None


def test_the_table_shows_source_or_reason() -> None:
    header, lines = selfcheck.table([made("ok", 0.5), made("skipped", None, reason="no picture")])
    assert {len(line) for line in lines} == {len(header)}
    assert lines[0] == ("ok", "psnr", "0.5", "1", "", "+5.0e-01", "1e+00", "somebody")
    assert (lines[1][0], lines[1][-1]) == ("skipped", "no picture")


def test_the_summary_counts_and_names_the_deviation_that_uses_most_of_its_tolerance() -> None:
    near, far = made("ok", 0.5, tolerance=1.0), made("off", -0.3, tolerance=0.1)
    counted = selfcheck.summary([near, far, made("skipped", None)])
    assert (counted["ok"], counted["off"], counted["skipped"]) == (1, 1, 1)
    assert counted["worst"]["deviation"] == -0.3
    assert [row["picture"] for row in counted["rows_off"]] == ["-0.3"]
    assert json.loads(json.dumps(counted, allow_nan=False)) == counted


def test_a_deviation_where_none_is_allowed_is_the_worst() -> None:
    assert selfcheck.summary([made("ok", 0.9), made("off", 1e-9, tolerance=0)])["worst"]["tolerance"] == 0


def test_a_summary_is_computed_once_until_something_changes(
    bare: None, tmp_path: Path, write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("score,constant:110,constant:100,psnr,28.1308,0.0001,x")
    folder = tmp_path / "kept"
    first = selfcheck.remembered_summary({}, None, folder=folder)
    assert (first["ok"], first["off"]) == (1, 0)
    computing = selfcheck.rows
    monkeypatch.setattr(selfcheck, "rows", lambda *words: pytest.fail("computed again"))
    assert selfcheck.remembered_summary({}, None, folder=folder) == first
    monkeypatch.setattr(selfcheck, "rows", computing)
    write("score,constant:110,constant:100,psnr,28.2,0.0001,x")
    assert selfcheck.remembered_summary({}, None, folder=folder)["off"] == 1


def test_a_changed_picture_makes_the_summary_stale(bare: None, tmp_path: Path, write) -> None:
    from bench import image

    write("score,one.png,constant:100,psnr,28.1308,0.0001,x")
    levels = torch.full((3, 50, 50), 110 / 255)
    image.write_png(tmp_path / "one.png", levels)
    assert selfcheck.remembered_summary({}, tmp_path, folder=tmp_path)["ok"] == 1
    image.write_png(tmp_path / "one.png", levels + 0.1)
    assert selfcheck.remembered_summary({}, tmp_path, folder=tmp_path)["off"] == 1


def test_a_cut_off_summary_is_computed_again(bare: None, tmp_path: Path, write) -> None:
    write("score,constant:110,constant:100,psnr,28.1308,0.0001,x")
    first = selfcheck.remembered_summary({}, None, folder=tmp_path)
    [file] = tmp_path.glob("selfcheck-*.json")
    file.write_text(file.read_text()[:20])
    assert selfcheck.remembered_summary({}, None, folder=tmp_path) == first


def test_an_expected_value_without_number_is_refused(bare: None, write) -> None:
    write("score,constant:110,constant:100,psnr,,0.1,x")
    [check] = selfcheck.rows({}, None)
    assert check.reason == "ValueError: selfcheck.csv has no value for psnr of constant:110"
    assert selfcheck.expected() == [Expected("score", "constant:110", "constant:100", "psnr", None, 0.1, "x")]
