"""A blind study: what the page hides, what the key keeps, and what counts of the files that come back."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import tempfile
from base64 import b64decode
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from bench import image, study
from bench.cli import Exit, app
from bench.contracts import MethodRow
from bench.study import SCALES, Key, Shown

Run = Callable[..., Result]
METHODS = ("gamma:2.2", "clahe")
STEMS = ("kitchen_4711", "harbour_0815", "attic_1234", "meadow_5678")


def bench(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three methods over two folders of two pictures, one of them larger than the page's pictures."""
    place = tmp_path_factory.mktemp("secret_place")
    generator = torch.Generator().manual_seed(0)
    for folder, stems in (("lamps", STEMS[:2]), ("stars", STEMS[2:])):
        (place / folder).mkdir()
        for stem in stems:
            size = (600, 1500) if stem == STEMS[3] else (48, 64)
            coarse = torch.rand(1, 3, 6, 8, generator=generator)
            picture = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)[0] * 0.4
            image.write_png(place / folder / f"{stem}.png", picture)
    (place / "bench.toml").write_text("")
    done = bench("run", "--methods", f"input,{','.join(METHODS)}", "--metrics", "none", "--tasks", "none", "--out",
                 place / "run", "--datasets", f"folder:{place / 'lamps'},folder:{place / 'stars'}", "--config",
                 place / "bench.toml")  # fmt: skip
    assert done.exit_code == Exit.OK, done.output
    return place / "run"


@pytest.fixture(scope="module")
def packed(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    done = bench("study", "pack", run_folder, "--images", 4, "--show-low", "--out", folder)
    assert done.exit_code == Exit.OK, done.output
    assert "8 pictures (2 methods x 4)" in done.output
    return folder


def page_data(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="study">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def webp_of(source: str) -> bytes:
    return b64decode(source.removeprefix("data:image/webp;base64,"))


def test_the_page_names_no_method_and_no_file(packed, run_folder):
    page = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", (packed / "study.html").read_text("utf-8")).lower()
    hidden = ["gamma", "2.2", "clahe", "lamps", "stars", "secret_place", "folder:", *STEMS]
    assert [name for name in hidden if name in page] == []
    assert str(run_folder.parent).lower() not in page


def test_the_page_loads_nothing(packed):
    page = (packed / "study.html").read_text("utf-8")
    assert not re.search(r"https?:|@import|url\(|<link(?! rel=\"icon\" href=\"data:,\")", page)
    assert "default-src 'none'" in page


def test_pictures_carry_nothing_but_pixels(packed):
    data = page_data(packed / "study.html")
    files = [webp_of(one["source"]) for one in data["pictures"]] + [webp_of(low) for low in data["lows"]]
    assert len(files) == 8 + 4
    for file in files:
        chunks, at = [], 12
        while at < len(file):
            name, size = struct.unpack("<4sI", file[at : at + 8])
            chunks.append(name)
            at += 8 + size + size % 2
        assert chunks == [b"VP8 "]


def test_large_pictures_are_reduced_and_small_ones_kept(packed):
    data = page_data(packed / "study.html")
    sizes = {Image.open(io.BytesIO(webp_of(one["source"]))).size for one in data["pictures"]}
    assert sizes == {(64, 48), (1200, 480)}


def test_the_key_tells_what_each_code_shows(packed, run_folder):
    key = json.loads((packed / "key.json").read_text("utf-8"))
    data = page_data(packed / "study.html")
    assert key["study"] == data["study"]
    assert {one["code"] for one in key["pictures"]} == {one["code"] for one in data["pictures"]}
    assert {(one["method"], one["image"]) for one in key["pictures"]} == {(m, s) for m in METHODS for s in STEMS}
    source = {one["code"]: webp_of(one["source"]) for one in data["pictures"]}
    for one in key["pictures"]:
        file = source[one["code"]]
        assert sha256(file).hexdigest() == one["sha256"]
        [kept] = run_folder.glob(f"views/*/{one['method'].replace(':', '*')[:5]}*/{one['image']}.webp")
        [shown, expected] = [np.asarray(Image.open(place).convert("RGB").resize((64, 48)), dtype=float)
                             for place in (io.BytesIO(file), kept)]  # fmt: skip
        assert np.abs(shown - expected).mean() < 4  # 8-bit levels, two lossy codings; the two methods differ by more


def test_codes_stand_in_an_order_that_tells_nothing(packed):
    codes = [one["code"] for one in page_data(packed / "study.html")["pictures"]]
    assert codes == sorted(codes)
    assert all(re.fullmatch(r"[b-df-hj-np-tv-z2-9]{6}", code) for code in codes)


def test_a_picture_and_its_low_light_photograph_belong_together(packed):
    key = study.read_key(packed / "key.json")
    data = page_data(packed / "study.html")
    scene = {one.code: one.image for one in key.pictures}
    low = {one["code"]: one["low"] for one in data["pictures"]}
    assert len({(scene[code], low[code]) for code in low}) == 4
    large = [code for code in low if scene[code] == STEMS[3]]
    assert {Image.open(io.BytesIO(webp_of(data["lows"][low[code]]))).size for code in large} == {(1200, 480)}


def test_the_seed_decides_pictures_and_codes(packed, run_folder, tmp_path):
    design = study.Design(images=2, seed=5)
    one, other = (study.pack(run_folder, tmp_path / name, design).key for name in "ab")
    assert one == other
    assert len({shown.dataset for shown in one.pictures}) == 2  # drawn evenly from both folders
    different = study.pack(run_folder, tmp_path / "c", study.Design(images=2, seed=6)).key
    assert {shown.code for shown in different.pictures}.isdisjoint(shown.code for shown in one.pictures)


def test_the_input_is_shown_only_when_asked_for(run_folder, tmp_path):
    key = study.pack(run_folder, tmp_path, study.Design(images=1, methods=("clahe", "input"))).key
    assert [row.method for row in key.methods] == ["clahe", "input"]
    assert "as they are or brightened" in (tmp_path / "study.html").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--images", 5], "kept 4 pictures that every method has, 5 are wanted"),
        (["--images", 5], "--thumbnails 5"),
        (["--methods", "clahe,lime"], "--methods lime: not in the run, which has input, gamma:2.2, clahe"),
        (["--scale", "stars"], "--scale stars does not exist; there are drgn, jcrnet"),
    ],
)
def test_what_cannot_be_packed_is_said(run_folder, tmp_path, words, says):
    done = bench("study", "pack", run_folder, "--out", tmp_path / "s", "--images", 1, *words)
    assert done.exit_code == Exit.USAGE
    assert says in done.output.replace("\n", " ")
    assert not (tmp_path / "s").exists()


def test_a_key_is_never_overwritten(packed, run_folder):
    before = (packed / "key.json").read_bytes()
    done = bench("study", "pack", run_folder, "--images", 1, "--out", packed)
    assert done.exit_code == Exit.USAGE
    assert "belongs to a study" in done.output
    assert (packed / "key.json").read_bytes() == before


# Scoring: two methods, three pictures, codes a1 … b3.


def make_key(raters: int | None = None, scale: str = "drgn", pictures: int = 3, datasets: int = 1) -> Key:
    methods = (MethodRow("alpha_net", "Alpha", "paired"), MethodRow("beta:2", "Beta", "classical"))
    shown = tuple(
        Shown(f"{row.method[0]}{place}", row.method, f"set{place % datasets}", f"p{place}", "")
        for row in methods
        for place in range(1, pictures + 1)
    )
    names = {f"set{number}": f"Set {number}" for number in range(datasets)}
    return Key("5tudy", scale, 0, raters, {"protocol": "native-8bit"}, methods, names, shown)


def sheet(scores: Any, rater: str = "Anna", **changes: Any) -> dict[str, Any]:
    if isinstance(scores, dict):
        scores = [{"picture": code} | given for code, given in scores.items()]
    return {"format": study.SCORES_FORMAT, "study": "5tudy", "rater": rater, "scores": scores} | changes


@pytest.fixture
def sent(tmp_path: Path) -> Callable[..., list[Path]]:
    """Writes what raters send as 0.json, 1.json …; text as it is."""

    def write(*documents: Any) -> list[Path]:
        files = []
        for number, document in enumerate(documents):
            files.append(tmp_path / f"{number}.json")
            files[-1].write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return files

    return write


FULL = {code: {"naturalness": 3, "colour": 4.5} for code in ("a1", "a2", "a3", "b1", "b2", "b3")}


def values(outcome: study.Outcome) -> dict[tuple[str, str, str], float]:
    return {(one.rater, one.shown.code, one.scale.name): one.value for one in outcome.ratings if one.value is not None}


def test_a_full_file_counts_whole(sent):
    outcome = study.score(sent(sheet(FULL)), make_key())
    assert outcome.problems == ()
    assert values(outcome) == {("Anna", code, name): score for code in FULL for name, score in FULL[code].items()}


def test_the_key_survives_its_file(tmp_path):
    key = make_key(raters=4)
    (tmp_path / "key.json").write_text(json.dumps({"format": study.KEY_FORMAT, **asdict(key)}))
    assert study.read_key(tmp_path / "key.json") == key


@pytest.mark.parametrize(
    ("text", "says"),
    [("{}", "is no key of a study"), ("[1]", "holds no JSON object"), ("{", "is no JSON"),
     (json.dumps({"format": study.KEY_FORMAT}), "is damaged")],
)  # fmt: skip
def test_another_file_is_no_key(tmp_path, text, says):
    (tmp_path / "k.json").write_text(text)
    with pytest.raises(ValueError, match=f"k.json {says}"):
        study.read_key(tmp_path / "k.json")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{not json", "is no JSON"),
        ("[]", "holds no JSON object"),
        ('{"format": 1, "format": 2}', "names 'format' twice"),
        ('{"format": NaN}', "NaN is not a number"),
        ("[" * 100_000, "recursion"),
        (sheet(FULL, format="other"), "holds no scores of a study page"),
        (sheet(FULL, study="0ther"), "belongs to study \"0ther\", the key to '5tudy'"),
        (sheet(FULL, rater=" "), "names no rater"),
        (sheet(FULL, rater=7), "names no rater"),
        (sheet("none"), "'scores' is no list of objects"),
        (sheet([1, 2]), "'scores' is no list of objects"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
def test_a_bad_file_costs_itself_alone(sent, document, says):
    good, bad = sent(sheet(FULL, "Ben"), document)
    outcome = study.score([bad, good], make_key())
    assert outcome.raters == ["Ben"]
    [problem] = outcome.problems
    assert (problem.file, problem.place) == (str(bad), "")
    assert says in problem.reason


def test_a_key_with_an_unknown_scale_is_damaged(tmp_path):
    (tmp_path / "k.json").write_text(json.dumps({"format": study.KEY_FORMAT, **asdict(make_key()), "scale": "x"}))
    with pytest.raises(ValueError, match="is damaged"):
        study.read_key(tmp_path / "k.json")


def test_a_file_that_is_not_there_or_no_text_costs_itself_alone(sent, tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    outcome = study.score([*sent(sheet(FULL)), tmp_path / "absent.json", tmp_path / "bytes.json"], make_key())
    assert [Path(problem.file).name for problem in outcome.problems] == ["absent.json", "bytes.json"]
    assert outcome.raters == ["Anna"]


def test_a_mark_at_the_beginning_of_the_text_is_no_fault(sent):
    assert study.score(sent("\ufeff" + json.dumps(sheet(FULL))), make_key()).problems == ()


def test_without_any_file_that_counts_there_is_no_result(sent):
    with pytest.raises(ValueError, match=r"no file counts:\n.*0\.json: is no JSON"):
        study.score(sent("{"), make_key())


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (5.5, "5.5 is not between 1 and 5"),
        (0, "0 is not between 1 and 5"),
        (-1, "-1 is not between 1 and 5"),
        (3.3, "3.3 is not on the scale's steps of 0.5"),
        ("4", '"4" is not a number'),
        (True, "true is not a number"),
        (10**400, f"1{'0' * 59} is not between 1 and 5"),
        ([4], "[4] is not a number"),
    ],
)
def test_a_wrong_score_costs_itself_alone(sent, value, says):
    outcome = study.score(sent(sheet(FULL | {"a2": {"naturalness": value, "colour": 2}})), make_key())
    [problem] = outcome.problems
    assert (problem.place, problem.reason) == ("scores[1] (picture a2)", f"naturalness: {says}")
    expected = {("Anna", code, name): score for code in FULL for name, score in FULL[code].items()}
    del expected["Anna", "a2", "naturalness"]
    assert values(outcome) == expected | {("Anna", "a2", "colour"): 2}


def test_an_infinite_score_is_out_of_range(sent):
    text = json.dumps(sheet(FULL)).replace("4.5", "1e999", 1)
    assert "Infinity is not between 1 and 5" in study.score(sent(text), make_key()).problems[0].reason


def test_the_scale_of_ten_takes_whole_numbers(sent):
    scores = {"a1": {"overall": 10}, "a2": {"overall": 1}, "a3": {"overall": 7.5}, "b1": {"overall": 11}}
    outcome = study.score(sent(sheet(scores)), make_key(scale="jcrnet"))
    assert values(outcome) == {("Anna", "a1", "overall"): 10, ("Anna", "a2", "overall"): 1}
    assert [problem.reason.split()[1] for problem in outcome.problems] == ["7.5", "11"]


def test_missing_scores_are_gaps_and_not_faults(sent):
    scores = FULL | {"a1": {"naturalness": None, "colour": 2}}
    del scores["b3"]
    outcome = study.score(sent(sheet(scores)), make_key())
    assert outcome.problems == ()
    missing = [(one.shown.code, one.scale.name) for one in outcome.ratings if one.error == "not scored"]
    assert missing == [("a1", "naturalness"), ("b3", "naturalness"), ("b3", "colour")]
    lines = study.overview(outcome)[1]
    assert [line[:5] for line in lines] == [["Naturalness", "1", "4", "2", "0"], ["Colour", "1", "5", "1", "0"]]


def test_a_code_that_is_not_in_the_key_and_an_unknown_scale_are_named(sent):
    scores = FULL | {"zz": {"colour": 3}, "b3": {"naturalness": 3, "color": 4}}
    outcome = study.score(sent(sheet(scores)), make_key())
    assert [str(problem).partition("0.json, ")[2] for problem in outcome.problems] == [
        "scores[5]: 'color' is no scale of this study (colour, naturalness)",
        'scores[6]: picture "zz" is not in the key',
    ]


def test_a_code_scored_twice_differently_does_not_count(sent):
    entries = [{"picture": code} | given for code, given in FULL.items()]
    entries += [{"picture": "a1", "naturalness": 5, "colour": 4.5}]
    outcome = study.score(sent(sheet(entries)), make_key())
    assert ("Anna", "a1", "naturalness") not in values(outcome)
    assert values(outcome)["Anna", "a1", "colour"] == 4.5
    assert [problem.reason for problem in outcome.problems] == [
        "naturalness: scored 2 times: 3, 5", "colour: the same score twice; counted once"
    ]  # fmt: skip
    assert outcome.problems[0].place == "scores[0] and scores[6] (picture a1)"


def test_two_different_files_of_one_rater_count_neither(sent):
    one, other, third = sent(sheet(FULL), sheet(FULL | {"a1": {"colour": 1}}, "  anna "), sheet(FULL, "Ben"))
    outcome = study.score([one, other, third], make_key())
    assert outcome.raters == ["Ben"]
    assert [(problem.file, str(other) in problem.reason or str(one) in problem.reason) for problem in outcome.problems]
    assert [problem.file for problem in outcome.problems] == [str(one), str(other)]
    assert str(other) in outcome.problems[0].reason and str(one) in outcome.problems[1].reason


def test_a_copy_of_a_file_counts_once(sent):
    one, copy = sent(sheet(FULL, saved="10:00"), sheet(FULL, saved="10:05"))
    outcome = study.score([one, copy], make_key())
    assert len(values(outcome)) == 12
    [problem] = outcome.problems
    assert problem.file == str(copy) and f"as in {one}; counted once" in problem.reason


def test_numbered_raters_are_checked_and_the_absent_named(sent):
    outcome = study.score(sent(sheet(FULL, "2"), sheet(FULL, "5"), sheet(FULL, "Anna")), make_key(raters=3))
    assert outcome.raters == ["2"]
    assert outcome.absent == ["1", "3"]
    assert [problem.reason for problem in outcome.problems] == [
        "rater '5' is no number from 1 to 3", "rater 'Anna' is no number from 1 to 3"
    ]  # fmt: skip


def overall(a: tuple[Any, ...], b: tuple[Any, ...], rater: str) -> dict[str, Any]:
    rows = {f"a{place}": {"overall": value} for place, value in enumerate(a, 1)}
    rows |= {f"b{place}": {"overall": value} for place, value in enumerate(b, 1)}
    return sheet(rows, rater)


def test_means_are_of_what_was_given(sent):
    files = sent(overall((2, 4, 9), (8, None, 8), "A"), overall((4, None, None), (6, None, 9), "B"))
    outcome = study.score(files, make_key(scale="jcrnet"))
    [column] = outcome.table.columns
    first, second = (outcome.table.cell(row, column) for row in outcome.table.rows)
    # alpha_net: pictures 3, 4 and 9; beta: 7 and 8.5, its second picture was scored by nobody.
    assert first.mean == pytest.approx((3 + 4 + 9) / 3, abs=1e-12)
    assert second.mean == pytest.approx((7 + 8.5) / 2, abs=1e-12)
    assert (first.n, second.n, second.failed) == (3, 2, 1)
    assert "no rater scored it" in second.reason
    assert [(one.image, one.value) for one in outcome.records if one.method == "alpha_net"] == [
        ("p1", 3.0), ("p2", 4.0), ("p3", 9.0)
    ]  # fmt: skip
    assert {one.metric for one in outcome.records} == {"study:overall"}
    assert column.protocol == "study-5tudy-2-raters"
    rows = [dict(zip(study.SUMMARY_HEADER, row, strict=True)) for row in study.summary_rows(outcome)]
    assert [(row["ratings"], row["missing"], row["raters"]) for row in rows] == [(4, 2, 2), (4, 2, 2)]
    assert rows[0]["sd"] == pytest.approx(np.std([2, 4, 9, 4], ddof=1), abs=1e-12)


def crossed(seed: int, raters: int, pictures: int) -> np.ndarray[Any, Any]:
    """(raters, pictures) whole scores from 1 to 10 with an effect of each rater and each picture."""
    generator = np.random.default_rng(seed)
    effects = generator.normal(0, 1.5, (raters, 1)) + generator.normal(0, 1, (1, pictures))
    scores = 5.5 + effects + generator.normal(0, 0.5, (raters, pictures))
    return np.clip(np.round(scores), 1, 10)


def test_the_interval_draws_raters_and_pictures(sent):
    scores = crossed(3, raters=8, pictures=12)
    files = sent(*(overall(tuple(row), tuple(row[::-1]), f"R{place}") for place, row in enumerate(scores)))
    outcome = study.score(files, make_key(scale="jcrnet", pictures=12))
    cell = outcome.table.cell(outcome.table.rows[0], outcome.table.columns[0])
    assert cell.mean == pytest.approx(scores.mean(), abs=1e-12)
    # An own pigeonhole bootstrap, by indexing: rows and columns drawn independently.
    generator = np.random.default_rng(11)
    drawn = [scores[np.ix_(generator.integers(0, 8, 8), generator.integers(0, 12, 12))].mean() for _ in range(4000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (cell.ci_low, cell.ci_high) == (pytest.approx(low, abs=0.12), pytest.approx(high, abs=0.12))
    pictures_alone = [scores[:, generator.integers(0, 12, 12)].mean() for _ in range(4000)]
    assert high - low > 1.3 * np.ptp(np.quantile(pictures_alone, [0.025, 0.975]))


@pytest.mark.parametrize(("raters", "mark"), [(5, "tie"), (6, "best")])
def test_fewer_than_six_raters_separate_nobody(sent, raters, mark):
    files = sent(*(overall((9, 8) * 4, (2, 1) * 4, f"R{place}") for place in range(raters)))
    outcome = study.score(files, make_key(scale="jcrnet", pictures=8))
    [column] = outcome.table.columns
    assert outcome.table.cells["alpha_net", column].mark == mark


def test_raters_who_disagree_alike_for_all_methods_still_separate_them(sent):
    # Every rater puts Alpha one point above Beta; levels of raters differ by more than that.
    files = sent(*(overall((level + 1,) * 8, (level,) * 8, f"R{level}") for level in range(1, 9)))
    outcome = study.score(files, make_key(scale="jcrnet", pictures=8))
    [column] = outcome.table.columns
    best, other = (outcome.table.cells[method, column] for method in ("alpha_net", "beta:2"))
    assert best.mark == "best" and best.ci_low < other.ci_high


def test_alpha_of_a_study_is_over_every_picture_shown(sent):
    # 1, 2, 3 by both raters for Alpha; 4, 5, 6 against 4, 5, 7 for Beta: twelve values, alpha by hand.
    files = sent(overall((1, 2, 3), (4, 5, 6), "A"), overall((1, 2, 3), (4, 5, 7), "B"))
    outcome = study.score(files, make_key(scale="jcrnet"))
    flat = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 7]
    expected = sum((one - other) ** 2 for one in flat for other in flat) / (12 * 11)
    assert outcome.alphas["overall"].value == pytest.approx(1 - (2 * 1 / 12) / expected, abs=1e-12)
    assert f"Krippendorff's alpha (interval) {1 - (1 / 6) / expected:.2f}" in outcome.table.columns[0].definition


def test_one_rater_has_no_alpha(sent):
    outcome = study.score(sent(overall((1, 2, 3), (4, 5, 6), "A")), make_key(scale="jcrnet"))
    assert outcome.alphas["overall"].value is None
    assert "alpha undefined" in outcome.table.columns[0].definition


def test_pictures_of_several_sets_make_one_column(sent):
    outcome = study.score(sent(overall((1, 2, 3), (4, 5, 6), "A")), make_key(scale="jcrnet", datasets=2))
    [column] = outcome.table.columns
    assert (column.dataset, column.dataset_label) == ("study", "User study (Set 0, Set 1)")
    assert {one.image for one in outcome.records} == {"set1/p1", "set0/p2", "set1/p3"}


def test_the_command_writes_records_tables_and_plot(sent, tmp_path, monkeypatch):
    # Looking through all fonts of a machine takes long; the list is kept between test runs, not in the user's cache.
    monkeypatch.setenv("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / "lowlight-bench-tests-matplotlib"))
    key = make_key()
    (tmp_path / "key.json").write_text(json.dumps({"format": study.KEY_FORMAT, **asdict(key)}))
    good = sent(sheet(FULL, "\ud800"), sheet(FULL | {"a1": {"naturalness": 4, "colour": 9}}, "B$n_{"))
    done = bench("study", "score", *good, "--key", tmp_path / "key.json", "--out", tmp_path / "out")
    assert done.exit_code == Exit.FAILURES
    assert "9 is not between 1 and 5" in " ".join(done.output.split())
    with (tmp_path / "out" / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 6 * 2
    assert list(rows[0])[:7] == ["method", "dataset", "image", "metric", "rater", "value", "error"]
    [wrong] = [row for row in rows if row["error"]]
    assert (wrong["method"], wrong["image"], wrong["rater"], wrong["value"]) == ("alpha_net", "p1", "B$n_{", "")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"scores.csv", "study.csv", "agreement.csv", "problems.csv", "distribution.png",
                     "distribution.pdf", "summary.csv", "records.csv", "tables.md", "tables.tex",
                     "manifest.json"}  # fmt: skip
    with (tmp_path / "out" / "summary.csv").open(newline="") as stream:
        [mean] = [row["mean"] for row in csv.DictReader(stream)
                  if (row["method"], row["metric"]) == ("alpha_net", "study:naturalness")]  # fmt: skip
    assert float(mean) == pytest.approx((3.5 + 3 + 3) / 3, abs=1e-12)
    assert (tmp_path / "out" / "distribution.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(tmp_path / "out" / "distribution.png") as plot:
        assert min(plot.size) > 300


def test_a_run_is_not_overwritten_by_a_study(sent, tmp_path, run_folder):
    outcome = study.score(sent(sheet(FULL)), make_key())
    before = (run_folder / "tables.md").read_bytes()
    with pytest.raises(FileExistsError, match="holds a run"):
        study.write(outcome, run_folder, [])
    assert (run_folder / "tables.md").read_bytes() == before


def test_the_scales_are_the_papers() -> None:
    assert [(scale.name, scale.low, scale.high) for scale in SCALES["drgn"]] == [
        ("naturalness", 1, 5),
        ("colour", 1, 5),
    ]
    assert SCALES["jcrnet"][0].choices == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert SCALES["drgn"][0].choices == [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5]
