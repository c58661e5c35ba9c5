"""A value on pictures that were seen in training carries a mark wherever it is printed, and can be refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner, Result

from bench import config, leakage, lineup, provenance, terminal
from bench.cli import Exit, app
from bench.contracts import Cell, Column, Copy, Leak, MethodRow, Record, Table
from bench.contracts import Result as RunResult
from bench.image import write_png
from bench.leakage import LeakError
from bench.plan import plan
from bench.plugins import Spec, load
from bench.store import Store
from bench.training import read_metadata

Run = Callable[..., Result]
TRAIN = [
    "train",
    "zero_dce",
    "--steps",
    "1",
    "--device",
    "cpu",
    "--set",
    "batch_size=2",
    "--set",
    "crop=16",
    "--dataset",
]
PICTURES = ("astronaut", "coffee", "chelsea", "rocket")


def photograph(name: str) -> Tensor:
    from skimage import data

    levels = Image.fromarray(getattr(data, name)()[:400, :600]).resize((96, 64))
    return torch.from_numpy(np.array(levels)).permute(2, 0, 1).float() / 255


def save_pairs(folder: Path, names: dict[str, str]) -> None:
    """Pairs of a photograph and its darker self, by the name of the files."""
    for part, gain in (("low", 0.25), ("high", 1.0)):
        (folder / part).mkdir(parents=True)
        for stem, name in names.items():
            write_png(folder / part / f"{stem}.png", photograph(name) * gain)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs, Zero-DCE trained on them for a step, and other sets to test it on."""
    folder = tmp_path_factory.mktemp("leakage")
    save_pairs(folder / "train", {str(place): name for place, name in enumerate(PICTURES[:3])})
    done = CliRunner().invoke(
        app,
        [*TRAIN, f"folder:{folder / 'train'}", "--held-out", "1", "--out", str(folder / "training")],
        catch_exceptions=False,
    )
    assert done.exit_code == Exit.OK, done.output
    save_pairs(folder / "fresh", {"new": "rocket"})
    save_pairs(folder / "mixed", {"same": "astronaut", "new": "rocket"})
    for part in ("low", "high"):  # brighter, smaller and compressed
        with Image.open(folder / "train" / part / "1.png") as opened:
            brighter = opened.resize((80, 54)).point(lambda level: round(255 * (level / 255) ** 0.7))
            brighter.save(folder / "mixed" / part / "copy.jpg", quality=70)
    return folder


@pytest.fixture
def bench(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `bench` in an empty folder with the trained weights, on one of the folders."""
    monkeypatch.chdir(tmp_path)

    def invoke(command: str, *words: str) -> Result:
        given = [command, *words]
        if command == "run":
            given += ["--metrics", "psnr", "--device", "cpu", "--out", "r", "--thumbnails", "0"]
            given += ["--weights", f"zero_dce={trained / 'training' / 'zero_dce.safetensors'}"]
        return CliRunner().invoke(app, given, catch_exceptions=False)

    return invoke


def said(done: Result) -> str:
    return " ".join(done.output.split())


def test_weights_hold_the_fingerprints_of_pictures_learned_from_and_held_out(trained: Path) -> None:
    told = read_metadata(trained / "training" / "zero_dce.safetensors")
    assert told["held_out"]
    assert sorted(told["seen"]["ids"]) == ["0", "1", "2"]


def test_a_table_marks_what_was_seen_and_says_which_pictures(bench: Run, trained: Path) -> None:
    done = bench("run", "--methods", "gamma,zero_dce", "--datasets", f"folder:{trained / 'mixed'}")
    assert done.exit_code == Exit.OK, done.output
    footnote = "Zero-DCE: 2 of 3 pictures (the same same; near copies copy)"
    assert footnote in said(done)
    again = said(bench("report", "r"))
    assert footnote in again
    lines = {line.split()[0]: line for line in done.output.splitlines() if line.strip()}
    assert "¶" in lines["Zero-DCE"]
    assert "¶" not in lines["Gamma"] + lines["Input"]
    for file, mark in (("tables.md", "<sup>¶</sup>"), ("tables.tex", r"{\P}"), ("report.html", "¶</a>")):
        text = Path("r", file).read_text(encoding="utf-8")
        assert mark in text
        assert footnote in text
    rows = list(csv.DictReader(io.StringIO(Path("r", "summary.csv").read_text(encoding="utf-8"))))
    assert {row["method"]: row["leaked"] for row in rows} == {"input": "0", "gamma": "0", "zero_dce": "2"}
    rows = list(csv.DictReader(io.StringIO(Path("r", "records.csv").read_text(encoding="utf-8"))))
    assert {row["image"]: row["leaked"] for row in rows if row["method"] == "zero_dce"} == {
        "same": "exact",
        "copy": "near",
        "new": "",
    }
    assert {row["leaked"] for row in rows if row["method"] == "gamma"} == {""}
    manifest = json.loads(Path("r", "manifest.json").read_text(encoding="utf-8"))
    assert [(one["methods"], one["copies"]) for one in manifest["leakage"]["leaks"]] == [(["zero_dce"], 2)]


def test_new_pictures_carry_no_mark_anywhere(bench: Run, trained: Path) -> None:
    done = bench("run", "--methods", "zero_dce", "--datasets", f"folder:{trained / 'fresh'}", "--strict")
    assert done.exit_code == Exit.OK, done.output
    files = "".join(path.read_text(encoding="utf-8") for path in Path("r").iterdir() if path.suffix in (".md", ".csv"))
    assert "¶" not in files + done.output
    assert "leaked" not in files


@pytest.mark.parametrize("by", ["flag", "file"])
def test_strict_refuses_with_the_pictures_before_anything_is_computed(bench: Run, trained: Path, by: str) -> None:
    Path("bench.toml").write_text("[run]\nstrict = true\n" if by == "file" else "")
    words = ["--strict"] if by == "flag" else []
    done = bench("run", "--methods", "zero_dce", "--datasets", f"folder:{trained / 'mixed'}", *words)
    assert done.exit_code == Exit.USAGE
    assert "copy (near copy of 1)" in said(done)
    assert "same (the same as 0)" in said(done)
    assert "refused by --strict" in said(done)
    with Store(Path("r")) as store:
        assert store.noted("plan") is None
    if by == "file":
        assert bench("run", "--methods", "input", "--datasets", f"folder:{trained / 'mixed'}").exit_code == Exit.OK
        again = bench("run", "--methods", "zero_dce", "--datasets", f"folder:{trained / 'mixed'}", "--no-strict")
        assert again.exit_code == Exit.OK


def findings(trained: Path, store: Store, method: str = "zero_dce", dataset: str = "mixed") -> leakage.Findings:
    weights = trained / "training" / "zero_dce.safetensors"
    chosen = config.load(
        None,
        {"methods": method, "datasets": f"folder:{trained / dataset}", "metrics": "none"},
        weights=[f"zero_dce={weights}"],
    )
    members = lineup.lineup(chosen, provenance.sha256_of_files)
    return leakage.find(plan(members, chosen.run.protocol, "cpu", 0), store)


def test_a_data_set_is_decoded_for_it_only_once(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path) as store:
        first = findings(trained, store)
        monkeypatch.setattr("bench.fingerprints.of_pair", lambda pair: pytest.fail("decoded again"))
        assert findings(trained, store) == first
        assert [copy.image for copy in first.leaks[0].copies] == ["copy", "same"]


def test_a_picture_that_cannot_be_read_is_no_leak(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "mixed", tmp_path / "mixed")
    shutil.copytree(trained / "training", tmp_path / "training")
    (tmp_path / "mixed" / "low" / "copy.jpg").write_bytes(b"\xff\xd8\xff")
    with Store(tmp_path / "run") as store:
        (leak,) = findings(tmp_path, store).leaks
    assert ([copy.image for copy in leak.copies], leak.pictures) == (["same"], 3)


def rewritten(trained: Path, folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    """The trained weights with other metadata, in `folder`/training, beside the same data sets."""
    source = trained / "training" / "zero_dce.safetensors"
    with safe_open(source, framework="pt") as stored:
        told = json.loads(stored.metadata()["training"])
    change(told)
    (folder / "training").mkdir()
    save_file(load_file(source), folder / "training" / "zero_dce.safetensors", {"training": json.dumps(told)})
    shutil.copytree(trained / "mixed", folder / "mixed")
    shutil.copytree(trained / "train", folder / "train")


def test_of_weights_that_say_nothing_it_is_said_that_nothing_is_known(trained: Path, tmp_path: Path) -> None:
    rewritten(trained, tmp_path, lambda told: told.pop("seen"))
    with Store(tmp_path / "run") as store:
        found = findings(tmp_path, store)
    assert found == leakage.Findings((), ("zero_dce",))
    assert found.warnings() == ["pictures seen in training cannot be told for zero_dce: nothing says which"]
    found.refuse()


def test_methods_that_learn_nothing_are_not_reported(trained: Path, tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        assert findings(trained, store, method="gamma") == leakage.Findings((), ())


def test_a_damaged_list_is_named(trained: Path, tmp_path: Path) -> None:
    rewritten(trained, tmp_path, lambda told: told.update(seen={"ids": ["1"], "prints": "AAAA"}))
    with (
        Store(tmp_path / "run") as store,
        pytest.raises(ValueError, match=r"zero_dce\.safetensors: its list of pictures"),
    ):
        findings(tmp_path, store)


def test_a_training_that_goes_on_from_weights_has_seen_their_pictures(trained: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app,
        [
            *TRAIN,
            f"folder:{trained / 'fresh'}",
            "--set",
            "batch_size=1",
            "--out",
            str(tmp_path),
            "--start",
            str(trained / "training" / "zero_dce.safetensors"),
        ],
        catch_exceptions=False,
    )
    assert done.exit_code == Exit.OK, done.output
    told = read_metadata(tmp_path / "zero_dce.safetensors")
    assert sorted(told["seen"]["ids"]) == ["0", "1", "2", "new"]
    assert "seen" not in told["start"]


def test_weights_without_fingerprints_are_remembered_with_the_right_pictures_only(
    trained: Path, tmp_path: Path
) -> None:
    rewritten(trained, tmp_path, lambda told: told.pop("seen"))
    weights, ledger = tmp_path / "training" / "zero_dce.safetensors", tmp_path / "ledger.json"
    chosen = config.load(None, {})
    with pytest.raises(
        ValueError, match=r"was trained on folder:.*, 2 of them learned from, with another list of files"
    ):
        leakage.remember([weights], f"folder:{tmp_path / 'mixed'}", chosen, ledger)
    assert not ledger.exists()
    assert leakage.remember([weights], f"folder:{tmp_path / 'train'}", chosen, ledger) == 3
    content = json.loads(ledger.read_text())
    assert content["lists"] == {read_metadata(weights)["files"]: f"folder:{tmp_path / 'train'}"}
    assert content["sets"][f"folder:{tmp_path / 'train'}"]["ids"] == ["0", "1", "2"]


def test_the_model_of_a_task_is_guarded_too(tmp_path: Path) -> None:
    chosen = config.load(
        None,
        {"methods": "gamma", "datasets": "nightscenes:train", "limit": 1, "metrics": "none", "tasks": "detection"},
    )
    members = lineup.lineup(chosen, provenance.sha256_of_files)
    with Store(tmp_path) as store:
        planned = plan(members, chosen.run.protocol, "cpu", 0)
        (leak,) = leakage.find(planned, store).leaks
    assert (leak.methods, leak.model, leak.protocol) == (("input", "gamma"), "detection", planned.exams[0].protocol)
    assert [copy.seen for copy in leak.copies] == ["scene-0001"]


PSNR = Column("d", "Dark", "native-8bit", "psnr", "PSNR", True, "dB", 2, "")
AP = Column("d", "Dark", "native-8bit+pretrained-x-640x480", "map", "mAP", True, "", 3, "")
ROWS = (MethodRow("input", "Input", "none"), MethodRow("m", "Mine", "paired"))
OWN = Leak(("m",), "d", "", "", 10, tuple(Copy(str(place), "t", 0, place < 2) for place in range(8)))
MODEL = Leak(("input", "m"), "d", AP.protocol, "detection", 10, (Copy("7", "u", 3, False), Copy("8", "v", 4, False)))


def table(*leaks: Leak) -> Table:
    cells = {(row.method, column): Cell(1.0, 10, 0, 0, 0.5, 1.5, None, 1, "") for row in ROWS for column in (PSNR, AP)}
    return leakage.marked(Table(ROWS, (PSNR, AP), cells), leaks)


def test_the_cells_count_the_pictures_of_every_leak_that_bears_on_them() -> None:
    counts = {(method, column.metric): cell.leaked for (method, column), cell in table(OWN, MODEL).cells.items()}
    # By the method itself 0 to 7, by the detector 7 and 8.
    assert counts == {("input", "psnr"): 0, ("m", "psnr"): 8, ("input", "map"): 2, ("m", "map"): 9}


def test_a_leak_survives_the_store() -> None:
    stored = json.loads(json.dumps(leakage.as_json([OWN, MODEL])))
    assert leakage.parse(stored) == (OWN, MODEL)


def test_a_leak_in_words_names_the_first_pictures_of_each_kind() -> None:
    assert OWN.said({"m": "Mine"}, most=3) == "Mine: 8 of 10 pictures (the same 0, 1; near copies 2, 3, 4 and 3 more)"
    assert MODEL.said({"input": "Input"}) == "the detection model behind Input, m: 2 of 10 pictures (near copies 7, 8)"


@pytest.mark.parametrize("name", ["markdown", "latex", "html"])
def test_each_table_marks_its_own_columns(name: str, tmp_path: Path) -> None:
    from bench.contracts import Report

    records = [
        Record(row.method, "d", PSNR.protocol, str(place), "psnr", 1.0, None) for row in ROWS for place in range(10)
    ]
    text = load(Report, Spec.parse(name))().render(RunResult(table(MODEL), records, {}, tmp_path))
    clean = load(Report, Spec.parse(name))().render(RunResult(table(), records, {}, tmp_path))
    mark = {"markdown": "<sup>¶</sup>", "latex": r"{\P}", "html": "¶"}[name]
    assert mark not in clean
    # Two values of the detector's column and the note below it; the page has a link and its target's name besides.
    assert text.count(mark) == {"markdown": 3, "latex": 3, "html": 6}[name]
    assert text.count("the detection model behind Input, Mine: 2 of 10 pictures") == 1


def test_the_terminal_marks_and_explains() -> None:
    from rich.console import Console

    console = Console(width=160, record=True, file=io.StringIO())
    console.print(terminal.render(table(OWN)))
    text = console.export_text()
    assert text.count("1.00¶") == 1
    assert "Dark: Mine: 8 of 10 pictures (the same 0, 1; near copies 2, 3, 4, 5, 6, 7)" in text


def test_refusing_lists_every_picture() -> None:
    with pytest.raises(LeakError) as caught:
        leakage.Findings((OWN,), ()).refuse()
    assert all(f"{place} (" in str(caught.value) for place in range(8))


def test_the_overlap_of_two_sets_is_listed(bench: Run, trained: Path) -> None:
    done = bench("data", "overlap", f"folder:{trained / 'mixed'}", f"folder:{trained / 'train'}")
    assert done.exit_code == Exit.OK, done.output
    rows = [line.split() for line in done.output.splitlines()]
    assert ["same", "0", "the", "same", "0"] in rows
    assert [row[:4] for row in rows if row[:1] == ["copy"]] == [["copy", "1", "near", "copy"]]
    assert "2 of 3 pictures of" in said(done)
    assert "(1 the same, 1 near copies), where they touch 2 of 3" in said(done)


def test_sets_without_overlap_are_said_to_have_none_also_without_references(bench: Run, trained: Path) -> None:
    done = bench("data", "overlap", f"folder:{trained / 'fresh' / 'high'}", f"folder:{trained / 'train' / 'low'}")
    assert done.exit_code == Exit.OK, done.output
    assert "no overlap: none of the 1 pictures of" in said(done)


def test_a_dark_set_overlaps_with_the_bright_one_it_was_made_from(bench: Run, trained: Path) -> None:
    done = bench("data", "overlap", f"folder:{trained / 'train' / 'low'}", f"folder:{trained / 'train' / 'high'}")
    assert "(0 the same, 3 near copies), where they touch 3 of 3" in said(done)


def test_an_unknown_set_is_refused_in_words(bench: Run) -> None:
    done = bench("data", "overlap", "loll", "demo")
    assert done.exit_code == Exit.USAGE
    assert "did you mean 'lol'?" in said(done)
