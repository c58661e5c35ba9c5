"""`bench figure`: a finished run becomes a file; what cannot be drawn is one line and status 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bench.cli import Exit, app


def bench(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, photograph: object) -> Path:
    """Four pairs, two methods, three pictures kept."""
    from bench import image

    folder = tmp_path_factory.mktemp("figures")
    for name, picture in {"low": photograph / 4, "high": photograph}.items():
        (folder / "pairs" / name).mkdir(parents=True)
        for index in range(4):
            image.write_png(folder / "pairs" / name / f"{index + 1}.png", picture.roll(index * 7, dims=2))
    words = ("--methods", "input,gamma:2", "--metrics", "psnr,ssim", "--thumbnails", 3, "--tasks", "none")
    done = bench("run", *words, "--datasets", f"folder:{folder / 'pairs'}", "--out", folder / "run")
    assert done.exit_code == Exit.OK, done.output
    return folder / "run"


def error_of(done: Result) -> str:
    """The one line that a refused command says."""
    assert done.exit_code == Exit.USAGE, done.output
    text = done.output.strip()
    assert text.startswith("error: ")
    return " ".join(text.removeprefix("error: ").split())


@pytest.mark.parametrize("kind", ["grid", "errors", "histograms", "distributions", "profile", "tradeoff"])
def test_a_figure_is_written_beside_the_run(kind: str, run: Path) -> None:
    done = bench("figure", kind, run, "--width", 3.5)
    assert done.exit_code == Exit.OK, done.output
    file = run / "figures" / f"{kind}.pdf"
    assert file.read_bytes().startswith(b"%PDF")
    assert f"figures/{kind}.pdf" in "".join(done.output.split())


def test_all_options_of_the_grid_together(run: Path, tmp_path: Path) -> None:
    words = ("--images", "1,3", "--methods", "gamma:2", "--metric", "psnr,ssim", "--columns", 3, "--width", 3.5)
    boxes = ("--box", "10,10,20,20", "--box", "3:40,30,30,20")
    file = tmp_path / "new" / "folder" / "grid.svg"
    assert bench("figure", "grid", run, *words, *boxes, "--out", file).exit_code == Exit.OK
    assert file.read_bytes().startswith(b"<?xml")
    assert [other.name for other in file.parent.iterdir()] == ["grid.svg"]


def test_two_calls_write_the_same_bytes(run: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "1.pdf", tmp_path / "2.pdf"
    for file in (first, second):
        bench("figure", "grid", run, "--box", "10,10,20,20", "--out", file)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("gird",), "no figure is called 'gird'; did you mean 'grid'?"),
        (("grid", "--box", "1,2,3"), "--box 1,2,3: expected x,y,w,h in whole pixels, e.g. 40,120,80,60"),
        (("grid", "--box", "1,2,0,4"), "--box 1,2,0,4: x and y count from 0, w and h from 1"),
        (("grid", "--box=-1,2,3,4"), "--box -1,2,3,4: x and y count from 0, w and h from 1"),
        (
            ("grid", "--box", "100,90,29,6"),
            "--box 100,90,29,6 reaches beyond picture '1', which is 128 pixels wide and 96 high",
        ),
        (("profile", "--box", "1,2,3,4"), "`bench figure profile` has no --box; it is for grid"),
        (
            ("tradeoff", "--columns", "2"),
            "`bench figure tradeoff` has no --columns; it is for detections and errors and",
        ),
        (("grid", "--peak", "64"), "`bench figure grid` has no --peak; it is for errors"),
        (("grid", "--methods", "gama:2"), "no method of this run is called 'gama:2'; did you mean 'gamma:2'?"),
        (("grid", "--metric", "psmr"), "is called 'psmr'; did you mean 'psnr'?"),
        (("grid", "--images", "4"), "was not kept for looking at; kept are 1, 2, 3."),
        (("grid", "--images", "5"), "is called '5'; there are 1, 2, 3, 4"),
        (("grid", "--dataset", "lol"), "no data set of this run is called 'lol'"),
        (("grid", "--out", "a.jpg"), "--out a.jpg: a figure is written as .pdf, .png, .svg"),
        (("detections",), "no answers to detection; give the `bench run` command with --tasks detection"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_with_the_way_out(words: tuple[str, ...], expected: str, run: Path) -> None:
    kind, *rest = words
    assert expected in error_of(bench("figure", kind, run, *rest))


def test_a_folder_without_a_run_is_said_so(tmp_path: Path) -> None:
    assert str(tmp_path) in "".join(error_of(bench("figure", "grid", tmp_path)).split())


def test_a_figure_of_ones_own_is_a_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from bench.contracts import Figure\n"
        "class Mine(Figure):\n"
        "    label, heeds = 'mine', frozenset({'peak'})\n"
        "    def render(self, result, wanted, ending):\n"
        "        return f'{len(result.table.rows)} {wanted.peak} {ending}'.encode()\n"
    )
    assert bench("figure", tmp_path / "mine.py", run, "--peak", 9).exit_code == Exit.OK
    assert (run / "figures" / "mine.pdf").read_text() == "2 9 pdf"


def test_the_list_of_figures_names_all() -> None:
    listed = bench("list", "figures").output
    kinds = ("grid", "errors", "histograms", "distributions", "profile", "tradeoff", "detections")
    assert [kind for kind in kinds if kind not in listed] == []
