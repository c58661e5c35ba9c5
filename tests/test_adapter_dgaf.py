from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage.metrics import structural_similarity
from torch import Generator, Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench import plugins, work
from bench.contracts import Adapter, Dataset
from bench.plugins import Spec
from bench.training import Plan, Progress, train

CPU = torch.device("cpu")
DGAF = plugins.load(Adapter, Spec.parse("dgaf"))
dgaf = sys.modules[DGAF.__module__]
VARIANTS = ["", *DGAF.options]
TABLE1 = {
    "recons": {"recons"},
    "recons_ssim": {"recons", "ssim"},
    "recons_adv": {"recons", "adv"},
    "recons_ssim_adv": {"recons", "ssim", "adv"},
    "recons_adv_percept": {"recons", "adv", "percept"},
    "": {"recons", "ssim", "adv", "percept"},
}
DARKENING, ENLIGHTENING = 0.0, 0.5  # shares of the training at which the two stages begin
QUICK = {"batch_size": 2, "crop": 32, "learning_rate": 2e-3, "schedule": "cosine", "weight_percept": 0.0}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures of these tests are so small that threads wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def slim(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same layers, fewer and narrower, for facts that do not depend on their size."""
    monkeypatch.setattr(dgaf, "WIDTH", 16)
    monkeypatch.setattr(dgaf, "BLOCKS", 2)
    monkeypatch.setattr(dgaf, "UNET_WIDTHS", (8, 8, 8, 8))
    monkeypatch.setattr(dgaf, "JUDGE_WIDTHS", (8, 8, 8))


@pytest.fixture
def slim_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG-16 with as many layers, 4 wide."""
    monkeypatch.setattr(dgaf, "VGG_CONVOLUTIONS", dict.fromkeys(dgaf.VGG_CONVOLUTIONS, 4))


@pytest.fixture
def uncomputed() -> Iterator[None]:
    """Tensors without values, for facts about their number and shapes."""
    with torch.device("meta"):
        yield


@pytest.fixture
def data(pairs: Path) -> Dataset:
    return plugins.load(Dataset, Spec.parse("folder"))(str(pairs))


def settings(**changes: Any) -> Any:
    return dataclasses.replace(dgaf.DGAFSettings(), **QUICK | changes)


def recipe(option: str = "", **changes: Any) -> Any:
    torch.manual_seed(0)
    return dgaf.DGAFRecipe(option, settings(**changes))


def running(data: Dataset, out: Path, method: str = "dgaf", resume: bool = False, **changes: Any) -> Iterator[Progress]:
    plan = Plan(method, dgaf.DGAFRecipe, settings(**changes), [data], seed=0, held_out=0)
    return train(plan, out, CPU, resume=resume, every=2)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def batch(side: int = 16, exposure: float = 1.0, noise: float = 0.0) -> tuple[Tensor, ...]:
    """Synthetic low-light pictures, references, nights, exposures, noise; two each."""
    synthetic, reference, night = (random(2, 3, side, side, seed=seed) for seed in range(3))
    return (
        synthetic / 8,
        reference,
        night / 4,
        torch.full((2, 1, 1, 1), exposure),
        torch.full((2, 3, side, side), noise),
    )


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def macs(module: nn.Module) -> float:
    """Multiply-accumulates of the convolutions for a 384x384 picture."""
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 3, 384, 384))
    return float(counter.get_total_flops() / 2)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def moved(module: nn.Module, before: dict[str, Tensor]) -> bool:
    return any(not torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def psnr(enhanced: Tensor, reference: Tensor) -> float:
    return -10 * float(torch.log10((enhanced - reference).square().mean()))


# Sizes. The paper prints none; these follow by hand from its "eight blocks" and "four layers", read as in DASR.


@pytest.mark.usefixtures("uncomputed")
def test_parameters_of_the_darkening_and_the_enlightening_network() -> None:
    # head 3 to 64, 16 times 64 to 64, tail 64 to 3, all 3x3 with bias
    expected = (27 * 64 + 64) + 16 * (576 * 64 + 64) + (576 * 3 + 3)
    assert expected == 594_371
    assert parameters(dgaf.ResidualNet()) == parameters(dgaf.network_of("")) == expected


@pytest.mark.usefixtures("uncomputed")
def test_parameters_of_the_discriminator() -> None:
    # 5x5 3 to 64, 64 to 128, 128 to 256, 1x1 256 to 1, with bias; its normalisation has none
    assert parameters(dgaf.PatchDiscriminator()) == 4_864 + 204_928 + 819_456 + 257 == 1_029_505


@pytest.mark.usefixtures("uncomputed")
@pytest.mark.parametrize(("network", "billions"), [("ResidualNet", 87.48), ("PatchDiscriminator", 151.74)])
def test_operations_at_384x384(network: str, billions: float) -> None:
    assert macs(getattr(dgaf, network)()) / 1e9 == pytest.approx(billions, abs=0.01)


@pytest.mark.usefixtures("uncomputed")
def test_the_unet_takes_a_quarter_of_the_operations_and_three_times_the_parameters() -> None:
    unet, plain = dgaf.network_of("unet"), dgaf.network_of("")
    assert macs(unet) / macs(plain) == pytest.approx(0.24, abs=0.01)
    assert parameters(unet) / parameters(plain) == pytest.approx(3.24, abs=0.01)


@pytest.mark.usefixtures("uncomputed")
@pytest.mark.parametrize("option", [option for option in VARIANTS if option != "unet"])
def test_every_row_of_the_papers_tables_has_the_same_networks(option: str) -> None:
    assert parameters(recipe(option)) == 2 * 594_371 + 1_029_505


def test_the_discriminator_sees_13_pixels() -> None:
    # Without normalisation, which looks at the whole picture.
    layers = [layer for layer in dgaf.PatchDiscriminator().layers if not isinstance(layer, nn.InstanceNorm2d)]
    picture = random(1, 3, 21, 21).requires_grad_()
    (slope,) = torch.autograd.grad(nn.Sequential(*layers)(picture)[0, 0, 10, 10], picture)
    rows = slope.abs().sum(dim=(0, 1, 3)).nonzero().flatten().tolist()
    assert rows == list(range(4, 17))


# The perceptual term.


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict with torchvision's names, its values random."""
    torch.manual_seed(1)
    features = torchvision_features()
    file = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save({f"features.{name}": tensor for name, tensor in features.state_dict().items()}, file)
    return file


def torchvision_features() -> nn.Sequential:
    vgg = importlib.import_module("torchvision.models.vgg")
    features: nn.Sequential = vgg.make_layers(vgg.cfgs["D"])
    return features


def test_vgg_is_torchvisions_up_to_conv5_3_before_its_relu(vgg_file: Path) -> None:
    theirs = torchvision_features()
    stored = torch.load(vgg_file, weights_only=True)
    theirs.load_state_dict({name.removeprefix("features."): tensor for name, tensor in stored.items()})
    assert isinstance(theirs[28], nn.Conv2d) and isinstance(theirs[29], nn.ReLU)
    picture = random(1, 3, 33, 48)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # ImageNet
    with torch.no_grad():
        expected = theirs[:29]((picture - mean.view(3, 1, 1)) / deviation.view(3, 1, 1))
    found = dgaf.VGG16(str(vgg_file))(picture)
    assert found.shape == (1, 512, 2, 3)
    torch.testing.assert_close(found, expected)


@pytest.mark.usefixtures("slim_vgg")
def test_the_random_trunk_is_always_the_same_one() -> None:
    picture = random(1, 3, 16, 16)
    torch.manual_seed(1)
    first = dgaf.VGG16("random")(picture)
    torch.manual_seed(2)
    assert torch.equal(dgaf.VGG16("random")(picture), first)


def test_the_random_trunk_begins_as_he_initialisation_says() -> None:
    weight = dgaf.VGG16("random").get_buffer("28_weight")
    assert weight.shape == (512, 512, 3, 3)
    assert float(weight.std()) == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


@pytest.mark.usefixtures("slim", "slim_vgg")
def test_vgg_does_not_learn_and_is_no_part_of_a_checkpoint() -> None:
    with_vgg, without = recipe(weight_percept=0.02), recipe(weight_percept=0.0)
    assert with_vgg.state_dict().keys() == without.state_dict().keys()
    assert parameters(with_vgg) == parameters(without)


def test_a_perceptual_weight_of_0_skips_vgg() -> None:
    assert recipe(weight_percept=0.0)._vgg is None


def test_a_file_that_is_no_vgg_is_named(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    for name in ("absent.pth", "other.pth"):
        with pytest.raises(ValueError, match=rf"vgg=.*{name} is no state dict of torchvision's vgg16 .*vgg=random"):
            recipe(weight_percept=0.02, vgg=str(tmp_path / name))


def test_a_vgg_of_another_width_says_both_shapes(tmp_path: Path, vgg_file: Path) -> None:
    stored = torch.load(vgg_file, weights_only=True)
    torch.save(stored | {"features.0.bias": torch.zeros(8)}, tmp_path / "narrow.pth")
    with pytest.raises(ValueError, match=r"features\.0\.bias has shape \(8,\), expected \(64,\)"):
        dgaf.VGG16(str(tmp_path / "narrow.pth"))


# Stage 1. A learning rate of 0 leaves the networks as they were, so that their losses can be computed again.


@pytest.mark.usefixtures("slim", "slim_vgg")
@pytest.mark.parametrize("option", TABLE1)
def test_the_darkening_network_learns_from_the_losses_of_its_row_in_table_1(option: str) -> None:
    found = recipe(option, weight_percept=0.02).step(batch(), DARKENING)
    assert found.keys() == {"loss", "judged"} | TABLE1[option]
    assert float(found["loss"]) == pytest.approx(sum(float(found[part]) for part in TABLE1[option]), rel=1e-5)


@pytest.mark.usefixtures("slim", "slim_vgg")
def test_the_losses_of_the_darkening_network() -> None:
    learned = recipe(learning_rate=0.0, weight_recons=3.0, weight_ssim=5.0, weight_adv=7.0, weight_percept=11.0)
    synthetic, reference, *_ = given = batch()
    found = learned.step(given, DARKENING)
    with torch.no_grad():
        darkened = learned._darkening(reference)
        realness = 1 / (1 + torch.exp(-learned._discriminator(darkened)))
        features = learned._vgg(torch.cat((darkened, synthetic)))
    similarity = [
        structural_similarity(
            one.numpy(),
            other.numpy(),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            use_sample_covariance=False,
            sigma=1.5,
        )
        for one, other in zip(darkened, synthetic, strict=True)
    ]
    assert float(found["recons"]) == pytest.approx(3 * float((synthetic - darkened).abs().mean()), rel=1e-5)
    assert float(found["ssim"]) == pytest.approx(5 * (1 - float(torch.tensor(similarity).mean())), rel=1e-4)
    assert float(found["adv"]) == pytest.approx(7 * float(-realness.log().mean()), rel=1e-4)
    assert float(found["percept"]) == pytest.approx(11 * float((features[:2] - features[2:]).abs().mean()), rel=1e-4)


@pytest.mark.usefixtures("slim")
def test_the_discriminator_learns_nights_from_darkened_pictures_and_nothing_else() -> None:
    learned = recipe(learning_rate=0.0)
    _, reference, night, *_ = given = batch()
    found = learned.step(given, DARKENING)
    judge = learned._discriminator
    real = torch.sigmoid(judge(night))
    fake = torch.sigmoid(judge(learned._darkening(reference).detach()))
    expected = -real.log().mean() - (1 - fake).log().mean()
    slopes = torch.autograd.grad(expected, list(judge.parameters()))
    assert float(found["judged"]) == pytest.approx(float(expected.detach()), rel=1e-5)
    for parameter, slope in zip(judge.parameters(), slopes, strict=True):
        torch.testing.assert_close(parameter.grad, slope, rtol=1e-3, atol=1e-6)


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("option", ["", "recons", "source_wo_rddg"])
def test_stage_1_moves_the_darkening_network_and_the_discriminator_in_every_variant(option: str) -> None:
    learned = recipe(option)
    networks = [learned._darkening, learned._discriminator, learned._enlightening]
    before = [state(network) for network in networks]
    learned.step(batch(), DARKENING)
    assert [moved(network, kept) for network, kept in zip(networks, before, strict=True)] == [True, True, False]


def test_the_darkening_network_starts_at_a_nights_grey(photograph: Tensor) -> None:
    with torch.no_grad():
        first = recipe()._darkening(photograph[None, :, :48, :48])
    assert 0.03 < float(first.mean()) < 0.08


@pytest.mark.usefixtures("slim")
def test_the_darkening_network_learns_to_darken(photograph: Tensor) -> None:
    reference = torch.stack((photograph[:, :32, :32], photograph[:, -32:, -32:]))
    exposure, noise = torch.ones(2, 1, 1, 1), torch.zeros(2, 3, 32, 32)
    learned = recipe()
    steps = [learned.step((reference / 4, reference, reference / 4, exposure, noise), DARKENING) for _ in range(60)]
    assert float(steps[-1]["recons"]) < 0.4 * float(steps[0]["recons"])
    with torch.no_grad():
        assert float(learned._darkening(reference).mean()) == pytest.approx(float(reference.mean()) / 4, rel=0.2)


# Stage 2.


def test_what_looks_unreal_counts_more() -> None:
    omega = torch.tensor([0.0, 0.25, 1.0])
    assert dgaf.distance_weight(omega, "distance").tolist() == [1, 0.75, 0]


def test_normalised_weights_have_a_mean_of_1_and_the_same_proportions() -> None:
    # 1, 0.75 and 0.25 have a mean of 2/3
    found = dgaf.distance_weight(torch.tensor([0.0, 0.25, 0.75]), "normalised")
    assert found.tolist() == pytest.approx([1.5, 1.125, 0.375])


@pytest.mark.usefixtures("slim", "slim_vgg")
@pytest.mark.parametrize(
    ("option", "sees", "weighted"),
    [
        ("", "darkened", True),
        ("wo_rddg", "darkened", False),
        ("source", "synthetic", True),
        ("source_wo_rddg", "synthetic", False),
    ],
)
def test_the_losses_of_the_enlightening_network(option: str, sees: str, weighted: bool) -> None:
    learned = recipe(option, learning_rate=0.0, weight_percept=0.5)
    synthetic, reference, *_ = given = batch(32)
    found = learned.step(given, ENLIGHTENING)
    with torch.no_grad():
        dark = synthetic if sees == "synthetic" else learned._darkening(reference)
        omega = torch.sigmoid(learned._discriminator(dark)) if weighted else torch.zeros(2, 1, 32, 32)
        enlightened = learned._enlightening(dark)
        features = learned._vgg(torch.cat((enlightened, reference)))
    content = ((1 - omega) * (enlightened - reference).abs()).mean()
    coarse = (1 - omega).reshape(2, 1, 2, 16, 2, 16).mean(dim=(3, 5))
    percept = (coarse * (features[:2] - features[2:]).abs()).mean()
    assert float(found["content"]) == pytest.approx(float(content), rel=1e-5)
    assert float(found["percept"]) == pytest.approx(0.5 * float(percept), rel=1e-4)
    assert float(found["loss"]) == pytest.approx(float(found["content"] + found["percept"]), rel=1e-5)
    assert ("omega_mean" in found) == ("omega_std" in found) == weighted
    if weighted:
        assert float(found["omega_mean"]) == pytest.approx(float(omega.mean()), rel=1e-5)
        assert float(found["omega_std"]) == pytest.approx(float(omega.std()), rel=1e-3)


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("option", VARIANTS)
def test_stage_2_moves_the_enlightening_network_alone(option: str) -> None:
    learned = recipe(option)
    networks = [learned._darkening, learned._discriminator, learned._enlightening]
    before = [state(network) for network in networks]
    learned.step(batch(), ENLIGHTENING)
    assert [moved(network, kept) for network, kept in zip(networks, before, strict=True)] == [False, False, True]


@pytest.mark.usefixtures("slim")
def test_exposure_and_noise_change_what_the_enlightening_network_sees_and_not_the_weights() -> None:
    learned = recipe(learning_rate=0.0)
    seen: list[Tensor] = []
    learned._enlightening.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    plain = learned.step(batch(), ENLIGHTENING)
    changed = learned.step(batch(exposure=2.0, noise=0.01), ENLIGHTENING)
    torch.testing.assert_close(seen[1], 2 * seen[0] + 0.01)
    assert torch.equal(plain["omega_mean"], changed["omega_mean"])


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("option", ["", "unet"])
def test_two_pairs_are_learned_by_heart(option: str, photograph: Tensor) -> None:
    reference = torch.stack((photograph[:, :24, :24], photograph[:, -24:, -24:]))
    low = reference / 4
    given = (low, reference, low, torch.ones(2, 1, 1, 1), torch.zeros(2, 3, 24, 24))
    learned = recipe(option, learning_rate=5e-3)
    for _ in range(40):
        learned.step(given, DARKENING)
    with torch.no_grad():
        before = psnr(learned.enhance(low), reference)
    steps = [learned.step(given, ENLIGHTENING) for _ in range(60)]
    assert float(steps[-1]["content"]) < 0.5 * float(steps[0]["content"])
    with torch.no_grad():
        assert psnr(learned.enhance(low), reference) > before + 5


# What is drawn.


def scene(level: int, pictures: int, side: int = 64) -> tuple[Tensor, ...]:
    """A scene whose pictures are flat: the low one of the level, the reference 100 brighter."""
    return tuple(torch.full((3, side, side), level + 100 * place, dtype=torch.uint8) for place in range(pictures))


def drawn(pictures: list[tuple[Tensor, ...]], seed: int = 0, **changes: Any) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = recipe(**changes).draw(pictures, Generator().manual_seed(seed))
    return found


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("held", [1, 2], ids=["night without reference", "low picture of another pair"])
def test_pairs_come_first_and_of_a_night_the_low_picture_alone(held: int) -> None:
    synthetic, reference, night, *_ = drawn([scene(1, 2), scene(2, 2), scene(3, held), scene(4, held)])
    assert synthetic.shape == reference.shape == night.shape == (2, 3, 32, 32)
    assert (synthetic * 255).round()[:, 0, 0, 0].tolist() == [1, 2]
    assert (reference * 255).round()[:, 0, 0, 0].tolist() == [101, 102]
    assert (night * 255).round()[:, 0, 0, 0].tolist() == [3, 4]


@pytest.mark.usefixtures("slim")
def test_low_picture_and_reference_are_cut_at_the_same_place() -> None:
    picture = (random(3, 64, 64) * 100).to(torch.uint8)
    synthetic, reference, *_ = drawn([(picture, picture + 100)] * 2 + [scene(0, 1)] * 2)
    torch.testing.assert_close(reference - synthetic, torch.full((2, 3, 32, 32), 100 / 255))


@pytest.mark.usefixtures("slim")
def test_a_reduced_crop_averages_areas() -> None:
    stripes = (torch.arange(64) % 2 * 200).to(torch.uint8).expand(3, 64, 64)
    means = set()
    for seed in range(8):
        synthetic, *_ = drawn([(stripes, stripes)] * 2 + [(stripes,)] * 2, seed, largest_scale=2)
        assert synthetic.shape == (2, 3, 32, 32)
        means |= set((synthetic * 255).round().unique(sorted=True).tolist())  # type: ignore[no-untyped-call]
    assert means == {0, 200, 100}


@pytest.mark.usefixtures("slim")
def test_as_published_nothing_is_exposed_again_and_no_noise_is_added() -> None:
    *_, exposure, noise = drawn([scene(1, 2)] * 2 + [scene(3, 1)] * 2)
    assert torch.equal(exposure, torch.ones(2, 1, 1, 1))
    assert not noise.any()


@pytest.mark.usefixtures("slim")
def test_exposures_stay_within_their_stops() -> None:
    # 2.2 stops, of 2.2 to a doubling of the grey level: half to twice
    learned, pictures = recipe(exposure_jitter=2.2), [scene(1, 2)] * 2 + [scene(3, 1)] * 2
    draws = [learned.draw(pictures, Generator().manual_seed(seed)) for seed in range(40)]
    exposures = torch.cat([draw[3] for draw in draws])
    assert 0.5 <= float(exposures.min()) < 0.6
    assert 1.7 < float(exposures.max()) <= 2


@pytest.mark.usefixtures("slim")
def test_noise_has_the_deviation_asked_for_in_levels() -> None:
    *_, noise = drawn([scene(1, 2)] * 2 + [scene(3, 1)] * 2, noise=3.0)
    # 6,144 values know their deviation to 1 %
    assert float(noise.std() * 255) == pytest.approx(3, rel=0.04)


# Schedules and stages.


@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 1e-4), (9, 1e-4), (11, 5e-5), (21, 2.5e-5), (39, 1.25e-5), (49, 6.25e-6)]
)
def test_the_rate_is_halved_every_10_of_50_epochs(epoch: int, rate: float) -> None:
    assert dgaf.learning_rate(dgaf.DGAFSettings(), epoch / 50) == pytest.approx(rate)


@pytest.mark.parametrize(("share", "part"), [(0, 1), (0.5, 0.505), (1, 0.01)])
def test_the_cosine_falls_to_a_hundredth(share: float, part: float) -> None:
    assert dgaf.learning_rate(settings(), share) == pytest.approx(2e-3 * part)


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize(("share", "part"), [(0, 1), (0.1, 0.505), (0.2, 1), (0.6, 0.505)])
def test_each_stage_has_the_whole_curve(share: float, part: float) -> None:
    learned = recipe(darkening_share=0.2)
    learned.step(batch(), share)
    rates = {group["lr"] for adam in learned.optimisers for group in adam.param_groups}
    assert list(rates) == [pytest.approx(2e-3 * part)]


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize(
    ("darkening_share", "share", "stage"), [(0.2, 0.19, 1), (0.2, 0.2, 2), (0.0, 0.0, 2), (1, 0.99, 1)]
)
def test_the_stages_meet_where_the_setting_says(darkening_share: float, share: float, stage: int) -> None:
    found = recipe(darkening_share=darkening_share).step(batch(), share)
    assert ("judged" in found, "content" in found) == (stage == 1, stage == 2)


def test_the_defaults_are_the_papers() -> None:
    defaults = dgaf.DGAFSettings()
    assert (defaults.batch_size, defaults.learning_rate, defaults.weight_decay) == (16, 1e-4, 1e-3)
    weights = (defaults.weight_recons, defaults.weight_ssim, defaults.weight_percept, defaults.weight_adv)
    assert weights == (1, 1, 0.02, 0.02)
    # 4,000 pairs, 50 epochs of each stage
    assert defaults.steps == 2 * 50 * 4000 / 16


@pytest.mark.usefixtures("slim")
def test_adam_has_the_papers_momentum_and_l2() -> None:
    for adam in recipe(weight_decay=1e-3).optimisers:
        assert type(adam) is torch.optim.Adam
        assert (adam.defaults["betas"][0], adam.defaults["weight_decay"]) == (0.9, 1e-3)


# Training and the adapter.


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("kill", [1, 3], ids=["in stage 1", "in stage 2"])
def test_a_killed_and_resumed_training_ends_in_the_same_bits(data: Dataset, tmp_path: Path, kill: int) -> None:
    changes: dict[str, Any] = {"steps": 5, "noise": 1.0, "exposure_jitter": 1.0, "largest_scale": 2, "crop": 16}
    *_, unbroken = running(data, tmp_path / "unbroken", **changes)
    killed = running(data, tmp_path / "killed", **changes)
    for _ in range(kill):
        next(killed)
    killed.close()  # type: ignore[attr-defined]
    *_, resumed = running(data, tmp_path / "killed", resume=True, **changes)
    assert unbroken.weights is not None
    assert resumed.weights is not None
    assert resumed.weights.read_bytes() == unbroken.weights.read_bytes()


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("option", ["", "unet"])
def test_the_adapter_does_what_validation_measured(option: str, data: Dataset, tmp_path: Path) -> None:
    *_, last = running(data, tmp_path / "out", f"dgaf:{option}" if option else "dgaf", steps=2)
    low = random(1, 3, 45, 70)
    learned = recipe(option)
    learned.network.load_state_dict(load_file(str(last.weights)))
    with torch.no_grad():
        torch.testing.assert_close(DGAF(option, last.weights).enhance(low), learned.enhance(low), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("slim")
def test_weights_of_another_variant_are_refused_though_they_fit(data: Dataset, tmp_path: Path) -> None:
    *_, last = running(data, tmp_path / "out", "dgaf:wo_rddg", steps=1)
    with pytest.raises(ValueError, match="holds the weights of 'dgaf:wo_rddg', and 'dgaf' was asked for"):
        DGAF("", last.weights)


@pytest.fixture
def adapter(request: pytest.FixtureRequest, slim: None, tmp_path: Path) -> Adapter:
    """A variant with random weights."""
    file = tmp_path / "random.safetensors"
    network = recipe(request.param).network
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, file)
    return DGAF(request.param, file)


@pytest.mark.parametrize("adapter", ["", "unet"], indirect=True)
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (33, 1), (37, 53), (32, 48)], ids=lambda size: "{}x{}".format(*size))
def test_every_size_comes_out_as_it_went_in(adapter: Adapter, size: tuple[int, int]) -> None:
    low = random(2, 3, *size)
    assert work.enhance(adapter, low, "set", ["a", "b"], 0).shape == low.shape


@pytest.mark.parametrize("adapter", [""], indirect=True)
def test_the_input_is_left_alone_and_the_same_picture_gives_the_same_result(adapter: Adapter) -> None:
    low = random(1, 3, 32, 48)
    kept = low.clone()
    assert torch.equal(adapter.enhance(low), adapter.enhance(low))
    assert torch.equal(low, kept)


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("option", ["", "unet"])
def test_bfloat16_does_not_round_a_bright_picture_to_its_own_steps(option: str) -> None:
    # Between 0.5 and 1 they are 1/256 wide.
    learned = recipe(option)
    learned.precision = torch.bfloat16
    found = learned.enhance(random(1, 3, 16, 16)) * 256
    assert not torch.equal(found, found.round())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schedule": "linear"}, "schedule=linear: expected paper or cosine"),
        ({"weighting": "none"}, "weighting=none: expected distance or normalised"),
        ({"crop": 8}, "crop=8: .* 16 at least"),
        ({"darkening_share": 1.5}, r"darkening_share=1\.5: .* 1 at most"),
        ({"largest_scale": 0}, "largest_scale=0: 1 for no reduction"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        recipe(**change)


@pytest.mark.parametrize("name", ["noise", "exposure_jitter", "weight_recons", "weight_ssim", "weight_decay"])
def test_settings_that_are_no_counts_take_fractions(name: str) -> None:
    assert dgaf.DGAFSettings().replaced([f"{name}=0.5"]).as_dict()[name] == 0.5


@pytest.mark.parametrize("make", [DGAF, recipe], ids=["adapter", "recipe"])
def test_an_unknown_option_is_answered_with_the_known_ones(make: Any) -> None:
    with pytest.raises(ValueError, match=r"'dgaf' does not know the option 'gan'; accepted: dgaf alone; dgaf:unet \("):
        make("gan")
