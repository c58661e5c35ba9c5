"""What a user types and reads: scoring a folder, enhancing files, lists, and the words of an error."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from bench import image
from bench.cli import Exit, app

Run = Callable[..., Result]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `bench` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_a_folder_is_scored_against_its_references(bench: Run, tmp_path: Path, pairs: Path) -> None:
    from skimage.io import imread
    from skimage.metrics import peak_signal_noise_ratio

    done = bench("score", "--enhanced", pairs / "low", "--reference", pairs / "high", "--metrics", "psnr,ssim",
                 "--out", "scores.csv")  # fmt: skip
    assert done.exit_code == Exit.OK, done.output
    with open("scores.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["image"], row["metric"]) for row in rows] == [
        (name, metric) for name in "1234" for metric in ("psnr", "ssim")
    ]
    assert list(rows[0]) == ["image", "metric", "value", "error"]
    expected = peak_signal_noise_ratio(imread(pairs / "high" / "3.png"), imread(pairs / "low" / "3.png"))
    assert float(rows[4]["value"]) == pytest.approx(expected, abs=1e-9)


def test_equal_folders_have_infinite_psnr_which_is_said(bench: Run, tmp_path: Path, pairs: Path) -> None:
    done = bench("score", "--enhanced", pairs / "high", "--reference", pairs / "high", "--metrics", "psnr,ssim",
                 "--out", "scores.csv")  # fmt: skip
    assert done.exit_code == Exit.OK
    assert "infinite" in done.output
    assert "1,psnr,inf,\n" in Path("scores.csv").read_text()


@pytest.mark.parametrize("folder", ["low", "high"])
def test_a_missing_partner_is_an_error_that_names_it(bench: Run, tmp_path: Path, pairs: Path, folder: str) -> None:
    (pairs / folder / "2.png").unlink()
    done = bench("score", "--enhanced", pairs / "low", "--reference", pairs / "high", "--metrics", "psnr")
    assert done.exit_code == Exit.USAGE
    assert "2.png has no" in " ".join(done.output.split())


def test_a_doubled_partner_is_an_error_that_names_both(bench: Run, tmp_path: Path, pairs: Path) -> None:
    shutil.copy(pairs / "high" / "2.png", pairs / "high" / "2.bmp")
    done = bench("score", "--enhanced", pairs / "low", "--reference", pairs / "high", "--metrics", "psnr")
    assert done.exit_code == Exit.USAGE
    assert "2.png" in done.output
    assert "2.bmp" in done.output


def test_a_pair_of_two_sizes_costs_one_row(bench: Run, tmp_path: Path, pairs: Path) -> None:
    image.write_png(pairs / "high" / "2.png", torch.zeros(3, 10, 10))
    done = bench(
        "score", "--enhanced", pairs / "low", "--reference", pairs / "high", "--metrics", "psnr", "--out", "s.csv"
    )
    assert done.exit_code == Exit.FAILURES
    with open("s.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    assert "10x10" in rows[1]["error"]


def test_an_empty_folder_is_named(bench: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words in (
        ("score", "--enhanced", "empty", "--metrics", "niqe"),
        ("enhance", "gamma", "empty", "out"),
        ("run", "--methods", "input", "--datasets", "folder:empty", "--out", "x"),
    ):
        done = bench(*words)
        assert done.exit_code == Exit.USAGE
        assert "empty" in done.output


def test_a_metric_that_needs_a_reference_asks_for_it(bench: Run, tmp_path: Path, pairs: Path) -> None:
    done = bench("score", "--enhanced", pairs / "low", "--metrics", "psnr")
    assert done.exit_code == Exit.USAGE
    assert "--reference DIR" in done.output


def test_a_picture_is_enhanced_to_png(bench: Run, tmp_path: Path, pairs: Path) -> None:
    assert bench("enhance", "gamma", pairs / "low" / "1.png", "bright.png").exit_code == Exit.OK
    low = image.read_rgb(pairs / "low" / "1.png")
    bright = image.read_rgb(tmp_path / "bright.png")
    assert torch.equal(bright, image.round_8bit(low.double().pow(1 / 2.2).float()))


def test_a_folder_is_enhanced_and_a_broken_picture_is_named(bench: Run, tmp_path: Path, pairs: Path) -> None:
    (pairs / "low" / "2.png").write_bytes(b"no picture")
    done = bench("enhance", "gamma", pairs / "low", "out")
    assert done.exit_code == Exit.FAILURES
    assert "2.png" in done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.png", "3.png", "4.png"]


def test_enhancing_never_overwrites_its_source(bench: Run, tmp_path: Path, pairs: Path) -> None:
    before = (pairs / "low" / "1.png").read_bytes()
    for target in (pairs / "low", pairs / "low" / "1.png"):
        assert bench("enhance", "gamma", pairs / "low" / "1.png", target).exit_code == Exit.USAGE
    assert bench("enhance", "gamma", pairs / "low", pairs / "low").exit_code == Exit.USAGE
    assert (pairs / "low" / "1.png").read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("methods", ("input", "gamma", "he", "clahe", "lime", "zero_dce", "outputs")),
        ("datasets", ("demo", "lol", "dicm", "lime", "mef", "npe", "vv", "fusion", "folder")),
        ("metrics", ("psnr", "ssim", "fsim", "lpips", "niqe", "brisque", "sseq")),
        ("reports", ("html", "latex", "markdown", "csv", "records")),
    ],
)
def test_a_list_shows_what_there_is(bench: Run, kind: str, names: tuple[str, ...]) -> None:
    done = bench("list", kind)
    first = {line.split()[0] for line in done.output.splitlines() if line.strip() and not line.startswith("  ")}
    assert set(names) <= {word.strip() for word in first}


def test_an_unknown_list_is_answered_with_the_nearest(bench: Run) -> None:
    done = bench("list", "method")
    assert done.exit_code == Exit.USAGE
    assert "did you mean 'methods'" in done.output


def test_auto_takes_the_refit_set_where_the_published_one_is_absent_and_says_so(
    bench: Run, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_PARAMETERS", raising=False)
    done = bench("run", "--methods", "input", "--datasets", "demo", "--limit", "1", "--thumbnails", "0", "--out", "x")
    assert done.exit_code == Exit.OK
    with open("x/summary.csv", newline="") as stream:
        rows = {row["metric"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["psnr", "ssim", "fsim", "lpips", "niqe_refit", "brisque_refit", "sseq_refit"]
    assert all(row["mean"] or row["reason"] for row in rows.values())
    assert "alexnet" in rows["lpips"]["reason"]
    assert "NIQE (refit)" in done.output
    assert "not comparable with published" in Path("x/tables.tex").read_text()


def test_a_published_metric_asked_for_by_name_is_never_replaced(
    bench: Run, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_PARAMETERS", raising=False)
    words = ("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--metrics", "niqe", "--out", "x")
    assert bench(*words).exit_code == Exit.OK
    with open("x/summary.csv", newline="") as stream:
        [row] = csv.DictReader(stream)
    assert (row["metric"], row["mean"], row["n"]) == ("niqe", "", "0")
    assert "niqe_modelparameters.mat" in row["reason"]


def test_data_status_says_what_is_here_and_how_to_get_the_rest(bench: Run, tmp_path: Path, pairs: Path) -> None:
    (tmp_path / "data" / "lol" / "eval15").mkdir(parents=True)
    for name in ("low", "high"):
        shutil.copytree(pairs / name, tmp_path / "data" / "lol" / "eval15" / name)
    done = bench("data", "status", "--root", f"lol={tmp_path / 'data' / 'lol'}")
    assert done.exit_code == Exit.OK
    assert "4 pictures" in done.output
    assert "eval15/low" in done.output


def test_doctor_says_what_this_machine_can_do(bench: Run) -> None:
    done = bench("doctor")
    assert done.exit_code == Exit.OK
    for said in ("torch", "CUDA device", "psnr", "ready", "demo"):
        assert said in done.output


def test_weights_status_names_every_file_with_its_licence(bench: Run) -> None:
    done = bench("weights", "status")
    assert done.exit_code == Exit.OK
    for said in ("niqe_modelparameters.mat", "alexnet", "lpips", "sseq_model.mat"):
        assert said in done.output


def test_a_report_is_written_again_from_the_records_alone(bench: Run, tmp_path: Path, pairs: Path) -> None:
    bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    before = {
        path.name: path.read_bytes() for path in (tmp_path / "x").iterdir() if path.suffix in (".csv", ".md", ".tex")
    }
    shutil.rmtree(pairs)
    for name in before:
        (tmp_path / "x" / name).unlink()
    assert bench("report", "x").exit_code == Exit.OK
    assert {name: (tmp_path / "x" / name).read_bytes() for name in before} == before


def test_a_folder_without_run_is_named(bench: Run, tmp_path: Path) -> None:
    done = bench("report", tmp_path)
    assert done.exit_code == Exit.USAGE
    assert "holds no run" in done.output


def test_a_full_disk_stops_the_run_and_says_what_to_do(
    bench: Run, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from bench import views

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    words = ("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    with monkeypatch.context() as patched:
        patched.setattr(views, "write", full)
        done = bench(*words)
    assert done.exit_code == Exit.STOPPED
    assert "make room and give the same command again" in " ".join(done.output.split())
    assert bench(*words).exit_code == Exit.OK


def test_a_device_that_is_not_there_is_said(bench: Run, tmp_path: Path, pairs: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    done = bench("run", "--device", "cuda", "--datasets", f"folder:{pairs}", "--out", "x")
    assert done.exit_code == Exit.USAGE
    assert "no CUDA device" in done.output


def test_a_path_of_another_kind_as_out_is_refused(bench: Run, tmp_path: Path, pairs: Path) -> None:
    (tmp_path / "file").write_text("")
    done = bench("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "file")
    assert done.exit_code == Exit.STOPPED
    assert "file cannot be written" in done.output
