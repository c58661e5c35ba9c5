from __future__ import annotations

import dataclasses
import functools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench import plugins, work
from bench.contracts import Adapter, Dataset
from bench.plugins import Spec
from bench.training import Plan, Progress, train

CPU = torch.device("cpu")
DRGN = plugins.load(Adapter, Spec.parse("drgn"))
drgn = sys.modules[DRGN.__module__]
degradation = sys.modules[drgn.DegradationRecipe.__module__]
blocks = sys.modules[drgn.rcabs.__module__]
VARIANTS = ["", *DRGN.options]
QUICK = {"batch_size": 2, "crop": 16, "largest_scale": 1.0, "learning_rate": 2e-3, "schedule": "cosine"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures of these tests are so small that threads wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def slim(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same layers with few channels, for facts that do not depend on the width."""
    layouts = {"": ((16, 16, 16), (1, 1, 1)), "wo_msr": ((16,), (1,)), "budget": ((8, 12, 16), (1, 1, 1))}
    monkeypatch.setattr(drgn, "LAYOUTS", layouts)
    monkeypatch.setattr(degradation, "JUDGES", (32,))


@pytest.fixture
def data(pairs: Path) -> Dataset:
    return plugins.load(Dataset, Spec.parse("folder"))(str(pairs))


def settings(**changes: Any) -> Any:
    return dataclasses.replace(degradation.DegradationSettings(), **QUICK | changes)


def recipe(option: str = "", **changes: Any) -> Any:
    torch.manual_seed(0)
    return drgn.DRGNRecipe(option, settings(**changes))


def running(data: Dataset, out: Path, method: str = "drgn", resume: bool = False, **changes: Any) -> Iterator[Progress]:
    plan = Plan(method, drgn.DRGNRecipe, settings(**changes), [data], seed=0, held_out=0)
    return train(plan, out, CPU, resume=resume, every=2)


def saved(network: nn.Module, path: Path) -> Path:
    save_file(network.state_dict(), path)
    return path


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def batch(count: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    reference = random(count, 3, 16, 16)
    return 0.2 * reference, reference, reference.roll(1, dims=0)


def values(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def macs(module: nn.Module) -> float:
    """Multiply-accumulates of the convolutions for a 384x384 picture."""
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 3, 384, 384, device="meta"))
    return counter.get_total_flops() / 2


@functools.cache
def meta(option: str = "") -> Any:
    with torch.device("meta"):
        return drgn.DRGNRecipe.build(option)


def psnr(enhanced: Tensor, reference: Tensor) -> float:
    return -10 * float(torch.log10((enhanced - reference).square().mean()))


# Cost. The paper's Table 2: 4.773 M parameters, 110.59 G, which fits both networks and one pass of one of them.


def test_both_networks_have_the_published_parameters() -> None:
    assert parameters(meta()) == pytest.approx(4.773e6, rel=0.05)


def test_one_network_takes_the_published_operations() -> None:
    assert macs(meta().refinement) == pytest.approx(110.59e9, rel=0.05)


def test_both_networks_take_twice_as_many() -> None:
    # 2 x 108.70 G
    assert macs(meta()) == pytest.approx(217.40e9, rel=1e-3)


def test_parameters_follow_from_the_layers() -> None:
    def conv(before: int, after: int, side: int) -> int:
        return before * after * side * side + after

    rcab = 2 * conv(64, 64, 3) + 1 + conv(64, 16, 1) + conv(16, 64, 1)
    halvings = (4 + 3) * (conv(64, 64, 3) + 1)  # four down, three up, each with a PReLU
    fusions = conv(128, 64, 1) + conv(192, 64, 1) + 3 * conv(128, 64, 1) + conv(192, 64, 1)
    assert parameters(meta().refinement) == 3 * conv(3, 64, 3) + 27 * rcab + halvings + fusions + conv(64, 3, 3)


def test_the_budget_variant_has_the_published_cost_in_both_networks_together() -> None:
    network = meta("budget")
    assert parameters(network) == pytest.approx(4.773e6, rel=0.05)
    assert macs(network) == pytest.approx(110.59e9, rel=0.05)


def test_without_multi_resolution_the_operations_stay() -> None:
    assert macs(meta("wo_msr")) == pytest.approx(macs(meta()), rel=0.08)


def test_without_multi_resolution_three_groups_are_left() -> None:
    assert parameters(meta("wo_msr").refinement) == pytest.approx(0.700e6, rel=1e-3)


@pytest.mark.parametrize("option", ["wo_dlda", "wo_kl", "wo_ssim"])
def test_variants_of_the_recipe_have_the_same_networks(option: str) -> None:
    expected = {name: tensor.shape for name, tensor in meta().state_dict().items()}
    assert {name: tensor.shape for name, tensor in meta(option).state_dict().items()} == expected


# Blocks.


def test_a_pyramid_level_is_a_gaussian_and_means_of_four_pixels() -> None:
    picture = random(1, 3, 12, 20)
    array = picture[0].permute(1, 2, 0).numpy()
    blurred = cv2.GaussianBlur(array, (5, 5), 1.0, borderType=cv2.BORDER_REPLICATE)
    expected = blurred.reshape(6, 2, 10, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(blocks.halved(picture)[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("side", [2, 4])
def test_a_flat_picture_stays_flat_in_the_pyramid(side: int) -> None:
    picture = torch.full((1, 3, side, side), 0.3)
    torch.testing.assert_close(blocks.halved(picture), torch.full((1, 3, side // 2, side // 2), 0.3))


def test_channel_attention_scales_by_what_the_means_say() -> None:
    attention = blocks.ChannelAttention(2, 1)
    for layer, weight, bias in (
        (attention.squeeze, [[1.0, 1.0]], [0.0]),
        (attention.excite, [[1.0], [-1.0]], [0.0, 0.0]),
    ):
        layer.weight.data = torch.tensor(weight)[:, :, None, None]
        layer.bias.data = torch.tensor(bias)
    features = torch.tensor([1.0, 3.0, 2.0, 0.0]).view(1, 2, 1, 2)
    # means 2 and 1, so 3 in the middle
    scales = torch.tensor([1 / (1 + math.exp(-3)), 1 / (1 + math.exp(3))]).view(1, 2, 1, 1)
    torch.testing.assert_close(attention(features), features * scales)


def test_an_rcab_of_zero_is_the_identity() -> None:
    block = blocks.RCAB(8)
    nn.init.zeros_(block.conv2.weight)
    nn.init.zeros_(block.conv2.bias)
    features = random(2, 8, 5, 7)
    torch.testing.assert_close(block(features), features, rtol=0, atol=0)


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_level_has_a_say_in_the_picture(level: int) -> None:
    torch.manual_seed(0)
    network = drgn.DRGNRecipe.build("").refinement
    picture = random(1, 3, 16, 16)
    before = network(picture)
    nn.init.zeros_(network.long[level].weight)
    assert float((network(picture) - before).detach().abs().max()) > 1e-4


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize(("level", "above"), [(1, 0), (2, 0), (2, 1)])
def test_lower_levels_are_fused_with_those_above(level: int, above: int) -> None:
    torch.manual_seed(0)
    network = drgn.DRGNRecipe.build("").refinement
    picture = random(1, 3, 16, 16)
    before = network(picture)
    nn.init.zeros_(network.down[level - 1][above][-1][0].weight)
    assert float((network(picture) - before).detach().abs().max()) > 1e-5


@pytest.mark.parametrize("side", [16, 96])
def test_a_discriminator_gives_one_logit_for_a_picture_of_any_size(side: int) -> None:
    with torch.device("meta"):
        assert degradation.Discriminator()(torch.zeros(2, 3, side, side)).shape == (2, 1)


def test_a_discriminator_halves_four_times() -> None:
    with torch.device("meta"):
        assert degradation.Discriminator().trunk(torch.zeros(2, 3, 96, 96)).shape == (2, 512, 6, 6)


# Losses.


def test_divergence_of_two_values() -> None:
    # p = (1/4, 3/4), q = (1/2, 1/2)
    target, found = torch.tensor([[0.0, math.log(3)]]), torch.zeros(1, 2)
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert float(degradation.divergence(target, found)) == pytest.approx(expected)


def test_divergence_is_a_mean_over_the_batch() -> None:
    target, found = torch.tensor([[0.0, math.log(3)], [0.5, 0.5]]), torch.zeros(2, 2)
    expected = (0.25 * math.log(0.5) + 0.75 * math.log(1.5)) / 2
    assert float(degradation.divergence(target, found)) == pytest.approx(expected)


def test_divergence_does_not_see_the_level() -> None:
    picture = random(2, 3, 8, 8)
    assert float(degradation.divergence(picture, picture - 0.4)) == pytest.approx(0, abs=1e-6)


def test_divergence_of_independent_noise_is_its_variance() -> None:
    # half the variance of the difference, for small deviations s: s^2
    first, second = torch.randn(2, 1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 0.1
    assert float(degradation.divergence(first, second)) == pytest.approx(0.01, rel=0.05)


def test_divergence_teaches_both_sides() -> None:
    target, found = (random(1, 3, 4, 4, seed=seed).requires_grad_() for seed in (0, 1))
    torch.autograd.backward(degradation.divergence(target, found))
    assert all(one.grad is not None and bool(one.grad.any()) for one in (target, found))


@pytest.mark.usefixtures("slim")
def test_the_degradation_loss_is_kl_and_a_hundred_thousandth_of_the_adversarial() -> None:
    found = recipe().step(batch(), 0.0)
    assert float(found["loss"]) == pytest.approx(float(found["kl"]) + 1e-5 * float(found["adversarial"]), rel=1e-5)


@pytest.mark.usefixtures("slim")
def test_without_kl_the_adversarial_loss_is_left() -> None:
    found = recipe("wo_kl").step(batch(), 0.0)
    assert float(found["loss"]) == pytest.approx(1e-5 * float(found["adversarial"]), rel=1e-5)


@pytest.mark.usefixtures("slim")
def test_the_mean_of_the_degradation_is_logged() -> None:
    learned = recipe()
    nn.init.zeros_(learned.network.degradation.last.weight)
    nn.init.constant_(learned.network.degradation.last.bias, -0.25)
    assert float(learned.step(batch(), 0.0)["degradation"]) == pytest.approx(-0.25)


@pytest.mark.usefixtures("slim")
def test_undecided_discriminators_have_the_loss_of_four_coins() -> None:
    learned = recipe()
    for judge in (learned._judge_low, learned._judge_degradation):
        nn.init.zeros_(judge.judge[-1].weight)
        nn.init.zeros_(judge.judge[-1].bias)
    assert float(learned.step(batch(), 0.0)["discriminators"]) == pytest.approx(4 * math.log(2))


@pytest.mark.usefixtures("slim")
def test_end_to_end_the_loss_is_charbonnier_less_a_fifth_of_ssim() -> None:
    found = recipe("wo_dlda").step(batch(), 0.0)
    assert float(found["loss"]) == pytest.approx(float(found["charbonnier"]) - 0.2 * float(found["ssim"]), rel=1e-5)


@pytest.mark.usefixtures("slim")
def test_refinement_loss_of_a_network_that_gives_grey() -> None:
    learned = recipe("wo_ssim")
    nn.init.zeros_(learned.network.refinement.last.weight)
    nn.init.constant_(learned.network.refinement.last.bias, 0.5)
    reference = torch.tensor([0.5, 0.9, 0.2, 0.3]).view(4, 1, 1, 1).expand(4, 3, 16, 16).contiguous()
    found = learned.step((0.1 * reference, reference, reference.flip(0)), 0.9)
    # originals: references 0.5 and 0.9; synthetic pairs: others 0.9 and 0.5 as well
    distances = (1e-3 + math.hypot(0.4, 1e-3)) / 2
    assert float(found["charbonnier"]) == pytest.approx(distances, rel=1e-5)
    assert float(found["loss"]) == pytest.approx(2 * distances, rel=1e-5)


@pytest.mark.usefixtures("slim")
def test_half_of_a_batch_are_synthetic_pairs_made_with_its_other_half() -> None:
    learned = recipe()

    class Mean(nn.Module):
        """The degradation of a picture is its mean, negative."""

        def forward(self, low: Tensor) -> Tensor:
            return -low.mean(dim=(1, 2, 3), keepdim=True).expand_as(low)

    learned.network.degradation = Mean()
    low = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(4, 1, 1, 1).expand(4, 3, 8, 8)
    other = torch.tensor([0.9, 0.35]).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    # 0.1 + 0.1 and 0.2 + 0.2; 0.9 - 0.3 = 0.6, and 0.35 - 0.4 clipped to 0, both doubled
    expected = torch.tensor([0.2, 0.4, 1.2, 0.0])
    torch.testing.assert_close(learned._bases(low, other).mean(dim=(1, 2, 3)), expected)


# Stages and schedule.


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize(
    ("option", "share", "moved"),
    [
        ("", 0.0, {"degradation", "judges"}),
        ("", 0.33, {"degradation", "judges"}),
        ("", 0.34, {"refinement"}),
        ("wo_dlda", 0.0, {"degradation", "refinement"}),
    ],
)
def test_each_stage_moves_its_own_networks(option: str, share: float, moved: set[str]) -> None:
    learned = recipe(option)
    parts = {
        "degradation": learned.network.degradation,
        "refinement": learned.network.refinement,
        "judges": nn.ModuleList([learned._judge_low, learned._judge_degradation]),
    }
    before = {name: values(part) for name, part in parts.items()}
    learned.step(batch(), share)
    assert {name for name, part in parts.items() if not torch.equal(values(part), before[name])} == moved


@pytest.mark.usefixtures("slim")
def test_the_second_stage_begins_where_the_setting_says() -> None:
    assert "kl" not in recipe(degradation_share=0.1).step(batch(), 0.11)


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize(
    ("option", "share", "rate"),
    [
        # Steps of the paper: 43,200 in all, 14,400 and 28,800 in the stages, times 0.9 each 6,000.
        ("", 5_900 / 43_200, 5e-4),
        ("", 6_100 / 43_200, 4.5e-4),
        ("", 12_100 / 43_200, 4.05e-4),
        ("", (14_400 + 5_900) / 43_200, 5e-4),
        ("", (14_400 + 6_100) / 43_200, 4.5e-4),
        ("", 43_199 / 43_200, 5e-4 * 0.9**4),
        ("wo_dlda", 43_199 / 43_200, 5e-4 * 0.9**7),
    ],
)
def test_the_papers_learning_rate(option: str, share: float, rate: float) -> None:
    learned = recipe(option, schedule="paper", learning_rate=5e-4)
    stage = 0 if option == "" and share < 1 / 3 else 1
    learned.step(batch(), share)
    assert learned.optimisers[stage].param_groups[0]["lr"] == pytest.approx(rate)


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize(
    ("share", "stage", "rate"), [(0.25, 0, 0.505), (0.49999, 0, 0.01), (0.5, 1, 1.0), (0.75, 1, 0.505)]
)
def test_the_cosine_restarts_in_the_second_stage(share: float, stage: int, rate: float) -> None:
    learned = recipe(degradation_share=0.5)
    learned.step(batch(), share)
    assert learned.optimisers[stage].param_groups[0]["lr"] == pytest.approx(rate * 2e-3, rel=1e-3)


def test_the_defaults_are_the_papers() -> None:
    # 60 epochs of 720 steps, 20 of them for DeG; 485 / 16 x 24 squares are about 720 steps
    paper = drgn.DRGNRecipe.defaults
    assert (paper.steps, paper.batch_size, paper.crop, paper.learning_rate) == (43_200, 16, 96, 5e-4)
    assert paper.steps * paper.degradation_share == 14_400
    assert (paper.weight_adversarial, paper.weight_ssim) == (1e-5, 0.2)


# Data.


@pytest.mark.usefixtures("slim")
def test_a_low_picture_never_meets_its_own_reference() -> None:
    learned = recipe()
    scenes = [tuple(torch.full((3, 20, 20), level, dtype=torch.uint8) for _ in range(2)) for level in range(1, 5)]
    for seed in range(8):
        low, reference, other = learned.draw(scenes, torch.Generator().manual_seed(seed))
        assert torch.equal(low, reference)
        assert sorted(other[:, 0, 0, 0].tolist()) == sorted(reference[:, 0, 0, 0].tolist())
        assert not (other == reference).any()


@pytest.mark.usefixtures("slim")
def test_both_pictures_of_a_pair_are_cut_and_reduced_alike() -> None:
    learned = recipe(largest_scale=2.0)
    scenes = [tuple((255 * random(3, 40, 40, seed=seed)).to(torch.uint8) for _ in range(2)) for seed in range(2)]
    for seed in range(8):
        low, reference, _ = learned.draw(scenes, torch.Generator().manual_seed(seed))
        assert torch.equal(low, reference)


@pytest.mark.usefixtures("slim")
def test_reduced_squares_see_more_of_the_picture() -> None:
    # A ramp of 1/255 a column: a square of `side` columns spans about side - side/crop levels after reduction.
    ramp = torch.arange(64, dtype=torch.uint8).expand(3, 64, 64)
    learned = recipe(largest_scale=3.0)
    spans = []
    for seed in range(40):
        low, _, _ = learned.draw([(ramp, ramp)] * 2, torch.Generator().manual_seed(seed))
        spans.append(255 * float(low[0].max() - low[0].min()))
    assert min(spans) < 20
    assert 40 < max(spans) <= 47


@pytest.mark.usefixtures("slim")
def test_a_picture_smaller_than_the_square_will_do() -> None:
    small = torch.zeros(3, 5, 9, dtype=torch.uint8)
    low, _, _ = recipe(largest_scale=2.0).draw([(small, small)] * 2, torch.Generator().manual_seed(0))
    assert low.shape == (2, 3, 16, 16)


# Learning.


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("option", VARIANTS)
def test_every_variant_learns_in_both_precisions(option: str) -> None:
    for precision in (torch.float32, torch.bfloat16):
        learned = recipe(option)
        learned.precision = precision
        for share in (0.0, 0.9):
            assert all(value.isfinite() for value in learned.step(batch(), share).values())


@pytest.mark.usefixtures("slim")
def test_two_pairs_are_learned_by_heart() -> None:
    learned = recipe(learning_rate=5e-3, degradation_share=0.1)
    reference = torch.nn.functional.interpolate(random(2, 3, 4, 4), (16, 16), mode="bilinear")
    low = 0.2 * reference
    before = psnr(learned.enhance(low).detach(), reference)
    losses = [learned.step((low, reference, reference.roll(1, dims=0)), step / 60)["loss"] for step in range(60)]
    assert float(losses[-1]) < 0.25 * float(losses[6]) - 0.1
    assert psnr(learned.enhance(low).detach(), reference) > before + 6


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("kill", [1, 5], ids=lambda kill: f"killed after {kill}")
def test_a_killed_and_resumed_training_ends_in_the_same_bits(data: Dataset, tmp_path: Path, kill: int) -> None:
    unbroken = list(running(data, tmp_path / "unbroken", steps=6))[-1].weights
    killed = running(data, tmp_path / "killed", steps=6)
    for _ in range(kill):
        next(killed)
    killed.close()
    resumed = list(running(data, tmp_path / "killed", steps=6, resume=True))[-1].weights
    assert unbroken is not None
    assert resumed is not None
    assert resumed.read_bytes() == unbroken.read_bytes()


# The adapter.


@pytest.mark.usefixtures("slim")
def test_trained_weights_give_the_picture_that_validation_saw(data: Dataset, tmp_path: Path) -> None:
    weights = list(running(data, tmp_path, steps=2))[-1].weights
    assert weights is not None
    learned = recipe()
    learned.network.load_state_dict(load_file(weights))
    low = 0.2 * random(1, 3, 10, 13)
    expected = learned.enhance(low).detach().clamp(0, 1)
    torch.testing.assert_close(DRGN("", weights).enhance(low), expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("slim")
def test_weights_of_a_variant_are_for_that_variant_alone(data: Dataset, tmp_path: Path) -> None:
    weights = list(running(data, tmp_path, method="drgn:wo_kl", steps=1))[-1].weights
    assert weights is not None
    assert weights.name == DRGN.weights_name("wo_kl")
    assert DRGN("wo_kl", weights).files == (weights,)
    with pytest.raises(ValueError, match="holds the weights of 'drgn:wo_kl', and 'drgn' was asked for"):
        DRGN("", weights)


@pytest.mark.usefixtures("slim")
def test_refinement_sees_the_picture_less_its_degradation(tmp_path: Path) -> None:
    network = recipe().network
    low = 0.2 * random(1, 3, 8, 12)
    expected = network.refinement(low - network.degradation(low)).detach().clamp(0, 1)
    adapter = DRGN("", saved(network, tmp_path / "w.safetensors"))
    torch.testing.assert_close(adapter.enhance(low), expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize(("height", "width"), [(13, 18), (1, 1), (1, 9), (7, 1), (2, 3)])
@pytest.mark.parametrize("option", VARIANTS)
def test_any_size_comes_out_as_it_went_in(tmp_path: Path, option: str, height: int, width: int) -> None:
    adapter = DRGN(option, saved(recipe(option).network, tmp_path / "w.safetensors"))
    low = 0.2 * random(2, 3, height, width)
    enhanced = work.enhance(adapter, low, "set", ["a", "b"], 0)
    assert enhanced.shape == low.shape
    assert enhanced.dtype == torch.float32


# Refusals.


def test_an_unknown_variant_is_answered_with_all_of_them() -> None:
    with pytest.raises(ValueError, match=r"does not know the option 'wo_gan'; .*drgn:wo_dlda.*drgn:budget"):
        DRGN("wo_gan")


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": "linear"}, "schedule is 'paper' or 'cosine', found 'linear'"),
        ({"batch_size": 1}, "batch_size is 2 or more"),
        ({"largest_scale": 0.5}, r"largest_scale is 1 or more, found 0\.5"),
        ({"degradation_share": 1.0}, r"degradation_share leaves steps to the refinement, found 1\.0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        recipe(**changes)
