"""summary.csv, ranks.csv and pairwise.csv: everything once, floats that read back exactly."""

from __future__ import annotations

import csv
import dataclasses
import runpy
from io import StringIO
from pathlib import Path

import pytest

from bench import plugins
from bench.contracts import Report, Result


@pytest.fixture
def tiny(tmp_path: Path) -> Result:
    return runpy.run_path(str(Path(__file__).parent / "golden" / "tiny.py"))["tiny_result"](tmp_path)


def table(result: Result, report: str = "csv") -> list[dict[str, str]]:
    text = plugins.load(Report, plugins.Spec.parse(report))().render(result)
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


def test_every_ranking_has_a_row_for_every_method(tiny):
    first, *_ = tiny.table.rankings
    tested = dataclasses.replace(
        first,
        methods=("gamma:2.2", "input", "outputs:h"),
        ranks=(1.1, 2.3, 2.6),
        left_out=(),
        chi2=12.5,
        p=0.002,
        f=float("inf"),
        f_p=0.0,
        critical_difference=1.01,
        groups=(("input", "outputs:h"),),
    )
    over = dataclasses.replace(
        first, over="data sets", columns=(first.columns[0], dataclasses.replace(first.columns[0], dataset="more"))
    )
    rows = table(
        dataclasses.replace(tiny, table=dataclasses.replace(tiny.table, rankings=(tested, over))), report="ranks"
    )
    assert [row["method"] for row in rows] == ["input", "gamma:2.2", "outputs:h"] * 2
    assert [row["letters"] for row in rows[:3]] == ["A", "", "A"]
    assert [row["mean_rank"] for row in rows] == ["2.3", "1.1", "2.6", "2.0", "1.0", ""]
    assert {name: rows[0][name] for name in list(rows[0])[-5:]} == {
        "critical_difference": "1.01",
        "friedman_chi2": "12.5",
        "friedman_p": "0.002",
        "iman_davenport_f": "inf",
        "iman_davenport_p": "0.0",
    }
    assert (rows[0]["over"], rows[0]["datasets"], rows[3]["over"], rows[3]["datasets"]) == (
        *("pictures", "tiny"),
        *("data sets", "tiny more"),
    )
    assert rows[3]["critical_difference"] == rows[3]["friedman_p"] == ""


def test_every_pair_of_methods_stands_in_one_row(tiny):
    first, second = table(tiny, report="pairwise")
    assert [first[name] for name in ("dataset", "metric", "first", "second", "test")] == [
        *("tiny", "psnr", "input", "gamma:2.2", "sign")
    ]
    assert [int(first[name]) for name in ("n", "wins", "ties", "losses")] == [3, 0, 0, 3]
    assert [float(first[name]) for name in ("p", "p_holm", "rank_biserial", "shift")] == [0.25, 0.25, -1.0, -7.55]
    assert second["metric"] == "niqe" and second["protocol"] == "384x384-8bit"
