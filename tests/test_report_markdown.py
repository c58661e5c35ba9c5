"""tables.md: tables that keep their columns whatever stands in them."""

from __future__ import annotations

import dataclasses
import re
import runpy
from pathlib import Path

import pytest

from bench import plugins
from bench.contracts import MethodRow, Report, Result, Table


@pytest.fixture
def tiny(tmp_path: Path) -> Result:
    return runpy.run_path(str(Path(__file__).parent / "golden" / "tiny.py"))["tiny_result"](tmp_path)


def render(result: Result) -> str:
    return plugins.load(Report, plugins.Spec.parse("markdown"))().render(result)


def test_one_table_for_each_data_set_and_protocol(tiny):
    assert re.findall(r"^## (.*)$", render(tiny), re.M)[:4] == [
        *("Tiny &amp; co", "Tiny &amp; co, detection", "Tiny &amp; co, detection: AP by class", r"Dark\_1")
    ]
    column = dataclasses.replace(tiny.table.columns[0], protocol="96x64-none")
    both = {(m, c): cell for (m, old), cell in tiny.table.cells.items() for c in (old, column) if old.metric == "psnr"}
    split = dataclasses.replace(tiny, table=Table(tiny.table.rows, (tiny.table.columns[0], column), both))
    assert render(split).count("| Method ") == 2


def test_every_row_of_a_table_has_the_same_number_of_bars(tiny):
    for block in re.findall(r"(?:^\|.*\n)+", render(tiny), re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_direction_unit_best_and_tie_are_shown(tiny):
    text = render(tiny)
    assert "PSNR (dB) ↑" in text and "NIQE ↓" in text
    assert "**4.25** <sub>[4.00, 4.50]</sub>" in text
    assert "15.05 ≈<sup>b</sup> <sub>[14.00, 16.10]</sub>" in text


def test_a_missing_value_is_a_dash_with_its_reason_below(tiny):
    text = render(tiny)
    assert text.count("–<sup>a</sup>") == 6
    assert "- <sup>a</sup> alexnet.pth is not on this machine" in text
    assert "- <sup>a</sup> failed on all 2 pictures: no picture x.png" in text


def test_text_that_looks_like_markup_is_shown_as_text(tiny):
    text = render(tiny)
    assert "<script>" not in text and "<b>" not in text
    assert r"a\_b&amp;c%\$#\{\}\~\^\\&lt;script&gt;\|" in text


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("*bold*", r"\*bold\*"),
        ("[link](x)", r"\[link\](x)"),
        ("`code`", r"\`code\`"),
        ("#12 @me", r"\#12 &#64;me"),
        ("&lt;", "&amp;lt;"),
        ("two\nlines", "two lines"),
    ],
)
def test_markdown_in_a_label_is_escaped(tiny, label, shown):
    row = MethodRow("input", label, "none")
    cells = {key: cell for key, cell in tiny.table.cells.items() if key[0] == "input"}
    assert f"| {shown} " in render(dataclasses.replace(tiny, table=Table((row,), tiny.table.columns, cells)))


def test_methods_that_share_a_label_are_told_apart(tiny):
    twin = (MethodRow("input", "Gamma", "classical"), MethodRow("gamma:2.2", "Gamma", "classical"))
    text = render(dataclasses.replace(tiny, table=Table(twin, tiny.table.columns, tiny.table.cells)))
    assert "| Gamma (input) " in text and "| Gamma (gamma:2.2) " in text


def test_a_tasks_table_is_followed_by_what_is_gained_over_the_input(tiny):
    text = render(tiny)
    assert text.count("Difference to the row without enhancement") == 2
    assert re.search(r"\| Gamma +\| -0\.064 \[-0\.120, \+0\.010\] \|", text)
