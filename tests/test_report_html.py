"""report.html: one page that is whole, safe and quiet."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import runpy
from base64 import b64decode, b64encode
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.cbook import boxplot_stats
from PIL import Image
from scipy import ndimage, stats

from bench import plugins
from bench.contracts import Cell, Column, MethodRow, Ranking, Record, Report, Result, Table, View
from bench.reports._page_charts import apart, boxed, by_method, density, logarithmic
from bench.reports._page_pictures import Ends
from bench.reports._page_viewer import BANDWIDTH, beside, divergence, earth_movers, fitted

VOID = {"meta", "link", "input", "img", "br", "hr"}


class Page(HTMLParser):
    """Elements in order, with their text; fails on tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def having(self, name: str) -> list[str]:
        return [str(attributes[name]) for _, attributes in self.elements if name in attributes]


@pytest.fixture
def tiny(tmp_path: Path) -> Result:
    return runpy.run_path(str(Path(__file__).parent / "golden" / "tiny.py"))["tiny_result"](tmp_path)


def render(result: Result) -> str:
    return plugins.load(Report, plugins.Spec.parse("html"))().render(result)


def test_every_element_closes_in_order(tiny):
    assert len(Page(render(tiny)).elements) > 100


def test_the_page_loads_nothing(tiny):
    text = render(tiny)
    page = Page(text)
    assert all(source.startswith("data:image/png;base64,") for source in page.having("src"))
    assert all(target.startswith(("#", "data:")) for target in page.having("href"))
    assert not re.search(r"https?:|@import|url\(", text)
    assert "default-src 'none'" in text


def test_text_of_users_cannot_become_markup(tiny):
    text = render(tiny)
    assert text.count("<script>") == 2  # the page's own two
    assert "</script><b>" not in text and "<b> &" not in text
    titles = [said for tag, said in Page(text).texts if tag == "th"]
    assert "a_b&c%$#{}~^\\<script>|" in titles


def test_links_lead_somewhere_and_ids_are_unique(tiny):
    page = Page(render(tiny))
    ids = page.having("id")
    assert len(set(ids)) == len(ids)
    assert {target[1:] for target in page.having("href") if target.startswith("#")} <= set(ids)
    assert set(page.having("for")) <= set(ids) and set(page.having("aria-labelledby")) <= set(ids)


def test_thumbnails_are_inlined_byte_by_byte(tiny):
    png = next(iter(tiny.thumbnails.values())).read_bytes()
    sources = Page(render(tiny)).having("src")
    assert sources == [f"data:image/png;base64,{b64encode(png).decode()}"] * 6


def test_a_thumbnail_that_is_gone_leaves_a_place_and_no_crash(tiny):
    for file in set(tiny.thumbnails.values()):
        file.unlink()
    text = render(tiny)
    assert "<img" not in text and "no picture kept" in text


def test_the_row_without_enhancement_is_the_low_picture_and_comes_first(tiny):
    heads = re.findall(r"<thead><tr><th scope=\"col\">Picture</th>(.*)</tr>", render(tiny))
    assert re.findall(r">([^<>]+)</th>", heads[0])[0] == "Low (Input)"
    assert re.findall(r">([^<>]+)</th>", heads[0])[-1] == "Reference"


def test_a_run_without_unenhanced_row_still_shows_the_low_picture(tiny):
    rows = tiny.table.rows[1:]
    text = render(dataclasses.replace(tiny, table=Table(rows, tiny.table.columns, tiny.table.cells)))
    assert ">Low</th>" in text


def test_best_and_worst_of_a_picture_are_flagged_in_the_metrics_direction(tiny):
    text = render(tiny)
    # Picture 1: input 7, gamma 14, outputs 20.5 dB.
    row = text[text.index('<th scope="row">1</th>') : text.index('<th scope="row">2</th>')]
    assert re.findall(r'<dd class="(\w*)">([\d.]+)</dd>', row) == [("worst", "7.00"), ("", "14.00"), ("best", "20.50")]


def test_missing_values_say_why_in_a_note_and_in_the_cell(tiny):
    text = render(tiny)
    assert "<span>alexnet.pth is not on this machine</span>" in text
    assert 'title="Gamma, LPIPS: alexnet.pth is not on this machine"' in text
    assert text.count('class="missing"') == 6


def test_failures_count_and_list_every_failed_picture(tiny):
    text = render(tiny)
    assert ">4 failures<" in text
    section = text[text.index('<section id="failures"') : text.index("<h3>Not computed</h3>")]
    assert re.findall(r"<code>(\w+)</code>", section) == ["2", "10", "x", "y"]
    assert section.count("ValueError: &lt;b&gt; &amp; 50 % of C:\\x_1 | $y$ second line") == 2


def test_a_clean_run_says_that_nothing_failed(tiny):
    clean = tuple(record for record in tiny.records if record.error is None)
    assert "No picture failed." in render(dataclasses.replace(tiny, records=clean))


def test_dots_stand_where_their_means_are(tiny):
    text = render(tiny)
    plot = text[text.index("<figcaption>PSNR") :]
    plot = plot[: plot.index("</figure>")]
    ticks = {
        float(label): float(x) for x, label in re.findall(r'<text x="([\d.]+)" y="[\d.]+">(-?[\d.]+)</text>', plot)
    }
    dots = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', plot)]
    scale = (ticks[25] - ticks[5]) / 20
    assert dots == pytest.approx([ticks[5] + scale * (mean - 5) for mean in (8.0, 15.05, 20.5)], abs=0.06)


@pytest.mark.parametrize("means", [(0.0, 0.0), (-3.0, -2.9), (1e-7, 3e-7), (1e9, 1.00001e9), (0.9512, 0.9513)])
def test_plots_of_any_range_stay_inside_their_frame_with_distinct_ticks(tiny, means):
    column = tiny.table.columns[0]
    cells = {
        (row.method, column): Cell(mean, 3, 0, 0, mean, mean, None, 1, "tie")
        for row, mean in zip(tiny.table.rows[:2], means, strict=True)
    }
    table = Table(tiny.table.rows[:2], (column,), cells)
    text = render(dataclasses.replace(tiny, table=table, records=(), thumbnails={}))
    places = [float(x) for x in re.findall(r'(?:cx|x1|x2)="([-\d.]+)"', text)]
    assert places and all(96 <= place <= 288 for place in places)
    labels = re.findall(r'<line x1="[\d.]+" x2="[\d.]+" y1="8.0" y2="[\d.]+"/><text [^>]*>([^<]+)<', text)
    assert 2 <= len(labels) <= 7 and len(set(labels)) == len(labels)


def test_sortable_cells_carry_full_precision(tiny):
    values = [value for value in Page(render(tiny)).having("data-value") if value]
    assert sorted(map(float, values)) == sorted(
        cell.mean for cell in tiny.table.cells.values() if cell.mean is not None
    )


def test_two_protocols_of_a_data_set_are_two_tables(tiny):
    first = tiny.table.columns[0]
    other = dataclasses.replace(first, protocol="96x64-none")
    cells = {
        (row.method, column): tiny.table.cells[row.method, first]
        for row in tiny.table.rows
        for column in (first, other)
    }
    text = render(dataclasses.replace(tiny, table=Table(tiny.table.rows, (first, other), cells)))
    assert text.count('class="results sortable"') == 2
    assert 'id="tiny-native-8bit"' in text and 'id="tiny-96x64-none"' in text
    Page(text)


def test_data_sets_whose_names_differ_only_in_marks_keep_separate_sections(tiny):
    first = tiny.table.columns[0]
    other = dataclasses.replace(first, dataset="tiny!")
    cells = {
        (row.method, column): tiny.table.cells[row.method, first]
        for row in tiny.table.rows
        for column in (first, other)
    }
    page = Page(render(dataclasses.replace(tiny, table=Table(tiny.table.rows, (first, other), cells))))
    ids = page.having("id")
    assert len(set(ids)) == len(ids)


def test_a_script_in_a_method_name_reaches_no_attribute(tiny):
    row = MethodRow('"><img src=x onerror=alert(1)>', '"><img src=x onerror=alert(1)>', "outputs")
    cells = {(row.method, column): tiny.table.cells["input", column] for column in tiny.table.columns}
    page = Page(render(dataclasses.replace(tiny, table=Table((row,), tiny.table.columns, cells), thumbnails={})))
    assert page.all("img") == [] and page.having("onerror") == []


def viewer(text: str) -> dict:
    return json.loads(text.split('id="viewer-data">')[1].split("</script>")[0])


def levels(*pixels: int) -> np.ndarray:
    return np.bincount(pixels, minlength=256)


def test_earth_movers_distance_is_how_far_the_average_pixel_moves():
    # Of four pixels one goes from 0 to 8: 2 levels on average.
    assert earth_movers(levels(0, 5, 5, 9), levels(8, 5, 5, 9)) == pytest.approx(2.0)
    assert earth_movers(levels(7), levels(7, 7, 7)) == 0.0


def test_earth_movers_distance_agrees_with_scipy():
    one, other = np.random.default_rng(0).integers(0, 99, (2, 256))
    expected = stats.wasserstein_distance(np.arange(256), np.arange(256), one, other)
    assert earth_movers(one, other) == pytest.approx(expected, rel=1e-9)


def test_fitted_curves_and_their_divergence_agree_with_scipy():
    one, other = np.random.default_rng(1).integers(0, 99, (2, 256))
    curves = [
        ndimage.gaussian_filter1d((counts + 1) / (counts + 1).sum(), BANDWIDTH, mode="reflect", truncate=20)
        for counts in (one, other)
    ]
    assert fitted(one + 1) == pytest.approx(curves[0], rel=1e-9)
    assert divergence(one, other) == pytest.approx(stats.entropy(*curves), rel=1e-9)


def test_a_curve_loses_no_pixel_at_black_or_white():
    assert fitted(levels(0, 0, 255)).sum() == pytest.approx(1.0)


def test_divergence_from_itself_is_nothing_and_from_any_other_picture_finite():
    dark, bright = levels(*[0] * 1000), levels(*[255] * 1000)
    assert divergence(dark, dark) == 0.0
    assert 1 < divergence(bright, dark) < math.inf


def test_a_histogram_without_pixels_is_flat_at_nothing():
    assert fitted(np.zeros(256, int)).max() == 0.0


def test_box_plots_agree_with_matplotlib():
    values = sorted([*np.random.default_rng(2).normal(20, 2, 40), 2.0, 45.0])
    [expected] = boxplot_stats(values)
    box = boxed(values)
    assert (box.first, box.median, box.third) == pytest.approx([expected[name] for name in ("q1", "med", "q3")])
    assert (box.low, box.high) == pytest.approx((expected["whislo"], expected["whishi"]))
    assert box.beyond == pytest.approx(expected["fliers"])


def test_violins_agree_with_scipys_density_at_silvermans_bandwidth():
    values = sorted(np.random.default_rng(3).gamma(2, 3, 30))
    first, third = np.percentile(values, (25, 75))
    bandwidth = 0.9 * min(np.std(values, ddof=1), (third - first) / 1.34) * 30**-0.2
    expected = stats.gaussian_kde(values, bandwidth / np.std(values, ddof=1))
    grid = np.linspace(0, 20, 7)
    assert density(values, grid) == pytest.approx(expected(grid), rel=1e-9)


def test_names_are_moved_apart_and_stay_in_order():
    assert apart([50, 51, 52], 10, 0, 100) == [50, 60, 70]
    assert apart([98, 99], 10, 0, 100) == [90, 100]
    assert apart([30, 10], 10, 0, 100) == [30, 10]


def test_a_logarithmic_axis_ends_at_round_numbers_around_the_values():
    assert [text for _, text in logarithmic([3.0, 40.0], (0, 100)).ticks] == ["2", "5", "10", "20", "50"]
    axis = logarithmic([3.0, 4e6], (0, 100))
    assert [text for _, text in axis.ticks] == ["10", "100", "1000", "10000", "100000", "1e+06"]


def test_infinite_and_missing_values_are_in_no_distribution(tiny):
    assert by_method(tiny.records)["tiny", "native-8bit", "psnr", "gamma:2.2"] == [14.0, 16.1]
    assert ("tiny", "native-8bit", "psnr", "outputs:h") in by_method(tiny.records)
    assert ("dark", "384x384-8bit", "niqe", "outputs:h") not in by_method(tiny.records)


def wide(values: dict[str, list[float]], higher: bool = True) -> Result:
    """Methods with the same values in three columns, of which the last is better when lower."""
    columns = tuple(
        Column("d", "Data", "native-8bit", f"m{at}", f"M{at}", higher != (at == 2), "", 2, "one") for at in range(3)
    )
    rows = tuple(MethodRow(name, name.title(), "none" if name == "input" else "paired") for name in values)
    cells = {
        (name, column): Cell(sum(of) / len(of), len(of), 0, 0, None, None, None, 1, "")
        for name, of in values.items()
        for column in columns
    }
    records = tuple(
        Record(name, "d", "native-8bit", str(at), column.metric, value, None)
        for name, of in values.items()
        for column in columns
        for at, value in enumerate(of)
    )
    return Result(Table(rows, columns, cells), records, {"device": "cpu"}, Path("run"))


def test_a_profile_goes_from_worst_to_best_in_each_metrics_direction():
    text = render(wide({"dark": [1.0], "middle": [2.0], "bright": [5.0]}))
    part = text[text.index("<h3>Metric profile") :]
    lines = dict(re.findall(r'data-method="(\w+) \w+"><path d="([^"]+)"', part[: part.index("</figure>")]))
    heights = {name: [float(y) for y in re.findall(r" ([\d.]+)(?:L|$)", path)] for name, path in lines.items()}
    # 2 is a quarter of the way from 1 to 5; the last metric is turned over.
    assert heights == {"dark": [212, 212, 12], "middle": [162, 162, 62], "bright": [12, 12, 212]}


def test_a_metric_that_tells_no_methods_apart_is_in_no_profile():
    assert "<h3>Metric profile" not in render(wide({"one": [2.0], "other": [2.0]}))


def test_speed_is_the_median_and_leaves_out_what_is_not_timed():
    run = wide({"input": [1.0], "fast": [2.0], "slow": [3.0]})
    run = dataclasses.replace(
        run, seconds={("fast", "d"): (9.0, 0.002, 0.003), ("slow", "d"): (0.5,), ("input", "d"): (1.0,)}
    )
    text = render(run)
    part = text[text.index("<h3>Speed and quality") :]
    part = part[: part.index("</figure>")]
    assert re.findall(r"<title>(\w+: M0 [^<]+)</title>", part) == ["Fast: M0 2.00, 3 ms", "Slow: M0 3.00, 500 ms"]
    assert part.count('class="level" data-method="input Input"') == 3


def test_one_timed_method_makes_no_chart_of_speed():
    run = dataclasses.replace(wide({"input": [1.0], "fast": [2.0]}), seconds={("fast", "d"): (1.0,)})
    assert "<h3>Speed and quality" not in render(run)


def test_ends_of_many_pictures_are_those_of_all_of_them():
    ends = Ends()
    values = np.random.default_rng(0).permutation(1000)
    for value in values:
        ends.add(float(value), f"picture {value}", value % 3)
    worst, best = ends.both()
    assert worst == [(value, f"picture {value}", value % 3) for value in range(5)]
    assert best == [(value, f"picture {value}", value % 3) for value in range(999, 994, -1)]


def test_worst_and_best_pictures_go_by_the_metrics_direction():
    text = render(wide({"input": [0.0, 99.0, 0.0], "one": [3.0, 1.0, 2.0]}))
    part = text[text.index("<h3>Worst and best") :]
    rows = re.findall(r'<th scope="row">(M\d)[^<]*</th>\s*<td>(.*?)</td>\s*<td>(.*?)</td>', part)
    ends = {name: (re.findall("<b>([^<]+)", worst), re.findall("<b>([^<]+)", best)) for name, worst, best in rows}
    assert ends == {"M0": (["1.00"], ["3.00"]), "M1": (["1.00"], ["3.00"]), "M2": (["3.00"], ["1.00"])}


def test_a_diagram_puts_ranks_on_its_axis_and_joins_what_is_not_separated():
    run = wide({"one": [1.0], "two": [2.0], "three": [3.0]})
    ranking = Ranking(
        columns=run.table.columns[:1],
        over="pictures",
        n=9,
        methods=("three", "two", "one"),
        ranks=(1.0, 2.0, 3.0),
        chi2=18.0,
        p=0.0001,
        critical_difference=1.1,
        groups=(("three", "two"), ("two", "one")),
    )
    text = render(dataclasses.replace(run, table=dataclasses.replace(run.table, rankings=(ranking,))))
    part = text[text.index("<h3>Ranks over the pictures") :]
    part = part[: part.index("</figure>")]
    assert "9 pictures, Friedman p &lt; 0.001" in part and "CD 1.10" in part
    # The axis goes from 124 (rank 1) to 336 (rank 3).
    assert re.findall(r'<path d="M([\d.]+) ', part) == ["124.0", "230.0", "336.0"]
    bars = re.findall(r'class="bar-of-rank" x1="([\d.]+)" x2="([\d.]+)"', part)
    assert bars == [("121.0", "233.0"), ("227.0", "339.0")]


def test_ranks_without_a_critical_difference_make_no_diagram(tiny):
    assert tiny.table.rankings and "<h3>Ranks over the pictures" not in render(tiny)


def seen(tiny: Result, folder: Path, **view: object) -> dict:
    """What the viewer knows of the low picture '1' and its truth."""
    run = dataclasses.replace(tiny, folder=folder, views={("tiny", "1", "input"): View(**view)})  # type: ignore[arg-type]
    return viewer(render(run))["tiny-native-8bit"]["pictures"][0]["views"][0]


def test_whole_pictures_are_named_by_their_place_beside_the_page(tiny, tmp_path):
    found = seen(tiny, tmp_path, full=tmp_path / "views" / 'a b#?"\u00e9.webp', error=Path("/elsewhere/x.webp"))
    assert found == {"full": "views/a%20b%23%3F%22%C3%A9.webp"}
    assert beside(None, tmp_path) == ""


def test_boxes_are_drawn_from_a_confidence_of_a_quarter_on(tiny, tmp_path):
    said = {
        "corners": np.array([[0, 0, 9.96, 9], [1, 1, 5, 5], [2, 2, 6, 6]]),
        "scores": np.array([0.9, 0.2499, 0.25]),
        "classes": np.array([1, 0, 0]),
    }
    found = seen(tiny, tmp_path, answers={"detection": said})
    assert found["boxes"] == [[2, 2, 6, 6, 0, 0.25], [0, 0, 10.0, 9, 1, 0.9]]


def test_a_saliency_map_becomes_a_picture_as_opaque_as_the_map(tiny, tmp_path):
    found = seen(tiny, tmp_path, answers={"saliency": {"map": np.array([[0, 255]] * 2, np.uint8).repeat(64, 1)}})
    picture = Image.open(io.BytesIO(b64decode(found["map"].split(",")[1])))
    assert picture.size == (128, 2) and picture.mode == "RGBA"
    assert picture.getpixel((10, 0))[3] < 10 and picture.getpixel((120, 0))[3] > 245  # type: ignore[index]


def test_the_true_mask_is_drawn_as_its_outline(tiny, tmp_path):
    mask = np.zeros((7, 9), bool)
    mask[1:6, 2:7] = True
    truth = {"mask": np.packbits(mask), "shape": np.array(mask.shape)}
    run = dataclasses.replace(tiny, truths={("tiny", "1", "saliency"): truth})
    found = viewer(render(run))["tiny-native-8bit"]["pictures"][0]["mask"]
    picture = np.asarray(Image.open(io.BytesIO(b64decode(found.split(",")[1]))).convert("RGBA"))[..., 3] > 0
    inner = np.zeros((7, 9), bool)
    inner[2:5, 3:6] = True
    assert (picture == (mask & ~inner)).all()


def test_true_boxes_stand_with_the_size_they_belong_to(tiny):
    truth = {
        "corners": np.array([[1.0, 2.0, 3.0, 4.0]]),
        "classes": np.array([1]),
        "ignored": np.array([True]),
        "areas": np.array([4.0]),
        "size": np.array([64, 48]),
    }
    classes = {"tiny": ("</script><b>", "person")}
    run = dataclasses.replace(tiny, truths={("tiny", "1", "detection"): truth}, classes=classes)
    text = render(run)
    assert "</script><b>" not in text
    data = viewer(text)["tiny-native-8bit"]
    assert data["classes"] == ["</script><b>", "person"]
    assert (data["pictures"][0]["size"], data["pictures"][0]["truth"]) == ([64, 48], [[1, 2, 3, 4, 1, 1]])


def test_histograms_carry_their_distance_to_the_reference_and_the_reference_none(tiny, tmp_path):
    dark, bright = (dict.fromkeys(("luma", "red", "green", "blue"), levels(*[at] * 64)) for at in (10, 30))
    views = {("tiny", "1", "input"): View(histogram=dark), ("tiny", "1", "reference"): View(histogram=bright)}
    [picture, _] = viewer(render(dataclasses.replace(tiny, views=views)))["tiny-native-8bit"]["pictures"]
    low, reference = (picture["views"][at]["histogram"] for at in (0, -1))
    assert [channel[-1] for channel in low] == ["20.0"] * 4
    assert [len(channel) for channel in reference] == [4] * 4
    assert picture["reference"] == len(picture["views"]) - 1


def test_a_gallery_of_a_run_with_tasks_alone_is_shown_too(tiny):
    detected = tuple(column for column in tiny.table.columns if "+" in column.protocol)
    text = render(dataclasses.replace(tiny, table=dataclasses.replace(tiny.table, columns=detected), records=()))
    assert text.count('class="gallery"') == 1


def test_pictures_beyond_the_first_forty_wait_in_a_template(tiny):
    png = next(iter(tiny.thumbnails.values()))
    text = render(dataclasses.replace(tiny, thumbnails={("tiny", str(at), "low"): png for at in range(1, 43)}))
    Page(text)
    shown, waiting = text.split('<template id="tiny-native-8bit-more">')
    assert shown.count("data-difficulty=") == 40 and waiting.count("data-difficulty=") == 2
    assert "40 of 42 pictures" in text


def test_a_metrics_map_is_offered_by_name(tiny):
    (tiny.folder / "views").mkdir()
    file = tiny.folder / "views" / "1.map-lpips.webp"
    file.touch()
    run = dataclasses.replace(tiny, views={("tiny", "1", "gamma:2.2"): View(maps={"lpips": file})})
    text = render(run)
    assert '<option value="map:lpips">lpips map</option>' in text
    assert '"maps":{"lpips":"views/1.map-lpips.webp"}' in text.replace('": ', '":')
    assert '<option value="map:' not in render(tiny)
