from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from bench import plugins
from bench.contracts import Adapter, Dataset, Pair, Sample
from bench.image import read_rgb, write_png
from bench.plugins import Spec
from bench.training import Progress, Recipe, read_metadata, recipe_of, train

CPU = torch.device("cpu")
ZeroDCE = plugins.load(Adapter, Spec.parse("zero_dce"))
ZeroDCERecipe: type[Recipe] = sys.modules[ZeroDCE.__module__].ZeroDCERecipe


class Shelf(Dataset):
    """Pictures of a folder, paired with themselves where the folder's name says so."""

    label, layout, origin = "Shelf", "*.png", "made by the test"

    @property
    def paired(self) -> bool:
        return self.option == "paired"

    def samples(self) -> list[Sample]:
        assert self.root is not None
        return [Sample(path.stem, path, path if self.paired else None) for path in sorted(self.root.glob("*.png"))]

    def load(self, sample: Sample) -> Pair:
        low = read_rgb(sample.low)
        return Pair(low, low if self.paired else None)


class Shift(Recipe):
    """Learns one bias and one gain, with a random crop and dropout: every kind of chance a recipe may use."""

    weights_file = "shift.safetensors"
    batch_size = 2
    steps = 12
    paired = False
    settings = {"target": 0.5}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.curve = nn.Conv2d(3, 3, 1)
        self.drop = nn.Dropout(0.2)
        self.momentum = torch.optim.Adam(self.curve.parameters(), lr=0.02)

    @property
    def network(self) -> nn.Module:
        return self.curve

    @property
    def optimisers(self) -> Sequence[Optimizer]:
        return (self.momentum,)

    def read(self, pair: Pair) -> tuple[Tensor, ...]:
        return (pair.low,)

    def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
        column = int(torch.randint(8, (), generator=generator))
        return (torch.stack([picture[..., column : column + 8] for (picture,) in pictures]),)

    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        loss = (self.curve(self.drop(batch[0])) - 0.5).square().mean()
        self.momentum.zero_grad()
        torch.autograd.backward(loss)
        self.momentum.step()
        return {"loss": loss.detach(), "share": torch.tensor(share)}


class OnPairs(Shift):
    paired = True


class Exploding(Shift):
    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        return {"loss": torch.tensor(float("nan"))}


class SmallZeroDCE(ZeroDCERecipe):  # type: ignore[misc, valid-type]
    """Two small pictures make a batch."""

    batch_size = 2
    crop = 32


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures of these tests are so small that threads wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Three dark pictures."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for name in "abc":
        write_png(folder / f"{name}.png", 0.2 * torch.rand(3, 12, 16, generator=generator))
    return Shelf(root=folder)


def run(recipe: type[Recipe], data: Dataset, out: Path, steps: int = 12, seed: int = 0, **how: Any) -> list[Progress]:
    return list(train(recipe, [data], out, steps, seed, CPU, **how))


def killed_after(recipe: type[Recipe], data: Dataset, out: Path, kill: int, steps: int = 12, every: int = 5) -> None:
    """A training that stops in the middle, as if the process had died."""
    running = train(recipe, [data], out, steps, 0, CPU, every=every)
    for _ in range(kill):
        next(running)
    running.close()


def log_of(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls(shelf: Shelf, tmp_path: Path) -> None:
    progress = run(Shift, shelf, tmp_path / "out", steps=80)
    assert progress[-1].losses["loss"] < 0.2 * progress[0].losses["loss"]


def test_zero_dce_learns_two_pictures(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for name in "ab":
        write_png(tmp_path / f"{name}.png", 0.1 + 0.1 * torch.rand(3, 48, 48, generator=generator))
    progress = run(SmallZeroDCE, Shelf(root=tmp_path), tmp_path / "out", steps=80)
    assert progress[-1].losses["loss"] < 0.5 * progress[0].losses["loss"]
    low = torch.full((1, 3, 32, 32), 0.15)
    weights = progress[-1].weights
    assert float(ZeroDCE("", weights).enhance(low).mean()) > 0.3


@pytest.mark.parametrize("kill", [2, 5, 7, 11], ids=lambda kill: f"killed after {kill}")
def test_a_killed_and_resumed_training_ends_in_the_same_bits(shelf: Shelf, tmp_path: Path, kill: int) -> None:
    unbroken = run(Shift, shelf, tmp_path / "unbroken", every=5)[-1].weights
    killed_after(Shift, shelf, tmp_path / "killed", kill)
    resumed = run(Shift, shelf, tmp_path / "killed", every=5, resume=True)[-1].weights
    assert unbroken is not None
    assert resumed is not None
    assert resumed.read_bytes() == unbroken.read_bytes()


def test_zero_dce_resumes_to_the_same_bits(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for name in "abc":
        write_png(tmp_path / f"{name}.png", 0.2 * torch.rand(3, 50, 60, generator=generator))
    shelf = Shelf("paired", tmp_path)
    unbroken = run(SmallZeroDCE, shelf, tmp_path / "unbroken", steps=5)[-1].weights
    killed_after(SmallZeroDCE, shelf, tmp_path / "killed", kill=3, steps=5, every=2)
    resumed = run(SmallZeroDCE, shelf, tmp_path / "killed", steps=5, resume=True)[-1].weights
    assert unbroken is not None
    assert resumed is not None
    assert resumed.read_bytes() == unbroken.read_bytes()


def test_training_neither_reads_nor_moves_the_global_generator(shelf: Shelf, tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = run(Shift, shelf, tmp_path / "one")[-1]
    assert torch.equal(torch.rand(3), expected)
    second = run(Shift, shelf, tmp_path / "two")[-1]
    assert first.losses == second.losses


def test_another_seed_gives_other_weights(shelf: Shelf, tmp_path: Path) -> None:
    one, two = (run(Shift, shelf, tmp_path / str(seed), seed=seed)[-1].losses["loss"] for seed in (0, 1))
    assert one != two


def test_every_picture_is_drawn_once_per_pass(shelf: Shelf, tmp_path: Path) -> None:
    drawn: list[float] = []

    class Watching(Shift):
        batch_size = 1

        def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
            drawn.extend(float(picture.sum()) for (picture,) in pictures)
            return super().draw(pictures, generator)

    run(Watching, shelf, tmp_path / "out", steps=9)
    passes = [frozenset(drawn[start : start + 3]) for start in (0, 3, 6)]
    assert {len(one) for one in passes} == {3}
    assert drawn[:3] != drawn[3:6] or drawn[3:6] != drawn[6:], "every pass had the same order"


def test_progress_counts_the_steps_and_ends_with_the_weights(shelf: Shelf, tmp_path: Path) -> None:
    progress = run(Shift, shelf, tmp_path / "out", steps=4)
    assert [(one.step, one.steps) for one in progress] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [one.weights for one in progress] == [None, None, None, tmp_path / "out" / "shift.safetensors"]
    assert [one.losses["share"] for one in progress] == [0.0, 0.25, 0.5, 0.75]


def test_the_log_has_one_line_per_step_and_none_twice_after_a_resume(shelf: Shelf, tmp_path: Path) -> None:
    killed_after(Shift, shelf, tmp_path, kill=7)
    run(Shift, shelf, tmp_path, every=5, resume=True)
    log = log_of(tmp_path)
    assert [line["step"] for line in log] == list(range(1, 13))
    assert all({"loss", "share", "seconds"} <= line.keys() for line in log)
    seconds = [line["seconds"] for line in log]
    assert seconds == sorted(seconds)


def test_the_weights_file_holds_the_network_and_how_it_came_about(shelf: Shelf, tmp_path: Path) -> None:
    weights = run(Shift, shelf, tmp_path, steps=3, seed=7, notes={"commit": "abc"})[-1].weights
    assert weights is not None
    assert set(load_file(weights)) == {"weight", "bias"}
    found = read_metadata(weights)
    assert (found["recipe"], found["steps"], found["seed"]) == ("Shift", 3, 7)
    assert (found["pictures"], found["commit"]) == (3, "abc")
    assert found["settings"] == {"batch_size": 2, "target": 0.5}
    assert len(found["files"]) == 64


def test_a_finished_training_asked_again_gives_its_weights(shelf: Shelf, tmp_path: Path) -> None:
    first = run(Shift, shelf, tmp_path)[-1].weights
    assert first is not None
    before = first.read_bytes()
    first.unlink()
    (again,) = run(Shift, shelf, tmp_path, resume=True)
    assert (again.step, again.losses) == (12, {})
    assert first.read_bytes() == before


def test_a_folder_with_a_training_is_not_overwritten(shelf: Shelf, tmp_path: Path) -> None:
    run(Shift, shelf, tmp_path)
    with pytest.raises(FileExistsError, match=r"checkpoint\.pt is there already: resume"):
        run(Shift, shelf, tmp_path)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"steps": 13}, "steps is 12 there and 13 here"),
        ({"recipe": SmallZeroDCE}, "recipe is 'Shift' there and 'SmallZeroDCE' here"),
    ],
)
def test_another_training_is_not_resumed(shelf: Shelf, tmp_path: Path, change: dict[str, Any], difference: str) -> None:
    killed_after(Shift, shelf, tmp_path, kill=6)
    with pytest.raises(ValueError, match=rf"belongs to another training: .*{difference}"):
        run(**{"recipe": Shift, "data": shelf, "out": tmp_path, "resume": True, **change})


def test_a_training_is_not_resumed_when_a_picture_has_changed(shelf: Shelf, tmp_path: Path) -> None:
    killed_after(Shift, shelf, tmp_path / "out", kill=6)
    assert shelf.root is not None
    write_png(shelf.root / "b.png", torch.zeros(3, 12, 16))
    with pytest.raises(ValueError, match="belongs to another training: files is"):
        run(Shift, shelf, tmp_path / "out", resume=True)


def test_a_broken_checkpoint_is_named(shelf: Shelf, tmp_path: Path) -> None:
    killed_after(Shift, shelf, tmp_path, kill=6)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"checkpoint\.pt cannot be read as a checkpoint .*delete it to begin again"):
        run(Shift, shelf, tmp_path, resume=True)


def test_subnormal_values_are_zero_during_the_training_and_not_after_it(shelf: Shelf, tmp_path: Path) -> None:
    def tiny() -> Tensor:
        return torch.full((64,), 1e-30) * 1e-10

    class Tiny(Shift):
        def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
            return {"loss": tiny().sum()}

    progress = run(Tiny, shelf, tmp_path, steps=2)
    assert progress[-1].losses["loss"] == 0
    assert float(tiny().sum()) > 0


def test_fewer_pictures_than_a_batch_are_refused(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 3 pictures, a batch of ZeroDCERecipe needs 8"):
        run(ZeroDCERecipe, shelf, tmp_path)


def test_a_paired_recipe_refuses_pictures_without_reference(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"3 of 3 pictures .* have no reference \('a' is the first\)"):
        run(OnPairs, shelf, tmp_path)


def test_no_steps_are_refused(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="steps is 0"):
        run(Shift, shelf, tmp_path, steps=0)


def test_a_loss_that_is_not_a_number_stops_the_training(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError, match="loss is not finite at step 1"):
        run(Exploding, shelf, tmp_path)


def test_zero_dce_has_a_recipe_and_gamma_has_none() -> None:
    assert recipe_of("zero_dce", ZeroDCE) is ZeroDCERecipe
    with pytest.raises(ValueError, match="'gamma' has no training recipe"):
        recipe_of("gamma", plugins.load(Adapter, Spec.parse("gamma")))


def test_the_shipped_weights_say_how_they_were_trained() -> None:
    found = read_metadata(ZeroDCE().files[0])
    assert found["recipe"] == "ZeroDCERecipe"
    assert found["data"] == "lol:our485"
    assert found["pictures"] >= 256
    assert found["settings"] == {"batch_size": ZeroDCERecipe.batch_size, **ZeroDCERecipe.settings}


def test_metadata_of_a_file_that_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"x\.safetensors is no whole safetensors file"):
        read_metadata(tmp_path / "x.safetensors")
