"""Two runs: what moved, by how much, on which picture, and what made it move."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from bench import image, provenance
from bench.cli import Exit, app
from bench.differences import DATA, METHOD, METRIC, UNKNOWN, compare
from bench.recorded import Seen
from bench.store import FILENAME, Store

Run = Callable[..., Result]
ROOT = Path(__file__).resolve().parent.parent
INF = math.inf

METHOD_CODE = """
from bench.contracts import Adapter

class Mine(Adapter):
    label, kind, source = "Mine", "classical", "test"

    def enhance(self, low):
        return {result}
"""
METRIC_CODE = """
from bench.contracts import Metric, ParameterFile

class Weighted(Metric):
    label, higher_is_better, needs_reference, source = "Weighted", True, False, "test"
    definition = "mean of all channels, times a number"
    noise = {noise}
    files = (ParameterFile("factor.txt", "", "nowhere", "none"),)

    def __init__(self, option, files, device):
        super().__init__(option, files, device)
        self.factor = float(files["factor.txt"].read_text())

    def score(self, enhanced, reference):
        return enhanced.rgb.double().mean(dim=(1, 2, 3)) * self.factor
"""
"""Its file has no pinned digest, so that it can change while the code does not."""


def seen(*values: float | None, content: str | None = "made", files: str = "files", low: str = "low") -> list[Seen]:
    return [Seen(str(place), value, content, files, low) for place, value in enumerate(values)]


def test_a_run_does_not_differ_from_itself() -> None:
    change = compare(seen(1.0, INF, None), seen(1.0, INF, None))
    assert (change.n, change.moved, change.mean, change.same) == (2, (), 0.0, True)


def test_the_mean_difference_counts_pictures_that_did_not_move() -> None:
    change = compare(seen(20.0, 21.0, 22.0, 23.0), seen(20.0, 21.5, 22.0, 21.5))
    assert change.mean == (0.5 - 1.5) / 4
    assert [(one.image, one.difference) for one in change.moved] == [("3", -1.5), ("1", 0.5)]
    assert change.largest is not None and change.largest.image == "3"


def test_differences_up_to_the_noise_are_none() -> None:
    before, after = seen(1.0, 2.0), seen(1.25, 2.0)
    assert compare(before, after, noise=0.25).same
    assert compare(before, after, noise=0.25).beyond == ()
    assert not compare(before, after, noise=0.2).same
    assert [one.image for one in compare(before, after, noise=0.2).beyond] == ["0"]


def test_a_value_that_becomes_infinite_has_moved_and_is_left_out_of_the_mean() -> None:
    change = compare(seen(30.0, 31.0), seen(INF, 31.5), noise=1)
    assert change.mean == 0.5
    assert [one.image for one in change.beyond] == ["0"]


def test_pictures_that_fail_or_are_not_there_are_named() -> None:
    change = compare(seen(1.0, None, 3.0, 4.0), [*seen(None, 2.0, 3.0), Seen("9", 1.0)])
    assert (change.failed, change.recovered, change.only_before, change.only_after) == (("0",), ("1",), ("3",), ("9",))
    assert change.n == 1
    assert not change.same


@pytest.mark.parametrize(
    ("after", "cause"),
    [
        ({}, METRIC),
        ({"content": "other"}, METHOD),
        ({"content": "other", "low": "other"}, DATA),
        ({"files": "other"}, DATA),
        ({"content": None}, UNKNOWN),
    ],
    ids=["same picture", "other picture made", "other picture read", "other files", "not kept"],
)
def test_what_changed_first_between_file_and_score_is_the_cause(after: dict[str, Any], cause: str) -> None:
    assert dict(compare(seen(1.0), seen(2.0, **after)).causes) == {cause: 1}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    # Whoever works on the checkout while tests run changes none of their runs.
    monkeypatch.setattr(provenance, "revision", lambda: ("0123456789abcdef", False))
    monkeypatch.setattr(provenance, "core_digest", lambda: "core")
    (tmp_path / "bench.toml").write_text(
        "[run]\nthumbnails = 0\nreports = []\nmetrics = ['psnr']\n[parameters]\n'factor.txt' = 'factor.txt'\n"
    )
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def method(folder: Path, result: str = "low * 2") -> Path:
    path = folder / "mine.py"
    path.write_text(METHOD_CODE.format(result=result))
    return path


def metric(folder: Path, factor: float = 1, noise: float = 0) -> Path:
    path = folder / "weighted.py"
    path.write_text(METRIC_CODE.format(noise=noise))
    (folder / "factor.txt").write_text(str(factor))
    return path


def words(done: Result) -> str:
    """What was printed, without line breaks and the gaps between columns."""
    return " ".join(done.output.split())


def explained(bench: Run, first: str = "a", second: str = "b") -> dict[str, Any]:
    """What `bench diff --json` says; NaN and infinity are no JSON."""

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    found: dict[str, Any] = json.loads(bench("diff", first, second, "--json").output, parse_constant=refuse)
    return found


def facts(found: dict[str, Any], section: str) -> list[tuple[str, str]]:
    return [(fact["name"], fact["what"]) for fact in found["facts"] if fact["section"] == section]


def causes(found: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    """By (method, metric)."""
    return {(one["method"], one["metric"]): {moved["cause"] for moved in one["moved"]} for one in found["values"]}


def test_two_runs_of_the_same_are_the_same(bench: Run, pairs: Path) -> None:
    for out in ("a", "b"):
        bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--out", out)
    done = bench("diff", "a", "b")
    assert done.exit_code == Exit.OK, done.output
    assert "2 cells (method x column) compared: 2 identical" in words(done)


def test_other_weights_are_named_by_both_digests(bench: Run, tmp_path: Path, pairs: Path) -> None:
    shipped = ROOT / "adapters" / "weights" / "zero_dce.safetensors"
    with safe_open(shipped, "pt") as opened:
        notes = opened.metadata()
    save_file(
        {name: one * 1.1 if one.dim() == 4 else one for name, one in load_file(shipped).items()}, "w.safetensors", notes
    )
    chosen = ("run", "--methods", "zero_dce", "--datasets", f"folder:{pairs}", "--out")
    bench(*chosen, "a")
    bench(*chosen, "b", "--weights", "zero_dce=w.safetensors")
    done = bench("diff", "a", "b")
    digests = [sha256(file.read_bytes()).hexdigest()[:8] for file in (shipped, tmp_path / "w.safetensors")]
    assert done.exit_code == Exit.FAILURES
    assert f"zero_dce: weights zero_dce.safetensors {digests[0]} → w.safetensors {digests[1]}" in words(done)
    found = explained(bench)
    assert facts(found, "methods") == [("zero_dce", "weights")]
    assert causes(found) == {("zero_dce", "psnr"): {METHOD}}


def test_other_code_of_a_method_is_told_from_other_weights(bench: Run, tmp_path: Path, pairs: Path) -> None:
    for out, result in (("a", "low * 2"), ("b", "low * 2.5")):
        mine = method(tmp_path, result)
        bench("run", "--methods", f"gamma,{mine}", "--datasets", f"folder:{pairs}", "--out", out)
    found = explained(bench)
    assert facts(found, "methods") == [(str(mine), "code")]
    assert causes(found) == {(str(mine), "psnr"): {METHOD}}
    assert found["compared"] == 3


def test_the_difference_of_a_metric_is_the_difference_of_its_values(bench: Run, tmp_path: Path, pairs: Path) -> None:
    for out, result in (("a", "low * 2"), ("b", "low * 3")):
        mine = method(tmp_path, result)
        bench("run", "--methods", mine, "--datasets", f"folder:{pairs}", "--out", out, "--rounding", "none",
              "--metrics", metric(tmp_path))  # fmt: skip
    low = np.asarray(Image.open(pairs / "low" / "1.png")) / 255
    (found,) = [one for one in explained(bench)["values"] if one["method"] == str(mine)]
    (first,) = [one for one in found["moved"] if one["image"] == "1"]
    assert first["difference"] == pytest.approx(low.mean(), abs=1e-6)  # (3 - 2) times the mean of the low picture
    assert found["mean"] == pytest.approx(low.mean(), abs=1e-6)  # all four are one picture, shifted sideways


def test_other_parameters_of_a_metric_are_told_from_other_code(bench: Run, tmp_path: Path, pairs: Path) -> None:
    for out, factor in (("a", 1), ("b", 2)):
        weighted = metric(tmp_path, factor)
        bench("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--out", out,
              "--metrics", f"psnr,{weighted}")  # fmt: skip
    found = explained(bench)
    assert facts(found, "metrics") == [(str(weighted), "parameters")]
    assert causes(found) == {("input", str(weighted)): {METRIC}}
    digests = [sha256(text).hexdigest()[:8] for text in (b"1", b"2")]
    assert f"parameters factor.txt {digests[0]} → factor.txt {digests[1]}" in found["values"][0]["because"][0]


def test_a_difference_within_noise_is_listed_and_is_none(bench: Run, tmp_path: Path, pairs: Path) -> None:
    for out, factor in (("a", "1"), ("b", "1.001")):
        weighted = metric(tmp_path, noise=0.01)
        (tmp_path / "factor.txt").write_text(factor)
        bench("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--out", out, "--metrics", weighted)
    found = explained(bench)
    assert [one["same"] for one in found["values"]] == [True]
    assert found["values_agree"]
    assert not found["same"]  # the parameters are others
    assert "1 within noise" in words(bench("diff", "a", "b"))


def test_a_changed_a_removed_and_a_new_picture_are_named(bench: Run, pairs: Path) -> None:
    chosen = ("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--out")
    bench(*chosen, "a")
    image.write_png(pairs / "low" / "2.png", image.read_rgb(pairs / "low" / "2.png") * 1.5)
    for folder in (pairs / "low", pairs / "high"):
        (folder / "4.png").rename(folder / "5.png")
    bench(*chosen, "b")
    found = explained(bench)
    data = {fact["what"]: fact["images"] for fact in found["facts"] if fact["section"] == "data"}
    assert data == {"pictures gone": ["4"], "pictures new": ["5"], "pictures with other contents": ["2"]}
    assert causes(found) == {("input", "psnr"): {DATA}, ("gamma", "psnr"): {DATA}}
    assert [one["image"] for one in found["values"][0]["moved"]] == ["2"]
    assert (found["values"][0]["only_before"], found["values"][0]["only_after"]) == (["4"], ["5"])


def test_runs_of_two_protocols_are_compared_and_the_protocol_is_the_cause(bench: Run, pairs: Path) -> None:
    chosen = ("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--out")
    bench(*chosen, "a")
    bench(*chosen, "b", "--rounding", "none")
    found = explained(bench)
    assert facts(found, "protocol") == [("rounding", "")]
    assert causes(found)["gamma", "psnr"] == {"protocol"}
    assert "rounding 8bit → none" in words(bench("diff", "a", "b"))


@pytest.mark.usefixtures("threads")
def test_another_number_of_threads_is_named_though_no_value_moved(bench: Run, pairs: Path) -> None:
    for out, count in (("a", 1), ("b", 3)):
        torch.set_num_threads(count)
        bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--out", out)
    done = bench("diff", "a", "b")
    assert done.exit_code == Exit.FAILURES
    assert "threads 1 → 3" in words(done)
    assert explained(bench)["values_agree"]


def test_variables_of_the_environment_are_named(bench: Run, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--out")
    bench(*chosen, "a")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    bench(*chosen, "b")
    assert "MKL_CBWR none → COMPATIBLE" in words(bench("diff", "a", "b"))


def test_the_same_pictures_in_another_folder_are_compared(bench: Run, tmp_path: Path, pairs: Path) -> None:
    bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--out", "a")
    moved = pairs.rename(tmp_path / "elsewhere")
    bench("run", "--methods", "gamma", "--datasets", f"folder:{moved}", "--out", "b")
    found = explained(bench)
    assert facts(found, "data") == [(f"folder:{moved}", "name")]
    assert (found["compared"], found["values"]) == (2, [])


def test_what_only_one_run_has_is_named(bench: Run, pairs: Path) -> None:
    bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "a")
    bench("run", "--methods", "he", "--datasets", "demo", "--limit", 1, "--metrics", "ssim", "--out", "b")
    found = explained(bench)
    assert facts(found, "data") == [(f"folder:{pairs}", ""), ("demo", "")]
    assert facts(found, "methods") == [("gamma", ""), ("he", "")]
    assert facts(found, "metrics") == [("psnr", ""), ("ssim", "")]
    assert (found["compared"], found["values"]) == (0, [])


def test_a_metric_without_its_file_in_one_run_is_a_gap_with_the_reason(bench: Run, tmp_path: Path, pairs: Path) -> None:
    weighted = metric(tmp_path)
    chosen = ("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--metrics", weighted, "--out")
    bench(*chosen, "a")
    (tmp_path / "factor.txt").unlink()
    bench(*chosen, "b")
    (gap,) = explained(bench)["gaps"]
    assert (gap["method"], gap["metric"], gap["lost"]) == ("input", str(weighted), True)
    assert "needs factor.txt, which is not on this machine" in gap["reason"]
    assert not explained(bench)["values_agree"]
    assert explained(bench, "b", "a")["values_agree"]


def test_a_picture_that_newly_fails_is_named(bench: Run, tmp_path: Path, pairs: Path) -> None:
    for out, result in (("a", "low * 2"), ("b", "low * (2 if low.mean() > 2 else float('nan'))")):
        mine = method(tmp_path, result)
        bench("run", "--methods", mine, "--datasets", f"folder:{pairs}", "--out", out)
    (found,) = explained(bench)["values"]
    assert found["failed"] == ["1", "2", "3", "4"]
    assert "0 of 0, 4 failed" in words(bench("diff", "a", "b"))


def test_maps_that_changed_moved_the_scores_of_their_task(bench: Run, tmp_path: Path) -> None:
    scenes, maps = tmp_path / "scenes", tmp_path / "maps" / "input"
    for folder in (scenes / "low", scenes / "mask", maps):
        folder.mkdir(parents=True)
    for name in ("a", "b"):
        image.write_png(scenes / "low" / f"{name}.png", torch.full((3, 48, 64), 0.2))
        mask = np.zeros((48, 64), np.uint8)
        mask[10:30, 10:40] = 255
        for folder in (scenes / "mask", maps):
            Image.fromarray(mask).save(folder / f"{name}.png")
    chosen = ("run", "--methods", "input", "--datasets", f"folder:{scenes}", "--metrics", "none", "--tasks", "saliency",
              "--saliency-model", f"maps:{maps.parent}", "--out")  # fmt: skip
    assert bench(*chosen, "a").exit_code == Exit.OK
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(maps / "b.png")
    bench(*chosen, "b")
    found = explained(bench)
    assert facts(found, "tasks") == [(f"saliency on folder:{scenes}", "model")]
    assert set().union(*causes(found).values()) == {METRIC}
    errors = {one["metric"]: one["mean"] for one in found["values"]}
    # Mean absolute error: none at first; then 1 outside the mask, 600 of 3072 pixels, on one of two pictures.
    assert errors["mae"] == pytest.approx((1 - 600 / 3072) / 2)
    pooled = {one["metric"] for one in found["values"] if one["pooled"]}
    assert "maxf" in pooled
    assert all(
        [moved["image"] for moved in one["moved"]] == ["all pictures"] for one in found["values"] if one["pooled"]
    )


def test_a_run_of_an_older_version_is_compared_as_far_as_it_goes(bench: Run, tmp_path: Path, pairs: Path) -> None:
    chosen = ("run", "--datasets", f"folder:{pairs}", "--out")
    bench(*chosen, "a", "--methods", method(tmp_path))
    bench(*chosen, "b", "--methods", mine := method(tmp_path, "low * 3"))
    made_by_an_older_version(tmp_path / "a")
    done, found = bench("diff", "a", "b"), explained(bench)
    assert facts(found, "methods") == [(str(mine), "code, option or files")]
    assert causes(found) == {(str(mine), "psnr"): {UNKNOWN}}
    assert "not recorded by the first run, so not compared: " in words(done)
    assert {"environment", "processor and driver"} <= set(found["unrecorded"]["first"])
    assert not facts(found, "environment") and not facts(found, "machine")


def made_by_an_older_version(folder: Path) -> None:
    """Take out of a run what the first versions did not record."""
    import sqlite3

    with Store(folder) as store:
        manifest = store.noted("manifest")
        for key in ("changes", "core", "machine", "switches", "environment", "configuration"):
            del manifest[key]
        for room in ("methods", "datasets", "metrics"):
            for one in manifest[room].values():
                del one["code"], one["option"]
                one.pop("truths", None)
        store.note("manifest", manifest)
    connection = sqlite3.connect(folder / FILENAME)
    connection.execute("ALTER TABLE enhancements DROP COLUMN content")
    connection.commit()
    connection.close()


def test_a_resumed_run_says_what_its_first_records_were_made_with(bench: Run, pairs: Path, threads: None) -> None:
    chosen = ("run", "--datasets", f"folder:{pairs}", "--out")
    torch.set_num_threads(1)
    bench(*chosen, "a", "--methods", "gamma")
    torch.set_num_threads(2)
    bench(*chosen, "a", "--methods", "gamma,he")
    assert "with another threads; what was recorded then is kept" in words(bench("diff", "a", "a"))


@pytest.mark.parametrize("folder", ["nothing", "empty"])
def test_what_is_no_run_cannot_be_read(bench: Run, tmp_path: Path, pairs: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    bench("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--out", "a")
    done = bench("diff", "a", folder)
    assert done.exit_code == Exit.USAGE
    assert f"{folder} holds no run" in done.output


def test_a_run_that_was_not_planned_yet_cannot_be_read(bench: Run, tmp_path: Path) -> None:
    Store(tmp_path / "a").close()
    done = bench("diff", "a", "a")
    assert done.exit_code == Exit.USAGE
    assert "holds no finished plan" in done.output
