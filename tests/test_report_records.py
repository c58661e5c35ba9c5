"""records.csv: exactly one row per record, unrounded."""

from __future__ import annotations

import csv
import dataclasses
import runpy
from io import StringIO
from pathlib import Path

import pytest

from bench import plugins
from bench.contracts import Record, Report, Result


@pytest.fixture
def tiny(tmp_path: Path) -> Result:
    return runpy.run_path(str(Path(__file__).parent / "golden" / "tiny.py"))["tiny_result"](tmp_path)


def render(result: Result) -> str:
    return plugins.load(Report, plugins.Spec.parse("records"))().render(result)


def table(result: Result) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(render(result), newline="")))


def test_every_record_is_one_line_of_the_file(tiny):
    assert len(render(tiny).splitlines()) == 1 + len(tiny.records)
    assert len(table(tiny)) == len(tiny.records)


def test_values_are_unrounded(tiny):
    third = dataclasses.replace(tiny.records[0], value=1 / 3)
    (row,) = table(dataclasses.replace(tiny, records=(third,)))
    assert float(row["value"]) == 1 / 3 and row["value"] == "0.3333333333333333"


def test_infinity_is_spelled_inf(tiny):
    (row,) = [row for row in table(tiny) if row["method"] == "gamma:2.2" and row["image"] == "10"]
    assert row["value"] == "inf"


def test_an_error_has_no_value_and_keeps_its_text_in_one_line(tiny):
    (row,) = [row for row in table(tiny) if row["method"] == "outputs:h" and row["image"] == "2"]
    assert row["value"] == ""
    assert row["error"] == "ValueError: <b> & 50 % of C:\\x_1 | $y$ second line"


def test_pictures_stand_in_natural_order(tiny):
    assert [row["image"] for row in table(tiny)][:3] == ["1", "2", "10"]


def test_records_that_the_table_does_not_show_are_kept(tiny):
    stray = Record("retired", "gone", "native-none", 'a,"b"', "old", 1.5, None)
    last = table(dataclasses.replace(tiny, records=(stray, *tiny.records)))[-1]
    assert (last["method"], last["dataset"], last["image"], last["value"]) == ("retired", "gone", 'a,"b"', "1.5")
