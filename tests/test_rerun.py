"""A run is repeated from its manifest alone; what is missing or another is named with the way to give it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from bench import image, lineup, provenance
from bench.cli import Exit, app
from bench.store import Store

Run = Callable[..., Result]
SHIPPED = Path(__file__).resolve().parent.parent / "adapters" / "weights" / "zero_dce.safetensors"

METHOD = """
import torch
from bench.contracts import Adapter

class Mine(Adapter):
    label, kind, source = "Mine", "classical", "test"

    def enhance_named(self, low, dataset, ids):
        with open({log!r}, "a") as log:
            log.write("".join(f"{{name}}\\n" for name in ids))
        return self.enhance(low)

    def enhance(self, low):
        return {result}
"""
METRIC = """
from bench.contracts import Metric, ParameterFile

class Weighted(Metric):
    label, higher_is_better, needs_reference, source = "Weighted", True, False, "test"
    definition = "mean of all channels, times a number"
    files = (ParameterFile("factor.txt", "", "nowhere", "none"),)

    def __init__(self, option, files, device):
        super().__init__(option, files, device)
        self.factor = float(files["factor.txt"].read_text())

    def score(self, enhanced, reference):
        return enhanced.rgb.double().mean(dim=(1, 2, 3)) * self.factor
"""
"""Its file has no pinned digest, so that it can change while the code does not."""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    # Whoever works on the checkout while tests run changes none of their runs.
    monkeypatch.setattr(provenance, "revision", lambda: ("0123456789abcdef", False))
    monkeypatch.setattr(provenance, "core_digest", lambda: "core")
    (tmp_path / "bench.toml").write_text(
        "[run]\nthumbnails = 0\nreports = ['records']\nmetrics = ['psnr']\n[parameters]\n'factor.txt' = 'factor.txt'\n"
    )
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def method(folder: Path, result: str = "low * 2") -> Path:
    path = folder / "mine.py"
    path.write_text(METHOD.format(log=str(folder / "mine.log"), result=result))
    return path


def enhanced(folder: Path) -> int:
    """How often the method has been called for a picture."""
    log = folder / "mine.log"
    return len(log.read_text().split()) if log.exists() else 0


def words(done: Result) -> str:
    return " ".join(done.output.split())


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def test_an_unchanged_run_is_repeated_with_the_same_values(bench: Run, tmp_path: Path, pairs: Path) -> None:
    bench("run", "--methods", f"gamma,{method(tmp_path)}", "--datasets", f"folder:{pairs}", "--out", "r")
    done = bench("rerun", "r")
    assert done.exit_code == Exit.OK, done.output
    assert "3 cells (method x column) compared: 3 identical" in words(done)
    assert "the two runs are the same" in done.output
    assert enhanced(tmp_path) == 8  # computed, not copied
    again = tmp_path / "r-rerun" / "records.csv"
    assert again.read_bytes() == (tmp_path / "r" / "records.csv").read_bytes()


def test_the_manifest_is_enough(bench: Run, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bench.toml").write_text("[run]\nthumbnails = 0\nreports = []\nmetrics = ['ssim']\nseed = 3\nlimit = 2")
    sampled = method(tmp_path, "torch.rand_like(low)").name
    bench("run", "--methods", sampled, "--datasets", f"folder:{pairs.name}", "--size", "64x48", "--out", "r")
    (tmp_path / "bench.toml").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = bench("rerun", tmp_path / "r", "--out", "again")
    assert done.exit_code == Exit.OK, done.output
    first, second = (manifest(folder) for folder in (tmp_path / "r", tmp_path / "elsewhere" / "again"))
    assert (second["seed"], second["protocol"]["name"]) == (3, "64x48-8bit")
    assert second["datasets"][f"folder:{pairs.name}"]["pictures"] == 2
    kept = [{**one["configuration"]["run"], "out": "", "device": ""} for one in (first, second)]
    assert kept[0] == kept[1]


def test_a_rerun_says_which_run_it_repeats_and_can_be_repeated(bench: Run, tmp_path: Path, pairs: Path) -> None:
    bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--out", "r")
    bench("rerun", "r")
    assert manifest(tmp_path / "r-rerun")["rerun_of"]["run"] == "r"
    assert bench("rerun", "r-rerun").exit_code == Exit.OK
    assert (tmp_path / "r-rerun-rerun").is_dir()


def test_what_auto_stood_for_is_repeated(
    bench: Run, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(
        pairs / "high"
    )  # left to the harness, a set without references has no column of a metric that needs one
    (tmp_path / "bench.toml").write_text("[run]\nthumbnails = 0\nreports = []\nmetrics = ['auto']\n")
    monkeypatch.setattr(lineup, "STANDARD_METRICS", ("psnr", "niqe_refit"))
    bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs / 'low'}", "--out", "r")
    # Another machine, on which auto would stand for something else.
    monkeypatch.setattr(lineup, "STANDARD_METRICS", ("ssim", "brisque_refit"))
    bench("rerun", "r")
    assert list(manifest(tmp_path / "r-rerun")["metrics"]) == ["psnr", "niqe_refit"]
    for folder in ("r", "r-rerun"):
        with Store(tmp_path / folder, readonly=True) as store:
            assert [column["metric"] for column in store.noted("plan")["columns"]] == ["niqe_refit"]


def test_other_code_is_run_and_named(bench: Run, tmp_path: Path, pairs: Path) -> None:
    bench("run", "--methods", mine := method(tmp_path), "--datasets", f"folder:{pairs}", "--out", "r")
    method(tmp_path, "low * 2.5")
    done = bench("rerun", "r")
    assert done.exit_code == Exit.FAILURES
    assert f"{mine}: code " in words(done)
    assert "2 cells (method x column) compared: 1 identical, 1 different" in words(done)


@pytest.mark.usefixtures("threads")
def test_another_number_of_threads_is_named_and_its_values_pass(bench: Run, pairs: Path) -> None:
    torch.set_num_threads(1)
    bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--out", "r")
    torch.set_num_threads(2)
    done = bench("rerun", "r")
    assert done.exit_code == Exit.OK
    assert "threads 1 → 2" in words(done)


def test_pictures_that_are_not_those_of_the_run_are_named(bench: Run, tmp_path: Path, pairs: Path) -> None:
    shutil.copytree(pairs, tmp_path / "kept")
    bench("run", "--methods", "gamma", "--datasets", "folder:pairs", "--out", "r")
    image.write_png(pairs / "low" / "2.png", torch.zeros(3, 96, 128))
    for part in ("low", "high"):
        (pairs / part / "3.png").rename(pairs / part / "7.png")
    done = bench("rerun", "r")
    assert done.exit_code == Exit.USAGE
    assert "folder:pairs: not the pictures of the run: 1 gone (3), 1 changed (2), 1 new (7)" in words(done)
    assert "--root folder:pairs=PATH" in words(done)
    done = bench("rerun", "r", "--root", "folder:pairs=kept")
    assert done.exit_code == Exit.OK, done.output
    assert "2 identical" in words(done)


def test_a_folder_that_has_moved_is_asked_for(bench: Run, tmp_path: Path, pairs: Path) -> None:
    bench("run", "--methods", "gamma", "--datasets", "folder:pairs", "--out", "r")
    pairs.rename(tmp_path / "moved")
    done = bench("rerun", "r")
    assert done.exit_code == Exit.USAGE
    assert f"folder:pairs: {pairs} is not there; say where it is: --root folder:pairs=PATH" in words(done)
    assert bench("rerun", "r", "--root", "folder:pairs=moved").exit_code == Exit.OK
    assert list(manifest(tmp_path / "r-rerun")["datasets"]) == ["folder:pairs"]
    done = bench("rerun", "r-rerun")  # which lay where the first rerun found it
    assert done.exit_code == Exit.OK, done.output


def test_a_data_set_is_found_where_it_lies_now(
    bench: Run, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pairs, tmp_path / "here" / "lol" / "eval15")
    bench("run", "--methods", "gamma", "--datasets", "lol", "--root", "lol=here/lol", "--out", "r")
    (tmp_path / "here").rename(tmp_path / "there")
    done = bench("rerun", "r")
    assert done.exit_code == Exit.USAGE
    assert "is not there; say where it is: --root lol=PATH" in words(done)
    assert bench("rerun", "r", "--root", "lol=there/lol").exit_code == Exit.OK
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "there"))
    assert bench("rerun", "r", "--out", "again").exit_code == Exit.OK


def test_weights_must_be_those_of_the_run(bench: Run, tmp_path: Path, pairs: Path) -> None:
    shutil.copy(SHIPPED, tmp_path / "w.safetensors")
    bench("run", "--methods", "zero_dce", "--datasets", f"folder:{pairs}", "--weights", "zero_dce=w.safetensors",
          "--out", "r")  # fmt: skip
    with safe_open(SHIPPED, "pt") as opened:
        notes = opened.metadata()
    save_file({name: one * 1.1 for name, one in load_file(SHIPPED).items()}, tmp_path / "w.safetensors", notes)
    done = bench("rerun", "r")
    assert done.exit_code == Exit.USAGE
    assert "zero_dce: not the files of the run: w.safetensors " in words(done)
    assert "--weights zero_dce=PATH" in words(done)
    (tmp_path / "w.safetensors").unlink()
    assert "w.safetensors is not there; say where it is: --weights zero_dce=PATH" in words(bench("rerun", "r"))
    assert bench("rerun", "r", "--weights", f"zero_dce={SHIPPED}").exit_code == Exit.OK


def test_parameters_must_be_those_of_the_run(bench: Run, tmp_path: Path, pairs: Path) -> None:
    (tmp_path / "weighted.py").write_text(METRIC)
    (tmp_path / "factor.txt").write_text("2")
    bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--metrics", "weighted.py", "--out", "r")
    (tmp_path / "factor.txt").rename(tmp_path / "kept.txt")
    done = bench("rerun", "r")
    assert done.exit_code == Exit.USAGE
    assert "weighted.py: needs factor.txt, which is not on this machine" in words(done)
    (tmp_path / "other.txt").write_text("3")
    done = bench("rerun", "r", "--place", "factor.txt=other.txt")
    assert done.exit_code == Exit.USAGE
    assert "weighted.py: not the files of the run: factor.txt 4e074085, was factor.txt d4735e3a" in words(done)
    assert bench("rerun", "r", "--place", "factor.txt=kept.txt").exit_code == Exit.OK


def test_pictures_made_elsewhere_and_a_file_of_ones_own_may_lie_elsewhere(
    bench: Run, tmp_path: Path, pairs: Path
) -> None:
    shutil.copytree(pairs / "high", tmp_path / "made")
    method(tmp_path)
    bench("run", "--methods", "outputs:made,mine.py", "--datasets", f"folder:{pairs}", "--out", "r")
    (tmp_path / "made").rename(tmp_path / "made2")
    (tmp_path / "mine.py").rename(tmp_path / "mine2.py")
    done = bench("rerun", "r")
    assert done.exit_code == Exit.USAGE
    assert "--place outputs:made=PATH" in words(done)
    assert "--place mine.py=PATH" in words(done)
    done = bench("rerun", "r", "--place", "outputs:made=made2", "--place", "mine.py=mine2.py")
    assert "3 identical" in words(done), done.output
    assert list(manifest(tmp_path / "r-rerun")["methods"]) == ["input", "outputs:made", "mine.py"]


def test_the_model_of_a_task_must_be_that_of_the_run(bench: Run, tmp_path: Path, pairs: Path) -> None:
    (pairs / "mask").mkdir()
    for name in ("1", "2", "3", "4"):
        image.write_png(pairs / "mask" / f"{name}.png", torch.ones(3, 96, 128).triu())
    shutil.copytree(pairs / "mask", tmp_path / "maps" / "input")
    chosen = ("run", "--methods", "input", "--datasets", "folder:pairs", "--tasks", "saliency", "--saliency-model",
              "maps:maps", "--out", "r")  # fmt: skip
    assert bench(*chosen).exit_code == Exit.OK
    assert bench("rerun", "r").exit_code == Exit.OK
    (tmp_path / "maps").rename(tmp_path / "moved")
    done = bench("rerun", "r", "--out", "s")
    assert "say where it is: --place saliency=PATH" in words(done)
    assert bench("rerun", "r", "--out", "s", "--place", "saliency=moved").exit_code == Exit.OK
    image.write_png(tmp_path / "moved" / "input" / "2.png", torch.zeros(3, 96, 128))
    done = bench("rerun", "r", "--out", "t", "--place", "saliency=moved")
    assert done.exit_code == Exit.USAGE
    assert "saliency on folder:pairs: not the model of the run for input" in words(done)


def test_a_name_that_the_run_does_not_have_is_answered(bench: Run, pairs: Path) -> None:
    bench("run", "--methods", "gamma", "--datasets", "folder:pairs", "--out", "r")
    done = bench("rerun", "r", "--root", "folder:pears=pairs")
    assert done.exit_code == Exit.USAGE
    assert "did you mean 'folder:pairs'?" in words(done)


def test_a_device_that_is_not_there_is_said(bench: Run, pairs: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--out", "r")
    done = bench("rerun", "r", "--device", "cuda")
    assert done.exit_code == Exit.USAGE
    assert "no CUDA device" in done.output


def test_nothing_but_a_rerun_of_the_run_is_written_into(bench: Run, tmp_path: Path, pairs: Path) -> None:
    for out in ("r", "s"):
        bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--out", out)
    before = {out: (tmp_path / out / "manifest.json").read_bytes() for out in ("r", "s")}
    for out in ("r", "s"):
        done = bench("rerun", "r", "--out", out)
        assert done.exit_code == Exit.USAGE
        assert f"{out} holds another run, not a rerun of r" in words(done)
    assert {out: (tmp_path / out / "manifest.json").read_bytes() for out in ("r", "s")} == before
    done = bench("rerun", "r", "--out", pairs)
    assert done.exit_code == Exit.USAGE
    assert "is there and holds no rerun" in words(done)


@pytest.mark.usefixtures("threads")
def test_a_rerun_goes_on_where_it_stopped_but_not_on_another_machine(bench: Run, tmp_path: Path, pairs: Path) -> None:
    torch.set_num_threads(1)
    bench("run", "--methods", method(tmp_path), "--datasets", f"folder:{pairs}", "--out", "r")
    bench("rerun", "r")
    bench("rerun", "r")
    assert enhanced(tmp_path) == 8  # the second rerun found all of the first
    torch.set_num_threads(2)
    done = bench("rerun", "r")
    assert done.exit_code == Exit.USAGE
    assert "holds a rerun made under other conditions (threads)" in words(done)


def test_a_run_of_an_older_version_is_answered_with_its_command(bench: Run, tmp_path: Path, pairs: Path) -> None:
    bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--out", "r")
    with Store(tmp_path / "r") as store:
        kept = {name: value for name, value in store.noted("manifest").items() if name != "configuration"}
        store.note("manifest", {**kept, "command": "bench run --methods gamma"})
    done = bench("rerun", "r")
    assert done.exit_code == Exit.USAGE
    assert "was made before runs kept their configuration" in words(done)
    assert "bench run --methods gamma" in words(done)


def test_a_picture_that_failed_fails_again_and_that_is_no_difference(bench: Run, tmp_path: Path, pairs: Path) -> None:
    (pairs / "low" / "3.png").write_bytes(b"no picture")
    bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--out", "r")
    done = bench("rerun", "r")
    assert done.exit_code == Exit.OK, done.output
    with Store(tmp_path / "r-rerun", readonly=True) as store:
        keys = [key for job in store.noted("plan")["jobs"] for key in job["score_keys"].values()]
        assert Counter(image for key in keys for image, _ in store.failed(key)) == {"3": 2}
