"""summary.csv: every cell once, floats that read back exactly."""

from __future__ import annotations

import csv
import runpy
from io import StringIO
from pathlib import Path

import pytest

from bench import plugins
from bench.contracts import Report, Result


@pytest.fixture
def tiny(tmp_path: Path) -> Result:
    return runpy.run_path(str(Path(__file__).parent / "golden" / "tiny.py"))["tiny_result"](tmp_path)


def table(result: Result) -> list[dict[str, str]]:
    text = plugins.load(Report, plugins.Spec.parse("csv"))().render(result)
    return list(csv.DictReader(StringIO(text, newline="")))


def test_the_report_called_csv_leaves_the_standard_library_alone(tiny):
    plugin = plugins.load(Report, plugins.Spec.parse("csv"))
    assert plugin.__module__ == "bench.reports.csv"
    assert csv.__name__ == "csv" and hasattr(csv, "DictReader")


def test_columns_are_the_documented_ones(tiny):
    required = ["method", "dataset", "protocol", "metric", "mean", "n", "failed", "ci_low", "ci_high"]
    gain = ["gain", "gain_low", "gain_high", "group"]
    assert list(table(tiny)[0]) == [*required, "infinite", "rank", "mark", "reason", *gain]


def test_every_cell_stands_in_one_row(tiny):
    found = [(row["method"], row["dataset"], row["protocol"], row["metric"]) for row in table(tiny)]
    assert sorted(found) == sorted((m, c.dataset, c.protocol, c.metric) for m, c in tiny.table.cells)


def test_numbers_read_back_as_the_same_floats(tiny):
    by_key = {(row["method"], row["metric"]): row for row in table(tiny)}
    for (method, column), cell in tiny.table.cells.items():
        row = by_key[method, column.metric]
        for name in ("mean", "ci_low", "ci_high"):
            value = getattr(cell, name)
            assert row[name] == "" if value is None else float(row[name]) == value
        assert (int(row["n"]), int(row["failed"]), int(row["infinite"])) == (cell.n, cell.failed, cell.infinite)
        assert row["mark"] == cell.mark and row["rank"] == ("" if cell.rank is None else str(cell.rank))


def test_a_reason_of_two_lines_stays_in_its_row(tiny):
    (row,) = [row for row in table(tiny) if row["method"] == "outputs:h" and row["metric"] == "psnr"]
    assert row["reason"] == "2 of 3 failed: ValueError: <b> & 50 % of C:\\x_1 | $y$ second line"
