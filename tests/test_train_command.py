"""What a user of `bench train` types, reads, and gets back when a word is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from bench.cli import Exit, app
from bench.image import write_png
from bench.training import read_metadata

Run = Callable[..., Result]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Trains Zero-DCE on a tiny LOL for two steps of two small pictures, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    for split, count in (("our485", 4), ("eval15", 2)):
        for part in ("low", "high"):
            folder = tmp_path / "lol" / split / part
            folder.mkdir(parents=True)
            for number in range(count):
                write_png(folder / f"{number}.png", 0.2 * torch.rand(3, 24, 32, generator=generator))
    small = ["--root", "lol=lol", "--device", "cpu", "--set", "batch_size=2", "--set", "crop=16"]

    def invoke(*words: str, method: str = "zero_dce", dataset: str = "lol") -> Result:
        command = ["train", method, "--dataset", dataset, *small, *words]
        return CliRunner().invoke(app, command, catch_exceptions=False)

    return invoke


def said(result: Result) -> str:
    return " ".join(result.output.split())


def test_it_writes_weights_and_says_how_to_use_them(train: Run) -> None:
    done = train("--steps", "2")
    assert done.exit_code == Exit.OK, done.output
    assert "use them with --weights zero_dce=training/zero_dce/zero_dce.safetensors" in said(done)
    found = read_metadata(Path("training/zero_dce/zero_dce.safetensors"))
    assert (found["settings"]["steps"], found["settings"]["crop"], found["method"]) == (2, 16, "zero_dce")


def test_a_divided_set_gives_its_training_split(train: Run) -> None:
    train("--steps", "1")
    found = read_metadata(Path("training/zero_dce/zero_dce.safetensors"))
    assert (found["data"], found["pictures"]) == ("lol:our485", 4)


def test_the_split_that_results_are_reported_on_is_refused(train: Run) -> None:
    done = train("--steps", "1", dataset="lol:eval15")
    assert done.exit_code == Exit.USAGE
    assert "lol:eval15 is for results, not for training; its training split is lol:our485" in said(done)


def test_epochs_are_passes_over_the_pictures(train: Run) -> None:
    train("--epochs", "3")
    # 4 pictures in batches of 2: 2 steps an epoch.
    assert read_metadata(Path("training/zero_dce/zero_dce.safetensors"))["settings"]["steps"] == 6


def test_held_out_pairs_are_validated_and_said(train: Run) -> None:
    done = train("--steps", "1", "--held-out", "1")
    assert "step 1: " in said(done)
    assert "dB on the held-out pairs" in said(done)


def test_a_killed_training_goes_on_and_a_second_one_does_not_overwrite_it(train: Run) -> None:
    assert train("--steps", "2").exit_code == Exit.OK
    again = train("--steps", "2")
    assert again.exit_code == Exit.USAGE
    assert "checkpoint.pt is there already: resume that training, or choose another folder" in said(again)
    assert train("--steps", "2", "--resume").exit_code == Exit.OK


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--set", "crops=x"], "crops is a int (default 1), found 'x'"),
        (["--set", "croq=3"], "no setting is called 'croq'; there are batch_size=8"),
        (["--steps", "2", "--epochs", "1"], "--steps and --epochs both say how long to train"),
        (["--precision", "half"], "--precision half: expected float32 or bfloat16"),
        (["--held-out", "4"], "4 pairs cannot be held out: lol:our485 holds 4 pairs"),
        (["--set", "batch_size=9"], "holds 4 pictures, a batch of ZeroDCERecipe needs 9"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_named_and_nothing_is_trained(train: Run, words: list[str], reason: str) -> None:
    done = train(*words)
    assert done.exit_code == Exit.USAGE
    assert reason in said(done)
    assert not Path("training/zero_dce/zero_dce.safetensors").exists()


def test_a_method_without_recipe_is_said(train: Run) -> None:
    done = train(method="gamma")
    assert done.exit_code == Exit.USAGE
    assert "'gamma' has no training recipe" in said(done)
