"""Paper tables in every format: ours beside the printed values, marks, gaps, and LaTeX that compiles."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from io import StringIO
from pathlib import Path

import pytest

from bench import beside, papers, plugins
from bench.contracts import (
    Cell,
    Column,
    MethodRow,
    PaperCell,
    PaperColumn,
    PaperPart,
    PaperRow,
    PaperTable,
    Result,
    Table,
    TableFormat,
)

LATEX = shutil.which("pdflatex")
NAMES = plugins.names(TableFormat)
PSNR = Column("lol", "LOL-v1", "native-8bit", "psnr", "PSNR", True, "dB", 2, "RGB, peak 255")


def a_table() -> PaperTable:
    """Six methods in one column: best, shared second place, a gap, an own method, an error of the paper."""
    column = PaperColumn("LOL", "PSNR", "dB", True, 2, "384x384-8bit", (PSNR,), ("protocol differs: <paper> & run",))
    rows = (
        PaperRow("A_1", "a", (PaperCell("20.00", 21.5, 21.0, 22.0, 15, 1),)),
        PaperRow("B", "b", (PaperCell("19.00", 18.256, 18.0, 18.5, 15, 2, True),)),
        PaperRow("C", "c", (PaperCell("", 18.2, 18.0, 18.5, 15, 2, True, ("the paper prints no value",)),)),
        PaperRow("D", "", (PaperCell("17.50", None, printed_notes=("printed average; recomputed 17.5111",)),)),
        PaperRow(
            "E", "", (PaperCell("17.60", None, printed_notes=("printed average; recomputed 17.6111",)),), ("no E",)
        ),
        PaperRow("Mine", "mine.py", (PaperCell("", 10.0, 9.0, 11.0, 15),), in_paper=False),
    )
    part = PaperPart("LOL", "Table 1", (column,), rows, ("every printed value: split not stated",))
    return PaperTable("p/1", "Comparison", "P (somewhere)", (part,), {"version": "0.1.0", "seed": 0})


def render(name: str, table: PaperTable) -> str:
    return plugins.load(TableFormat, plugins.Spec.parse(name))().render(table)


def everything(result: Result) -> list[PaperTable]:
    library = papers.load()
    return beside.tables(result, papers.requested("all", library), library, (), None)


def crowded() -> Result:
    """A run that fills every column of LOL with long numbers and hostile names."""
    names = ("psnr", "ssim", "brisque", "niqe", "lpips")
    columns = tuple(Column("lol", "LOL", "native-8bit", one, one, True, "", 4, "σ = 1.5, 96×96, _") for one in names)
    methods = ("jcrnet", "he", "clahe", "sci", "zero_dce", "input", "~/méthode_中/%&.py")
    rows = tuple(MethodRow(one, one, "") for one in methods)
    cell = Cell(-123.4567, 14, 1, 0, -200.0, -100.0, "1 of 15 failed: no /data/" + "ab" * 60, 1, "tie")
    return Result(Table(rows, columns, {(row.method, one): cell for row in rows for one in columns}), (), {}, Path())


NOTHING = Result(Table((), (), {}), (), {}, Path())


def test_the_four_formats_are_found_by_name():
    assert NAMES == ["csv", "html", "latex", "markdown"]


def test_no_two_formats_write_the_same_file():
    endings = [plugins.load(TableFormat, plugins.Spec.parse(name)).ending for name in NAMES]
    assert len(set(endings)) == len(endings)


@pytest.mark.parametrize("result", [NOTHING, crowded()], ids=["nothing", "crowded"])
@pytest.mark.parametrize("name", NAMES)
def test_every_table_is_rendered_from_any_run(name, result):
    for table in everything(result):
        text = render(name, table)
        assert text.endswith("\n") and text == render(name, table)
        # Every printed value of the table's first row appears as printed.
        assert all(cell.printed in text for cell in table.parts[0].rows[0].cells)


def test_csv_has_ours_unrounded_beside_the_printed_value():
    rows = {row["method"]: row for row in csv.DictReader(StringIO(render("csv", a_table())))}
    assert (rows["B"]["printed"], rows["B"]["ours"], rows["B"]["place"], rows["B"]["tied"]) == (
        "19.00", "18.256", "2", "yes",
    )  # fmt: skip
    assert float(rows["A_1"]["difference"]) == 1.5
    assert (rows["D"]["ours"], rows["D"]["difference"], rows["D"]["our_method"]) == ("", "", "")
    assert rows["C"]["printed"] == "" and rows["C"]["printed_note"] == "the paper prints no value"
    assert rows["A_1"]["our_protocol"] == "native-8bit" and rows["A_1"]["paper_protocol"] == "384x384-8bit"
    assert "no E" in rows["E"]["notes"]


def test_markdown_marks_places_ties_and_gaps():
    text = render("markdown", a_table())
    lines = {line.split("|")[1].strip(): [part.strip() for part in line.split("|")[2:5]]
             for line in text.splitlines() if line.startswith("| ")}  # fmt: skip
    assert lines["Method"] == ["PSNR (dB) ↑<sup>a</sup> paper", "ours", "Δ"]
    assert lines[r"A\_1"] == ["20.00", "**21.50**", "+1.50"]
    assert lines["B"] == ["19.00", "18.26<sup>≈2</sup>", "-0.74"]
    assert lines["C"] == ["–<sup>b</sup>", "18.20<sup>≈2</sup>", ""]
    assert lines["D"][1:] == ["–", ""]
    assert lines["*Mine*"] == ["–", "10.00", ""]
    assert "- <sup>a</sup> protocol differs: &lt;paper&gt; &amp; run" in text
    assert "The paper's protocol: 384x384-8bit." in text


@pytest.mark.parametrize("name", ["html", "latex", "markdown"])
def test_notes_that_differ_in_a_number_only_are_one_note(name):
    assert "printed average; recomputed 17.5111 (D), 17.6111 (E)" in render(name, a_table())


def test_html_is_one_file_without_scripts_or_addresses():
    text = render("html", a_table())
    assert '<span class="first">21.50</span>' in text
    assert "18.26<sup>≈2</sup>" in re.sub(r"</?span[^>]*>", "", text)
    assert "&lt;paper&gt; &amp; run" in text
    assert not re.search(r"https?://|<script|src=", text)


def test_latex_marks_and_aligns_and_names_its_packages():
    text = render("latex", a_table())
    assert r"\usepackage{booktabs,graphicx}" in text and r"\begin{document}" not in text
    assert r"A\_1 & 20.00\makebox" in text and r"\textbf{21.50}" in text
    assert r"18.26\makebox[8.3pt][l]{\textsuperscript{$\approx$2}}" in text
    assert r"$-$0.74" in text
    # A rule between the paper's methods and the run's own.
    assert text.index("17.60") < text.rindex(r"\midrule") < text.index("Mine")


def test_latex_splits_wide_parts_and_explains_marks_once():
    tables = {table.name: table for table in everything(NOTHING)}
    text = render("latex", tables["jcrnet/1"])
    # Three data sets of five metrics, three metrics at most side by side.
    assert text.count(r"\begin{table*}") == 6
    assert text.count("Bold, underlined, italic") == 1
    assert len(set(re.findall(r"\\label{(.*?)}", text))) == 6


@pytest.mark.skipif(LATEX is None, reason="pdflatex is not installed (Debian: texlive-latex-base, texlive-publishers)")
@pytest.mark.parametrize("document", ["article", "[journal]IEEEtran"])
def test_all_tables_compile_without_overfull_boxes(document, tmp_path):
    found = re.fullmatch(r"(\[.*\])?(\w+)", document)
    assert found
    option, name = found.groups()
    probe = subprocess.run(["kpsewhich", f"{name}.cls"], capture_output=True, text=True, check=False)
    if not probe.stdout.strip():
        pytest.skip(f"{name}.cls is not installed (Debian: texlive-publishers)")
    inputs = []
    for folder, result in (("crowded", crowded()), ("nothing", NOTHING)):
        (tmp_path / folder).mkdir()
        for table in everything(result):
            stem = table.name.replace("/", "-")
            (tmp_path / folder / f"{stem}.tex").write_text(render("latex", table), encoding="utf-8")
            inputs.append(f"\\input{{{folder}/{stem}}}\\clearpage")
    (tmp_path / "paper.tex").write_text(
        f"\\documentclass{option or ''}{{{name}}}\\usepackage{{booktabs,graphicx}}"
        "\\begin{document}Text." + "".join(inputs) + "\\end{document}",
        encoding="utf-8",
    )
    done = subprocess.run(
        [str(LATEX), "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=240,
    )
    log = (tmp_path / "paper.log").read_text(encoding="latin-1")
    assert done.returncode == 0, log[-2000:]
    assert "Overfull" not in log
    assert "Float too large" not in log
