"""report.html: one page that is whole, safe and quiet."""

from __future__ import annotations

import dataclasses
import re
import runpy
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench import plugins
from bench.contracts import Cell, MethodRow, Report, Result, Table

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
    sources = [str(image["src"]) for image in Page(render(tiny)).all("img")]
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
    text = render(dataclasses.replace(tiny, table=Table(tiny.table.rows[:2], (column,), cells), thumbnails={}))
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
