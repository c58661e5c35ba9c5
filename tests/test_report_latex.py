"""tables.tex: prints exactly what it was given, in any pdfLaTeX paper."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from bench import plugins
from bench.contracts import REFIT, Cell, Column, Comparison, MethodRow, Ranking, Report, Result, Table

LATEX = shutil.which("pdflatex")


@pytest.fixture
def tiny(tmp_path: Path) -> Result:
    return runpy.run_path(str(Path(__file__).parent / "golden" / "tiny.py"))["tiny_result"](tmp_path)


def render(result: Result) -> str:
    return plugins.load(Report, plugins.Spec.parse("latex"))().render(result)


def escape(text: str) -> str:
    return importlib.import_module("bench.reports.latex").escape(text)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a_b&c%", r"a\_b\&c\%"),
        ("$#{}", r"\$\#\{\}"),
        ("~^\\", r"\textasciitilde{}\textasciicircum{}\textbackslash{}"),
        ("<x>|", r"\textless{}x\textgreater{}\textbar{}"),
        ("--flag", r"{-}-flag"),
        ("café Ö", r"caf\'{e} \"{O}"),
        ("σ ≤ 2×3", r"$\sigma$ $\le$ 2$\times$3"),
        ("中", "[U+4E2D]"),
        ("two\n  lines", "two lines"),
    ],
)
def test_special_characters_print_as_themselves(text, printed):
    assert escape(text) == printed


def test_a_long_path_may_break_and_prose_stays_readable():
    assert escape("pictures/of/the/evaluation/set.png").count(r"\allowbreak{}") >= 4
    assert escape("a sentence of ordinary words, no longer than usual.") == (
        "a sentence of ordinary words, no longer than usual."
    )


def test_the_file_can_be_input_and_names_its_packages_and_its_run(tiny):
    text = render(tiny)
    assert r"\documentclass" not in text and r"\begin{document}" not in text
    head = [line for line in text.splitlines() if line.startswith("%")]
    assert any(r"\usepackage{booktabs,graphicx}" in line for line in head)
    assert "% version: 0.1.0" in head
    assert "% commit: 0123456789ab with uncommitted changes" in head


def test_best_is_bold_and_a_tie_carries_the_documented_mark(tiny):
    text = render(tiny)
    assert r"Gamma & \textbf{4.25} \\" in text
    assert r"15.05\rlap{\textsuperscript{$\approx$b}}" in text
    assert r"\textsuperscript{$\approx$}\,best, or not separated" in text


def test_whole_numbers_line_up(tiny):
    assert r"\phantom{0}8.00" in render(tiny)


def test_every_metric_is_defined_and_every_missing_value_explained(tiny):
    text = render(tiny)
    for definition in ("RGB, peak 255", "AlexNet, scaled to", r"96$\times$96 blocks"):
        assert text.count(definition) == 1
    assert r"\textsuperscript{a}\,alexnet.pth is not on this machine." in text
    assert "Protocol 384x384-8bit: pictures resized to 384x384 pixels" in text
    assert r"\caption{Dark\_1 (384x384-8bit), 2 pictures}" in text


def test_a_metric_is_defined_once_and_later_tables_refer_to_it(tiny):
    first = tiny.table.columns[0]
    second = dataclasses.replace(first, dataset="more", dataset_label="More")
    cells = {
        (row.method, column): tiny.table.cells[row.method, first]
        for row in tiny.table.rows
        for column in (first, second)
    }
    text = render(dataclasses.replace(tiny, table=Table(tiny.table.rows, (first, second), cells)))
    assert text.count("RGB, peak 255") == 1
    assert r"Metrics as below Table~\ref{tab:tiny-native-8bit}." in text


def test_ranks_say_what_separates_methods_and_carry_the_protocol(tiny):
    text = render(crowded(tiny))
    (ranks,) = re.findall(r"\\caption\{Mean ranks with Nemenyi's critical difference.*?\\end\{table\*\}", text, re.S)
    assert ", protocol 384x384-8bit}}" in ranks and "Over data sets, protocol 384x384-8bit" in ranks
    row = r"METRIC0\,$\uparrow$ & 1.50\textsuperscript{A} & 2.50\textsuperscript{AB} & 3.50\textsuperscript{BC} & "
    assert row in ranks and r" & 15 & 1.95 & $<$\,0.001 \\" in ranks
    assert ranks.count("METRIC6") == 1 and ranks.count("METRIC0") == 2


def test_a_method_that_is_best_and_separated_is_bold_in_the_ranks(tiny):
    found = crowded(tiny)
    alone = dataclasses.replace(found.table.rankings[0], groups=(("m1", "m2"),))
    text = render(dataclasses.replace(found, table=dataclasses.replace(found.table, rankings=(alone,))))
    assert r"METRIC0\,$\uparrow$ & \textbf{1.50} & 2.50\textsuperscript{A} & 3.50\textsuperscript{A} & 4.50 &" in text


def test_pairs_are_tallied_over_all_columns_and_shown_singly_on_demand(tiny):
    text = render(crowded(tiny))
    tally, single = text.split(r"\ifdefined\allpairs")
    assert single.rstrip().endswith(r"\fi") and tally.count(r"\label{tab:pairs}") == 1
    assert " & 7/0/0 & 7/0/0" in tally and " & 0/0/7" in tally
    assert single.count(r"\textbf{15/0/0}\,{\fontsize{6}{7}\selectfont +1.00}") == 7 * 15


def test_more_pairs_than_a_page_holds_are_continued(tiny):
    found = crowded(tiny)
    names = [f"m{place}" for place in range(12)]
    methods = tuple(MethodRow(name, name, "classical") for name in names)
    column = found.table.columns[0]
    cells = {(name, column): next(iter(found.table.cells.values())) for name in names}
    pairwise = tuple(
        Comparison(column, first, second, 15, 15, 0, 0, "wilcoxon", 1e-4, 1e-3, 1.0, 0.1)
        for first, second in itertools.combinations(names, 2)
    )
    table = Table(methods, (column,), cells, (), (), pairwise)
    text = render(dataclasses.replace(found, table=table)).split(r"\ifdefined\allpairs")[1]
    first, second = text.split(", continued")
    assert first.count("15/0/0") == second.count("15/0/0") == 33
    assert r"\label{tab:pairs-set-384x384-8bit-2}" in second


def test_a_run_without_rankings_and_pairs_has_no_table_for_them(tiny):
    text = render(dataclasses.replace(tiny, table=dataclasses.replace(tiny.table, rankings=(), pairwise=())))
    assert "Mean rank" not in text and r"\ifdefined" not in text and text.count(r"\begin{table*}") == 4


def test_a_refit_metric_is_marked_in_its_head_and_explained_below(tiny):
    column = dataclasses.replace(tiny.table.columns[-1], metric=f"niqe{REFIT}", metric_label="NIQE (refit)")
    cells = {(row.method, column): tiny.table.cell(row, tiny.table.columns[-1]) for row in tiny.table.rows}
    text = render(dataclasses.replace(tiny, table=Table(tiny.table.rows, (column,), cells)))
    assert r"NIQE (refit)\textsuperscript{{\ddag}}\,$\downarrow$" in text
    assert r"\textsuperscript{{\ddag}}\,NIQE (refit): parameters fitted by this project" in text


def crowded(tiny: Result) -> Result:
    """Seven metrics of four decimals for six methods with hostile names and a long error."""
    hostile = tiny.table.rows[2].label
    methods = tuple(MethodRow(f"m{place}", f"{hostile}{place}", "classical") for place in range(6))
    columns = tuple(
        Column(
            "set", "Sét_1 & 中", "384x384-8bit", f"k{place}", f"METRIC{place}", True, "dB", 4, "σ = 1.5, 96×96, [−1, 1]"
        )
        for place in range(7)
    )
    value = Cell(0.1234, 14, 1, 0, 0.1111, 0.2222, "1 of 15 failed: no /data/" + "ab" * 80, 1, "tie")
    cells = {(row.method, column): value for row in methods for column in columns}
    names = tuple(row.method for row in methods)
    rankings = tuple(
        Ranking(
            columns=(column,),
            over="pictures",
            n=15,
            methods=names,
            ranks=tuple(1.5 + place for place in range(6)),
            chi2=60.0,
            p=1e-9,
            f=30.0,
            f_p=1e-10,
            critical_difference=1.95,
            groups=tuple(itertools.pairwise(names)),
        )
        for column in columns
    )
    over_sets = dataclasses.replace(rankings[0], over="data sets", critical_difference=None, groups=(), p=None)
    pairwise = tuple(
        Comparison(column, first, second, 15, 15, 0, 0, "wilcoxon", 1e-4, 1e-3, 1.0, 0.1)
        for column in columns
        for first, second in itertools.combinations(names, 2)
    )
    table = Table(methods, columns, cells, (), (*rankings, over_sets), pairwise)
    return dataclasses.replace(tiny, table=table, records=(), thumbnails={})


@pytest.mark.skipif(LATEX is None, reason="pdflatex is not installed (Debian: texlive-latex-base, texlive-publishers)")
@pytest.mark.parametrize("document", ["article", "[journal]IEEEtran"])
def test_a_crowded_table_compiles_without_overfull_boxes(document, tiny, tmp_path):
    option, name = re.fullmatch(r"(\[.*\])?(\w+)", document).groups()
    probe = subprocess.run(["kpsewhich", f"{name}.cls"], capture_output=True, text=True, check=False)
    if not probe.stdout.strip():
        pytest.skip(f"{name}.cls is not installed (Debian: texlive-publishers)")
    (tmp_path / "tables.tex").write_text(render(crowded(tiny)), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        f"\\documentclass{option or ''}{{{name}}}\\usepackage{{booktabs,graphicx}}"
        "\\newcommand{\\allpairs}{}\\begin{document}Text.\\input{tables}\\end{document}",
        encoding="utf-8",
    )
    done = subprocess.run(
        [str(LATEX), "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=120,
    )
    log = (tmp_path / "paper.log").read_text(encoding="latin-1")
    assert done.returncode == 0, log[-2000:]
    assert "Overfull" not in log
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
