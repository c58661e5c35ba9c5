from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from bench import plugins
from bench.contracts import Adapter, Dataset, Pair, Sample
from bench.image import read_rgb, write_png
from bench.plugins import Spec
from bench.training import Kind, Plan, Progress, Recipe, Settings, read_metadata, recipe_of, steps_of, train

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


@dataclass(frozen=True, kw_only=True)
class ShiftSettings(Settings):
    batch_size: int = 2
    steps: int = 12
    target: float = 0.5
    rate: float = 1
    flat: bool = False
    name: str = "shift"


class Shift(Recipe):
    """Learns one bias and one gain, with a random crop and dropout: every kind of chance a recipe may use."""

    defaults = ShiftSettings()
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.ANY,)

    def __init__(self, option: str, settings: ShiftSettings) -> None:
        super().__init__(option, settings)
        self.target = settings.target
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
        return (torch.stack([picture[0][..., column : column + 8] for picture in pictures]),)

    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        loss = (self.mixed(self.curve, self.drop(batch[0])) - self.target).square().mean()
        self.momentum.zero_grad()
        torch.autograd.backward(loss)
        self.momentum.step()
        return {"loss": loss.detach(), "share": torch.tensor(share)}

    def enhance(self, low: Tensor) -> Tensor:
        enhanced: Tensor = self.curve(low)
        return enhanced


class OnPairs(Shift):
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.PAIR,)


class OnPairsAndNights(OnPairs):
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.PAIR, Kind.NIGHT)


class Exploding(Shift):
    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        return {"loss": torch.tensor(float("nan"))}


SMALL_ZERO_DCE = ZeroDCERecipe.defaults.replaced(["batch_size=2", "crop=32"])
"""Two small pictures make a batch."""


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


def plan_of(
    recipe: type[Recipe], data: Sequence[Dataset], settings: Settings | None = None, seed: int = 0, **how: Any
) -> Plan:
    return Plan(
        how.pop("method", "shift"), recipe, settings or recipe.defaults, data, seed, how.pop("held_out", 0), **how
    )


def run(recipe: type[Recipe], data: Dataset, out: Path, steps: int = 12, seed: int = 0, **how: Any) -> list[Progress]:
    settings = replace(how.pop("settings", recipe.defaults), steps=steps)
    of_plan = {key: how.pop(key) for key in ("held_out", "method", "precision", "start") if key in how}
    return list(train(plan_of(recipe, [data], settings, seed, **of_plan), out, CPU, **how))


def killed_after(
    recipe: type[Recipe],
    data: Dataset,
    out: Path,
    kill: int,
    steps: int = 12,
    every: int = 5,
    settings: Settings | None = None,
    **of_plan: Any,
) -> None:
    """A training that stops in the middle, as if the process had died."""
    chosen = replace(settings or recipe.defaults, steps=steps)
    for _ in itertools.islice(train(plan_of(recipe, [data], chosen, **of_plan), out, CPU, every=every), kill):
        pass


def log_of(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls(shelf: Shelf, tmp_path: Path) -> None:
    progress = run(Shift, shelf, tmp_path / "out", steps=80)
    assert progress[-1].losses["loss"] < 0.2 * progress[0].losses["loss"]


def test_zero_dce_learns_two_pictures(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for name in "ab":
        write_png(tmp_path / f"{name}.png", 0.1 + 0.1 * torch.rand(3, 48, 48, generator=generator))
    progress = run(
        ZeroDCERecipe, Shelf(root=tmp_path), tmp_path / "out", steps=80, settings=SMALL_ZERO_DCE, method="zero_dce"
    )
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
    unbroken = run(ZeroDCERecipe, shelf, tmp_path / "unbroken", steps=5, settings=SMALL_ZERO_DCE)[-1].weights
    killed_after(ZeroDCERecipe, shelf, tmp_path / "killed", kill=3, steps=5, every=2, settings=SMALL_ZERO_DCE)
    resumed = run(ZeroDCERecipe, shelf, tmp_path / "killed", steps=5, resume=True, settings=SMALL_ZERO_DCE)[-1].weights
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
        defaults = ShiftSettings(batch_size=1)

        def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
            drawn.extend(float(picture[0].sum()) for picture in pictures)
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
    assert (found["method"], found["recipe"], found["seed"]) == ("shift", "Shift", 7)
    assert (found["pictures"], found["held_out"], found["commit"]) == (3, [], "abc")
    expected = {"batch_size": 2, "steps": 3, "crops": 1, "target": 0.5, "rate": 1, "flat": False, "name": "shift"}
    assert found["settings"] == expected
    assert (found["precision"], found["stored"]) == ("float32", "float32")
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
        ({"recipe": OnPairs, "settings": ShiftSettings(target=0.4)}, "target is 0.5 there and 0.4 here"),
        ({"recipe": OnPairs}, "recipe is 'Shift' there and 'OnPairs' here"),
        ({"method": "shift:half"}, "method is 'shift' there and 'shift:half' here"),
        ({"precision": torch.bfloat16}, "precision is 'float32' there and 'bfloat16' here"),
        ({"held_out": 1}, r"held_out is \[\] there and \['b'\] here"),
    ],
)
def test_another_training_is_not_resumed(shelf: Shelf, tmp_path: Path, change: dict[str, Any], difference: str) -> None:
    assert shelf.root is not None
    pairs = Shelf("paired", shelf.root)
    killed_after(Shift, pairs, tmp_path, kill=6)
    with pytest.raises(ValueError, match=rf"belongs to another training: .*{difference}"):
        run(**{"recipe": Shift, "data": pairs, "out": tmp_path, "resume": True, **change})


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
    with pytest.raises(
        ValueError, match="holds 3 pictures, a batch of ZeroDCERecipe needs 8; give more pictures, or a smaller batch"
    ):
        run(ZeroDCERecipe, shelf, tmp_path)


def test_a_paired_recipe_refuses_pictures_without_reference(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"0 pictures with a reference, 3 without \('a' is the first\)"):
        run(OnPairs, shelf, tmp_path)


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch_size": 0}])
def test_no_steps_and_empty_batches_are_refused(shelf: Shelf, tmp_path: Path, change: dict[str, Any]) -> None:
    plan = plan_of(Shift, [shelf], replace(Shift.defaults, **change))
    with pytest.raises(ValueError, match=r"at least 1 step and 1 picture in a batch, found .*=0"):
        next(train(plan, tmp_path, CPU))


def test_pictures_of_each_kind_come_in_the_order_of_the_kinds(shelf: Shelf, tmp_path: Path) -> None:
    assert shelf.root is not None
    (tmp_path / "pairs").mkdir()
    for name in "xyz":
        write_png(tmp_path / "pairs" / f"{name}.png", torch.full((3, 12, 16), 0.8))
    pairs = Shelf("paired", tmp_path / "pairs")
    levels: list[float] = []

    class Watching(OnPairsAndNights):
        def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
            levels.extend(float(picture[0].mean()) for picture in pictures)
            return super().draw(pictures, generator)

    next(train(plan_of(Watching, [shelf, pairs]), tmp_path / "out", CPU))
    assert [level > 0.5 for level in levels] == [True, True, False, False]


def test_without_unpaired_pictures_the_nights_are_low_pictures_of_pairs(shelf: Shelf, tmp_path: Path) -> None:
    assert shelf.root is not None
    assert run(OnPairsAndNights, Shelf("paired", shelf.root), tmp_path, steps=2)[-1].weights is not None


def test_mixed_precision_gives_float32_close_to_full_precision(shelf: Shelf) -> None:
    torch.manual_seed(0)
    learner = Shift("", ShiftSettings())
    low = torch.rand(1, 3, 8, 8)
    whole = learner.mixed(learner.curve, low)
    learner.precision = torch.bfloat16
    half = learner.mixed(learner.curve, low)
    assert half.dtype == torch.float32
    # bfloat16 keeps 8 bits: relative steps of 2^-8.
    torch.testing.assert_close(half, whole, rtol=0, atol=0.02)
    assert not torch.equal(half, whole)


@pytest.fixture
def pairs(tmp_path: Path) -> Shelf:
    """Forty pairs of a picture with itself, brightness rising with the name."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for number in range(40):
        write_png(folder / f"{number:02}.png", torch.full((3, 8, 16), number / 51))
    return Shelf("paired", folder)


def test_a_sixteenth_of_the_pairs_is_held_out_evenly_and_never_drawn(pairs: Shelf, tmp_path: Path) -> None:
    seen: set[int] = set()

    class Watching(Shift):
        def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
            seen.update(round(51 * float(picture[0].mean())) for picture in pictures)
            return super().draw(pictures, generator)

    weights = run(Watching, pairs, tmp_path / "out", steps=40, held_out=None)[-1].weights
    assert weights is not None
    assert read_metadata(weights)["held_out"] == ["10", "30"]
    assert seen == set(range(40)) - {10, 30}


def test_validation_is_the_psnr_of_the_held_out_pairs(pairs: Shelf, tmp_path: Path) -> None:
    class Half(Shift):
        """Enhances to one grey whatever it sees."""

        def enhance(self, low: Tensor) -> Tensor:
            return torch.full_like(low, 0.6)

    progress = run(Half, pairs, tmp_path / "out", steps=4, held_out=2, validate_every=2)
    # The pairs are flat greys of 10/51 and 30/51; 0.6 is 153 of 255 exactly.
    expected = sum(-20 * math.log10(abs(0.6 - level / 51)) for level in (10, 30)) / 2
    assert [one.validation_psnr for one in progress] == [None, pytest.approx(expected), None, pytest.approx(expected)]
    logged = [line.get("validation_psnr") for line in log_of(tmp_path / "out")]
    assert logged == [None, pytest.approx(expected), None, pytest.approx(expected)]


def test_weights_are_stored_in_half_precision_where_it_costs_nothing(pairs: Shelf, tmp_path: Path) -> None:
    weights = run(Shift, pairs, tmp_path / "out", steps=4, held_out=2)[-1].weights
    assert weights is not None
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float16}
    assert read_metadata(weights)["stored"] == "float16"


def test_weights_stay_in_full_precision_where_half_would_cost(pairs: Shelf, tmp_path: Path) -> None:
    class Fine(Shift):
        """Its output hangs on a digit that half precision does not have."""

        def __init__(self, option: str, settings: ShiftSettings) -> None:
            super().__init__(option, settings)
            nn.init.constant_(self.curve.weight, 1 + 2**-12)

        def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
            return {"loss": torch.tensor(0.0)}

        def enhance(self, low: Tensor) -> Tensor:
            return low + (self.curve.weight[0, 0, 0, 0] - 1 - 2**-12).abs() * 1e3

    weights = run(Fine, pairs, tmp_path / "out", steps=1, held_out=2)[-1].weights
    assert weights is not None
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float32}
    assert read_metadata(weights)["stored"] == "float32"


def test_validation_changes_no_weight(pairs: Shelf, tmp_path: Path) -> None:
    often = run(Shift, pairs, tmp_path / "often", steps=6, held_out=2, validate_every=1)[-1].weights
    once = run(Shift, pairs, tmp_path / "once", steps=6, held_out=2)[-1].weights
    assert often is not None
    assert once is not None
    assert often.read_bytes() == once.read_bytes()


def test_more_pairs_than_there_are_cannot_be_held_out(pairs: Shelf, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"40 pairs cannot be held out: .* holds 40 pairs"):
        run(Shift, pairs, tmp_path, held_out=40)


def test_an_epoch_draws_every_picture_as_often_as_the_recipe_says(pairs: Shelf) -> None:
    # 40 pictures in batches of 3 are 13.3 steps; two epochs of 5 crops each are 133.3.
    assert steps_of(OnPairs, ShiftSettings(batch_size=3), [pairs], 1) == 14
    assert steps_of(OnPairs, ShiftSettings(batch_size=3, crops=5), [pairs], 2) == 134


def test_a_training_can_begin_with_weights_and_tells_the_chain(shelf: Shelf, tmp_path: Path) -> None:
    first = run(Shift, shelf, tmp_path / "first", steps=80)[-1].weights
    assert first is not None
    (begun,) = run(Shift, shelf, tmp_path / "second", steps=1, seed=5, start=first)
    assert begun.losses["loss"] < 0.2 * run(Shift, shelf, tmp_path / "fresh", steps=1, seed=5)[0].losses["loss"]
    assert begun.weights is not None
    found = read_metadata(begun.weights)
    assert (found["settings"]["steps"], found["start"]["settings"]["steps"]) == (1, 80)
    assert found["start"]["sha256"] == sha256(first.read_bytes()).hexdigest()


def test_weights_of_another_method_are_no_beginning(shelf: Shelf, tmp_path: Path) -> None:
    first = run(Shift, shelf, tmp_path / "first", steps=1, method="shift:other")[-1].weights
    with pytest.raises(
        ValueError, match=r"holds the weights of 'shift:other'; a training of 'shift' begins with its own"
    ):
        run(Shift, shelf, tmp_path / "second", steps=1, start=first)


def test_settings_are_replaced_by_words() -> None:
    found = ShiftSettings().replaced(["target=0.25", "rate=2.5", "batch_size=3", "flat=true", "name=other"])
    assert found == ShiftSettings(target=0.25, rate=2.5, batch_size=3, flat=True, name="other")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("targets=1", "--set targets=1: no setting is called 'targets'; there are batch_size=2, .*target=0.5"),
        ("batch_size=1.5", r"--set batch_size=1.5: batch_size is a int \(default 2\), found '1.5'"),
        ("flat=maybe", "flat is a bool"),
        ("target", "target is a float .* found ''"),
        ("target=nan", "has to be a finite number, not below 0"),
        ("batch_size=-1", "has to be a finite number, not below 0"),
    ],
)
def test_a_wrong_setting_is_named(word: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ShiftSettings().replaced([word])


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
    settings = ZeroDCERecipe.defaults.as_dict()
    shared = settings.keys() & found["settings"].keys()
    assert len(shared) >= 10
    assert {name: found["settings"][name] for name in shared} == {name: settings[name] for name in shared}


def test_metadata_of_a_file_that_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"x\.safetensors is no whole safetensors file"):
        read_metadata(tmp_path / "x.safetensors")
