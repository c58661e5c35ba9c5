from __future__ import annotations

import dataclasses
import functools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.ndimage import convolve1d
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench import plugins, work
from bench.contracts import Adapter, Dataset
from bench.plugins import Spec
from bench.training import Plan, Progress, train

CPU = torch.device("cpu")
JCRNet = plugins.load(Adapter, Spec.parse("jcrnet"))
jcrnet = sys.modules[JCRNet.__module__]
blocks = sys.modules[jcrnet.DataStep.__module__]
VARIANTS = ["", *JCRNet.options]
ALONE = {"wo_fes", "wo_ssb", "base"}
"""Variants whose enhanced picture is the only one that has a loss."""
QUICK = {"batch_size": 2, "crop": 16, "learning_rate": 2e-3, "schedule": "cosine"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures of these tests are so small that threads wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def data(pairs: Path) -> Dataset:
    return plugins.load(Dataset, Spec.parse("folder"))(str(pairs))


def settings(**changes: Any) -> Any:
    return dataclasses.replace(jcrnet.JCRNetSettings(), **QUICK | changes)


def recipe(option: str = "", **changes: Any) -> Any:
    torch.manual_seed(0)
    return jcrnet.JCRNetRecipe(option, settings(**changes))


def running(
    data: Dataset, out: Path, method: str = "jcrnet", resume: bool = False, **changes: Any
) -> Iterator[Progress]:
    plan = Plan(method, jcrnet.JCRNetRecipe, settings(**changes), [data], seed=0, held_out=0)
    return train(plan, out, CPU, resume=resume, every=2)


def saved(network: nn.Module, path: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return path


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def pair() -> tuple[Tensor, Tensor]:
    """Two smooth pictures at a fifth of their brightness, and as they are."""
    reference = nn.functional.interpolate(random(2, 3, 4, 4), (16, 16), mode="bilinear")
    return 0.2 * reference, reference


def flat(*levels: float) -> Tensor:
    """4x4 pixels whose channels have the levels."""
    return torch.tensor(levels).view(1, -1, 1, 1).expand(1, -1, 4, 4).contiguous()


@functools.cache
def meta(option: str = "") -> Any:
    with torch.device("meta"):
        return jcrnet.build(option)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@functools.cache
def macs(option: str = "") -> float:
    """Multiply-accumulates of the convolutions for a 384x384 picture."""
    with FlopCounterMode(display=False) as counter:
        meta(option)(torch.zeros(1, 3, 384, 384, device="meta"))
    return counter.get_total_flops() / 2


def psnr(enhanced: Tensor, reference: Tensor) -> float:
    return -10 * float(torch.log10((enhanced - reference).square().mean()))


def conv(before: int, after: int, side: int, bias: bool = True) -> int:
    """Parameters of a convolution."""
    return before * after * side * side + (after if bias else 0)


# Cost. The paper's Table VII: 2.01 M parameters, 219.74 G. Counts of the layouts: the specification's table.


@pytest.mark.parametrize("option", ["", "repository"])
def test_the_published_parameters(option: str) -> None:
    assert parameters(meta(option)) == pytest.approx(2.01e6, rel=0.05)


@pytest.mark.parametrize("option", ["", "repository"])
def test_the_published_operations(option: str) -> None:
    assert macs(option) == pytest.approx(219.74e9, rel=0.05)


@pytest.mark.parametrize(("option", "millions", "billions"), [("", 1.929, 229.19), ("repository", 1.980, 221.91)])
def test_counts_of_the_layouts(option: str, millions: float, billions: float) -> None:
    assert parameters(meta(option)) / 1e6 == pytest.approx(millions, abs=1e-3)
    assert macs(option) / 1e9 == pytest.approx(billions, abs=0.02)


def test_eq5_saves_two_convolutions() -> None:
    assert parameters(meta()) - parameters(meta("eq5")) == 2 * conv(128, 64, 3)
    assert macs() - macs("eq5") == 2 * 128 * 64 * 9 * 384 * 384


SHALLOW = conv(3, 32, 3, bias=False) + 2 * conv(32, 32, 3, bias=False) + 1 + 2 * 32 * 8
"""A convolution and its channel attention; 1 for the PReLU."""
DATA_STEP = 2 * (conv(3, 64, 3) + 1 + conv(64, 3, 3)) + 1
EDGES = (
    *(conv(3, 32, 3), conv(32, 32, 3), conv(32, 64, 3), conv(64, 64, 3), conv(64, 1, 1)),
    *(conv(1, 64, 3), conv(64, 64, 1), conv(64, 32, 1)),
)
SFT = conv(32, 32, 3) + conv(32, 64, 3) + conv(32, 32, 1) + conv(32, 64, 1) + conv(128, 64, 3)
CORRECTION = conv(64, 128, 3, bias=False) + 5 * conv(128, 128, 3, bias=False) + 6 * 2 * 128 + conv(128, 3, 1)
EXPOSING = conv(64, 32, 3) + conv(32, 32, 3) + conv(32, 64, 3) + 3
TRUNK = (
    # Encoder, with two values of the norm for each of half the channels; strided convolutions; decoder.
    *(
        conv(before, after, 3) + after + conv(after, after, 3) + conv(before, after, 1)
        for before, after in ((32, 52), (52, 72), (72, 72))
    ),
    *(conv(52, 52, 4, bias=False), conv(72, 72, 4, bias=False)),
    *(conv(before, after, 2) + conv(before, after, 3) for before, after in ((72, 52), (52, 32))),
    *(conv(2 * after, after, 3) + conv(after, after, 3) + conv(2 * after, after, 1) for after in (52, 32)),
)


@pytest.mark.parametrize(
    ("option", "fewer"),
    [
        ("undivided", 0),
        ("wo_fes", DATA_STEP + SHALLOW + sum(TRUNK) + conv(32, 32, 1) + conv(32, 3, 1) + conv(32, 48, 3, bias=False)),
        ("wo_jrs", conv(3, 64, 3) + 2 * conv(64, 64, 3) + sum(EDGES) + 2 * SFT + CORRECTION),
        ("wo_ias", 2 * 6 * 3 + conv(6, 64, 1) + 1 + 3 * EXPOSING + conv(64, 64, 1) + 1 + conv(64, 3, 3)),
        ("wo_ed", sum(TRUNK)),
        ("wo_cab", 2 * (SHALLOW - conv(3, 32, 3, bias=False))),
        ("wo_ssb", conv(32, 32, 1) + conv(32, 3, 1) - conv(32, 3, 3)),
        ("wo_l_rgb", 2 * conv(128, 1, 1)),
        ("wo_l_m", sum(EDGES) + 2 * SFT),
    ],
)
def test_what_a_variant_leaves_out(option: str, fewer: int) -> None:
    assert parameters(meta()) - parameters(meta(option)) == fewer


def test_the_base_is_one_shallow_block_one_trunk_and_a_convolution() -> None:
    assert parameters(meta("base")) == SHALLOW + sum(TRUNK) + conv(32, 3, 3)


# Blocks.


def test_a_data_step_without_operators_goes_towards_the_low_picture() -> None:
    step = blocks.DataStep(0.25)
    for operator in (step.forth, step.back):
        nn.init.zeros_(operator.body[2].weight)
        nn.init.zeros_(operator.body[2].bias)
    image, low = random(1, 3, 4, 4), random(1, 3, 4, 4, seed=1)
    torch.testing.assert_close(step(image, low), image - 0.25 * (image - low))


def test_the_step_widths_start_as_in_the_repository() -> None:
    network = recipe().network
    assert network.extraction.data_step.width.item() == pytest.approx(0.4412)
    assert network.synthesis.data_step.width.item() == pytest.approx(0.4965)


def test_attention_scales_by_what_the_means_say() -> None:
    attention = blocks.Attention(2, 1)
    attention.weigh[0].weight.data = torch.tensor([[1.0, 1.0]])[..., None, None]
    attention.weigh[2].weight.data = torch.tensor([[1.0], [-1.0]])[..., None, None]
    features = torch.tensor([1.0, 3.0, 2.0, 0.0]).view(1, 2, 1, 2)
    # means 2 and 1, so 3 in the middle
    scales = torch.tensor([1 / (1 + math.exp(-3)), 1 / (1 + math.exp(3))]).view(1, 2, 1, 1)
    torch.testing.assert_close(attention(features), features * scales)


def test_a_cab_of_zero_is_the_identity() -> None:
    block = blocks.CAB(8)
    nn.init.zeros_(block.body[2].weight)
    features = random(1, 8, 5, 7)
    torch.testing.assert_close(block(features), features, rtol=0, atol=0)


def test_half_of_the_channels_are_normalised_over_the_picture() -> None:
    features = 3 * random(2, 6, 5, 7) + 1
    found = blocks.HalfInstanceNorm(6)(features)
    torch.testing.assert_close(found[:, :3], nn.functional.instance_norm(features[:, :3]), rtol=0, atol=1e-5)
    assert torch.equal(found[:, 3:], features[:, 3:])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_encoder_halves_twice_and_grows_by_20_channels(level: int) -> None:
    shapes: list[tuple[int, ...]] = []
    with torch.device("meta"):
        trunk = blocks.EncoderDecoder(32)
        trunk.encoders[level].register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
        assert trunk(torch.zeros(1, 32, 24, 40)).shape == (1, 32, 24, 40)
    assert shapes == [((1, 52, 24, 40), (1, 72, 12, 20), (1, 72, 6, 10))[level]]


@pytest.mark.parametrize("level", [0, 1])
def test_every_skip_has_a_say(level: int) -> None:
    torch.manual_seed(0)
    trunk = blocks.EncoderDecoder(32)
    features = random(1, 32, 8, 8)
    before = trunk(features)
    nn.init.zeros_(trunk.skips[level].weight)
    assert float((trunk(features) - before).detach().abs().max()) > 1e-4


@pytest.fixture
def modulated(request: pytest.FixtureRequest) -> tuple[Any, Tensor]:
    """A modulation with S_c = 2 and S_h = 0.5 everywhere, and features of 3."""
    modulation = getattr(blocks, request.param)()
    for last, level in ((modulation.scale[2], 2.0), (modulation.shift[2], 0.5)):
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, level)
    return modulation, torch.full((1, 64, 3, 3), 3.0)


@pytest.mark.parametrize("modulated", ["AffineSFT"], indirect=True)
def test_eq5_scales_and_shifts(modulated: tuple[Any, Tensor]) -> None:
    modulation, features = modulated
    assert torch.equal(modulation(features, random(1, 32, 3, 3)), torch.full_like(features, 3 * 2 + 0.5))


@pytest.mark.parametrize("modulated", ["MixingSFT"], indirect=True)
def test_the_repository_mixes_features_and_scale_and_shifts(modulated: tuple[Any, Tensor]) -> None:
    modulation, features = modulated
    mix = modulation.mix[0]
    nn.init.zeros_(mix.bias)
    nn.init.zeros_(mix.weight)
    mix.weight.data[:, 0, 1, 1] = 1  # a feature
    mix.weight.data[:, 64, 1, 1] = -4  # a scale
    # 3 - 4 * 2 = -5, a tenth of it where negative
    expected = torch.full_like(features, -0.5 + 0.5)
    torch.testing.assert_close(modulation(features, random(1, 32, 3, 3)), expected)


def test_the_colour_map_starts_below_one() -> None:
    torch.manual_seed(0)
    ratio = blocks.ColourCorrection(3)(random(2, 64, 8, 8))
    # 1 / (1 + e^-2) = 0.88
    assert float(ratio.detach().mean()) == pytest.approx(0.88, abs=0.05)


def test_the_colour_map_is_whole_precision_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert blocks.ColourCorrection(3)(random(1, 64, 4, 4)).dtype == torch.float32


@pytest.mark.parametrize(("sign", "expected"), [(1, 3.0), (-1, 1.0)], ids=["lighten", "darken"])
def test_lightening_adds_the_offset_and_darkening_takes_it_away(sign: int, expected: float) -> None:
    exposing = blocks.Exposing(2)
    for layer, weight in ((exposing.code, 1.0), (exposing.offset, 0.5), (exposing.decode, 1.0)):
        nn.init.zeros_(layer[0].weight)
        nn.init.zeros_(layer[0].bias)
        layer[0].weight.data[:, 0, 1, 1] = weight
    # a code of 2 with an offset of 1
    assert torch.equal(exposing(flat(2.0, 7.0), sign), flat(expected, expected))


def test_the_back_projection_is_what_lightening_and_darkening_leave_over() -> None:
    torch.manual_seed(0)
    block = blocks.BackProjection(6, 8)
    images = random(1, 6, 5, 5)
    fused = block.fuse(images + block.attention(images))
    left = block.weigh(fused) - block.darken(block.lighten(fused, 1), -1)
    torch.testing.assert_close(block(images), block.last(block.lighten_residual(left, 1)))


# Networks.


@pytest.mark.parametrize(
    ("image", "ratio", "expected"), [(0.2, 0.4, 0.2 / 0.41), (0.6, 0.3, 1.5), (-0.1, 0.5, 0.0), (0.01, 0.0, 1.0)]
)
def test_the_image_is_divided_and_kept_in_range(image: float, ratio: float, expected: float) -> None:
    found = jcrnet.divided(torch.tensor([image]), torch.tensor([ratio]))
    assert float(found) == pytest.approx(expected, rel=1e-6)


def separated(option: str, image: Tensor, *levels: float) -> Tensor:
    """x_J of a network whose R has the levels."""
    separation = recipe(option).network.separation
    nn.init.zeros_(separation.correction.last.weight)
    separation.correction.last.bias.data = torch.logit(torch.tensor(levels))
    x_j: Tensor = separation(image).detach()
    return x_j


def test_every_colour_has_its_own_divisor() -> None:
    expected = flat(0.1 / 0.21, 0.1 / 0.51, 0.1 / 0.81)
    torch.testing.assert_close(separated("", flat(0.1, 0.1, 0.1), 0.2, 0.5, 0.8), expected)


def test_without_l_rgb_all_colours_have_one_divisor() -> None:
    torch.testing.assert_close(separated("wo_l_rgb", flat(0.1, 0.2, 0.3), 0.49), flat(0.2, 0.4, 0.6))


@pytest.mark.parametrize("option", ["undivided", "repository"])
def test_undivided_the_map_is_the_image(option: str) -> None:
    torch.testing.assert_close(separated(option, flat(0.1, 0.1, 0.1), 0.2, 0.5, 0.8), flat(0.2, 0.5, 0.8))


def test_without_jrs_the_first_image_goes_on() -> None:
    image = random(1, 3, 4, 4)
    assert recipe("wo_jrs").network.separation(image) is image


@pytest.mark.parametrize("option", VARIANTS)
def test_images_with_a_loss(option: str) -> None:
    with torch.device("meta"):
        assert len(meta(option).images(torch.zeros(1, 3, 8, 8))) == (1 if option in ALONE else 2)


@pytest.mark.parametrize("option", VARIANTS)
def test_the_enhanced_picture_is_the_first_image(option: str) -> None:
    network = recipe(option).network.eval()
    low = random(1, 3, 8, 8)
    assert torch.equal(network(low), network.images(low)[0])


@pytest.mark.parametrize(("option", "changes"), [("", True), ("repository", False)])
def test_the_back_projection_sees_x_j_but_not_in_the_repository(option: str, changes: bool) -> None:
    synthesis = recipe(option).network.synthesis
    nn.init.zeros_(synthesis.to_image.weight)
    low, features = random(1, 3, 8, 8), torch.zeros(1, 32 if option == "" else 40, 8, 8)
    one, other = (synthesis(low, random(1, 3, 8, 8, seed=seed), features) for seed in (1, 2))
    assert bool((one != other).any()) == changes


# Losses.


def keeps(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first level of a Laplacian pyramid, by SciPy."""
    kernel = np.array([0.05, 0.25, 0.4, 0.25, 0.05])

    def smooth(channel: NDArray[np.float64]) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = convolve1d(
            convolve1d(channel, kernel, axis=-1, mode="nearest"), kernel, axis=-2, mode="nearest"
        )
        return rows

    reduced = np.zeros_like(picture)
    reduced[..., ::2, ::2] = 4 * smooth(picture)[..., ::2, ::2]
    return picture - smooth(reduced)


def expected_losses(image: Tensor, reference: Tensor) -> tuple[float, float]:
    """Charbonnier and edge loss in float64, each picture through the pyramid on its own."""
    first, second = (picture.detach().double().numpy() for picture in (image, reference))
    pixel = np.sqrt((first - second) ** 2 + 1e-6).mean()
    return float(pixel), float(np.sqrt((keeps(first) - keeps(second)) ** 2 + 1e-6).mean())


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 14)])
def test_losses_agree_with_scipy(height: int, width: int) -> None:
    image, reference = random(2, 3, height, width), random(2, 3, height, width, seed=1)
    found = jcrnet.losses(image, reference)
    assert (float(found.pixel), float(found.edge)) == pytest.approx(expected_losses(image, reference), rel=1e-5)


def test_equal_pictures_have_the_loss_of_epsilon() -> None:
    picture = random(1, 3, 8, 8)
    found = jcrnet.losses(picture, picture)
    assert (float(found.pixel), float(found.edge)) == pytest.approx((1e-3, 1e-3), rel=1e-5)


def test_a_brighter_picture_has_no_edges_away_from_the_border() -> None:
    found = jcrnet.laplacian(torch.full((1, 3, 16, 16), 0.3))
    torch.testing.assert_close(found[..., 4:-4, 4:-4], torch.zeros(1, 3, 8, 8), rtol=0, atol=1e-6)


@pytest.mark.parametrize("option", VARIANTS)
def test_the_loss_is_summed_over_the_images_that_have_one(option: str) -> None:
    learned = recipe(option, weight_first=0.7).train()
    low, reference = pair()
    parts = [expected_losses(image, reference) for image in learned.network.images(low)]
    expected = [pixel + 0.05 * edge for pixel, edge in parts]
    found = learned.step((low, reference), 0.0)
    assert float(found["loss"]) == pytest.approx(expected[0] + 0.7 * sum(expected[1:]), rel=1e-4)


# Training.


def test_the_defaults_are_the_papers() -> None:
    # 300 epochs of 1,400 pairs
    paper = jcrnet.JCRNetRecipe.defaults
    assert (paper.steps, paper.batch_size, paper.crop, paper.largest_scale) == (300 * 1400 // 10, 10, 256, 1)
    assert (paper.learning_rate, paper.weight_edge, paper.schedule) == (2e-4, 0.05, "paper")


@pytest.mark.parametrize(
    ("schedule", "share", "rate"),
    [
        ("paper", 0.0, 2e-4),
        ("paper", 0.5, (2e-4 + 1e-6) / 2),
        ("paper", 1.0, 1e-6),
        ("cosine", 0.0, 2e-4),
        ("cosine", 0.5, 1.01e-4),
        ("cosine", 1.0, 2e-6),
    ],
)
def test_the_learning_rate(schedule: str, share: float, rate: float) -> None:
    learned = recipe("base", schedule=schedule, learning_rate=2e-4)
    learned.step(pair(), share)
    assert learned.optimisers[0].param_groups[0]["lr"] == pytest.approx(rate)


def test_gradients_are_clipped() -> None:
    learned = recipe("base", gradient_norm=1e-3)
    learned.step(pair(), 0.0)
    squares = [float(parameter.grad.square().sum()) for parameter in learned.network.parameters()]
    assert math.sqrt(sum(squares)) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("option", VARIANTS)
def test_every_parameter_of_a_variant_learns(option: str) -> None:
    learned = recipe(option).train()
    learned.step(pair(), 0.0)
    idle = [name for name, parameter in learned.network.named_parameters() if parameter.grad is None]
    assert idle == []


@pytest.mark.parametrize("option", VARIANTS)
def test_every_variant_learns_in_mixed_precision(option: str) -> None:
    learned = recipe(option).train()
    learned.precision = torch.bfloat16
    assert all(bool(value.isfinite()) for value in learned.step(pair(), 0.0).values())


def test_mixed_precision_gives_nearly_the_same_picture() -> None:
    learned = recipe().eval()
    low, _ = pair()
    whole = learned.enhance(low).detach()
    learned.precision = torch.bfloat16
    # two 8-bit levels
    torch.testing.assert_close(learned.enhance(low).detach(), whole, rtol=0, atol=2 / 255)


def test_two_pairs_are_learned_by_heart_with_running_statistics_too() -> None:
    learned = recipe()
    low, reference = pair()
    before = psnr(learned.eval().enhance(low).detach(), reference)
    learned.train()
    losses = [float(learned.step((low, reference), step / 20)["loss"]) for step in range(20)]
    assert losses[-1] < 0.4 * losses[0]
    assert psnr(learned.eval().enhance(low).detach(), reference) > before + 6


@pytest.mark.parametrize("kill", [1, 3], ids=lambda kill: f"killed after {kill}")
def test_a_killed_and_resumed_training_ends_in_the_same_bits(data: Dataset, tmp_path: Path, kill: int) -> None:
    unbroken = list(running(data, tmp_path / "unbroken", steps=4))[-1].weights
    killed = running(data, tmp_path / "killed", steps=4)
    for _ in range(kill):
        next(killed)
    killed.close()  # type: ignore[attr-defined]
    resumed = list(running(data, tmp_path / "killed", steps=4, resume=True))[-1].weights
    assert unbroken is not None
    assert resumed is not None
    assert resumed.read_bytes() == unbroken.read_bytes()


# Crops.


def spans(count: int, **changes: Any) -> list[float]:
    """Levels between the darkest and the brightest pixel of crops of a ramp, one level a column."""
    ramp = torch.arange(200, dtype=torch.uint8).expand(3, 200, 200)
    learned = recipe("base", **changes)
    low, reference = learned.draw([(ramp, ramp)] * count, torch.Generator().manual_seed(0))
    assert torch.equal(low, reference)
    return [255 * float(crop.max() - crop.min()) for crop in low]


def test_the_papers_crops_are_not_reduced() -> None:
    assert spans(20) == pytest.approx([15] * 20, abs=1e-3)


def test_half_of_the_crops_stay_at_full_size_where_others_are_reduced() -> None:
    found = spans(200, largest_scale=3)
    assert 0.4 < sum(span < 15.5 for span in found) / 200 < 0.6
    assert 35 < max(found) < 3 * 16


def test_a_picture_smaller_than_the_crop_will_do() -> None:
    small = torch.zeros(3, 5, 9, dtype=torch.uint8)
    low, _ = recipe("base", largest_scale=2).draw([(small, small)] * 2, torch.Generator().manual_seed(0))
    assert low.shape == (2, 3, 16, 16)


# The adapter.


@pytest.mark.parametrize(
    ("option", "height", "width"),
    [("", 1, 1), ("", 1, 9), ("", 7, 2), *((option, 5, 10) for option in VARIANTS)],
)
def test_any_size_comes_out_as_it_went_in(tmp_path: Path, option: str, height: int, width: int) -> None:
    adapter = JCRNet(option, saved(recipe(option).network, tmp_path / "w.safetensors"))
    low = 0.2 * random(2, 3, height, width)
    enhanced = work.enhance(adapter, low, "set", ["a", "b"], 0)
    assert enhanced.shape == low.shape
    assert enhanced.dtype == torch.float32


def test_the_adapter_gives_the_picture_that_validation_saw(tmp_path: Path) -> None:
    learned = recipe().eval()
    low = 0.2 * random(1, 3, 10, 13)
    adapter = JCRNet("", saved(learned.network, tmp_path / "w.safetensors"))
    expected = learned.enhance(low).detach().clamp(0, 1)
    torch.testing.assert_close(work.enhance(adapter, low, "set", ["a"], 0), expected, rtol=0, atol=1e-5)


def test_weights_of_a_variant_are_for_that_variant_alone(data: Dataset, tmp_path: Path) -> None:
    weights = list(running(data, tmp_path, method="jcrnet:undivided", steps=1))[-1].weights
    assert weights is not None
    assert weights.name == JCRNet.weights_name("undivided")
    assert JCRNet("undivided", weights).files == (weights,)
    with pytest.raises(ValueError, match="holds the weights of 'jcrnet:undivided', and 'jcrnet' was asked for"):
        JCRNet("", weights)


# Refusals.


def test_an_unknown_variant_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'jcrnet' does not know the option 'wo_all'; accepted: .*jcrnet:wo_fes"):
        jcrnet.JCRNetRecipe("wo_all", settings())


def test_an_unknown_schedule_is_refused_with_both_there_are() -> None:
    with pytest.raises(ValueError, match="schedule is 'steps'; JCRNet knows 'paper' and 'cosine'"):
        recipe("base", schedule="steps")


def test_enlarged_crops_are_refused() -> None:
    with pytest.raises(ValueError, match=r"largest_scale is 0\.5; .* 1 or more"):
        recipe("base", largest_scale=0.5)
