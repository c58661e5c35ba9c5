"""What every report promises, over all plug-ins of the room, and the golden files byte by byte."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path

import pytest

from bench import plugins
from bench.contracts import Report, Result, Table

GOLDEN = Path(__file__).parent / "golden"
NAMES = plugins.names(Report)


def report(name: str) -> Report:
    return plugins.load(Report, plugins.Spec.parse(name))()


@pytest.fixture
def tiny(tmp_path: Path) -> Result:
    return runpy.run_path(str(GOLDEN / "tiny.py"))["tiny_result"](tmp_path)


def test_the_five_reports_of_the_project_are_found_by_name():
    assert {"csv", "html", "latex", "markdown", "records"} <= set(NAMES)


def test_no_two_reports_write_the_same_file():
    files = [report(name).filename for name in NAMES]
    assert len(set(files)) == len(files)


@pytest.mark.parametrize("name", NAMES)
def test_golden_file_is_met_byte_by_byte(name, tiny):
    found = report(name)
    expected = (GOLDEN / found.filename).read_bytes()
    assert found.render(tiny).encode("utf-8") == expected, "tests/golden/tiny.py rewrites the golden files on purpose"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_result_gives_the_same_text_in_any_order_of_its_mappings(name, tiny):
    turned = dataclasses.replace(
        tiny,
        table=dataclasses.replace(tiny.table, cells=dict(reversed(tiny.table.cells.items()))),
        records=tiny.records[::-1],
        thumbnails=dict(reversed(tiny.thumbnails.items())),
    )
    assert report(name).render(turned) == report(name).render(tiny)


@pytest.mark.parametrize("name", NAMES)
def test_a_result_without_manifest_and_pictures_is_rendered(name, tiny):
    bare = dataclasses.replace(tiny, manifest={}, thumbnails={})
    text = report(name).render(bare)
    assert "gamma" in text.lower() and text.endswith("\n")


@pytest.mark.parametrize("name", ["html", "latex", "markdown"])
@pytest.mark.parametrize("protocol", ["native-none", {"name": "native-none", "size": "native"}])
def test_the_runs_protocol_is_named_however_the_manifest_spells_it(name, protocol, tiny):
    text = report(name).render(dataclasses.replace(tiny, manifest={"protocol": protocol, "commit": None}))
    # The shared word of the three formats; the tables themselves stand under other protocols.
    assert "native-none" in text and "commit" not in text.split("Tiny")[0].split("</style>")[-1]


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_result_is_rendered(name, tmp_path):
    empty = Result(Table((), (), {}), (), {}, tmp_path)
    assert report(name).render(empty).endswith("\n")


@pytest.mark.parametrize("name", NAMES)
def test_columns_without_a_method_are_rendered(name, tiny):
    nobody = dataclasses.replace(tiny, table=Table((), tiny.table.columns, {}), records=(), thumbnails={})
    assert report(name).render(nobody).endswith("\n")


@pytest.mark.parametrize("name", NAMES)
def test_names_that_no_text_file_may_hold_are_still_written(name, tiny):
    # A POSIX file name of broken UTF-8 arrives as a lone surrogate; a terminal's colours arrive as escapes.
    record = dataclasses.replace(tiny.records[-1], image="caf\udce9\x00", error="\x1b[31mred\x1b[0m")
    text = report(name).render(dataclasses.replace(tiny, records=(*tiny.records[:-1], record)))
    assert text.encode("utf-8")
    assert "\x1b" not in text and "\x00" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_report_writes_no_file_and_needs_no_folder(name, tiny, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    report(name).render(dataclasses.replace(tiny, folder=tmp_path / "gone"))
    assert sorted(tmp_path.rglob("*")) == before
