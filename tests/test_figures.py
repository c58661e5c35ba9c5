"""What is drawn is what the run holds: pixels, numbers and names, in files that are the same every time."""

from __future__ import annotations

import dataclasses
import math
import os
import pickle
import re
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure as Drawing
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from bench import plugins
from bench.contracts import Box, Cell, Column, Figure, MethodRow, Record, Result, Table, View, Wanted
from bench.plugins import Spec

NAMES = ("detections", "distributions", "errors", "grid", "histograms", "profile", "tradeoff")
HEIGHT, WIDTH = 40, 60
HOSTILE = r"$\alpha$_b & 5 %"
INPUT = MethodRow("input", "Input", "none")
METHODS = (INPUT, MethodRow("a", "Alpha", "classical"), MethodRow("b", HOSTILE, "paired"))
PSNR = Column("set", "A set", "native-8bit", "psnr", "PSNR", True, "dB", 2, "RGB")
NIQE = Column("set", "A set", "native-8bit", "niqe", "NIQE", False, "", 3, "grey")
MAP = Column("set", "A set, detection", "native-8bit+pretrained-d-60x40", "map", "mAP", True, "", 3, "")
SCORES = {
    PSNR: {"input": (7.0, 9.0), "a": (12.0, 16.0), "b": (20.0, math.inf)},
    NIQE: {"input": (4.0, 6.0), "a": (9.0, 11.0), "b": (6.0, 8.0)},
}
MEANS = {PSNR: (8.0, 14.0, 20.0), NIQE: (5.0, 10.0, 7.0), MAP: (0.25, None, 0.5)}


def _pictures() -> dict[tuple[str, str], np.ndarray]:
    """Noise, so that no two crops are alike."""
    draw = np.random.default_rng(0)
    names = [(image, name) for image in ("1", "2") for name in ("low", "reference", "input", "a", "b")]
    return {key: draw.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for key in names}


PICTURES = _pictures()
ERRORS = {
    key: np.full((HEIGHT, WIDTH), level, np.uint8) for key, level in zip(PICTURES, range(20, 120, 10), strict=True)
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Two pictures, three methods, two metrics and a detector, by hand."""
    folder = tmp_path_factory.mktemp("run")
    views = {}
    for (image, name), pixels in PICTURES.items():
        files = {}
        for ending, array in (("full", pixels), ("error", np.repeat(ERRORS[image, name][..., None], 3, 2))):
            files[ending] = folder / f"{image}-{name}-{ending}.webp"
            Image.fromarray(array).save(files[ending], lossless=True)
        counts = {channel: np.bincount(pixels[..., 0].ravel(), minlength=256) for channel in ("red", "green", "blue")}
        views["set", image, name] = View(
            full=files["full"],
            error=files["error"] if name != "reference" else None,
            histogram={**counts, "luma": counts["red"]},
            answers={
                "detection": {
                    "corners": np.array([[10, 5, 30, 20], [0, 0, 8, 8]], np.float32),
                    "scores": np.array([0.75, 0.2], np.float32),
                    "classes": np.array([1, 0], np.uint16),
                    "known": np.ones(2, bool),
                }
            }
            if name == "input"
            else {},
        )
    cells = {
        (row.method, column): Cell(mean, 2, 0, 0, None if mean is None else mean - 1, mean, None, None, "")
        for column, means in MEANS.items()
        for row, mean in zip(METHODS, means, strict=True)
    }
    cells["a", MAP] = dataclasses.replace(cells["a", MAP], n=0, reason="the detector failed")
    truth = {
        "corners": np.array([[12.0, 6, 32, 22], [1, 1, 5, 5]]),
        "classes": np.array([1, 0]),
        "ignored": np.array([False, True]),
        "areas": np.array([320.0, 16]),
        "size": np.array([WIDTH, HEIGHT]),
    }
    return Result(
        table=Table(METHODS, (PSNR, NIQE, MAP), cells),
        records=[
            Record(method, "set", column.protocol, image, column.metric, value, None)
            for column, methods in SCORES.items()
            for method, values in methods.items()
            for image, value in zip(("1", "2"), values, strict=True)
        ]
        + [Record("a", "set", "native-8bit", "not-kept", "psnr", None, "broken")],
        manifest={
            "version": "0.1.0",
            "commit": "abcdef0123",
            "device": "a quick device",
            "threads": 1,
            "seed": 0,
            "protocol": {"name": "native-8bit"},
        },
        folder=folder,
        views=views,
        truths={("set", image, "detection"): truth for image in ("1", "2")},
        classes={"set": ("cat", "dog")},
        seconds={("input", "set"): (1e-5, 1e-5), ("a", "set"): (0.1, 0.3), ("b", "set"): (4.0, 4.0)},
    )


def draw(name: str, result: Result, **wishes: object) -> Drawing:
    figure = plugins.load(Figure, Spec.parse(name))()
    return figure.drawing(result, Wanted(**wishes))


def render(name: str, result: Result, ending: str, **wishes: object) -> bytes:
    return plugins.load(Figure, Spec.parse(name))().render(result, Wanted(**wishes), ending)


def arrays(drawing: Drawing) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for image in drawing.findobj(AxesImage)]


def words(drawing: Drawing) -> list[str]:
    return [text for text in (artist.get_text() for artist in drawing.findobj(Text)) if text]


def module(name: str):
    plugins.load(Figure, Spec.parse(name))
    return sys.modules[f"bench.figures.{name}"]


def shown(drawing: Drawing, pixels: np.ndarray) -> bool:
    return any(array.shape == pixels.shape and (array == pixels).all() for array in arrays(drawing))


# Every figure


def test_the_seven_figures_are_found_by_name() -> None:
    assert set(NAMES) <= set(plugins.names(Figure))


@pytest.fixture(scope="module")
def pdfs(result: Result) -> dict[str, bytes]:
    return {name: render(name, result, "pdf", width=3.5) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_two_calls_give_the_same_bytes(name: str, result: Result, pdfs: dict[str, bytes]) -> None:
    assert pdfs[name].startswith(b"%PDF")
    assert render(name, result, "pdf", width=3.5) == pdfs[name]


@pytest.mark.parametrize(("ending", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_other_formats_are_the_same_bytes_too(ending: str, begin: bytes, result: Result) -> None:
    wishes = {"boxes": (Box(5, 7, 20, 10),), "width": 2.0}
    first = render("grid", result, ending, **wishes)
    assert first.startswith(begin)
    assert render("grid", result, ending, **wishes) == first


@pytest.mark.parametrize("name", NAMES)
def test_fonts_are_embedded_as_true_type(name: str, pdfs: dict[str, bytes]) -> None:
    parts = [pdfs[name]]
    for found in re.finditer(rb"stream\r?\n", pdfs[name]):
        try:
            parts.append(zlib.decompressobj().decompress(pdfs[name][found.end() :]))
        except zlib.error:
            continue
    everything = b"".join(parts)
    assert b"/FontFile2" in everything
    assert b"/Type3" not in everything
    assert b"/CreationDate" not in everything


def test_another_process_with_other_hashes_gives_the_same_bytes(
    result: Result, pdfs: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "result.pickle").write_bytes(pickle.dumps(result))
    code = (
        "import pickle, sys\n"
        "from pathlib import Path\n"
        "from bench import plugins\n"
        "from bench.contracts import Figure, Wanted\n"
        "result = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "figure = plugins.load(Figure, plugins.Spec.parse('histograms'))()\n"
        "sys.stdout.buffer.write(figure.render(result, Wanted(width=3.5), 'pdf'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "result.pickle")],
        cwd=Path(__file__).resolve().parent.parent,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
    )
    assert done.stdout == pdfs["histograms"]


def test_the_users_own_style_neither_counts_nor_changes(result: Result) -> None:
    expected = render("profile", result, "svg", width=3.5)
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "text.parse_math": True}):
        assert render("profile", result, "svg", width=3.5) == expected
        assert matplotlib.rcParams["lines.linewidth"] == 9


@pytest.fixture(scope="module")
def drawings(result: Result) -> dict[str, Drawing]:
    return {name: draw(name, result, width=3.5) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_dollar_in_a_name_is_a_dollar(name: str, drawings: dict[str, Drawing]) -> None:
    assert any(HOSTILE in text for text in words(drawings[name]))


@pytest.mark.parametrize("name", NAMES)
def test_the_width_is_the_one_asked_for(name: str, drawings: dict[str, Drawing]) -> None:
    assert drawings[name].get_size_inches()[0] == 3.5


@pytest.mark.parametrize("name", NAMES)
def test_small_print_says_protocol_and_program(name: str, drawings: dict[str, Drawing]) -> None:
    text = " ".join(words(drawings[name]))
    assert "native-8bit" in text
    assert "lowlight-bench 0.1.0 (abcdef0)." in text


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_method_is_answered_with_the_nearest(name: str, result: Result) -> None:
    with pytest.raises(LookupError, match=r"no method of this run is called 'inputt'; did you mean 'input'\?"):
        draw(name, result, methods=("inputt",))


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_data_set_is_answered_with_all(name: str, result: Result) -> None:
    with pytest.raises(LookupError, match="no data set of this run is called 'xyz'; there are set"):
        draw(name, result, dataset="xyz")


@pytest.mark.parametrize("name", ["grid", "errors", "histograms", "detections"])
def test_a_picture_that_was_not_kept_names_the_kept_ones_and_the_flag(name: str, result: Result) -> None:
    with pytest.raises(ValueError, match=r"'not-kept' of set was not kept .* kept are 1, 2\. .*--thumbnails"):
        draw(name, result, images=("not-kept",))
    with pytest.raises(LookupError, match="no picture of set is called '3'"):
        draw(name, result, images=("3",))


@pytest.mark.parametrize("name", ["grid", "errors", "distributions", "profile", "tradeoff"])
def test_an_unknown_metric_is_answered_with_the_nearest(name: str, result: Result) -> None:
    with pytest.raises(LookupError, match=r"is called 'psn'; did you mean 'psnr'\?"):
        draw(name, result, metrics=("psn",))


@pytest.mark.parametrize("name", ["grid", "distributions"])
def test_a_score_of_whole_sets_has_no_value_per_picture(name: str, result: Result) -> None:
    with pytest.raises(ValueError, match=r"mAP .*has no value per picture: the detector failed"):
        draw(name, result, metrics=("map",))


def test_the_first_ten_methods_differ_in_grey_and_all_pairs_in_colour_or_mark(result: Result) -> None:
    rows = tuple(MethodRow(str(n), str(n), "paired") for n in range(30))
    many = dataclasses.replace(result, table=dataclasses.replace(result.table, rows=rows))
    looks = [sys.modules["bench.figures._style"].look(many, row) for row in rows]
    assert len({look.marker for look in looks[:10]}) == 10
    assert len(set(looks)) == 30


def test_a_method_looks_the_same_beside_others_and_alone(result: Result) -> None:
    def colour(**wishes: object) -> object:
        [line] = [line for line in draw("profile", result, **wishes).axes[0].lines if line.get_label() == HOSTILE]
        return line.get_color()

    assert colour() == colour(methods=("input", "b"))


# Pictures


def test_the_grid_shows_the_pictures_as_they_are(result: Result) -> None:
    drawing = draw("grid", result, images=("2",))
    for name in ("low", "a", "b", "reference"):
        assert shown(drawing, PICTURES["2", name])
    assert words(drawing)[:4] == ["Input", "Alpha", HOSTILE, "Reference"]


def test_a_crop_holds_the_pixels_of_its_box(result: Result) -> None:
    drawing = draw("grid", result, boxes=(Box(5, 7, 20, 10), Box(40, 20, 8, 16)))
    for name in ("low", "a", "b", "reference"):
        assert shown(drawing, PICTURES["1", name][7:17, 5:25])
        assert shown(drawing, PICTURES["1", name][20:36, 40:48])


def test_a_picture_stands_upright_and_unmirrored(result: Result, tmp_path: Path) -> None:
    corner = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    corner[: HEIGHT // 2, : WIDTH // 2] = 255, 0, 0
    Image.fromarray(corner).save(tmp_path / "corner.webp", lossless=True)
    key = ("set", "1", "low")
    views = {**result.views, key: dataclasses.replace(result.views[key], full=tmp_path / "corner.webp")}
    content = render("grid", dataclasses.replace(result, views=views), "png", width=1.0)
    with Image.open(BytesIO(content)) as opened:
        printed = np.asarray(opened.convert("RGB"))
    # 600 pixels per inch; the first picture is as wide as the sheet and begins below its title, at 0.18 inches.
    quarters = [tuple(printed[y, x]) for y in (210, 410) for x in (150, 450)]
    assert quarters == [(255, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)]


def test_outline_and_crop_of_a_box_have_one_colour_of_their_own(result: Result) -> None:
    drawing = draw("grid", result, methods=("a",), boxes=(Box(5, 7, 20, 10), Box(40, 20, 8, 16)))

    def colour_of(corner: tuple[float, float], width: float) -> set[tuple[float, ...]]:
        boxes = [
            patch for patch in drawing.findobj(Rectangle) if patch.get_xy() == corner and patch.get_width() == width
        ]
        return {patch.get_edgecolor() for patch in boxes} - {(0, 0, 0, 1), (0, 0, 0, 0)}

    first, second = colour_of((5, 7), 20), colour_of((40, 20), 8)
    assert len(first) == len(second) == 1 and first != second
    assert colour_of((0, 0), 20) == first and colour_of((0, 0), 8) == second


def test_crops_are_equally_high_and_as_wide_as_their_picture(result: Result) -> None:
    drawing = draw("grid", result, methods=("a",), boxes=(Box(0, 0, 30, 10), Box(0, 0, 10, 10)), width=3)
    places = {image.get_array().shape[:2]: image.axes.get_position() for image in drawing.findobj(AxesImage)}
    wide, square, whole = places[10, 30], places[10, 10], places[HEIGHT, WIDTH]
    assert wide.height == pytest.approx(square.height)
    assert wide.width == pytest.approx(3 * square.width)
    assert (wide.x0, square.x1) == (pytest.approx(whole.x0), pytest.approx(whole.x1))


def test_a_box_for_one_picture_leaves_the_others_alone(result: Result) -> None:
    drawing = draw("grid", result, images=("1", "2"), boxes=(Box(5, 7, 20, 10, "2"),))
    assert shown(drawing, PICTURES["2", "a"][7:17, 5:25])
    assert not shown(drawing, PICTURES["1", "a"][7:17, 5:25])
    with pytest.raises(LookupError, match=r"--box 1:… .* 2"):
        draw("grid", result, images=("2",), boxes=(Box(5, 7, 20, 10, "1"),))


def test_a_box_outside_the_picture_names_the_size(result: Result) -> None:
    draw("grid", result, boxes=(Box(50, 30, 10, 10),))
    with pytest.raises(ValueError, match=r"--box 51,30,10,10 reaches beyond .* 60 pixels wide and 40 high"):
        draw("grid", result, boxes=(Box(51, 30, 10, 10),))


def test_scores_stand_below_their_pictures(result: Result) -> None:
    text = words(draw("grid", result, metrics=("psnr", "niqe")))
    assert {"7.00 / 4.000", "12.00 / 9.000", "20.00 / 6.000"} <= set(text)
    assert any("Numbers: PSNR (dB) ↑ / NIQE ↓." in line for line in text)
    assert "∞" in words(draw("grid", result, images=("2",), metrics=("psnr",)))


def test_pictures_finer_than_print_are_averaged() -> None:
    draw_module = module("grid")
    fine = np.tile(np.array([[0, 200]], np.uint8), (600, 600))[..., None].repeat(3, 2)
    coarse = sys.modules["bench.figures._pictures"].printed(fine, 1.0)
    assert draw_module and coarse.shape == (300, 600, 3)
    assert (coarse == 100).all()


@pytest.mark.parametrize(("columns", "lines"), [(9, 1), (4, 1), (3, 2), (2, 2), (1, 4), (None, 2)])
def test_columns_break_the_line(columns: int | None, lines: int, result: Result) -> None:
    drawing = draw("grid", result, columns=columns, width=3.0)
    assert len({round(axes.get_position().y0, 4) for axes in drawing.axes}) == lines


def test_a_figure_higher_than_a_page_is_a_warning(result: Result) -> None:
    with pytest.warns(UserWarning, match=r"the figure is 20\.2 inches high and a page 9\.5"):
        draw("grid", result, columns=1)


def test_thumbnails_stand_in_for_whole_pictures_with_a_warning(result: Result) -> None:
    bare = dataclasses.replace(
        result,
        views=dict.fromkeys(result.views, View()),
        thumbnails={key: view.full for key, view in result.views.items() if view.full},
    )
    with pytest.warns(UserWarning, match="the run kept only thumbnails of set"):
        assert shown(draw("grid", bare), PICTURES["1", "a"])
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="only thumbnails, and --box counts in pixels"):
        draw("grid", bare, boxes=(Box(0, 0, 5, 5),))


def test_a_method_without_result_is_a_field_that_says_so(result: Result) -> None:
    views = {key: view for key, view in result.views.items() if key != ("set", "1", "a")}
    assert "no result" in words(draw("grid", dataclasses.replace(result, views=views)))


@pytest.mark.parametrize("name", ["grid", "errors", "histograms"])
def test_a_run_without_pictures_names_the_flag(name: str, result: Result) -> None:
    with pytest.raises(ValueError, match=r"set: no picture was kept .* --thumbnails"):
        draw(name, dataclasses.replace(result, views={}))


# Error maps


def test_error_maps_are_the_stored_levels_on_one_scale(result: Result) -> None:
    drawing = draw("errors", result, images=("1",))
    maps = [image for image in drawing.findobj(AxesImage) if np.ndim(image.get_array()) == 2]
    levels = [set(np.unique(np.asarray(image.get_array()))) for image in maps]
    assert levels == [{20}, {50}, {60}]
    # Levels 50 and 60 of the two methods lie below 64.
    assert {image.get_clim() for image in maps} == {(0, 64)}
    assert {"mean 20.0", "mean 50.0", "mean 60.0"} <= set(words(drawing))


def test_the_scale_can_be_fixed(result: Result) -> None:
    drawing = draw("errors", result, peak=200)
    assert {i.get_clim() for i in drawing.findobj(AxesImage) if np.ndim(i.get_array()) == 2} == {(0, 200)}


def test_errors_show_the_worst_picture_unless_told(result: Result) -> None:
    assert shown(draw("errors", result), PICTURES["2", "a"])
    assert "with the largest mean error" in " ".join(words(draw("errors", result)))


def test_without_references_there_is_no_error(result: Result) -> None:
    views = {key: dataclasses.replace(v, error=None) for key, v in result.views.items() if key[2] != "reference"}
    with pytest.raises(ValueError, match="set: there are no references"):
        draw("errors", dataclasses.replace(result, views=views))


def test_the_shared_peak_spans_95_of_100_pixels() -> None:
    peak = module("errors").shared_peak
    assert peak([np.array([[10] * 95 + [200] * 5], np.uint8)]) == 32
    assert peak([np.array([[10] * 94 + [200] * 6], np.uint8)]) == 255
    assert peak([np.array([[64]], np.uint8), None]) == 64
    assert peak([]) == 255


# Histograms


def test_equal_histograms_have_no_distance() -> None:
    histograms = module("histograms")
    counts = np.random.default_rng(1).integers(0, 99, 256)
    assert histograms.kl_divergence(counts, counts) == 0
    assert histograms.earth_movers_distance(counts, counts * 3) == pytest.approx(0, abs=1e-9)


def test_kl_by_hand() -> None:
    # One added to each of two levels: (4, 2) / 6 against (2, 4) / 6, which gives ln 2 / 3.
    assert module("histograms").kl_divergence(np.array([3, 1]), np.array([1, 3])) == pytest.approx(math.log(2) / 3)


def test_kl_is_not_symmetric() -> None:
    kl = module("histograms").kl_divergence
    # (9, 1, 2) / 12 and (4, 4, 4) / 12.
    expected = (9 * math.log(9 / 4) + math.log(1 / 4) + 2 * math.log(1 / 2)) / 12
    assert kl(np.array([8, 0, 1]), np.array([3, 3, 3])) == pytest.approx(expected)
    assert kl(np.array([3, 3, 3]), np.array([8, 0, 1])) != pytest.approx(expected)


def test_earth_movers_distance_by_hand() -> None:
    emd = module("histograms").earth_movers_distance
    # All pixels from level 0 to level 3; a quarter of them by two levels.
    assert emd(np.array([5, 0, 0, 0]), np.array([0, 0, 0, 7])) == pytest.approx(3)
    assert emd(np.array([4, 0, 0]), np.array([3, 0, 1])) == pytest.approx(0.5)


def test_earth_movers_distance_agrees_with_scipy() -> None:
    from scipy.stats import wasserstein_distance

    one, other = np.random.default_rng(2).integers(0, 999, (2, 256))
    levels = np.arange(256)
    expected = wasserstein_distance(levels, levels, one, other)
    assert module("histograms").earth_movers_distance(one, other) == pytest.approx(expected)


def test_the_smooth_curve_is_scipys_density_with_scotts_rule() -> None:
    from scipy.stats import gaussian_kde

    pixels = np.clip(np.random.default_rng(3).normal(128, 20, 4000).round(), 0, 255).astype(int)
    curve = module("histograms").smoothed(np.bincount(pixels, minlength=256))
    # scipy takes the deviation with n - 1.
    np.testing.assert_allclose(curve, gaussian_kde(pixels, "scott")(np.arange(256)), atol=2e-6)
    assert curve.sum() == pytest.approx(1)


def test_nothing_is_lost_at_the_ends_and_equal_pixels_stay() -> None:
    smoothed = module("histograms").smoothed
    dark = np.zeros(256)
    dark[:6] = 1000, 500, 200, 100, 50, 5
    assert smoothed(dark).sum() == pytest.approx(1)
    assert smoothed(np.eye(256)[7] * 900)[7] == 1


def test_distances_stand_in_the_panels_of_methods_alone(result: Result) -> None:
    text = words(draw("histograms", result))
    assert sum(line.startswith("KL ") for line in text) == 3
    unpaired = {key: view for key, view in result.views.items() if key[2] != "reference"}
    text = words(draw("histograms", dataclasses.replace(result, views=unpaired)))
    assert not [line for line in text if line.startswith("KL ")]
    assert "no distance" in " ".join(text)


# Numbers


def test_boxes_stand_at_the_quartiles_of_finite_values(result: Result) -> None:
    axes = draw("distributions", result, metrics=("niqe",)).axes[0]
    medians = {tuple(line.get_xdata()): tuple(line.get_ydata()) for line in axes.lines}
    assert medians[0.79, 1.21] == (10, 10)
    text = " ".join(words(draw("distributions", result, metrics=("psnr",))))
    assert "A set, n = 1–2 pictures." in text
    assert "1 infinite value is left out." in text


def test_several_data_sets_are_groups_with_their_own_n(result: Result) -> None:
    other = dataclasses.replace(PSNR, dataset="other", dataset_label="Other")
    cells = {**result.table.cells, **{(row.method, other): result.table.cells[row.method, PSNR] for row in METHODS}}
    table = Table(METHODS, (PSNR, NIQE, other), cells)
    records = [
        *result.records,
        *(Record(m, "other", "native-8bit", "9", "psnr", 3.0, None) for m in ("a", "b", "input")),
    ]
    drawing = draw("distributions", dataclasses.replace(result, table=table, records=records))
    assert len(drawing.axes) == 1
    assert [label.get_text() for label in drawing.axes[0].get_xticklabels()] == ["A set\nn = 1–2", "Other\nn = 1"]


def test_a_profile_runs_from_the_worst_at_0_to_the_best_at_1(result: Result) -> None:
    drawing = draw("profile", result)
    heights = {
        line.get_label(): line.get_ydata()
        for line in drawing.axes[0].lines
        if line.get_label() in ("Input", "Alpha", HOSTILE)
    }
    # PSNR 8, 14, 20 up; NIQE 5, 10, 7 down; mAP 0.25, none, 0.5 up.
    np.testing.assert_allclose(heights["Input"], [0, 1, 0])
    np.testing.assert_allclose(heights["Alpha"], [0.5, 0, np.nan])
    np.testing.assert_allclose(heights[HOSTILE], [1, 0.6, 1])
    assert {"20.00", "8.00", "5.000", "10.000", "0.500", "0.250"} <= set(words(drawing))
    assert "A gap in a line: no value." in " ".join(words(drawing))


def test_equal_means_cannot_be_normalised(result: Result) -> None:
    with pytest.raises(ValueError, match="mAP on A set, detection cannot be normalised: the detector failed"):
        draw("profile", result, methods=("a", "input"), metrics=("map",))


def test_a_method_stands_at_its_median_time_and_its_mean(result: Result) -> None:
    axes = draw("tradeoff", result).axes[0]
    marked = [line for line in axes.lines if line.get_marker() in "os^"]
    points = sorted((line.get_xdata()[0], line.get_ydata()[0]) for line in marked)
    np.testing.assert_allclose(points, [(0.2, 14), (4, 20)])
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "Time per picture (s), a quick device ↓"
    assert axes.get_ylabel() == "PSNR (dB) ↑"


def test_pictures_without_enhancement_are_a_line_and_take_no_time(result: Result) -> None:
    text = words(draw("tradeoff", result))
    assert "Input 8.00" in text and "Input" not in text


def test_names_of_close_points_do_not_cover_each_other(result: Result) -> None:
    close = dataclasses.replace(result, seconds={("a", "set"): (1.0, 1.0), ("b", "set"): (1.05, 1.05)})
    cells = {**close.table.cells, ("b", PSNR): close.table.cells["a", PSNR]}
    drawing = draw(
        "tradeoff", dataclasses.replace(close, table=dataclasses.replace(close.table, cells=cells)), width=3.5
    )
    drawing.canvas.draw()
    one, other = (t.get_window_extent() for t in drawing.axes[0].texts if t.get_text() in ("Alpha", HOSTILE))
    assert not one.overlaps(other)


def test_without_times_there_is_no_tradeoff(result: Result) -> None:
    with pytest.raises(ValueError, match="set: no method has both a time and a mean"):
        draw("tradeoff", dataclasses.replace(result, seconds={}))


# Answers of tasks


def boxes_in(drawing: Drawing, title: str) -> set[tuple[float, ...]]:
    titles = [text for text in words(drawing) if text in ("Input", "Alpha", HOSTILE, "Ground truth")]
    axes = drawing.axes[titles.index(title)]
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return {(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in found}


def test_detections_of_enough_confidence_are_drawn_where_they_are(result: Result) -> None:
    drawing = draw("detections", result)
    assert boxes_in(drawing, "Input") == {(10, 5, 20, 15)}
    assert "dog 0.75" in words(drawing) and "cat 0.20" not in words(drawing)
    assert boxes_in(draw("detections", result, confidence=0.1), "Input") == {(10, 5, 20, 15), (0, 0, 8, 8)}


def test_the_truth_has_names_and_dotted_boxes_where_nothing_counts(result: Result) -> None:
    drawing = draw("detections", result)
    assert boxes_in(drawing, "Ground truth") == {(12, 6, 20, 16), (1, 1, 4, 4)}
    assert "dog" in words(drawing) and "cat" not in words(drawing)
    dotted = {patch.get_xy() for patch in drawing.axes[-1].patches if patch.get_linestyle() != "-"}
    assert (1, 1) in dotted


def test_a_method_that_nobody_looked_at_says_so(result: Result) -> None:
    assert words(draw("detections", result)).count("not examined") == 2


def test_boxes_of_a_picture_resized_by_the_protocol_fit_it(result: Result) -> None:
    truths = {key: {**truth, "size": np.array([2 * WIDTH, 2 * HEIGHT])} for key, truth in result.truths.items()}
    assert boxes_in(draw("detections", dataclasses.replace(result, truths=truths)), "Input") == {(5, 2.5, 10, 7.5)}


def test_saliency_maps_stand_below_and_the_mask_last(result: Result) -> None:
    rows = np.arange(12, dtype=np.uint8).reshape(3, 4)
    mask = np.array([[1, 0, 0], [0, 1, 1]], bool)
    views = {
        key: dataclasses.replace(view, answers={"saliency": {"map": rows}}) if key[2] == "input" else view
        for key, view in result.views.items()
    }
    truths = {("set", "1", "saliency"): {"mask": np.packbits(mask), "shape": np.array([2, 3])}}
    drawing = draw("detections", dataclasses.replace(result, views=views, truths=truths))
    assert shown(drawing, rows)
    assert shown(drawing, np.array([[255, 0, 0], [0, 255, 255]], np.uint8))


def test_a_task_without_answers_gives_the_tables_reason(result: Result) -> None:
    views = {key: dataclasses.replace(view, answers={}) for key, view in result.views.items()}
    with pytest.raises(ValueError, match="set: no answers to detection: the detector failed"):
        draw("detections", dataclasses.replace(result, views=views))
    with pytest.raises(ValueError, match="no answers to saliency; give the `bench run` command with --tasks saliency"):
        draw("detections", result, task="saliency")
    with pytest.raises(LookupError, match=r"no task is called 'salience'; did you mean 'saliency'\?"):
        draw("detections", result, task="salience")
