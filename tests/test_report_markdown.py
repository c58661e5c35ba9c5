"""tables.md: tables that keep their columns whatever stands in them."""

from __future__ import annotations

import dataclasses
import re
import runpy
from pathlib import Path

import pytest

from bench import plugins
from bench.contracts import REFIT, Comparison, MethodRow, Ranking, Report, Result, Table


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
    assert render(split).count("| Method ") == 2  # neither ranks nor pairs are handed over


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


def test_ranks_of_a_sheet_stand_below_it_and_a_method_that_is_left_out_has_none(tiny):
    block = re.search(r"Mean rank over the pictures.*?\n\n((?:\|.*\n)+)", render(tiny))
    assert block is not None
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block[1].splitlines()]
    assert cells[0] == ["Method", "PSNR ↑"]
    assert [line[1] for line in cells[2:]] == ["2.00", "1.00", "–", "3"]
    assert "a method that lacks more than half of them is left out" in render(tiny)


def separated(tiny: Result) -> Result:
    """A single column whose best method is separated from two others that are not separated from each other."""
    column = tiny.table.columns[0]
    ranking = Ranking(
        columns=(column,),
        over="pictures",
        n=20,
        methods=("outputs:h", "input", "gamma:2.2"),
        ranks=(1.0, 2.25, 2.75),
        chi2=30.0,
        p=3e-7,
        f=57.0,
        f_p=3e-12,
        critical_difference=0.7411,
        groups=(("input", "gamma:2.2"),),
    )
    pairs = (
        Comparison(column, "input", "gamma:2.2", 20, 12, 1, 7, "wilcoxon", 0.04, 0.04, 0.25, 1.5),
        Comparison(column, "input", "outputs:h", 20, 1, 0, 19, "wilcoxon", 1e-4, 3e-4, -0.97, -5.0),
    )
    return dataclasses.replace(tiny, table=dataclasses.replace(tiny.table, rankings=(ranking,), pairwise=pairs))


def test_methods_that_the_critical_difference_does_not_separate_share_a_letter(tiny):
    text = render(separated(tiny))
    assert re.search(r"\| Input +\| 2\.25 <sup>A</sup> \|\n\| Gamma +\| 2\.75 <sup>A</sup> \|", text)
    assert re.search(r"script&gt;\\\| +\| +\*\*1\.00\*\* \|\n\| \*Pictures\* +\| +20 \|", text)
    assert re.search(r"\*Critical difference\* +\| +0\.74 \|\n\| \*Friedman's p\* +\| +&lt; 0\.001 \|", text)


def test_pairs_are_seen_from_the_row_and_bold_where_they_are_separated(tiny):
    text = render(separated(tiny))
    details = text.split("<details>")[1].split("</details>")[0]
    assert "**12/1/7** <sub>+0.25</sub>" in details and "**7/1/12** <sub>-0.25</sub>" in details
    assert "**1/0/19** <sub>-0.97</sub>" in details and "**19/0/1** <sub>+0.97</sub>" in details
    overall = text.split("## Pairs of methods")[1]
    assert "Counted: Tiny &amp; co (native-8bit): PSNR." in overall
    assert re.search(r"\| Input +\| +– \| 1/0/0 \| +0/0/1 \|", overall)


def test_ranks_over_data_sets_name_their_protocol(tiny):
    first = tiny.table.columns[0]
    both = (first, dataclasses.replace(first, dataset="more"))
    over = Ranking(both, "data sets", 2, ("gamma:2.2", "input", "outputs:h"), (1.0, 2.0, 3.0))
    text = render(dataclasses.replace(tiny, table=dataclasses.replace(tiny.table, rankings=(over,), pairwise=())))
    block = text.split("## Ranks over data sets")[1]
    assert "Protocol `native-8bit`." in block and re.search(r"\| \*Data sets\* +\| +2 \|", block)
    assert "Critical difference" not in block.split("##")[0]


def test_a_run_without_rankings_and_pairs_has_no_section_for_them(tiny):
    text = render(dataclasses.replace(tiny, table=dataclasses.replace(tiny.table, rankings=(), pairwise=())))
    assert "ank" not in text.split("## How to read")[0].replace("signed-rank", "") and "<details>" not in text


def test_a_refit_metric_is_marked_in_its_head_and_explained_below(tiny):
    column = dataclasses.replace(tiny.table.columns[-1], metric=f"niqe{REFIT}", metric_label="NIQE (refit)")
    cells = {(row.method, column): tiny.table.cell(row, tiny.table.columns[-1]) for row in tiny.table.rows}
    text = render(dataclasses.replace(tiny, table=Table(tiny.table.rows, (column,), cells)))
    assert "NIQE (refit)<sup>‡</sup> ↓" in text
    assert "- <sup>‡</sup> NIQE (refit): parameters fitted by this project, not the published ones" in text
