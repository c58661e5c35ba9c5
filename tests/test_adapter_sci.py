from __future__ import annotations

import dataclasses
import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from bench import plugins, work
from bench.contracts import Adapter, Dataset, Pair
from bench.image import read_rgb
from bench.plugins import Spec
from bench.training import Plan, Progress, read_metadata, train

CPU = torch.device("cpu")
SCI = plugins.load(Adapter, Spec.parse("sci"))
sci = sys.modules[SCI.__module__]

# PSNR of medium.pt on the 15 pictures of eval15 in public comparisons, which save 8 bit as the authors' code does:
# levels are cut off, not rounded
PUBLISHED_PSNR = 14.78

QUICK = {"crop": 32, "learning_rate": 5e-3, "schedule": "cosine"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures of these tests are so small that threads wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def nets() -> nn.Module:
    """Both networks as if they had been trained: every tensor random, running statistics too."""
    torch.manual_seed(0)
    made = sci.SCINet()
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.6 + 0.1)
    return made.eval()


@pytest.fixture
def data(pairs: Path) -> Dataset:
    return plugins.load(Dataset, Spec.parse("folder"))(str(pairs))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def settings(**changes: Any) -> Any:
    return dataclasses.replace(sci.SCISettings(), **QUICK | changes)


def recipe(**changes: Any) -> Any:
    torch.manual_seed(0)
    return sci.SCIRecipe("", settings(**changes))


def running(data: Dataset, out: Path, resume: bool = False, **changes: Any) -> Iterator[Progress]:
    plan = Plan("sci", sci.SCIRecipe, settings(**changes), [data], seed=0, held_out=1)
    return train(plan, out, CPU, resume=resume, every=2, validate_every=50)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def authors_state(nets: nn.Module) -> dict[str, Tensor]:
    """As the authors' files have it: a block that is passed several times is listed once more for every pass."""
    state = {}
    for name, tensor in nets.state_dict().items():
        network, layer, rest = name.split(".", 2)
        if network == "illumination":
            names = {
                "first": [f"enhance.in_conv.0.{rest}"],
                "block": [f"enhance.conv.{rest}", f"enhance.blocks.0.{rest}"],
                "last": [f"enhance.out_conv.0.{rest}"],
            }
        else:
            names = {
                "first": [f"calibrate.in_conv.{rest}"],
                "block": [f"calibrate.convs.{rest}", *(f"calibrate.blocks.{index}.{rest}" for index in range(3))],
                "last": [f"calibrate.out_conv.0.{rest}"],
            }
        state |= {one: tensor for one in names[layer]}
    return state


def mean_psnr(adapter: Adapter, folder: Path) -> float:
    """Of 8-bit pictures with the levels cut off."""
    values = []
    for low in sorted((folder / "low").glob("*.png")):
        enhanced = (adapter.enhance(read_rgb(low)[None])[0] * 255).floor().double() / 255
        values.append(-10 * math.log10((enhanced - read_rgb(folder / "high" / low.name).double()).square().mean()))
    assert len(values) == 15
    return sum(values) / len(values)


def test_258_parameters_are_left_at_test() -> None:
    assert parameters(sci.IlluminationNet()) == 258


def test_5619_more_learn_in_training() -> None:
    # counted in the authors' files, as the 258
    assert parameters(sci.CalibrationNet()) == 5_619


def test_operations_are_those_of_three_small_convolutions() -> None:
    with FlopCounterMode(display=False) as counter:
        sci.IlluminationNet().to("meta")(torch.zeros(1, 3, 384, 384, device="meta"))
    assert counter.get_total_flops() / 2 == 3 * (3 * 3 * 9) * 384 * 384


def test_the_illumination_follows_the_paper(nets: nn.Module) -> None:
    low, state = random(1, 3, 6, 7), authors_state(nets)

    def convolved(features: Tensor, name: str) -> Tensor:
        return functional.conv2d(features, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    features = convolved(low, "enhance.in_conv.0").relu()
    block = convolved(features, "enhance.conv.0")
    mean, variance, gain, offset = (
        state[f"enhance.conv.1.{name}"].view(1, 3, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
    )
    features = features + ((block - mean) / (variance + 1e-5).sqrt() * gain + offset).relu()
    expected = (low + convolved(features, "enhance.out_conv.0").sigmoid()).clamp(1e-4, 1)
    torch.testing.assert_close(nets.illumination(low), expected)


def test_a_picture_is_never_made_darker(nets: nn.Module) -> None:
    low = random(1, 3, 16, 16)
    illumination = nets.illumination(low)
    assert bool((illumination >= low).all())
    assert bool((sci.divide(low, illumination) >= low).all())


def test_black_stays_black(nets: nn.Module) -> None:
    black = torch.zeros(1, 3, 8, 8)
    assert not sci.divide(black, nets.illumination(black)).any()


def test_calibration_passes_its_block_three_times(nets: nn.Module) -> None:
    net = nets.calibration
    enhanced = random(1, 3, 6, 7)
    features = net.first(enhanced)
    for _ in range(3):
        features = features + net.block(features)
    torch.testing.assert_close(net(enhanced), enhanced - net.last(features).sigmoid())


def test_fidelity_is_the_mean_squared_distance() -> None:
    low = torch.full((1, 3, 8, 8), 0.25)
    assert float(sci.losses(low, low + 0.5, 10).fidelity) == pytest.approx(0.25)


def test_smoothness_of_a_flat_illumination_is_zero() -> None:
    assert float(sci.losses(random(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5), 10).smoothness) == 0


def test_smoothness_of_a_ramp_counts_columns_in_24_directions() -> None:
    # slope 0.1 along rows in 3 channels; of the 24 neighbours 4 lie in the column, 10 one and 10 two columns away
    ramp = (torch.arange(8.0) * 0.1).expand(1, 3, 8, 8)
    flat = torch.full((1, 3, 8, 8), 0.5)
    assert float(sci.losses(flat, ramp, 10).smoothness) == pytest.approx(3 * 0.1 * (10 * 1 + 10 * 2))


@pytest.mark.parametrize("sigma", [10, 0.1])
def test_smoothness_agrees_with_a_walk_over_all_pairs_of_pixels(sigma: float) -> None:
    low, illumination = random(1, 3, 5, 6).double(), random(1, 3, 5, 6, seed=1).double()
    # BT.601 in video range, from its definition by luma weights
    red, green, blue = low[0]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    colours = torch.stack(
        [luma * 219 / 255, (blue - luma) / 1.772 * 224 / 255, (red - luma) / 1.402 * 224 / 255]
    )  # without the offsets
    expected = 0.0
    for down, right in itertools.product(range(-2, 3), repeat=2):
        values = []
        for row, column in itertools.product(range(5), range(6)):
            other_row, other_column = row + down, column + right
            if (down, right) == (0, 0) or not (0 <= other_row < 5 and 0 <= other_column < 6):
                continue
            likeness = (colours[:, row, column] - colours[:, other_row, other_column]).square().sum()
            step = (illumination[0, :, row, column] - illumination[0, :, other_row, other_column]).abs().sum()
            values.append(float(torch.exp(-likeness / (2 * sigma**2)) * step))
        expected += sum(values) / len(values) if values else 0
    assert float(sci.losses(low, illumination, sigma).smoothness) == pytest.approx(expected, rel=2e-3)


def test_the_recipe_draws_a_whole_picture() -> None:
    low = random(3, 10, 14)
    kept = recipe(crop=0).read(Pair(low, low + 1))
    (batch,) = recipe(crop=0).draw([kept], torch.Generator())
    torch.testing.assert_close(batch, low[None], rtol=0, atol=0.5 / 255 + 1e-6)


def test_the_recipe_draws_squares_of_low_pictures_alone() -> None:
    learner = recipe(crop=8, batch_size=2)
    kept = learner.read(Pair(0.1 * random(3, 10, 14), torch.ones(3, 10, 14)))
    (batch,) = learner.draw([kept, kept], torch.Generator().manual_seed(0))
    assert batch.shape == (2, 3, 8, 8)
    assert float(batch.max()) <= 0.1 + 0.5 / 255


def test_whole_pictures_come_one_a_step() -> None:
    with pytest.raises(ValueError, match="batch_size=2: whole pictures come one a step; give a crop too"):
        recipe(crop=0, batch_size=2)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="schedule=linear: expected paper or cosine"):
        recipe(schedule="linear")


@pytest.mark.parametrize(
    ("schedule", "share", "rate"), [("paper", 0.9, 1.0), ("cosine", 0.0, 1.0), ("cosine", 0.5, 0.505)]
)
def test_the_learning_rate_is_constant_or_falls(schedule: str, share: float, rate: float) -> None:
    learner = recipe(schedule=schedule)
    learner.step((random(1, 3, 8, 8),), share)
    (adam,) = learner.optimisers
    assert adam.param_groups[0]["lr"] == pytest.approx(5e-3 * rate)


@pytest.mark.parametrize(("stages", "learns"), [(1, False), (3, True)])
def test_the_calibration_learns_from_the_second_stage_on(stages: int, learns: bool) -> None:
    learner = recipe(stages=stages)
    before = [parameter.clone() for parameter in learner._net.calibration.parameters()]
    learner.step((random(1, 3, 16, 16),), 0)
    after = list(learner._net.calibration.parameters())
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True)) == learns


def test_the_loss_of_equal_stages_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without calibration every stage sees the low picture, and three stages cost three times as much as one.
    monkeypatch.setattr(sci.CalibrationNet, "forward", lambda self, enhanced: torch.zeros_like(enhanced))
    low = random(1, 3, 16, 16)
    one, three = (float(recipe(stages=stages).step((low,), 0)["loss"]) for stages in (1, 3))
    assert three == pytest.approx(3 * one, rel=1e-5)


def test_the_weights_hold_the_illumination_network_alone(data: Dataset, tmp_path: Path) -> None:
    weights = list(running(data, tmp_path, steps=2))[-1].weights
    assert weights is not None
    assert not any("calibration" in name for name in load_file(weights))
    assert parameters(SCI("", weights).module) == 258


def test_the_adapter_enhances_as_the_recipe_does() -> None:
    learner = recipe().eval()
    low = random(1, 3, 9, 11)
    with torch.no_grad():
        torch.testing.assert_close(learner.enhance(low), sci.divide(low, learner.network(low)))


def test_four_pictures_are_learned(data: Dataset, tmp_path: Path) -> None:
    # The smoothness of so textured a scene at its full weight would need more steps.
    progress = list(running(data, tmp_path, steps=120, weight_smoothness=0.1))
    losses = [one.losses["loss"] for one in progress]
    psnr = [one.validation_psnr for one in progress if one.validation_psnr is not None]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    low, reference = data.load(data.samples()[0])
    assert reference is not None
    unchanged = -10 * math.log10(float((low - reference).square().mean()))
    assert psnr[-1] > unchanged + 5


def test_a_killed_and_resumed_training_ends_in_the_same_bits(data: Dataset, tmp_path: Path) -> None:
    unbroken = list(running(data, tmp_path / "unbroken", steps=5))[-1].weights
    killed = running(data, tmp_path / "killed", steps=5)
    for _ in range(3):
        next(killed)
    killed.close()  # type: ignore[attr-defined]
    resumed = list(running(data, tmp_path / "killed", resume=True, steps=5))[-1].weights
    assert unbroken is not None
    assert resumed is not None
    assert resumed.read_bytes() == unbroken.read_bytes()


@pytest.mark.parametrize(("height", "width"), [(33, 47), (1, 7), (1, 1)])
def test_any_size_comes_out_in_that_size(height: int, width: int) -> None:
    low = random(1, 3, height, width) / 4
    assert work.enhance(SCI(), low, "", [""], 0).shape == low.shape


def test_the_authors_names_and_ours_give_the_same_picture(nets: nn.Module, tmp_path: Path) -> None:
    save_file(nets.illumination.state_dict(), tmp_path / "ours.safetensors")
    torch.save(authors_state(nets), tmp_path / "theirs.pt")
    low = random(1, 3, 12, 20) * 0.2
    ours, theirs = (SCI("", tmp_path / name).enhance(low) for name in ("ours.safetensors", "theirs.pt"))
    assert torch.equal(ours, theirs)


def test_a_file_of_the_authors_without_a_layer_is_refused(nets: nn.Module, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in authors_state(nets).items() if "out_conv" not in name}
    torch.save(state, tmp_path / "short.pt")
    with pytest.raises(ValueError, match=r"short\.pt does not hold .* 4 tensors are missing"):
        SCI("", tmp_path / "short.pt")


@pytest.mark.parametrize("name", ["easy", "medium", "difficult"])
def test_the_authors_files_load(shared_data: Path, name: str) -> None:
    adapter = SCI("", shared_data / "weights" / "sci" / f"{name}.pt")
    low = torch.full((1, 3, 16, 16), 0.1)
    assert float(adapter.enhance(low).mean()) > 0.15


def test_the_authors_medium_weights_reach_their_known_psnr(shared_data: Path) -> None:
    adapter = SCI("", shared_data / "weights" / "sci" / "medium.pt")
    assert mean_psnr(adapter, shared_data / "lol" / "eval15") == pytest.approx(PUBLISHED_PSNR, abs=0.01)


def test_the_shipped_weights_are_small_and_say_how_they_were_trained() -> None:
    (path,) = SCI().files
    assert path.stat().st_size < 6_000
    found = read_metadata(path)
    assert (found["method"], found["data"]) == ("sci", "lol:our485")
    assert found["settings"].keys() == sci.SCISettings().as_dict().keys()


def test_the_shipped_weights_are_better_than_no_enhancement(shared_data: Path) -> None:
    # 7.77 dB: the low pictures of eval15 themselves, as published
    assert mean_psnr(SCI(), shared_data / "lol" / "eval15") > 7.77 + 3
