"""The papers' tables: every printed value in exactly one place, and a run's beside it only where it belongs."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import beside, leakage, papers
from bench.cli import Exit, app
from bench.contracts import (
    Cell,
    Column,
    Comparison,
    Copy,
    Leak,
    MethodRow,
    PaperCell,
    PaperPart,
    PaperTable,
    Result,
    Table,
)

ROOT = Path(__file__).resolve().parent.parent
TABLES = {
    *(f"drgn/{number}" for number in range(1, 5)),
    *(f"neid/{number}" for number in (1, 2)),
    *(f"dgaf/{number}" for number in (1, 2)),
    *(f"jcrnet/{number}" for number in range(1, 10)),
}
UNITS = {"psnr": "dB"}

Means = dict[str, float | None]


@pytest.fixture(scope="module")
def library() -> papers.Library:
    return papers.load()


def column(dataset: str, metric: str, protocol: str = "native-8bit", higher: bool = True, label: str = "") -> Column:
    unit = UNITS.get(metric, "")
    return Column(dataset, label or dataset.upper(), protocol, metric, metric.upper(), higher, unit, 4, f"as {metric}")


def a_run(columns: dict[Column, Means], n: int = 15, **marks: str) -> Result:
    """A run with these means, intervals 0.5 to either side, and the marks of methods (the same in every column)."""
    methods = dict.fromkeys(method for means in columns.values() for method in means)
    cells = {}
    for one, means in columns.items():
        for method in methods:
            mean = means.get(method)
            known = mean is not None
            low, high = (mean - 0.5, mean + 0.5) if mean is not None else (None, None)
            reason = None if known else "no weights"
            cells[method, one] = Cell(mean, n if known else 0, 0, 0, low, high, reason, None, marks.get(method, ""))
    rows = tuple(MethodRow(method, method.upper(), "") for method in methods)
    return Result(Table(rows, tuple(columns), cells), (), {"version": "0.1.0"}, Path())


NOTHING = Result(Table((), (), {}), (), {}, Path())


def table(library: papers.Library, name: str, run: Result, *bind: str, speed: Path | None = None) -> PaperTable:
    [found] = beside.tables(run, [name], library, bind, speed)
    return found


def cell(part: PaperPart, title: str, metric: str) -> PaperCell:
    [row] = [row for row in part.rows if row.title == title]
    [place] = [place for place, one in enumerate(part.columns) if one.metric == metric]
    return row.cells[place]


def test_all_seventeen_tables_of_the_four_papers_are_declared(library):
    assert set(papers.requested("all", library)) == TABLES


def test_every_printed_value_stands_in_exactly_one_cell(library):
    names = {"drgn": "DRGN", "neid": "NEID", "dgaf": "DGAF", "jcrnet": "JCRNet"}
    shown = Counter(
        (names[one.name.partition("/")[0]], part.printed, row.title, value.printed)
        for one in beside.tables(NOTHING, sorted(TABLES), library, (), None)
        for part in one.parts
        for row in part.rows
        for value in row.cells
        if value.printed
    )
    with open(ROOT / "reports" / "reported.csv", newline="", encoding="utf-8") as stream:
        printed = Counter((row["paper"], row["table"], row["method"], row["value"]) for row in csv.DictReader(stream))
    assert printed.total() == 1236
    assert shown == printed


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_run_without_anything_of_it_leaves_gaps_and_each_is_explained(name, library):
    for part in table(library, name, NOTHING).parts:
        assert all(any(note.startswith("not measured") for note in one.notes) for one in part.columns)
        assert all(value.own is None and value.place == 0 for row in part.rows for value in row.cells)


def test_tables_are_asked_for_by_paper_number_or_all(library):
    assert papers.requested("drgn/2", library) == ["drgn/2"]
    assert papers.requested("drgn/1,3,4,neid/2", library) == ["drgn/1", "drgn/3", "drgn/4", "neid/2"]
    assert papers.requested("neid, neid/1", library) == ["neid/1", "neid/2"]


@pytest.mark.parametrize("text", ["drgn/5", "7", "drng/2", ""])
def test_a_table_that_no_paper_has_is_refused_with_the_nearest_name(text, library):
    with pytest.raises(LookupError, match=r"did you mean|there are"):
        papers.requested(text, library)


DECLARED = """
paper = "P"
source = "somewhere"
[methods]
[datasets.D]
[metrics]
M = { better = "higher", unit = "dB" }
[tables.1]
title = "T"
protocol = "native-8bit"
rows = ["A", "B"]
[[tables.1.parts]]
printed = "Table 1"
datasets = ["D"]
metrics = ["M"]
"""


def printed(**better: str) -> papers.Values:
    return {("P", "Table 1"): {("D", row, "M"): papers.Printed("1.0", "dB", way, "") for row, way in better.items()}}


def read(folder: Path, text: str, values: papers.Values) -> papers.Paper:
    (folder / "p.toml").write_text(text)
    return papers.read_paper(folder / "p.toml", values)


def test_a_declaration_that_agrees_with_the_printed_values_is_read(tmp_path):
    assert read(tmp_path, DECLARED, printed(A="higher", B="higher")).tables["1"].rows == ("A", "B")


@pytest.mark.parametrize(
    ("text", "values", "said"),
    [
        (DECLARED, printed(A="higher", B="lower"), r"tables\.1, part 1: D / B / M: .* says lower"),
        (DECLARED, printed(A="higher", B="higher", C="higher"), r"D / C / M of reported\.csv is in no table"),
        (DECLARED + DECLARED[DECLARED.index("[[") :], printed(A="higher"), r"D / A / M .* is shown more than once"),
        (DECLARED.replace('["M"]', '["N"]'), printed(A="higher"), "'N' is not declared; there are M"),
        (DECLARED.replace("title", "titel"), printed(A="higher"), "titel"),
        (DECLARED + "[[", printed(A="higher"), r"p\.toml"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_place(text, values, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        read(tmp_path, text, values)


HEADER = ",".join(papers.HEADER)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["P,T,D,A,M,many,dB,yes,"], r":2: 'many' is no number"),
        (["P,T,D,A,M,1,dB,maybe,"], r":2: higher_is_better = 'maybe'"),
        (["P,T,D,A,M,1,dB,yes,", "P,T,D,A,M,2,dB,yes,"], r":3: .* twice"),
    ],
)
def test_a_wrong_line_of_printed_values_is_refused(lines, said, tmp_path):
    (tmp_path / "r.csv").write_text("\n".join([HEADER, *lines]))
    with pytest.raises(ValueError, match=said):
        papers.read_reported(tmp_path / "r.csv")


def test_printed_values_are_taken_over_with_plain_line_ends(tmp_path):
    (tmp_path / "r.csv").write_bytes(f'{HEADER}\r\nP,T,D,"A",M,1.50,dB,yes,"a, b"\r\n'.encode())
    assert papers.normalised(tmp_path / "r.csv") == f'{HEADER}\nP,T,D,A,M,1.50,dB,yes,"a, b"\n'


def test_the_committed_values_are_those_of_the_specification(shared_data):
    source = shared_data.parent / "spec" / papers.REPORTED
    if not source.is_file():
        pytest.skip(f"{source} is not on this machine")
    committed = (ROOT / "reports" / papers.REPORTED).read_text(encoding="utf-8")
    assert papers.normalised(source) == committed


def test_a_run_on_lol_stands_beside_the_papers_lol(library):
    run = a_run({column("lol", "psnr"): {"input": 7.77, "lime": 16.587, "gamma": 13.28}})
    [part] = table(library, "neid/1", run).parts
    lime = cell(part, "LIME", "PSNR")
    # NEID, Table 1 prints 16.76 for LIME.
    assert (lime.printed, lime.own, lime.n) == ("16.76", 16.587, 15)
    assert lime.difference == pytest.approx(-0.173)
    assert [row.title for row in part.rows if not row.in_paper] == ["INPUT", "GAMMA"]
    assert not [note for note in part.columns[0].notes if "differs" in note]


def test_pictures_seen_in_training_are_said_beside_the_value(library):
    run = a_run({column("lol", "psnr"): {"neid": 20.0, "lime": 16.587}})
    seen = (Copy("1", "2", 0, False), Copy("22", "22", 0, True))
    run = dataclasses.replace(run, table=leakage.marked(run.table, [Leak(("neid",), "lol", "", "", 15, seen)]))
    [part] = table(library, "neid/1", run).parts
    said = "the method has seen 2 of 15 pictures of lol in training (1 as near copies)"
    assert cell(part, "NEID", "PSNR").own_notes == (said,)
    assert cell(part, "LIME", "PSNR").own_notes == ()


def test_other_sets_of_the_same_family_stay_apart(library):
    # LOL1000 is synthetic; eval15 is not.
    run = a_run({column("lol", "psnr"): {"drgn": 17.0, "lime": 16.0}})
    assert all(
        value.own is None for part in table(library, "drgn/2", run).parts for row in part.rows for value in row.cells
    )


def test_a_protocol_a_set_and_a_number_of_pictures_that_are_not_the_papers_are_said(library):
    run = a_run({column("lol", "psnr"): {"jcrnet": 18.0}})
    notes = " | ".join(table(library, "jcrnet/1", run).parts[0].columns[0].notes)
    assert "another data set: lol in the place of LOL (100 test pairs)" in notes
    assert "protocol differs: paper 384x384-8bit, this run native-8bit" in notes
    assert "paper 100 pictures, this run 15" in notes
    same = a_run({column("mef", "niqe", "384x384-8bit", higher=False): {"jcrnet": 3.3}}, n=17)
    found = next(one for part in table(library, "jcrnet/2", same).parts for one in part.columns if one.own)
    assert found.notes == ()


def test_a_refitted_metric_does_not_stand_beside_the_published_one(library):
    run = a_run({column("mef", "niqe_refit", higher=False): {"jcrnet": 3.3}})
    [part] = [part for part in table(library, "jcrnet/2", run).parts if "MEF" in part.title]
    assert all(value.own is None for row in part.rows for value in row.cells)
    assert "not measured: mef has no NIQE in this run (niqe)" in {note for one in part.columns for note in one.notes}


def test_fractions_become_the_papers_percent(library):
    protocol = "640x480-8bit+pretrained-yolov4-640x480"
    run = a_run({column("coco_dark", "map50", protocol): {"zero_dce": 0.4285}})
    map50 = cell(table(library, "drgn/4", run).parts[0], "Zero-DCE", "mAP")
    assert (map50.printed, map50.own) == ("41.85", pytest.approx(42.85))
    assert map50.difference == pytest.approx(1.0)


def test_what_is_missing_says_why(library):
    run = a_run({column("lol", "psnr"): {"neid": None, "lime": 16.0, "input": 7.0}})
    [part] = table(library, "neid/1", run).parts
    rows = {row.title: row for row in part.rows}
    assert cell(part, "NEID", "PSNR").own_notes == ("not measured: no weights",)
    assert rows["KinD"].notes == (beside.NOT_IN_PROJECT,)
    assert [one.metric for one in part.columns if one.own] == ["PSNR"]
    assert part.columns[1].notes == ("not measured: lol has no SSIM in this run (ssim)",)
    ablation = {row.title: row for row in table(library, "neid/2", run).parts[0].rows}
    assert ablation["LE+DR"].notes == (beside.NOT_IN_RUN,)


def test_a_missing_printed_value_is_another_gap(library):
    part = table(library, "drgn/4", NOTHING).parts[0]
    assert cell(part, "Input", "mAP").printed_notes == (beside.NOT_PRINTED,)
    assert beside.NOT_PRINTED not in cell(part, "Input", "PSNR").printed_notes


def test_errors_of_the_papers_stand_at_their_values_and_common_notes_once(library):
    # JCRNet prints 23.318 dB of w/o IAS on LOL and on COCO.
    lol = table(library, "jcrnet/4", NOTHING).parts[0]
    assert cell(lol, "w/o IAS", "PSNR").printed_notes == ("same PSNR printed for LOL and COCO",)
    [neid] = table(library, "neid/1", NOTHING).parts
    assert "every printed value: test split not stated" in neid.notes
    assert not [note for row in neid.rows for value in row.cells for note in value.printed_notes]


def test_ablations_leave_other_methods_out(library):
    run = a_run({column("lol", "psnr"): {"neid": 19.0, "neid:le": 18.0, "lime": 16.0}})
    [part] = table(library, "neid/2", run).parts
    assert [row.title for row in part.rows] == ["U-net", "LE", "LE+DR", "LE+DR+FF"]
    assert cell(part, "LE", "PSNR").own == 18.0


def test_a_folder_and_a_users_method_are_bound_by_name_or_by_their_labels(library):
    run = a_run({column("folder:x", "psnr", label="x"): {"outputs:k": 20.0, "drgn": 19.0}})
    bound = table(library, "drgn/2", run, "LOL1000=folder:x", "KinD=outputs:k").parts[1]
    assert cell(bound, "KinD", "PSNR").own == 20.0
    alike = a_run({column("folder:/d/LOL1000", "psnr", label="LOL1000"): {"drgn": 19.0, "kind": 20.0}})
    part = table(library, "drgn/2", alike).parts[1]
    assert (cell(part, "DRGN", "PSNR").own, cell(part, "KinD", "PSNR").own) == (19.0, 20.0)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("LOL1000", "expected NAME=OURS"),
        ("LOL100=lol", "did you mean 'LOL1000'"),
        ("LOL1000=lool", "did you mean 'lol'"),
    ],
)
def test_a_binding_that_names_nothing_is_refused(word, said, library):
    run = a_run({column("lol", "psnr"): {"drgn": 19.0}})
    with pytest.raises((ValueError, LookupError), match=said):
        table(library, "drgn/2", run, word)


def test_an_average_is_the_unweighted_mean_and_needs_every_set(library):
    sets = {"Test148": 20.0, "LOL1000": 18.0, "VOC144": 22.6}
    run = a_run({column(f"folder:{name}", "psnr", label=name): {"drgn": mean} for name, mean in sets.items()})
    average = cell(table(library, "drgn/2", run).parts[3], "DRGN", "PSNR")
    assert (average.printed, average.own, average.low) == ("21.05", pytest.approx(20.2), None)
    two = a_run({column(f"folder:{name}", "psnr", label=name): {"drgn": 20.0} for name in ("Test148", "VOC144")})
    part = table(library, "drgn/2", two).parts[3]
    assert cell(part, "DRGN", "PSNR").own is None
    assert any("needs LOL1000" in note for note in part.columns[0].notes)


def speed_file(folder: Path) -> Path:
    """As `bench speed` writes it, with round figures."""
    cost = {"label": "DRGN", "precision": "float32", "latency_ms": 1.0, "latency_iqr_ms": 0.1, "memory_mib": 1.0}
    methods = [
        {**cost, "method": "drgn", "parameters": 4750000, "macs": 217.4e9, "latency_mean_ms": 250.0, "fps": 4.0},
        {**cost, "method": "lime", "parameters": None, "macs": None, "latency_mean_ms": 500.0, "fps": 2.0},
    ]
    content = {"size": "384x384", "batch": 1, "pictures": 100, "device": "cuda", "device_name": "Chip", "threads": 1}
    content |= {"versions": {"torch": "2"}, "methods": [{**one, "reason": ""} for one in methods]}
    path = folder / "speed.json"
    path.write_text(json.dumps(content))
    return path


def test_costs_come_from_the_file_of_bench_speed(library, tmp_path):
    part = table(library, "drgn/2", NOTHING, speed=speed_file(tmp_path)).parts[4]
    assert cell(part, "DRGN", "Params").own == pytest.approx(4.75)
    assert cell(part, "DRGN", "Time").own == pytest.approx(0.25)
    assert cell(part, "DRGN", "FLOPs (MACs)").difference == pytest.approx(217.4 - 110.59)
    assert cell(part, "LIME", "Params").own_notes == ("not measured: no network",)
    # Times have no interval to separate them by.
    assert {row.cells[1].place for row in part.rows} == {0}


def test_costs_of_another_size_are_another_protocol(library, tmp_path):
    path = speed_file(tmp_path)
    path.write_text(path.read_text().replace("384x384", "600x400"))
    notes = table(library, "jcrnet/7", NOTHING, speed=path).parts[0].columns[0].notes
    assert "protocol differs: paper 384x384, this run 600x400" in notes


@pytest.mark.parametrize("text", ["{}", "[", '{"methods": 3}'])
def test_a_file_that_bench_speed_did_not_write_is_refused(text, library, tmp_path):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ValueError, match=r"s\.json is not what `bench speed --out` writes"):
        table(library, "drgn/2", NOTHING, speed=tmp_path / "s.json")


PSNR = column("lol", "psnr")


def placed(means: Means, higher: bool = True, **marks: str) -> dict[str, tuple[int, bool]]:
    one = dataclasses.replace(PSNR, higher_is_better=higher)
    return beside.places(list(means), one, higher, beside.Run(a_run({one: means}, **marks).table, {}))


def test_separated_methods_have_places_and_the_last_has_none():
    assert placed({"a": 10.0, "b": 20.0, "c": 18.0, "d": 14.0, "e": 5.0}, b="best") == {
        "b": (1, False), "c": (2, False), "d": (3, False),
    }  # fmt: skip
    assert placed({"a": 3.0, "b": 1.0}, higher=False, b="best") == {"b": (1, False)}
    assert placed({"a": 3.0}) == {}


def test_overlapping_intervals_share_a_place_and_use_up_those_behind():
    # Intervals reach 0.5 to either side: 18.0 and 17.2 overlap, 16.0 is apart from both.
    assert placed({"a": 20.0, "b": 18.0, "c": 17.2, "d": 16.0, "e": 5.0}, a="best") == {
        "a": (1, False), "b": (2, True), "c": (2, True),
    }  # fmt: skip
    assert placed({"a": 20.0, "b": 18.0, "c": 16.0, "d": 15.5, "e": 5.0}, a="tie", b="tie") == {
        "a": (1, True), "b": (1, True), "c": (3, True), "d": (3, True),
    }  # fmt: skip


def test_a_paired_test_decides_before_intervals_do():
    run = a_run({PSNR: {"a": 20.0, "b": 18.0, "c": 17.9, "d": 5.0}}, a="best")
    # On every picture b is a little better than c.
    apart = Comparison(PSNR, "c", "b", 15, 0, 0, 15, "wilcoxon", 0.001, 0.01, -1.0, -0.1)
    far = [Comparison(PSNR, first, "d", 15, 15, 0, 0, "wilcoxon", 0.001, 0.01, 1.0, 9.0) for first in "bc"]
    tested = dataclasses.replace(run.table, pairwise=(apart, *far))
    assert beside.places(list("abcd"), PSNR, True, beside.Run(tested, {})) == {
        "a": (1, False), "b": (2, False), "c": (3, False),
    }  # fmt: skip


def test_among_the_rows_of_an_ablation_the_first_place_needs_no_mark_of_the_whole_run():
    run = a_run({PSNR: {"best": 30.0, "a": 20.0, "b": 10.0}}, best="best")
    assert beside.places(["a", "b"], PSNR, True, beside.Run(run.table, {})) == {"a": (1, False)}


Bench = Callable[..., str]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)

    def run(*words: str, status: int = Exit.OK) -> str:
        done = CliRunner().invoke(app, list(words), catch_exceptions=False)
        assert done.exit_code == status, done.output
        return " ".join(done.output.split())

    return run


def test_the_command_writes_every_format_and_prints_ours_beside_the_printed_values(bench, pairs, tmp_path):
    folder = f"folder:{pairs}"
    chosen = ("--methods", "input,lime", "--datasets", folder, "--metrics", "psnr", "--reports", "csv")
    bench("run", *chosen, "--device", "cpu", "--out", "r")
    said = bench("report", "r", "--table", "neid/1,2", "--bind", f"LOL={folder}")
    assert "(16.76)" in said and "(22.83)" in said
    written = {path.name for path in (tmp_path / "r" / "papers").iterdir()}
    assert written == {f"neid-{number}.{ending}" for number in (1, 2) for ending in ("html", "tex", "md", "csv")}
    with open(tmp_path / "r" / "papers" / "neid-1.csv", newline="") as stream:
        [lime] = [row for row in csv.DictReader(stream) if (row["method"], row["metric"]) == ("LIME", "PSNR")]
    with open(tmp_path / "r" / "summary.csv", newline="") as stream:
        [mean] = [row["mean"] for row in csv.DictReader(stream) if row["method"] == "lime"]
    assert (lime["printed"], lime["ours"], lime["our_dataset"]) == ("16.76", mean, folder)


def test_words_that_name_nothing_are_answered_before_anything_is_read(bench):
    assert "no table is called 'drgn/9'" in bench("report", "nowhere", "--table", "drgn/9", status=Exit.USAGE)
    assert "table format" in bench("report", "nowhere", "--table", "drgn/2", "--reports", "docx", status=Exit.USAGE)
    assert "are for --table" in bench("report", "nowhere", "--bind", "A=B", status=Exit.USAGE)


def test_the_list_says_what_each_table_needs(bench):
    said = bench("list", "tables")
    assert all(name in said for name in TABLES)
    header, lines = papers.listing()
    needs = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert needs["drgn/1"]["data sets"] == "LOL1000=folder:DIR"
    assert needs["drgn/1"]["methods here"] == (
        "input, drgn:wo_dlda, drgn:wo_msr, drgn:wo_kl, drgn:wo_ssim, drgn (6 of 6 rows)"
    )
    assert needs["drgn/4"]["printed"] == "47"
    assert needs["drgn/4"]["protocol"] == "640x480-8bit, 640x480-8bit+pretrained-yolov4-640x480"
    assert needs["jcrnet/7"]["data sets"] == "--speed FILE of bench speed"
