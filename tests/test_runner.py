"""The pass: what is recorded stays, one bad picture costs one row, a killed run goes on."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from bench import image, result, views, work
from bench.cli import Exit, app
from bench.contracts import Adapter
from bench.store import Store

Run = Callable[..., Result]

METHOD = """
import time, torch
from pathlib import Path
from bench.contracts import Adapter

class Mine(Adapter):
    label, kind, source = "Mine", "classical", "test"

    def enhance_named(self, low, dataset, ids):
        with open({log!r}, "a") as log:
            log.write("".join(f"{{name}}\\n" for name in ids))
        time.sleep({seconds})
        return self.enhance(low)

    def enhance(self, low):
        return {result}
"""

METRIC = """
import torch
from bench.contracts import Metric

class Brightness(Metric):
    label, higher_is_better, needs_reference, source = "Brightness", True, False, "test"
    definition = "mean of all channels"

    def score(self, enhanced, reference):
        return {result}
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `bench` in an empty folder, where no bench.toml of the user's can interfere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench.toml").write_text("[run]\nthumbnails = 0\n")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def method(folder: Path, result: str = "low * 2", seconds: float = 0, name: str = "mine") -> Path:
    path = folder / f"{name}.py"
    path.write_text(METHOD.format(log=str(folder / f"{name}.log"), seconds=seconds, result=result))
    return path


def metric(folder: Path, result: str = "enhanced.rgb.double().mean(dim=(1, 2, 3))") -> Path:
    path = folder / "brightness.py"
    path.write_text(METRIC.format(result=result))
    return path


def records(folder: Path) -> list[dict[str, str]]:
    with (folder / "records.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def enhanced(folder: Path, name: str = "mine") -> Counter[str]:
    log = folder / f"{name}.log"
    return Counter(log.read_text().split()) if log.exists() else Counter()


def test_every_picture_and_metric_is_one_row(bench: Run, tmp_path: Path, pairs: Path) -> None:
    done = bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--metrics", "psnr,ssim", "--out", "x")
    assert done.exit_code == Exit.OK, done.output
    rows = records(tmp_path / "x")
    assert Counter((row["method"], row["metric"]) for row in rows) == {
        (name, metric): 4 for name in ("input", "gamma") for metric in ("psnr", "ssim")
    }
    assert all(row["value"] and not row["error"] for row in rows)


def test_the_row_without_enhancement_is_always_there(bench: Run, tmp_path: Path, pairs: Path) -> None:
    bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    assert list(dict.fromkeys(row["method"] for row in records(tmp_path / "x"))) == ["input", "gamma"]


def test_the_mean_of_the_input_row_is_psnr_as_scikit_image_has_it(bench: Run, tmp_path: Path, pairs: Path) -> None:
    from skimage.io import imread
    from skimage.metrics import peak_signal_noise_ratio

    bench("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    expected = [
        peak_signal_noise_ratio(imread(pairs / "high" / f"{index}.png"), imread(pairs / "low" / f"{index}.png"))
        for index in (1, 2, 3, 4)
    ]
    assert [float(row["value"]) for row in records(tmp_path / "x")] == pytest.approx(expected, abs=1e-9)


def test_a_finished_run_computes_nothing_again(bench: Run, tmp_path: Path, pairs: Path) -> None:
    words = ("run", "--methods", method(tmp_path), "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    bench(*words)
    first = (tmp_path / "x" / "records.csv").read_bytes()
    bench(*words)
    assert enhanced(tmp_path) == {"1": 1, "2": 1, "3": 1, "4": 1}
    assert (tmp_path / "x" / "records.csv").read_bytes() == first


def test_two_runs_write_the_same_records(bench: Run, tmp_path: Path, pairs: Path) -> None:
    for out in ("x", "y"):
        bench("run", "--methods", "gamma,clahe", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", out)
    assert (tmp_path / "x" / "records.csv").read_bytes() == (tmp_path / "y" / "records.csv").read_bytes()
    assert (tmp_path / "x" / "summary.csv").read_bytes() == (tmp_path / "y" / "summary.csv").read_bytes()


def test_a_run_killed_by_sigkill_goes_on_and_ends_like_an_unbroken_one(bench: Run, tmp_path: Path, pairs: Path) -> None:
    mine = method(tmp_path, seconds=0.3)
    words = ["run", "--methods", str(mine), "--datasets", f"folder:{pairs}", "--metrics", "psnr,ssim", "--out"]
    killed = subprocess.Popen(
        [sys.executable, "-m", "bench.cli", *words, "killed"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while sum(enhanced(tmp_path).values()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    started = enhanced(tmp_path)
    assert 2 <= sum(started.values()) < 4, "the kill came too late to show anything"
    with Store(tmp_path / "killed", readonly=True) as store:
        recorded = store._connection.execute("SELECT DISTINCT image FROM records JOIN scores USING (key) "
                                             "WHERE method <> 'input'").fetchall()  # fmt: skip
    assert bench(*words, "killed").exit_code == Exit.OK
    again = enhanced(tmp_path) - started
    assert set(again).isdisjoint({image for (image,) in recorded}), "a recorded picture was enhanced again"
    assert bench(*words, "unbroken").exit_code == Exit.OK
    for name in ("records.csv", "summary.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def test_a_changed_metric_makes_only_its_own_records_stale(bench: Run, tmp_path: Path, pairs: Path) -> None:
    mine = method(tmp_path)
    brightness = metric(tmp_path)
    words = ("run", "--methods", mine, "--datasets", f"folder:{pairs}", "--metrics", f"psnr,{brightness}", "--out", "x")
    bench(*words)
    before = {(r["image"], r["metric"]): r["value"] for r in records(tmp_path / "x") if r["method"] == str(mine)}
    metric(tmp_path, "enhanced.rgb.double().mean(dim=(1, 2, 3)) + 1")
    bench(*words)
    after = {(r["image"], r["metric"]): r["value"] for r in records(tmp_path / "x") if r["method"] == str(mine)}
    for (picture, name), value in before.items():
        assert float(after[picture, name]) - float(value) == pytest.approx(0 if name == "psnr" else 1)
    with Store(tmp_path / "x", readonly=True) as store:
        count = store._connection.execute(
            "SELECT metric, count(*) FROM records JOIN scores USING (key) GROUP BY metric"
        ).fetchall()
    assert dict(count) == {"psnr": 8, str(brightness): 16}, "psnr once, the changed metric twice"


def test_a_changed_picture_is_computed_again_and_no_other(bench: Run, tmp_path: Path, pairs: Path) -> None:
    words = ("run", "--methods", method(tmp_path), "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    bench(*words)
    image.write_png(pairs / "low" / "3.png", image.read_rgb(pairs / "low" / "3.png") / 2)
    bench(*words)
    assert enhanced(tmp_path) == {"1": 1, "2": 1, "3": 2, "4": 1}


def test_one_broken_picture_costs_one_row_that_says_why(bench: Run, tmp_path: Path, pairs: Path) -> None:
    whole = (pairs / "low" / "2.png").read_bytes()
    (pairs / "low" / "2.png").write_bytes(whole[: len(whole) // 2])
    done = bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    assert done.exit_code == Exit.FAILURES
    rows = {(row["method"], row["image"]): row for row in records(tmp_path / "x")}
    assert "2.png" in rows["gamma", "2"]["error"]
    assert rows["gamma", "2"]["value"] == ""
    assert all(rows["gamma", name]["value"] for name in ("1", "3", "4"))
    assert "1 of 4 failed" in done.output


def test_a_reference_of_another_size_is_said_with_both_sizes(bench: Run, tmp_path: Path, pairs: Path) -> None:
    image.write_png(pairs / "high" / "1.png", image.read_rgb(pairs / "high" / "1.png")[:, :50, :60])
    done = bench("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    assert done.exit_code == Exit.FAILURES, done.output
    [failed] = [row for row in records(tmp_path / "x") if row["error"]]
    assert failed["image"] == "1"
    assert "60x50" in failed["error"]
    assert "128x96" in failed["error"]


def test_awkward_pictures_are_read_or_cost_one_row_with_its_reason(bench: Run, tmp_path: Path) -> None:
    from PIL import Image
    from skimage import data

    folder = tmp_path / "awkward"
    folder.mkdir()
    photograph = Image.fromarray(data.astronaut()[40:136, 150:278])
    photograph.save(folder / "plain.png")
    photograph.convert("L").save(folder / "grey.png")
    photograph.convert("P").save(folder / "palette.png")
    photograph.convert("CMYK").save(folder / "cmyk.jpg")
    photograph.convert("RGBA").save(folder / "opaque.png")
    photograph.convert("L").convert("I").point(lambda level: level * 257).convert("I;16").save(folder / "deep.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    photograph.save(folder / "turned.jpg", exif=turned)
    photograph.resize((1, 1)).save(folder / "dot.png")
    Image.new("1", (9000, 9000)).save(folder / "huge.png")
    Image.new("RGBA", (16, 16), (1, 2, 3, 128)).save(folder / "transparent.png")
    (folder / "cut.png").write_bytes((folder / "plain.png").read_bytes()[:5000])
    (folder / "text.jpg").write_text("no picture")
    done = bench(
        "run", "--methods", "gamma", "--datasets", f"folder:{folder}", "--metrics", metric(tmp_path), "--out", "x"
    )
    assert done.exit_code == Exit.FAILURES
    rows = {row["image"]: row for row in records(tmp_path / "x") if row["method"] == "gamma"}
    bad = {"huge": "limit", "transparent": "transparent", "cut": "cut.png", "text": "text.jpg"}
    assert {name for name, row in rows.items() if row["error"]} == set(bad)
    assert all(said in rows[name]["error"] for name, said in bad.items())
    assert {name for name, row in rows.items() if row["value"]} == {
        "plain", "grey", "palette", "cmyk", "opaque", "deep", "turned", "dot"
    }  # fmt: skip
    # The 16-bit picture holds the grey one's levels exactly, so it must come out as bright.
    assert rows["deep"]["value"] == rows["grey"]["value"]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("low * float('nan')", "not finite"),
        ("low[:, :, 1:]", "returned (1, 3, 95, 128) for a batch of (1, 3, 96, 128)"),
        ("low * 8 - 0.5", "expected [0, 1]"),
        ("(low * 255).byte()", "torch.uint8"),
        ("None", "returned NoneType"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_method_that_breaks_its_promise_fails_by_name(
    bench: Run, tmp_path: Path, pairs: Path, result: str, said: str
) -> None:
    mine = method(tmp_path, result)
    done = bench("run", "--methods", mine, "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    assert done.exit_code == Exit.FAILURES
    errors = [row["error"] for row in records(tmp_path / "x") if row["method"] == str(mine)]
    assert len(errors) == 4
    assert all(said in error for error in errors)
    assert all(row["value"] for row in records(tmp_path / "x") if row["method"] == "input")


def test_a_metric_that_fails_costs_its_own_value_only(bench: Run, tmp_path: Path, pairs: Path) -> None:
    broken = metric(tmp_path, "torch.full((len(enhanced.rgb),), float('nan'))")
    done = bench(
        "run", "--methods", "input", "--datasets", f"folder:{pairs}", "--metrics", f"psnr,{broken}", "--out", "x"
    )
    assert done.exit_code == Exit.FAILURES
    by_metric = {row["metric"]: row for row in records(tmp_path / "x")}
    assert by_metric["psnr"]["value"]
    assert "undefined" in by_metric[str(broken)]["error"]


def test_a_value_in_doubt_carries_its_caveat_and_the_table_says_how_many(
    bench: Run, tmp_path: Path, pairs: Path
) -> None:
    doubtful = metric(tmp_path)
    doubtful.write_text(
        doubtful.read_text()
        + """
    caveat = "half the picture is guesswork"

    def caveats(self, enhanced):
        return (enhanced.rgb.amax(dim=(1, 2, 3)) > 0.5).double() / 4
"""
    )
    image.write_png(pairs / "low" / "2.png", torch.ones(3, 96, 128))
    done = bench("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--metrics", doubtful, "--out", "x")
    assert [row["caveat"] for row in records(tmp_path / "x")] == ["0.0", "0.25", "0.0", "0.0"]
    assert "1 of 4 values: half the picture is guesswork" in done.output
    assert "half the picture is guesswork (Brightness: Input 1 of 4)" in (tmp_path / "x" / "tables.tex").read_text()


def test_a_metric_that_cannot_be_loaded_is_a_gap_and_no_reason_to_enhance_again(
    bench: Run, tmp_path: Path, pairs: Path
) -> None:
    broken = metric(tmp_path)
    broken.write_text(
        broken.read_text() + "\n    def __init__(self, option, files, device):\n        raise OSError('no weights')\n"
    )
    words = ("run", "--methods", method(tmp_path), "--datasets", f"folder:{pairs}", "--out", "x")
    for _ in range(2):
        done = bench(*words, "--metrics", f"psnr,{broken}")
        assert done.exit_code == Exit.OK
        assert "cannot be loaded: no weights" in done.output
    assert set(enhanced(tmp_path).values()) == {1}
    assert {row["metric"] for row in records(tmp_path / "x")} == {"psnr"}


def test_a_failure_is_tried_again_only_when_asked_to(bench: Run, tmp_path: Path, pairs: Path) -> None:
    mine = method(tmp_path, "1 / 0")
    words = ("run", "--methods", mine, "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    bench(*words)
    bench(*words)
    assert set(enhanced(tmp_path).values()) == {1}
    bench(*words, "--retry-failed")
    assert set(enhanced(tmp_path).values()) == {2}


def test_a_bad_picture_in_a_batch_does_not_take_the_others_along(bench: Run, tmp_path: Path, pairs: Path) -> None:
    image.write_png(pairs / "low" / "2.png", torch.zeros(3, 96, 128))
    mine = method(tmp_path, "low * (1 if low.amax(dim=(1, 2, 3)).min() > 0 else float('nan'))")
    bench("run", "--methods", mine, "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--batch", "4", "--out", "x")
    errors = {row["image"]: row["error"] for row in records(tmp_path / "x") if row["method"] == str(mine)}
    assert [name for name, error in errors.items() if error] == ["2"]


def test_the_batch_size_changes_no_value(bench: Run, tmp_path: Path, pairs: Path) -> None:
    image.write_png(pairs / "low" / "3.png", image.read_rgb(pairs / "low" / "3.png")[:, :64])
    image.write_png(pairs / "high" / "3.png", image.read_rgb(pairs / "high" / "3.png")[:, :64])
    values = []
    for batch in ("1", "3", "4"):
        bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--metrics", "psnr,ssim",
              "--batch", batch, "--out", f"x{batch}")  # fmt: skip
        values.append([float(row["value"]) for row in records(tmp_path / f"x{batch}")])
    assert values[1] == pytest.approx(values[0], rel=1e-9)
    assert values[2] == pytest.approx(values[0], rel=1e-9)


def test_pictures_are_saved_as_the_metrics_saw_them(bench: Run, tmp_path: Path, pairs: Path) -> None:
    words = ("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    bench(*words)
    bench(*words, "--save-images")
    saved = sorted((tmp_path / "x" / "images").rglob("*.png"))
    assert len(saved) == 8, "saving afterwards enhances again, but loses nothing"
    [gamma] = [path for path in saved if path.name == "1.png" and "gamma" in str(path)]
    low = image.read_rgb(pairs / "low" / "1.png")
    assert torch.equal(image.read_rgb(gamma), image.round_8bit(low.double().pow(1 / 2.2).float()))


def test_pictures_are_resized_before_the_method_sees_them(bench: Run, tmp_path: Path, pairs: Path) -> None:
    mine = method(tmp_path, "low if low.shape[-2:] == (48, 64) else None")
    words = ("run", "--methods", mine, "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--out", "x")
    assert bench(*words, "--size", "64x48").exit_code == Exit.OK
    assert {row["protocol"] for row in records(tmp_path / "x")} == {"64x48-8bit"}


def test_a_limit_takes_the_first_pictures(bench: Run, tmp_path: Path, pairs: Path) -> None:
    bench(
        "run", "--methods", "input", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--limit", "2", "--out", "x"
    )
    assert [row["image"] for row in records(tmp_path / "x")] == ["1", "2"]


def test_a_set_without_references_gets_no_metric_that_needs_one(bench: Run, tmp_path: Path, pairs: Path) -> None:
    words = ("run", "--methods", "input", "--datasets", f"folder:{pairs / 'low'}", "--out", "x")
    done = bench(*words, "--metrics", f"psnr,{metric(tmp_path)}")
    assert done.exit_code == Exit.OK
    assert "needs a reference" in done.output
    assert {row["metric"] for row in records(tmp_path / "x")} == {str(tmp_path / "brightness.py")}


def test_every_mistake_is_said_at_once_and_nothing_is_computed(bench: Run, tmp_path: Path, pairs: Path) -> None:
    done = bench("run", "--methods", "gama,input", "--datasets", "demmo,lol", "--metrics", "psnrr", "--out", "x")
    assert done.exit_code == Exit.USAGE
    for said in ("did you mean 'gamma'", "did you mean 'demo'", "LOL", "did you mean 'psnr'"):
        assert said in done.output
    assert not (tmp_path / "x" / "records.csv").exists()


def test_a_misspelt_table_of_the_config_is_named(bench: Run, tmp_path: Path, pairs: Path) -> None:
    (tmp_path / "bench.toml").write_text('[datasets.loll]\nroot = "x"\n')
    done = bench("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--out", "x")
    assert done.exit_code == Exit.USAGE
    assert "[datasets.loll]" in done.output
    assert "did you mean 'lol'" in done.output


def test_thumbnails_show_low_reference_and_every_method(bench: Run, tmp_path: Path, pairs: Path) -> None:
    bench("run", "--methods", "gamma", "--datasets", f"folder:{pairs}", "--metrics", "psnr", "--thumbnails", "1",
          "--out", "x")  # fmt: skip
    folders = {path.parent.name.split("-")[0] for path in (tmp_path / "x" / "thumbnails").rglob("*.webp")}
    assert folders == {"low", "reference", "input", "gamma"}


class Sampling(Adapter):
    """A method that draws random numbers."""

    label, kind, source = "Sampling", "classical", "test"

    def enhance(self, low: torch.Tensor) -> torch.Tensor:
        return torch.rand_like(low)


def test_a_method_that_samples_draws_by_picture_and_seed_not_by_order(photograph: torch.Tensor) -> None:
    def draw(name: str, seed: int) -> torch.Tensor:
        return work.enhance(Sampling(), photograph[None], "set", [name], seed)

    first = draw("1", 0)
    draw("2", 0)
    assert torch.equal(draw("1", 0), first)
    assert not torch.equal(draw("2", 0), first)
    assert not torch.equal(draw("1", 1), first)


def test_a_method_cannot_change_the_picture_it_was_given(photograph: torch.Tensor) -> None:
    class Careless(Sampling):
        def enhance(self, low: torch.Tensor) -> torch.Tensor:
            return low.mul_(0)

    low = photograph[None].clone()
    work.enhance(Careless(), low, "set", ["1"], 0)
    assert torch.equal(low[0], photograph)


def test_pictures_are_padded_for_the_method_and_cropped_after_it(photograph: torch.Tensor) -> None:
    class Pyramid(Sampling):
        pad_multiple = 32

        def enhance(self, low: torch.Tensor) -> torch.Tensor:
            assert low.shape[-2] % 32 == 0 == low.shape[-1] % 32
            return low

    low = photograph[None, :, :77, :101]
    assert torch.equal(work.enhance(Pyramid(), low, "set", ["1"], 0), low)


def test_dust_outside_the_range_is_clamped(photograph: torch.Tensor) -> None:
    class Dusty(Sampling):
        def enhance(self, low: torch.Tensor) -> torch.Tensor:
            return low * 0 + 1.00005

    assert work.enhance(Dusty(), photograph[None], "set", ["1"], 0).max() == 1


def test_no_two_names_share_a_file() -> None:
    names = ["a/b", "a_b", "a b", "..", ".", "", "A" * 300, "A" * 301, "gamma:2.2", "ä", "ö"]
    slugs = [views.slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(slug not in ("", ".", "..") and "/" not in slug and len(slug) < 100 for slug in slugs)


MAPPED = """
import torch
from bench.contracts import Metric

class Difference(Metric):
    label, higher_is_better, needs_reference, source = "Difference", False, True, "test"
    definition = "mean absolute difference"

    def score(self, enhanced, reference):
        return self.spatial(enhanced, reference).mean(dim=(1, 2)).double()

    def spatial(self, enhanced, reference):
        return (enhanced.rgb - reference.rgb).abs().mean(dim=1)
"""


def test_a_metrics_map_is_kept_beside_the_whole_picture(bench: Run, pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "difference.py").write_text(MAPPED)
    words = ("run", "--methods", "input", "--datasets", f"folder:{pairs}", "--metrics", "difference.py")
    assert bench(*words, "--thumbnails", "1", "--out", "r").exit_code == Exit.OK
    with Store(Path("r"), readonly=True) as store:
        [view] = [one for (_, _, name), one in result.load(store).views.items() if name == "input"]
    [(metric, file)] = view.maps.items()
    assert metric == "difference.py"
    low, high = (image.read_rgb(pairs / part / "1.png") for part in ("low", "high"))
    # WebP of quality 95 keeps levels to within a few.
    assert image.read_rgb(file).mean() == pytest.approx(float((low - high).abs().mean()), abs=0.01)
    assert view.full is not None and view.error is not None and view.histogram is not None
    assert int(view.histogram["luma"].sum()) == 96 * 128
